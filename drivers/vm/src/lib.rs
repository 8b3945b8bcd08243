//! The parts that the drivers of virtual machines share: everything except the program that runs the guest (a
//! [`Hypervisor`]).
//!
//! A [`Guest`] is a kernel, an initrd, disks, a command line and a channel, whichever program runs it. Disks are ext4
//! images made without root by `mke2fs -d`: read-only ones of the root file system and the trees, made once and shared
//! by all machines of the host ([`images`]); and one that the machine writes to. Commands and files go over the serial
//! ports of virtio ([`channel`]), or wait in a [`spool`] until the machine is powered on.

pub mod accelerator;
pub mod channel;
pub mod create;
pub mod delete;
mod guest;
mod hypervisor;
pub mod images;
mod initrd;
mod laying;
mod layout;
pub mod list;
mod machine;
pub mod network;
pub mod preflight;
pub mod spool;
mod stopped;

pub use guest::{Disk, Guest, GuestFiles, Interfaces};
pub use hypervisor::Hypervisor;
pub use layout::{ClusterNames, Layout, MachineNames};
pub use machine::VirtualMachine;
