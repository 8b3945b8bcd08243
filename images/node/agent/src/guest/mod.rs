//! The first program of a virtual machine: `/init` of its initrd.
//!
//! It loads the modules for the disks, mounts the disks, sets the machine's address, writes the files that kcl put
//! while the machine was off, and becomes the machine's first process, as a container engine does. A child of it stays
//! and serves the host's [`service`] requests.

mod boot;
mod disks;
mod exec;
mod files;
mod kernel;
mod network;
mod port;
mod service;

pub(crate) use boot::{CALLED, main};
