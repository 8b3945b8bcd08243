//! What of the ssh driver runs on a host, as the `host` commands of the node agent.
//!
//! The driver uploads the agent, a static program, and runs it with a request on its standard input ([`protocol`]). All
//! that belongs to kcl lies below [`protocol::HOME`], and what a reboot removes below [`protocol::RUN`]. A node is a
//! container of the runc that kcl brings along, in the network of the host ([`kcl_driver_oci`]); what it changes of that
//! network is put back when it ends ([`network`]).

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
