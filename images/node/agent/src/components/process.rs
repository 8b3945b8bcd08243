//! A component as the supervisor runs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::paths;

/// A component and the way to run it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// The name of the component and of its program.
    pub name: &'static str,
    /// The arguments of the program.
    pub args: Vec<String>,
    /// Further arguments, which it reads only as long as it has no data: a change of them is no reason to restart it.
    pub formation: Vec<String>,
    /// Files below [`paths::RENDERED`]: name and content.
    pub files: Vec<(&'static str, String)>,
    /// The files of kcl's that it reads only when it starts, so that a change of them needs a restart. Other certificates
    /// are read again by themselves: those of servers, and those of etcd and the API server as clients.
    pub reads: Vec<String>,
    /// True if it goes by the proxy of the node spec.
    pub proxied: bool,
    /// The sign that the component is ready.
    pub readiness: Readiness,
    /// The sign that the component still works once it is ready.
    pub liveness: Liveness,
    /// The conditions that must be true before it is started.
    pub after: &'static [After],
    /// The time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// True if it sees the machine as `capacity` bounds it.
    pub bounded_view: bool,
    /// True if others may lead in its place: it hands over before it ends.
    pub hands_over: bool,
    /// True if all others wait for it, so that it comes first where CPUs are scarce.
    pub urgent: bool,
}

impl Process {
    /// Returns true if it would be started in the same way as another one.
    pub(crate) fn starts_like(&self, other: &Process) -> bool {
        (&self.args, &self.files, &self.reads) == (&other.args, &other.files, &other.reads)
    }

    /// Returns the path of the component's program.
    pub(crate) fn program(&self) -> PathBuf {
        paths::binary(self.name)
    }
}

/// The sign that a component is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The component reports it by sd_notify(3).
    Notify,
    /// It reports so, and its member of etcd has a vote: before, an API server could not read from it.
    Voter,
    /// `GET /healthz` succeeds over plain HTTP on this port of loopback.
    Http(u16),
    /// `GET /healthz` succeeds over TLS on this port of loopback.
    Https(u16),
    /// The gate finds the API server of this node ready.
    Gate,
}

/// The sign that a component still works: a process that hangs runs like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// `GET` of a path succeeds over plain HTTP on this port of loopback.
    Http(u16, &'static str),
    /// `GET` of a path succeeds over TLS at this address.
    Https(SocketAddr, &'static str),
    /// The server at this socket answers a line with a line.
    Line(&'static str, &'static str),
    /// The gRPC server at this socket answers the preface of HTTP/2.
    Grpc(&'static str),
}

impl Liveness {
    /// Returns the sign of a component that serves its health over TLS on a port of loopback.
    pub(crate) fn on_loopback(port: u16) -> Liveness {
        Liveness::Https(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/healthz")
    }
}

/// A condition for the start of a component. It is checked at each start, as it may become false again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another component is ready.
    Ready(&'static str),
    /// The node's own API server serves, though its start may not be finished (its RBAC may be missing).
    ApiServing,
}
