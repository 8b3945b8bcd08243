//! The native driver: every machine is an OCI container that the bundled runc runs. No daemon.
//!
//! [`kcl_driver_oci`] defines machines and runs them; this crate adds what a host with many of them needs: a network
//! for each cluster, and a check of the host.

mod context;
mod create;
mod delete;
mod facts;
mod firewall;
mod machine;
mod network;
mod parameters;
mod power;
mod preflight;
mod probe;
mod subnet;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_driver_api::{
    Capabilities, Driver, Finding, Health, Machine, MachineInfo, MachineSpec, Mounts, Network, NetworkSpec,
    PreflightRequest, Reach, Result, Subnets,
};
use kcl_driver_local::task::blocking;
use kcl_driver_oci::layout::Layout;
use kcl_driver_oci::{host, list};

use crate::context::Context;

/// The settings of the driver.
#[derive(Clone, Debug)]
pub struct NativeConfig {
    /// The home of kcl, `$KCL_HOME`: machines are in `clusters/<cluster>/nodes/<name>` below it.
    pub home: PathBuf,
    /// A directory on a tmpfs, emptied by a reboot: `/run/kcl`.
    pub run: PathBuf,
    /// The runc to run machines with, 1.4 or later (`linux.netDevices` of the OCI runtime specification 1.3). Listing
    /// and deletion do not need it.
    pub runc: Option<PathBuf>,
    /// A directory tree that holds `/usr/sbin/nft` with its libraries, so that the host needs none. Without it, the
    /// host's own `nft` is used.
    pub rootfs: Option<PathBuf>,
}

/// Makes machines as containers of runc.
pub struct NativeDriver {
    context: Arc<Context>,
}

impl NativeDriver {
    /// Returns a driver for the machines below `config.home`. Changes nothing.
    pub fn new(config: NativeConfig) -> Self {
        let layout = Layout::new(&config.home, &config.run);
        NativeDriver { context: Arc::new(Context { layout, runc: config.runc, rootfs: config.rootfs }) }
    }
}

#[async_trait]
impl Driver for NativeDriver {
    async fn capabilities(&self, _: &str, _: &str) -> Result<Capabilities> {
        Ok(Capabilities {
            reach: Reach::Address,
            shares_host_kernel: true,
            limits_from_outside: true,
            mounts: Mounts::Live,
        })
    }

    async fn health(&self) -> Result<Health> {
        let request = PreflightRequest { cluster: "kcl".to_owned(), ..PreflightRequest::default() };
        let engine = self.context.runc.as_ref().and_then(|runc| host::version(runc));
        Ok(Health { engine, findings: self.preflight(&request).await? })
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        let facts = facts::gather(&self.context, request).await?;
        Ok(preflight::judge(&facts, request))
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        network::propose(&self.context, cluster).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        network::ensure(&self.context, spec).await
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        network::delete(&self.context, cluster).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        create::create(&self.context, spec).await?;
        self.machine(&spec.cluster, &spec.name).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        let (context, cluster) = (self.context.clone(), cluster.map(str::to_owned));
        blocking(move || list::list(&context.layout, cluster.as_deref())).await
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        Ok(Box::new(machine::NativeMachine::open(self.context.clone(), cluster, name).await?))
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        delete::delete(&self.context, cluster, name).await
    }
}
