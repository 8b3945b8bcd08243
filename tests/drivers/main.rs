//! Real clusters on the machines of every driver: the same story for each. `tests/cluster` has more tests of the native
//! driver, and `tests/qemu` has virtual machines. Needs root, and the engines.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../drivers/ssh/tests/hosts/mod.rs"]
mod hosts;

mod bed;
mod docker;
mod mixed;
mod native;
mod podman;
mod ssh;
mod story;
