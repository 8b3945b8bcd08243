//! Real clusters by the real command: stories of what a user does and relies on. Needs root; `KCL_CACHE` may name a
//! cache that has the artifacts already. Stories run one after another, whatever `--test-threads` says.

#[path = "../support/mod.rs"]
mod support;

mod benchmark;
mod bounds;
mod bundle;
mod certificates;
mod control_planes;
mod kept;
mod live;
mod mounts;
mod options;
mod other_version;
mod policies;
mod reboot;
mod side_by_side;
mod smoke;
mod stop_start;
mod surroundings;
mod three_nodes;
