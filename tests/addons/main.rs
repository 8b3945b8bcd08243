//! Addons in real clusters, by the real command: each is used, not only applied. Needs root; `KCL_CACHE` may name a
//! cache that has the artifacts already. Stories run one after another, whatever `--test-threads` says.

#[path = "../support/mod.rs"]
mod support;

mod ingress;
mod lifecycle;
mod load_balancer;
mod metrics_server;
mod monitoring;
mod observed;
mod own;
mod registry;
mod storage;
mod web;
