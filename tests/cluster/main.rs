//! Real clusters by the real command: stories of what a user does and relies on. Needs root; `KCL_CACHE` may name a
//! cache that has the artifacts already. Stories run one after another, whatever `--test-threads` says.

#[path = "../support/mod.rs"]
mod support;

mod smoke;
mod three_nodes;
