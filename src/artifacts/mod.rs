//! Artifacts: the parts of nodes and images, obtained from a bundle, a release or a build, and kept in a cache that all
//! clusters share. An entry has the same layout whichever source it comes from.

mod build;
mod bundle;
pub mod cache;
pub mod catalog;
mod compose;
pub mod embedded;
mod ensure;
mod get;
mod handle;
mod http;
pub mod image_config;
mod job;
pub mod kubernetes;
pub mod manage;
pub mod oci;
mod pinning;
pub mod pins;
pub mod process;
mod release;
pub mod sbom;
pub mod space;
pub mod store;
pub mod tree;
mod want;

pub use embedded::AGENT;
pub use handle::Artifacts;
pub use manage::{Clean, Cleaned, Row};
pub use want::{ImageArchive, NodeArtifacts, Options, VM_IMAGES, Want, Way};
