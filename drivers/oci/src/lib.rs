//! Runs a machine as an OCI container by the bundled runc, below a directory of the host.
//!
//! Two drivers share this crate: the native driver on its own host, and the node agent's `host` commands on a host that
//! the ssh driver reaches. Each attaches machines to a network in its own way ([`config::Attachment`]).
//!
//! The machine is its directory; the kernel and runc's state on a tmpfs tell what runs of it, so a handle needs nothing
//! but the names ([`layout`]). A machine's root file system is mounted in the machine's own mount namespace only
//! ([`mounts`]): the host never sees a mount of it, and none can be left behind.

pub mod access;
pub mod cgroup;
pub mod config;
pub mod create;
pub mod delete;
pub mod exec;
pub mod facts;
pub mod files;
pub mod host;
pub mod host_mounts;
pub mod layout;
pub mod list;
pub mod measures;
pub mod mounts;
pub mod netlink;
pub mod nft;
pub mod preflight;
pub mod process;
pub mod run;
pub mod seed;
pub mod try_out;
