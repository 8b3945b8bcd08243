//! Prepares a bare machine for the components. All steps are idempotent: a second run changes nothing.

mod assignments;
mod cgroup;
mod cni;
mod identity;
mod memory;
mod modules;
mod mounts;
pub(crate) mod network;
mod overlay;
pub(crate) mod packets;
mod sysctl;

use kcl_node_spec::{NodeSpec, Role};
use std::path::Path;

use crate::error::Result;
use crate::facts::Facts;
use crate::supervise::Reaper;
use crate::{files, paths, proxy};

/// Mounts the kernel's file systems, without which no fact can be detected.
pub(crate) fn base() -> Result<()> {
    if std::process::id() == 1 { mounts::base() } else { Ok(()) }
}

/// Prepares everything before the first component.
pub(crate) async fn all(spec: &NodeSpec, facts: &Facts, reaper: &Reaper) -> Result<()> {
    if facts.init {
        mounts::propagate()?;
        mounts::kernel_messages()?;
        mounts::writable()?;
        cgroup::delegate(facts.cgroup)?;
        identity::set(spec)?;
        assignments::forget()?;
        memory::protect(facts);
    }
    for dir in [paths::LOGS, paths::RENDERED, paths::NOTIFY, "/var/lib/kubelet", "/etc/cni/net.d"] {
        files::create_dir(Path::new(dir))?;
    }
    if spec.role == Role::ControlPlane {
        files::create_private_dir(Path::new("/var/lib/etcd"))?;
    }
    proxy::write(spec)?;
    modules::load(reaper).await;
    identity::names(spec, facts)?;
    sysctl::apply()?;
    network::apply(spec, None, facts).await?;
    cni::write(spec)?;
    packets::apply(spec, reaper).await
}

/// Updates what can change while the node runs: names, resolvers, the proxy, routes, masquerading.
pub(crate) async fn update(before: &NodeSpec, spec: &NodeSpec, facts: &Facts, reaper: &Reaper) -> Result<()> {
    identity::names(spec, facts)?;
    proxy::write(spec)?;
    network::apply(spec, Some(before), facts).await?;
    packets::apply(spec, reaper).await
}
