//! The docker driver: every machine is a container of a Docker daemon, or of Podman's service that speaks its API.
//!
//! The driver uses nothing but the engine's API: no program of this host, and no right of its user except that to the
//! API, so the engine may as well be on another host. The state of a machine is in labels of its container, its volumes
//! and its network, so a handle needs nothing but the names, and the engine is the only source of truth.

mod archive;
mod capabilities;
mod console;
mod container;
mod context;
mod create;
mod delete;
mod endpoint;
mod engine;
mod exec;
mod files;
mod image;
mod library;
mod list;
mod machine;
mod names;
mod network;
mod parameters;
mod power;
mod preflight;
mod ssh;
mod subnet;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_driver_api::{
    Capabilities, Driver, Finding, Health, Machine, MachineInfo, MachineSpec, Mounts, Network, NetworkSpec,
    PreflightRequest, Result, Subnets,
};
use kcl_driver_local::task::run_exclusively;

use crate::context::Context;
pub use crate::library::{Found, Library};

/// The settings of the driver.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The directory `$KCL_HOME`: clusters of other homes on the same engine are left alone.
    pub home: PathBuf,
    /// The engine, in the format of `DOCKER_HOST`. By default it is found as the docker command does, by `DOCKER_HOST`,
    /// `DOCKER_CONTEXT` and its configuration.
    pub host: Option<String>,
}

/// Makes machines as containers of an engine.
pub struct DockerDriver {
    context: Arc<Context>,
}

impl DockerDriver {
    /// Returns a driver for the clusters of a home. It changes nothing.
    pub fn new(config: DockerConfig) -> Self {
        DockerDriver { context: Arc::new(Context::new(config.home, config.host)) }
    }
}

#[async_trait]
impl Driver for DockerDriver {
    async fn capabilities(&self, _: &str, _: &str) -> Result<Capabilities> {
        let engine = self.context.engine().await?;
        // A path names a file of this host only for an engine on this host.
        let mounts = if engine.endpoint.address.is_here() { Mounts::AtCreation } else { Mounts::Never };
        Ok(Capabilities { reach: engine.reach()?, shares_host_kernel: true, limits_from_outside: true, mounts })
    }

    async fn health(&self) -> Result<Health> {
        Ok(preflight::health(&self.context).await)
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        preflight::preflight(&self.context, request).await
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
        let names = self.context.names().await?.machine(&spec.cluster, &spec.name)?;
        let (context, wanted) = (self.context.clone(), spec.clone());
        run_exclusively(names.container(), async move { create::create(&context, &wanted).await }).await?;
        self.machine(&spec.cluster, &spec.name).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        list::list(&self.context, cluster).await
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        Ok(Box::new(machine::DockerMachine::open(self.context.clone(), cluster, name).await?))
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        let names = self.context.names().await?.machine(cluster, name)?;
        let (context, of_machine) = (self.context.clone(), names.clone());
        run_exclusively(names.container(), async move { delete::delete(&context, &of_machine).await }).await
    }
}
