//! The factory: the one place that knows which drivers there are.

use std::path::PathBuf;

use kcl_driver_api::{Driver, DriverKind};
use kcl_driver_native::{NativeConfig, NativeDriver};
use kcl_driver_ssh::{SUDO_PASSWORD, SshConfig, SshDriver, hosts_of};

use crate::artifacts::{NodeArtifacts, agent_bytes};
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
        DriverKind::Ssh => Ok(Box::new(SshDriver::new(ssh(spec, paths, artifacts)))),
        kind => Err(Error::new(Family::Usage, format!("the driver \"{kind}\" is not part of this kcl"))
            .hint("choose one with --driver native")),
    }
}

/// The spec of a cluster of which nothing is remembered but what a driver itself keeps.
pub fn remembered(cluster: &str, paths: &Paths) -> ClusterSpec {
    let spec = ClusterSpec::with_defaults(cluster);
    match hosts_of(&paths.home, cluster) {
        Ok(hosts) if !hosts.is_empty() => ClusterSpec { driver: DriverKind::Ssh, ..spec },
        _ => spec,
    }
}

fn ssh(spec: &ClusterSpec, paths: &Paths, artifacts: Option<&NodeArtifacts>) -> SshConfig {
    let hosts = spec.nodes.iter().filter_map(|node| Some((node.name.clone(), node.host.clone()?)));
    SshConfig {
        home: paths.home.clone(),
        hosts: hosts.collect(),
        agent: agent_bytes().to_vec(),
        runc: artifacts.map(|artifacts| artifacts.runc.clone()),
        user_home: std::env::home_dir(),
        ssh_agent: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        sudo_password: std::env::var(SUDO_PASSWORD).ok(),
        accept_host_keys: spec.accept_host_key,
    }
}
