//! The node agent of kcl: process 1 of a node, or a service of a host.
//!
//! It reads the node spec, prepares the node ([`prepare`]), and supervises the components ([`components`],
//! [`supervise`]), whose connections to the API go through its [`gate`]. It has a single thread. In a virtual machine the
//! same program is also the initrd's `/init` ([`guest`]).

// These macros panic if the output cannot be written, as on a full disk, and a panic of process 1 ends the whole node.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod capacity;
mod cli;
mod components;
mod console;
mod error;
mod etcd;
mod facts;
mod files;
mod gate;
mod guest;
mod listen;
mod paths;
mod prepare;
mod proxy;
mod run;
mod socket;
mod state;
mod supervise;
#[cfg(test)]
mod testing;

use std::process::ExitCode;
use std::time::Duration;

use cli::Goal;
use error::Result;
use socket::Request;

const USAGE: &str = "usage: kcl-node run
       kcl-node status
       kcl-node wait api|running [--timeout SECONDS]
       kcl-node restart COMPONENT
       kcl-node reload
       kcl-node etcd list
       kcl-node etcd add|remove NAME=ADDRESS …
       kcl-node etcd promote NAME …
       kcl-node stop
       kcl-node host
       kcl-node version";

fn main() -> ExitCode {
    if std::process::id() == 1 && std::env::args().next().as_deref() == Some(guest::CALLED) {
        return guest::main();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    dispatch(&arguments).unwrap_or_else(|error| {
        console::complain(format_args!("kcl-node: {error}"));
        ExitCode::FAILURE
    })
}

fn dispatch(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        ["run"] => run::run().map(|()| ExitCode::SUCCESS),
        ["status"] => cli::status(),
        ["wait", rest @ ..] => match goal_and_limit(rest) {
            Some((goal, limit)) => cli::wait(goal, limit),
            None => Ok(usage()),
        },
        ["restart", component] => cli::order(&Request::Restart { component: (*component).to_owned() }),
        ["reload"] => cli::order(&Request::Reload),
        ["etcd", verb, rest @ ..] => etcd::main(verb, rest),
        ["stop"] => cli::stop(),
        ["host", rest @ ..] => Ok(kcl_ssh_host::main(rest, &kcl_node_spec::FOOTPRINT)),
        ["version"] => {
            console::print(env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(usage()),
    }
}

fn usage() -> ExitCode {
    console::complain(USAGE);
    ExitCode::from(2)
}

fn goal_and_limit(arguments: &[&str]) -> Option<(Goal, Duration)> {
    let (goal, limit) = match arguments {
        [goal] => (goal, 360),
        [goal, "--timeout", seconds] => (goal, seconds.parse().ok()?),
        _ => return None,
    };
    let goal = match *goal {
        "api" => Goal::Api,
        "running" => Goal::Running,
        _ => return None,
    };
    Some((goal, Duration::from_secs(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_needs_a_goal_and_may_have_a_limit() {
        assert_eq!(goal_and_limit(&["api"]), Some((Goal::Api, Duration::from_secs(360))));
        let limited = goal_and_limit(&["running", "--timeout", "5"]);
        assert_eq!(limited, Some((Goal::Running, Duration::from_secs(5))));
        assert_eq!(goal_and_limit(&["running", "--timeout", "soon"]), None);
        assert_eq!(goal_and_limit(&["nodes"]), None);
    }
}
