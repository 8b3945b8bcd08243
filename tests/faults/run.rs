//! A kcl that is under way: its events as they come, and signals to it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Home, LIMIT, Output, TestCluster};

/// A kcl that was started with `-o json`.
pub(crate) struct Run {
    command: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Run {
    /// Starts the command.
    pub(crate) fn of(mut command: Command) -> Self {
        command.args(["-o", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kcl runs");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Run { command: format!("{command:?}"), child, lines, seen: Vec::new() }
    }

    /// Waits for the next event that `wanted` wants. None where it ended without.
    pub(crate) fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        loop {
            let line = match self.lines.recv_timeout(LIMIT) {
                Ok(line) => line,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(error) => panic!("{}: {error}; so far:\n{}", self.command, self.seen.join("\n")),
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no event: {error}: {line}"));
            self.seen.push(line);
            if wanted(&event) {
                return Some(event);
            }
        }
    }

    /// Waits until a step begins.
    #[track_caller]
    pub(crate) fn step(&mut self, name: &str) {
        let found = self.event(|event| event["type"] == "io.k8s.sigs.kcl.step" && event["data"]["name"] == name);
        assert!(found.is_some(), "{} had no step {name}:\n{}", self.command, self.seen.join("\n"));
    }

    /// Waits until a message has this in it.
    #[track_caller]
    pub(crate) fn says(&mut self, part: &str) {
        let found = self.event(|event| event["data"]["message"].as_str().is_some_and(|text| text.contains(part)));
        assert!(found.is_some(), "{} did not say \"{part}\":\n{}", self.command, self.seen.join("\n"));
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended, whom nobody asked for yet, can be sent signals all the same.
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is our child");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Output {
        self.event(|_| false);
        let mut stderr = String::new();
        self.child.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("text");
        let code = self.child.wait().expect("it ends").code();
        Output { command: self.command, code, stdout: self.seen.join("\n"), stderr }
    }

    /// Kills it at once, and waits for its end.
    pub(crate) fn kill(self) -> Output {
        self.signal(Signal::SIGKILL);
        self.end()
    }
}

/// `kcl start`, under way.
pub(crate) fn start(cluster: &TestCluster<'_>, arguments: &[&str]) -> Run {
    let mut command = cluster.command(["start", "--nameservers", "none"]);
    command.args(arguments);
    Run::of(command)
}

/// `kcl stop` or `kcl delete`, under way.
pub(crate) fn verb(cluster: &TestCluster<'_>, verb: &str) -> Run {
    Run::of(cluster.command([verb]))
}

/// A moment in a run: so long after the beginning of a step, or of the process itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub step: Option<&'static str>,
    pub delay: Duration,
}

impl Moment {
    /// When a step begins.
    pub(crate) fn at(step: &'static str) -> Self {
        Moment { step: Some(step), delay: Duration::ZERO }
    }

    /// From the beginning of a step, or of the process, on: every so many milliseconds.
    pub(crate) fn ladder(step: Option<&'static str>, millis: std::ops::Range<u64>, interval: usize) -> Vec<Self> {
        millis.step_by(interval).map(|millis| Moment { step, delay: Duration::from_millis(millis) }).collect()
    }

    /// Waits for it. What it waits through is the work of another process.
    pub(crate) fn wait(self, run: &mut Run) {
        if let Some(step) = self.step {
            run.step(step);
        }
        std::thread::sleep(self.delay);
    }
}

/// Fails where anything of the home's clusters is left outside of it, or of the cluster in it.
#[track_caller]
pub(crate) fn nothing_left(home: &Home, cluster: &TestCluster<'_>) {
    let mut left = home.traces().lines();
    for place in [format!("clusters/{}", cluster.profile), format!("locks/{}.lock", cluster.profile)] {
        let path = home.path().join(place);
        left.extend(path.exists().then(|| format!("file {}", path.display())));
    }
    let kubeconfig = std::fs::read_to_string(home.kubeconfig()).unwrap_or_default();
    left.extend(kubeconfig.contains(&format!("name: {}", cluster.profile)).then(|| format!("in {kubeconfig}")));
    assert!(left.is_empty(), "left:\n  {}", left.join("\n  "));
}
