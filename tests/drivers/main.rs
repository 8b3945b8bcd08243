//! Real clusters on the machines of every driver: the same story for each. `tests/cluster` tells more of the native one. Needs root; what an
//! engine needs of the system is installed by `images/deps.sh`.

#[path = "../support/mod.rs"]
mod support;

mod native;
mod qemu;
mod story;
