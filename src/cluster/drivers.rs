//! The factory: the one place that knows which drivers there are.

use std::path::PathBuf;

use kcl_driver_api::{Driver, DriverKind};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use kcl_driver_native::{NativeConfig, NativeDriver};

use crate::artifacts::NodeArtifacts;
use crate::config::ClusterSpec;
use crate::error::{Error, Family, Result};
use crate::state::Paths;

/// Where what a reboot removes is kept.
const RUN: &str = "/run/kcl";

/// The driver of a cluster. Without artifacts it can still look, and delete.
pub fn driver(spec: &ClusterSpec, paths: &Paths, artifacts: Option<&NodeArtifacts>) -> Result<Box<dyn Driver>> {
    match spec.driver {
        DriverKind::Native => Ok(Box::new(NativeDriver::new(NativeConfig {
            home: paths.home.clone(),
            run: PathBuf::from(RUN),
            runc: artifacts.map(|artifacts| artifacts.runc.clone()),
            rootfs: artifacts.map(|artifacts| artifacts.rootfs.clone()),
        }))),
        DriverKind::Docker => Ok(Box::new(DockerDriver::new(DockerConfig { home: paths.home.clone(), host: None }))),
        kind => Err(Error::new(Family::Usage, format!("the driver \"{kind}\" is not part of this kcl"))
            .hint("choose one with --driver native or --driver docker")),
    }
}
