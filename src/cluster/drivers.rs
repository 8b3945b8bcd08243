//! The factory: the one place that knows which drivers there are.

use std::path::PathBuf;

use kcl_driver_api::{Driver, DriverKind};
use kcl_driver_native::{NativeConfig, NativeDriver};
use kcl_driver_qemu::{GuestFiles, QemuConfig, QemuDriver};

use crate::artifacts::{NodeArtifacts, VM_IMAGES};
use crate::config::ClusterSpec;
use crate::error::{Error, Family, Result};
use crate::state::Paths;

/// Where what a reboot removes is kept.
const RUN: &str = "/run/kcl";

/// Whether machines of a driver need a kernel of their own.
pub fn wants_kernel(kind: DriverKind) -> bool {
    kind == DriverKind::Qemu
}

/// The driver of a cluster. Without artifacts it can still look, and delete.
pub fn driver(spec: &ClusterSpec, paths: &Paths, artifacts: Option<&NodeArtifacts>) -> Result<Box<dyn Driver>> {
    match spec.driver {
        DriverKind::Native => Ok(Box::new(NativeDriver::new(NativeConfig {
            home: paths.home.clone(),
            run: PathBuf::from(RUN),
            runc: artifacts.map(|artifacts| artifacts.runc.clone()),
            rootfs: artifacts.map(|artifacts| artifacts.rootfs.clone()),
        }))),
        DriverKind::Qemu => Ok(Box::new(QemuDriver::new(QemuConfig {
            home: paths.home.clone(),
            run: user_run(paths),
            images: paths.cache.join(VM_IMAGES),
            files: artifacts.and_then(guest_files),
        }))),
        kind => Err(Error::new(Family::Usage, format!("the driver \"{kind}\" is not part of this kcl"))
            .hint("choose one with --driver native or --driver qemu")),
    }
}

/// What virtual machines are made from, where their kernel is there.
fn guest_files(artifacts: &NodeArtifacts) -> Option<GuestFiles> {
    let kernel = artifacts.kernel.as_ref()?;
    let agent = artifacts.agent.join("kcl-node");
    Some(GuestFiles { kernel: kernel.join("vmlinuz"), modules: kernel.join("modules"), agent })
}

/// Where what a reboot removes is kept, with or without root.
fn user_run(paths: &Paths) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        _ if nix::unistd::geteuid().is_root() => PathBuf::from(RUN),
        Some(directory) => PathBuf::from(directory).join("kcl"),
        // A reboot leaves it, which does no harm.
        None => paths.home.join("run"),
    }
}
