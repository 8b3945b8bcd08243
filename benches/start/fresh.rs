//! A fresh cluster for one command, as in CI: started, one deployment answers, deleted. With a spare one or without.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::cluster::{Cluster, LIMIT, Timing};

/// The node port of the deployment's Service.
const PORT: u16 = 30080;

/// Puts the deployment in, and stays until it is asked to end.
const COMMAND: [&str; 3] = ["sh", "-c", r#"kubectl create -f "$0" && read -r line <"$1""#];

/// From the command to its end.
pub(crate) fn measure(cluster: &Cluster) -> Result<Timing, Box<dyn Error>> {
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

/// The time limit of one attempt to connect. While kube-proxy has not learned of the pod it refuses by ICMP. On one computer that
/// comes back before connect(2) has left the socket, where the kernel takes it for a passing trouble and tries again after a
/// second (`tcp_v4_err`).
const TRY: Duration = Duration::from_millis(50);

/// The deployment's answer by its Service.
fn answer(nodes: &[String]) -> Result<(), Box<dyn Error>> {
    let node: Ipv4Addr = nodes.first().ok_or("no node")?.trim_start_matches('/').parse()?;
    let address = SocketAddr::from((node, PORT));
    let begun = Instant::now();
    loop {
        let asked = (|| {
            let mut stream = TcpStream::connect_timeout(&address, TRY)?;
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
