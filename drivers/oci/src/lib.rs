//! A machine as an OCI container that the bundled runc runs, below a directory of the host that it runs on.
//!
//! What the drivers share whose machines are such containers: the native driver on its own host, and the node agent's
//! `host` commands on a host that the ssh driver reaches. How a machine is attached to a network is theirs
//! ([`config::Attachment`]).
//!
//! What a machine is lies in its directory; what runs of it can be told from the kernel and from runc's state on a
//! tmpfs, so a handle needs nothing but the names ([`layout`]). A machine's root file system is mounted in the machine's
//! own mount namespace only ([`mounts`]): the host never sees a mount of it, and none can be left behind.

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
