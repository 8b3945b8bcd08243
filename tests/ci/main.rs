//! Clusters for integration tests and CI: `kcl run`, times to live, the crate's testing module, and the samples for
//! other languages. Needs root; `KCL_CACHE` may name a cache that has the artifacts already.

#[path = "../support/mod.rs"]
mod support;

mod lifetime;
mod pool;
mod run;
mod samples;
mod testing;
