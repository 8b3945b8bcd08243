//! kcl: a real multi-node Kubernetes on one computer, in seconds. This is the library behind the command.
//!
//! `ARCHITECTURE.md` describes the rooms and the calls between them.

pub mod addon_config;
pub mod addons;
pub mod app;
pub mod artifacts;
pub mod bootstrap;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod digest;
pub mod error;
pub mod images;
pub mod kubeconfig;
pub mod kubernetes;
pub mod pki;
pub mod plan;
pub mod progress;
pub mod state;
pub mod task;
pub mod testing;
pub mod text;
pub mod urls;
