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

pub mod browser;
mod cluster;
pub mod dockerd;
mod home;
pub mod http;
mod leftovers;
pub mod libvirtd;
mod output;
mod own_network;
pub mod podman;
pub mod sshd;
mod wait;

pub use cluster::{IMAGE, Pod, TestCluster};
pub use home::Home;
pub use leftovers::Traces;
pub use output::Output;
pub use own_network::own_network;
pub use wait::{LIMIT, eventually};
