//! Support for tests with real clusters: a home of their own, the real command, and a check of leftovers.
//!
//! ```no_run
//! let home = Home::new("stories");       // one test at a time; needs root
//! let cluster = home.start("web", &["--nodes", "3"]);
//! cluster.kubectl(["get", "nodes"]);
//! // Dropping `home` deletes its clusters, and fails the test if anything of them is left.
//! ```

// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod browser;
mod cluster;
pub(crate) mod dockerd;
mod home;
pub(crate) mod http;
mod leftovers;
pub(crate) mod libvirtd;
mod output;
mod own_network;
pub(crate) mod podman;
pub(crate) mod sshd;
mod wait;

pub(crate) use cluster::{IMAGE, Pod, TestCluster};
pub(crate) use home::Home;
pub(crate) use leftovers::Traces;
pub(crate) use output::Output;
pub(crate) use own_network::own_network;
pub(crate) use wait::{LIMIT, eventually};
