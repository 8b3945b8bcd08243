//! Things of others stay: clusters whose processes are in other containers, files in a cluster's directory, and
//! mounts below it.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mount::Tmpfs;
use crate::run::nothing_left;
use crate::support::{Home, Output, eventually};

/// kcl in a PID namespace of its own, as in a container that shares the home.
fn elsewhere(command: Command) -> Output {
    let mut outside = Command::new("unshare");
    outside.args(["--pid", "--fork", "--mount-proc"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outside.env(name, value),
            None => outside.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outside.current_dir(directory);
    }
    Output::of(&mut outside)
}

#[test]
fn clusters_and_files_of_others() {
    let home = Home::new("others");
    let guards = || {
        let processes = home.traces().processes;
        let guards = processes.into_iter().filter(|(_, command)| command.contains(" guard"));
        guards.map(|(pid, _)| pid).collect::<Vec<_>>()
    };
    let mut process = Command::new("sleep").arg("600").spawn().expect("sleep");
    let until = process.id().to_string();
    let cluster = home.start("kept", &["--wait", "api", "--until-exit-of", &until]);

    home.step("a process that cannot be seen has not ended");
    for guard in guards() {
        kill(Pid::from_raw(guard), Signal::SIGKILL).expect("a guard");
    }
    eventually("the guard has ended", || if guards().is_empty() { Ok(()) } else { Err(format!("{:?}", guards())) });
    let other = home.cluster("other");
    // It looks at all clusters first, and then fails.
    let output = elsewhere(other.command(["start", "--nameservers", "none", "--memory", "9000g"]));
    assert!(output.fails().contains("it is not known that it has ended"), "{output}");
    assert_eq!(cluster.kcl(["status"]).code, Some(0), "it runs on");

    home.step("a guard that cannot be ended from there ends with its cluster");
    cluster.start(&["--wait", "api"]).ok();
    assert_eq!(guards().len(), 1);
    let directory = home.path().join("clusters/kept");
    let data = Tmpfs::new(directory.join("data"), "1m");
    std::fs::write(data.path().join("precious"), "x").expect("a file");
    let output = elsewhere(cluster.command(["delete"]));
    output.ok();
    assert!(output.stderr.contains("kcl did not make data"), "{output}");
    eventually("no guard is left", || match guards() {
        guards if guards.is_empty() => Ok(()),
        guards => Err(format!("{guards:?}")),
    });

    home.step("nothing is removed through a mount");
    assert!(data.path().join("precious").exists());
    drop(data);
    std::fs::remove_dir_all(&directory).expect("what the test made there");
    process.kill().expect("it runs");
    process.wait().expect("its end");
    cluster.start(&["--wait", "api"]).ok();
    let charts = Tmpfs::new(directory.join("charts"), "1m");
    std::fs::write(charts.path().join("precious"), "x").expect("a file");
    let output = cluster.kcl(["delete"]);
    assert!(output.fails_with(74).contains("something is mounted at"), "{output}");
    assert!(charts.path().join("precious").exists());
    drop(charts);
    cluster.kcl(["delete"]).ok();
    nothing_left(&home, &cluster);
}
