//! Real clusters and what goes wrong: kcl that is killed, two at once, disks that are full, files that are damaged.
//! Each story ends with a cluster that works or with nothing at all. Needs root and artifacts, as `tests/cluster`.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod damaged;
mod disk;
mod flags;
mod hung;
mod killed;
mod kubeconfig;
mod machine;
mod mount;
mod nodes;
mod others;
mod run;
mod signals;
mod state;
mod together;
