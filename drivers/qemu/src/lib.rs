//! The qemu driver: every machine is a QEMU process, without a daemon and without root.
//!
//! A machine is its directory below `$KCL_HOME`; the lock that QEMU holds on its pid file tells whether it runs, so a
//! handle needs nothing but the names. A machine has two interfaces: `eth0` on a segment with the others of its
//! cluster, `eth1` to the host and the world by QEMU's user-mode network ([`kcl_driver_vm::network`]).

mod command;
mod context;
mod process;
mod qmp;
mod tap;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_driver_api::{
    Capabilities, Driver, Finding, Health, Machine, MachineInfo, MachineSpec, Mounts, Network, NetworkSpec,
    PreflightRequest, Result, Subnets,
};
use kcl_driver_local::task::{blocking, run_exclusively};
pub use kcl_driver_vm::GuestFiles;
use kcl_driver_vm::images::Images;
use kcl_driver_vm::{Hypervisor, Layout, VirtualMachine, network, preflight};

use context::Context;

/// The driver's word for a machine, in names of files.
const KIND: &str = "vm";

/// The settings of the driver.
#[derive(Clone, Debug)]
pub struct QemuConfig {
    /// The directory `$KCL_HOME`: machines are in `clusters/<cluster>/vms/<name>` below it.
    pub home: PathBuf,
    /// A directory that a reboot empties, with a short path.
    pub run: PathBuf,
    /// The directory of disks that machines share. It may be emptied at any time.
    pub images: PathBuf,
    /// The files that guests are made from. They are not needed to list and to delete.
    pub files: Option<GuestFiles>,
}

/// Makes machines as processes of QEMU.
pub struct QemuDriver {
    context: Arc<Context>,
}

impl QemuDriver {
    /// Returns a driver for the machines below `config.home`. It changes nothing.
    pub fn new(config: QemuConfig) -> Self {
        QemuDriver {
            context: Arc::new(Context {
                layout: Layout::new(&config.home, &config.run, KIND),
                run: config.run,
                images: Images::new(&config.images),
                directories: [config.home.join("clusters"), config.images],
                files: config.files,
            }),
        }
    }
}

#[async_trait]
impl Driver for QemuDriver {
    async fn capabilities(&self, cluster: &str, _: &str) -> Result<Capabilities> {
        let (context, cluster) = (self.context.clone(), cluster.to_owned());
        let reach = blocking(move || network::reach(&context.layout, &cluster)).await?;
        Ok(Capabilities { reach, shares_host_kernel: false, limits_from_outside: false, mounts: Mounts::Never })
    }

    async fn health(&self) -> Result<Health> {
        let context = self.context.clone();
        blocking(move || Ok(preflight::health(&context.host()))).await
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        let (context, request) = (self.context.clone(), request.clone());
        blocking(move || Ok(preflight::findings(&context.host(), &request))).await
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        let (context, cluster) = (self.context.clone(), cluster.to_owned());
        blocking(move || network::propose(&context.layout, &cluster)).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        let (context, spec) = (self.context.clone(), spec.clone());
        blocking(move || network::ensure(&context.layout, &spec)).await
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        let (context, cluster) = (self.context.clone(), cluster.to_owned());
        blocking(move || network::delete(&context.layout, &cluster)).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        let names = self.context.layout.machine(&spec.cluster, &spec.name)?;
        let (context, of_machine, wanted) = (self.context.clone(), names.clone(), spec.clone());
        let make = move || kcl_driver_vm::create::create(&of_machine, &context.images, &wanted);
        run_exclusively(names.dir.display(), blocking(make)).await?;
        self.machine(&spec.cluster, &spec.name).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        let (context, cluster) = (self.context.clone(), cluster.map(str::to_owned));
        let all = blocking(move || kcl_driver_vm::list::all(&context.layout, cluster.as_deref())).await?;
        let mut machines = Vec::new();
        for names in all {
            machines.extend(self.context.info(&names).await?);
        }
        Ok(machines)
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        let names = self.context.layout.machine(cluster, name)?;
        Ok(Box::new(VirtualMachine::open(self.context.clone(), names).await?))
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        let names = self.context.layout.machine(cluster, name)?;
        kcl_driver_vm::delete::delete(self.context.clone(), names).await
    }
}
