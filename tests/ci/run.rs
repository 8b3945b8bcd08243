//! `kcl run`: the command's own ways to end, and kcl's.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Home, Output, eventually};

/// `kcl run` of a line of a shell, to be run.
fn run(home: &Home, flags: &[&str], line: &str) -> Command {
    let mut command = home.command(["run", "--nameservers", "none"]);
    command.args(flags).args(["--", "sh", "-c", line]);
    command
}

/// Starts it and waits until its command has written the name of its cluster, as the line does with `echo $KCL_PROFILE`.
/// Its standard input is open until it is waited for.
fn started(home: &Home, flags: &[&str], line: &str) -> (Child, String) {
    let mut command = run(home, flags, line);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("kcl");
    let mut name = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut name).expect("a line");
    assert!(name.starts_with("run-"), "{name:?}");
    home.cluster(name.trim());
    (child, name.trim().to_owned())
}

#[test]
fn a_command_with_a_cluster_of_its_own() {
    let home = Home::new("run");
    home.step("two at a time");
    let (mut left, left_name) =
        started(&home, &[], "echo $KCL_PROFILE; kubectl wait --for=condition=Ready node --all --timeout=2m");
    let (mut right, right_name) = started(&home, &[], "echo $KCL_PROFILE; kubectl get nodes -o name");
    assert_ne!(left_name, right_name);
    assert!(left.wait().expect("its end").success() && right.wait().expect("its end").success());
    nothing_left(&home);
    assert!(!home.kubeconfig().exists(), "the user's kubeconfig was touched");

    home.step("a command that fails");
    let failed = Output::of(&mut run(&home, &["--logs", "logs.tar.gz"], "echo said; kubectl get pod none; exit 7"));
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(7), "said\n"), "{failed}");
    assert!(failed.stderr.contains("\"none\" not found"), "{failed}");
    let logs = Output::of(Command::new("tar").arg("tzf").arg(home.scratch().join("logs.tar.gz")));
    assert!(logs.ok().contains("kubelet.log"), "{logs}");
    nothing_left(&home);

    home.step("commands that are none");
    let mut none = home.command(["run", "--nameservers", "none", "--logs", "logs.tar.gz", "--", "no-such-command"]);
    assert!(Output::of(&mut none).fails_with(127).contains("no-such-command"));
    assert!(home.kcl(["run"]).fails_with(64).contains("<COMMAND>"));
    nothing_left(&home);

    home.step("one that is asked to end");
    let line = "trap 'kubectl get nodes >/dev/null && exit 3' TERM; echo $KCL_PROFILE; while :; do sleep 0.1; done";
    let (mut asked, _) = started(&home, &[], line);
    signal(&asked, Signal::SIGTERM);
    // It had its cluster to the end.
    assert_eq!(asked.wait().expect("its end").code(), Some(3));
    nothing_left(&home);

    home.step("kcl itself is killed");
    let (mut killed, _) = started(&home, &[], "echo $KCL_PROFILE; cat");
    signal(&killed, Signal::SIGKILL);
    killed.wait().expect("its end");
    gone(&home);

    home.step("kcl is killed while it deletes");
    let (mut killed, name) = started(&home, &[], "echo $KCL_PROFILE");
    let state = home.path().join("clusters").join(name).join("state.json");
    while std::fs::read_to_string(&state).is_ok_and(|state| !state.contains("\"deleting\"")) {
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&killed, Signal::SIGKILL);
    killed.wait().expect("its end");
    gone(&home);

    home.step("one that fails is kept for a look");
    let (mut failing, name) = started(&home, &["--keep", "--logs", "logs.tar.gz"], "echo $KCL_PROFILE; exit 1");
    assert_eq!(failing.wait().expect("its end").code(), Some(1));
    let kept = home.cluster(&name);
    kept.kubectl(["get", "nodes"]);
    // Nothing ends it by itself any more.
    let rows = home.kcl(["profile", "list", "-o", "json"]).json();
    assert_eq!((&rows["valid"][0]["Name"], &rows["valid"][0]["Ends"]), (&name.as_str().into(), &"".into()), "{rows}");
    let taken = home.kcl(["run", "-p", &name, "--", "true"]);
    assert!(taken.fails_with(64).contains("there is a cluster"), "{taken}");
    kept.kcl(["delete"]).ok();
    nothing_left(&home);
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a number")), signal).expect("it is our child");
}

/// Fails where there is anything of a cluster.
#[track_caller]
fn nothing_left(home: &Home) {
    assert_eq!(what_is_left(home), Vec::<String>::new());
}

/// Waits until there is nothing of a cluster: someone else deletes it.
#[track_caller]
pub(crate) fn gone(home: &Home) {
    eventually("the cluster is gone", || match what_is_left(home) {
        left if left.is_empty() => Ok(()),
        left => Err(left.join("\n")),
    });
}

fn what_is_left(home: &Home) -> Vec<String> {
    let clusters = std::fs::read_dir(home.path().join("clusters")).into_iter().flatten().flatten();
    let mut left: Vec<String> = clusters.map(|entry| format!("file {}", entry.path().display())).collect();
    left.extend(home.traces().lines());
    left
}
