//! A fresh cluster for one command, as in CI: started, one deployment answers, deleted. With a spare one or without.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::cluster::{Cluster, LIMIT, Timing};

/// What the deployment's Service has on every node.
const PORT: u16 = 30080;

/// Puts the deployment in, and stays until it is told to end.
const COMMAND: [&str; 3] = ["sh", "-c", r#"kubectl create -f "$0" && read -r line <"$1""#];

/// From the command to its end.
pub fn measure(cluster: &Cluster) -> Result<Timing, Box<dyn Error>> {
    let manifest = cluster.write("fresh.yaml", include_str!("fresh.yaml"))?;
    let gate = cluster.directory().join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU)?;
    cluster.listener.clear();
    let begun = Instant::now();
    let mut run = cluster.unnamed();
    run.arg("run").args(cluster.flags()).arg("--").args(COMMAND).args([&manifest, &gate]);
    let mut run = run.spawn()?;
    let answered = cluster.listener.wait_for(1, LIMIT).map_err(Into::into).and_then(|heard| answer(&heard));
    let answers = begun.elapsed();
    let status = match answered {
        Ok(()) => {
            fs::OpenOptions::new().write(true).open(&gate)?.write_all(b"\n")?;
            run.wait()
        }
        Err(_) => run.kill().and_then(|()| run.wait()),
    }?;
    answered?;
    fs::remove_file(&gate)?;
    let total = begun.elapsed();
    if !status.success() {
        return Err(format!("kcl run: {status}").into());
    }
    let parts = [("until the deployment answers", answers), ("deleted", total - answers)];
    Ok(Timing { total, parts: parts.map(|(name, part)| (name.to_owned(), part)).into() })
}

/// The deployment's answer by its Service. kube-proxy may learn of the pod after the pod runs.
fn answer(nodes: &[String]) -> Result<(), Box<dyn Error>> {
    let node = nodes.first().ok_or("no node")?.trim_start_matches('/');
    let begun = Instant::now();
    loop {
        let asked = (|| {
            let mut stream = TcpStream::connect((node, PORT))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        })();
        match asked {
            Ok(answer) if answer.ends_with("hello\n") => return Ok(()),
            other if begun.elapsed() > LIMIT => return Err(format!("no answer: {other:?}").into()),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
