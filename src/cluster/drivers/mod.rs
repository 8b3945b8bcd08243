//! The factory: the one place that knows all drivers.

mod artifacts;
mod choice;
mod mixed;

pub(super) use artifacts::{any_cached, cached, driver_of};
pub(super) use choice::choose;
pub use choice::{DriverRow, rows};
pub use mixed::Mixed;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::OnceLock;

use kcl_driver_api::{Driver, DriverKind};
use kcl_driver_docker::{DockerConfig, DockerDriver};
#[cfg(feature = "libvirt")]
use kcl_driver_libvirt::{LibvirtConfig, LibvirtDriver};
use kcl_driver_local::process;
use kcl_driver_native::{NativeConfig, NativeDriver};
use kcl_driver_qemu::{GuestFiles, QemuConfig, QemuDriver};
pub(super) use kcl_driver_ssh::SUDO_PASSWORD;
use kcl_driver_ssh::{SshConfig, SshDriver};

use crate::artifacts::{AGENT, NodeArtifacts, VM_IMAGES};
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::state::Paths;

/// All drivers that a user can name, the best first.
pub const KINDS: [DriverKind; 5] =
    [DriverKind::Native, DriverKind::Docker, DriverKind::Qemu, DriverKind::Libvirt, DriverKind::Ssh];

/// The directory of root's files that a reboot removes.
const RUN: &str = "/run/kcl";

/// Returns true if machines of the cluster need a kernel of their own.
pub(super) fn wants_kernel(spec: &ClusterSpec) -> bool {
    spec.nodes.iter().filter_map(|node| node.driver.or(spec.driver)).any(DriverKind::needs_kernel)
}

/// Returns the driver of a cluster: that of all its nodes, or one that delegates to theirs. Without artifacts it can
/// still list and delete machines.
pub(super) fn driver(spec: &ClusterSpec, paths: &Paths, artifacts: Option<&NodeArtifacts>) -> Result<Box<dyn Driver>> {
    let nodes: BTreeMap<String, DriverKind> =
        spec.nodes.iter().map(|node| Ok((node.name.clone(), spec.driver_of(node)?))).collect::<Result<_>>()?;
    let kinds: BTreeSet<DriverKind> = nodes.values().copied().collect();
    let make = |kind| Ok((kind, one(kind, spec, paths, artifacts)?));
    match Vec::from_iter(kinds).as_slice() {
        [kind] => Ok(make(*kind)?.1),
        kinds => {
            let drivers = kinds.iter().copied().map(make).collect::<Result<_>>()?;
            Ok(Box::new(Mixed::new(drivers, nodes)))
        }
    }
}

/// Returns all drivers that answer, as one: for a cluster of which only the name is known. Machines of an engine that
/// does not run can be neither listed nor deleted.
pub(super) async fn any(
    spec: &ClusterSpec,
    paths: &Paths,
    artifacts: Option<&NodeArtifacts>,
) -> Result<Box<dyn Driver>> {
    let mut drivers = BTreeMap::new();
    for kind in KINDS {
        let answers = async {
            let driver = one(kind, spec, paths, artifacts)?;
            driver.list(Some(&spec.name)).await?;
            Ok::<_, Error>(driver)
        };
        match answers.await {
            Ok(driver) => drop(drivers.insert(kind, driver)),
            Err(error) => tracing::debug!("{kind} is left out: {error}"),
        }
    }
    Ok(Box::new(Mixed::new(drivers, BTreeMap::new())))
}

/// Returns the driver of a kind for the cluster that `spec` describes; if only the cluster's name is known, `spec` has
/// only that.
pub(super) fn one(
    kind: DriverKind,
    spec: &ClusterSpec,
    paths: &Paths,
    artifacts: Option<&NodeArtifacts>,
) -> Result<Box<dyn Driver>> {
    match kind {
        DriverKind::Native => Ok(Box::new(NativeDriver::new(NativeConfig {
            home: paths.home.clone(),
            run: PathBuf::from(RUN),
            runc: artifacts.map(|artifacts| artifacts.runc.clone()),
            rootfs: artifacts.map(|artifacts| artifacts.rootfs.clone()),
        }))),
        DriverKind::Docker => Ok(Box::new(DockerDriver::new(DockerConfig { home: paths.home.clone(), host: None }))),
        DriverKind::Qemu => Ok(Box::new(QemuDriver::new(QemuConfig {
            home: paths.home.clone(),
            run: user_run(paths),
            images: paths.cache.join(VM_IMAGES),
            files: artifacts.and_then(guest_files),
        }))),
        #[cfg(feature = "libvirt")]
        DriverKind::Libvirt => Ok(Box::new(LibvirtDriver::new(LibvirtConfig {
            uri: ["KCL_LIBVIRT_URI", "LIBVIRT_DEFAULT_URI"].iter().find_map(|name| std::env::var(name).ok()),
            home: paths.home.clone(),
            run: user_run(paths),
            images: paths.cache.join(VM_IMAGES),
            files: artifacts.and_then(guest_files),
        })?)),
        #[cfg(not(feature = "libvirt"))]
        DriverKind::Libvirt => Err(Error::new(Id::DriverUnknown, "this kcl was built without the libvirt driver")
            .hint("build one with it, where libvirt-dev is installed: cargo install --path . --features libvirt")),
        DriverKind::Ssh => Ok(Box::new(SshDriver::new(ssh(spec, paths, artifacts)))),
        DriverKind::Fake => {
            Err(Error::new(Id::DriverUnknown, format!("the driver \"{kind}\" is not part of this kcl"))
                .hint("see those that are: kcl drivers"))
        }
    }
}

/// Returns the files that virtual machines are made from, if there is a kernel among the artifacts.
fn guest_files(artifacts: &NodeArtifacts) -> Option<GuestFiles> {
    let kernel = artifacts.kernel.as_ref()?;
    let agent = artifacts.agent.join("kcl-node");
    Some(GuestFiles { kernel: kernel.join("vmlinuz"), modules: kernel.join("modules"), agent })
}

/// Returns the directory of files that a reboot removes, with or without root.
pub(super) fn user_run(paths: &Paths) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        _ if nix::unistd::geteuid().is_root() => PathBuf::from(RUN),
        Some(directory) => PathBuf::from(directory).join("kcl"),
        // Files here survive a reboot, which does no harm.
        None => paths.home.join("run"),
    }
}

/// The password of sudo on hosts.
static PASSWORD: OnceLock<Option<String>> = OnceLock::new();

/// Takes the password of sudo out of the environment of this process, which has one thread yet: commands of the user, Helm
/// and BuildKit are none of its business.
pub fn keep_sudo_password() {
    PASSWORD.get_or_init(|| CString::new(SUDO_PASSWORD).ok().and_then(|name| process::take_variable(&name)));
}

/// Returns the password of sudo, also for a kcl in the background.
pub(super) fn sudo_password() -> Option<&'static String> {
    PASSWORD.get_or_init(|| std::env::var(SUDO_PASSWORD).ok()).as_ref()
}

fn ssh(spec: &ClusterSpec, paths: &Paths, artifacts: Option<&NodeArtifacts>) -> SshConfig {
    let hosts = spec.nodes.iter().filter_map(|node| Some((node.name.clone(), node.host.clone()?)));
    SshConfig {
        home: paths.home.clone(),
        hosts: hosts.collect(),
        agent: AGENT.bytes.to_vec(),
        runc: artifacts.map(|artifacts| artifacts.runc.clone()),
        user_home: std::env::home_dir(),
        ssh_agent: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        sudo_password: sudo_password().cloned(),
        accept_host_keys: spec.accept_host_key,
    }
}
