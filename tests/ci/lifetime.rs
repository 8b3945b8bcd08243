//! Clusters that end by themselves.

use std::process::Command;

use crate::run::gone;
use crate::support::{Home, eventually};

#[test]
fn a_time_to_live() {
    let home = Home::new("ttl");
    let cluster = home.cluster("short");
    home.step("it is shown, changed and cancelled");
    cluster.start(&["--ttl", "2h"]).ok();
    let ends = || home.kcl(["profile", "list", "-o", "json"]).json()["valid"][0]["Ends"].as_str().map(str::to_owned);
    let first = ends().expect("when it ends");
    assert!(first.ends_with('Z'), "{first}");
    cluster.start(&[]).ok();
    assert_eq!(ends().as_ref(), Some(&first), "a start that says nothing of it");
    cluster.start(&["--ttl", "none"]).ok();
    assert_eq!(ends().as_deref(), Some(""));
    eventually("no guard is left", || match guards(&home) {
        guards if guards.is_empty() => Ok(()),
        guards => Err(format!("{guards:?}")),
    });

    home.step("it ends by itself, kubeconfig and all");
    cluster.start(&["--ttl", "1s"]).ok();
    gone(&home);
    let kubeconfig = std::fs::read_to_string(home.kubeconfig()).unwrap_or_default();
    assert!(!kubeconfig.contains("name: short"), "{kubeconfig}");

    home.step("where its guard is gone, the next start of another sees to it");
    let mut process = Command::new("sleep").arg("600").spawn().expect("sleep");
    cluster.start(&["--until-exit-of", &process.id().to_string()]).ok();
    let guards = guards(&home);
    assert_eq!(guards.len(), 1);
    for guard in guards {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(guard), nix::sys::signal::Signal::SIGKILL).expect("a guard");
    }
    process.kill().expect("it runs");
    process.wait().expect("its end");
    let other = home.cluster("other");
    other.start(&[]).ok();
    assert_eq!(cluster.traces().lines(), Vec::<String>::new());
    cluster.kcl(["status"]).fails_with(7);

    home.step("a delete ends the guard");
    other.start(&["--ttl", "1h"]).ok();
    other.kcl(["delete"]).ok();
    assert_eq!(home.traces().lines(), Vec::<String>::new());

    home.step("what cannot be");
    assert!(other.start(&["--ttl", "soon"]).fails_with(64).contains("is not a time"));
    assert!(other.start(&["--until-exit-of", "4194305"]).fails_with(64).contains("no such process"));
}

/// The processes that wait for a cluster's end.
fn guards(home: &Home) -> Vec<i32> {
    let processes = home.traces().processes;
    processes.into_iter().filter(|(_, command)| command.contains(" guard ")).map(|(pid, _)| pid).collect()
}
