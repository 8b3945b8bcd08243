//! The commands that talk to a running agent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kcl_node_spec::{ComponentState, ComponentStatus, NodeStatus, Phase};
use serde::de::DeserializeOwned;

use crate::console::{self, complain};
use crate::error::{Doing, Error, Result};
use crate::paths::SOCKET;
use crate::socket::{Answer, Request};
use crate::supervise::errors;

/// The number of restarts of a component after which `wait` gives up: by then it has been retried for seconds.
const HOPELESS: u32 = 5;
/// The number of restarts after which it gives up on a component that has never been ready: its flags or its configuration
/// are wrong, as it starts only once all that it needs is there.
const STILLBORN: u32 = 3;

/// The goal of `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The API is reachable.
    Api,
    /// Every component is ready.
    Running,
}

impl Goal {
    fn reached(self, status: &NodeStatus) -> bool {
        match self {
            Goal::Api => status.api_ready,
            Goal::Running => status.phase == Phase::Running,
        }
    }

    /// Returns true if a component can keep the goal from being reached. The API serves without containerd, so that the
    /// objects of a cluster can still be read when the data of containerd are damaged.
    fn needs(self, component: &str) -> bool {
        self != Goal::Api || component != "containerd"
    }
}

/// Prints the status as JSON (`status`); succeeds if the node runs.
pub(crate) fn status() -> Result<ExitCode> {
    let status: NodeStatus = ask(&Request::Status)?;
    let text = serde_json::to_string_pretty(&status).map_err(|error| Error::Invalid(error.to_string()))?;
    console::print(text)?;
    Ok(if status.phase == Phase::Running { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends `restart` or `reload`.
pub(crate) fn order(request: &Request) -> Result<ExitCode> {
    let answer: Answer = ask(request)?;
    answer.error.map_or(Ok(ExitCode::SUCCESS), |error| Err(Error::Invalid(error)))
}

/// Stops the node (`stop`) and returns once the agent has ended.
pub(crate) fn stop() -> Result<ExitCode> {
    let mut reader = send(&connect()?, &Request::Stop)?;
    let mut rest = String::new();
    // The end of the connection is the reply, however it ends.
    let _ = reader.read_line(&mut rest);
    Ok(ExitCode::SUCCESS)
}

/// Waits (`wait`) until the goal is reached.
pub(crate) fn wait(goal: Goal, limit: Duration) -> Result<ExitCode> {
    let deadline = Instant::now() + limit;
    let stream = connect_until(deadline)?;
    let mut reader = send(&stream, &Request::Watch)?;
    let mut last: Option<NodeStatus> = None;
    let mut before = HashMap::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(gave_up(last.as_ref(), &format!("not ready after {} s", limit.as_secs())));
        }
        stream.set_read_timeout(Some(left)).doing(|| format!("set the time limit of {SOCKET}"))?;
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) => return Ok(gave_up(last.as_ref(), "the agent ended")),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).doing(|| format!("read from {SOCKET}")),
        }
        let status: NodeStatus = parse(&line)?;
        if goal.reached(&status) {
            return Ok(ExitCode::SUCCESS);
        }
        for component in &status.components {
            before.entry(component.name.clone()).or_insert(component.restarts);
        }
        let hopeless = |one: &ComponentStatus| goal.needs(&one.name) && is_hopeless(one, before[&one.name]);
        let why = match status.phase {
            Phase::Failed => Some("the node could not be prepared"),
            Phase::Stopping => Some("the node is being stopped"),
            _ if status.components.iter().any(hopeless) => Some("a component fails again and again"),
            _ => None,
        };
        if let Some(why) = why {
            return Ok(gave_up(Some(&status), why));
        }
        last = Some(status);
    }
}

/// Returns true if a component that ended is unlikely to be ready soon. `before` is the number of its restarts when the wait
/// began.
fn is_hopeless(one: &ComponentStatus, before: u32) -> bool {
    let still = one.ready_after_ms.is_none() && one.restarts >= STILLBORN;
    one.state == ComponentState::BackOff && (still || one.restarts >= before + HOPELESS)
}

/// Prints on standard error the components that are not ready, with the errors in their logs.
fn gave_up(status: Option<&NodeStatus>, why: &str) -> ExitCode {
    complain(why);
    let Some(status) = status else { return ExitCode::FAILURE };
    if let Some(error) = &status.error {
        complain(error);
    }
    if !status.api_ready {
        complain("the API does not answer on this node's loopback port");
    }
    let some_fail = status.components.iter().any(|component| component.state == ComponentState::BackOff);
    for component in status.components.iter().filter(|component| component.state != ComponentState::Ready) {
        let state = serde_json::to_value(component.state).unwrap_or_default();
        let state = state.as_str().unwrap_or_default();
        let exit = component.last_exit.as_deref().map(|exit| format!(", last {exit}")).unwrap_or_default();
        complain(format_args!("{}: {state}, {} restarts{exit}", component.name, component.restarts));
        // If some fail, the others only wait for them.
        if component.state == ComponentState::BackOff || !some_fail && component.state != ComponentState::Waiting {
            for line in errors(&component.name, 8).unwrap_or_default() {
                complain(format_args!("  {line}"));
            }
        }
    }
    ExitCode::FAILURE
}

fn ask<T: DeserializeOwned>(request: &Request) -> Result<T> {
    let mut line = String::new();
    send(&connect()?, request)?.read_line(&mut line).doing(|| format!("read from {SOCKET}"))?;
    parse(&line)
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|error| Error::Invalid(format!("{SOCKET} answered {line:?}: {error}")))
}

fn connect() -> Result<UnixStream> {
    UnixStream::connect(SOCKET).doing(|| format!("reach the agent at {SOCKET}; does it run?"))
}

/// Connects to the socket. The agent creates it first, but the command may be even earlier.
fn connect_until(deadline: Instant) -> Result<UnixStream> {
    const INTERVAL: Duration = Duration::from_millis(10);
    loop {
        match UnixStream::connect(SOCKET) {
            Err(_) if Instant::now() + INTERVAL < deadline => std::thread::sleep(INTERVAL),
            other => return other.doing(|| format!("reach the agent at {SOCKET}; does it run?")),
        }
    }
}

fn send(stream: &UnixStream, request: &Request) -> Result<BufReader<UnixStream>> {
    let mut line = serde_json::to_vec(request).map_err(|error| Error::Invalid(error.to_string()))?;
    line.push(b'\n');
    let mut own = stream.try_clone().doing(|| "duplicate a file descriptor".to_owned())?;
    own.write_all(&line).doing(|| format!("write to {SOCKET}"))?;
    Ok(BufReader::new(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_waited_for_although_containerd_fails() {
        assert!(!Goal::Api.needs("containerd"));
        assert!(Goal::Running.needs("containerd"));
        assert!(Goal::Api.needs("etcd"));
    }

    #[test]
    fn a_component_that_was_never_ready_is_given_up_soon() {
        let status = |restarts, ready_after_ms| ComponentStatus {
            name: "kubelet".to_owned(),
            state: ComponentState::BackOff,
            pid: None,
            restarts,
            last_exit: Some("exit code 1".to_owned()),
            ready_after_ms,
        };
        // However late the wait begins.
        assert!(is_hopeless(&status(3, None), 3));
        assert!(!is_hopeless(&status(2, None), 0));
        assert!(!is_hopeless(&status(7, Some(900)), 3));
        assert!(is_hopeless(&status(8, Some(900)), 3));
        assert!(!is_hopeless(&ComponentStatus { state: ComponentState::Starting, ..status(9, None) }, 0));
    }
}
