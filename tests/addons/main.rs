//! Addons in real clusters, by the real command: each is used, not only applied. Needs root and artifacts, as
//! `tests/cluster`.

#[path = "../support/mod.rs"]
mod support;

mod load_balancer;
