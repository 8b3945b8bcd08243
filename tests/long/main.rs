//! Tests that take long and rarely break, with real clusters: `make test-long`, before a release.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod manifests;
mod older;
