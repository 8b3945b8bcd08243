//! The part of the ssh driver that runs on a host, as the `host` commands of the node agent.
//!
//! The driver uploads the agent, a static program, and runs it with a request on its standard input ([`protocol`]).
//! Everything of kcl is below [`protocol::HOME`], and below [`protocol::RUN`] until a reboot. A machine is a container
//! of the runc that kcl brings along, in the network of the host ([`kcl_driver_oci`]); its changes of that network are
//! undone when it ends ([`network`]).

// These macros panic if the output cannot be written, as on a full disk.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod boot;
mod facts;
mod host;
mod machine;
mod network;
pub mod protocol;
mod receive;
mod serve;
pub mod trees;

pub use serve::main;
