//! The first program of a virtual machine: `/init` of its initrd.
//!
//! It loads what it takes to see the disks, mounts them, sets the machine's address, lays down the files that kcl put
//! while the machine was off, and becomes the machine's first process, like a container's engine does. A child stays
//! beside that one and serves the host's [`service`] requests.

mod boot;
mod disks;
mod exec;
mod files;
mod kernel;
mod network;
mod port;
mod service;

pub use boot::{CALLED, main};
