//! The libvirt driver: every machine is a domain of libvirt, which starts it again with the host.
//!
//! The guest is the same as in `drivers/qemu`. A machine's files are in its directory below `$KCL_HOME`; a domain's
//! owner, address and labels are in its metadata. The system's libvirt has a network for each cluster (`network.rs`),
//! and machines are reached by their addresses; in a user's session there is no root, so machines are on the segment
//! that `kcl_driver_vm::network` describes.

mod connection;
mod context;
mod domain;
mod metadata;
mod names;
mod network;
mod preflight;
mod xml;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_driver_api::{
    Capabilities, Driver, Error, ErrorKind, Finding, Health, Machine, MachineInfo, MachineSpec, Mounts, Network,
    NetworkSpec, PreflightRequest, Reach, Result, Subnets,
};
use kcl_driver_local::task::{blocking, run_exclusively};
pub use kcl_driver_vm::GuestFiles;
use kcl_driver_vm::images::Images;
use kcl_driver_vm::network as segment;
use kcl_driver_vm::{Layout, VirtualMachine};

use connection::{Scope, Uri};
use context::Context;

/// The driver's word for a machine, in names of files.
const KIND: &str = "domain";

/// The settings of the driver.
#[derive(Clone, Debug)]
pub struct LibvirtConfig {
    /// The libvirt: `qemu:///system` or `qemu:///session`; by default the system's for root, else the user's session.
    pub uri: Option<String>,
    /// The directory `$KCL_HOME`: machines are in `clusters/<cluster>/domains/<name>` below it.
    pub home: PathBuf,
    /// A directory that a reboot empties.
    pub run: PathBuf,
    /// The directory of disks that machines share. It may be emptied at any time.
    pub images: PathBuf,
    /// The files that guests are made from. They are not needed to list and to delete.
    pub files: Option<GuestFiles>,
}

/// Makes machines as domains of libvirt.
pub struct LibvirtDriver {
    context: Arc<Context>,
}

impl LibvirtDriver {
    /// Returns a driver for the machines below `config.home`. It changes nothing.
    ///
    /// # Errors
    /// `State` for a libvirt that kcl cannot use.
    pub fn new(config: LibvirtConfig) -> Result<Self> {
        let root = nix::unistd::geteuid().is_root();
        let default = if root { "qemu:///system" } else { "qemu:///session" };
        let context = Context {
            uri: Uri::parse(config.uri.as_deref().unwrap_or(default))?,
            // Sockets must exist when libvirt starts a machine by itself, so they are not in a directory that a reboot
            // empties.
            layout: Layout::new(&config.home, &config.home.join("run"), KIND),
            run: config.run,
            images: Images::new(&config.images),
            directories: [config.home.join("clusters"), config.images],
            files: config.files,
        };
        Ok(LibvirtDriver { context: Arc::new(context) })
    }

    /// Runs blocking work with the context.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Context) -> Result<T> + Send + 'static) -> Result<T> {
        let context = self.context.clone();
        blocking(move || work(&context)).await
    }
}

#[async_trait]
impl Driver for LibvirtDriver {
    async fn capabilities(&self, cluster: &str, _: &str) -> Result<Capabilities> {
        let reach = match self.context.uri.scope {
            Scope::System => Reach::Address,
            Scope::Session => {
                let cluster = cluster.to_owned();
                self.with(move |context| segment::reach(&context.layout, &cluster)).await?
            }
        };
        Ok(Capabilities { reach, shares_host_kernel: false, limits_from_outside: false, mounts: Mounts::Never })
    }

    async fn health(&self) -> Result<Health> {
        self.with(|context| Ok(preflight::health(context))).await
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        let request = request.clone();
        self.with(move |context| Ok(preflight::findings(context, &request))).await
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        let cluster = cluster.to_owned();
        self.with(move |context| segment::propose(&context.layout, &cluster)).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        let mut spec = spec.clone();
        self.with(move |context| {
            let names = context.layout.cluster(&spec.cluster)?;
            match (context.uri.scope, &spec.bridge) {
                (Scope::System, None) => spec.bridge = Some(network::ensure(&context.connect()?, &names, &spec)?),
                (Scope::Session, Some(bridge)) => {
                    let message = format!("machines of {} cannot be put on the bridge {bridge}", context.uri);
                    return Err(Error::new(ErrorKind::Host, message).hint("use the system's libvirt, as root"));
                }
                _ => {}
            }
            segment::ensure(&context.layout, &spec)
        })
        .await
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        let cluster = cluster.to_owned();
        self.with(move |context| {
            if context.uri.scope == Scope::System {
                network::delete(&context.connect()?, &context.layout.cluster(&cluster)?)?;
            }
            segment::delete(&context.layout, &cluster)
        })
        .await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        let names = self.context.layout.machine(&spec.cluster, &spec.name)?;
        let (context, of_machine, wanted) = (self.context.clone(), names.clone(), spec.clone());
        let make = move || {
            kcl_driver_vm::create::create(&of_machine, &context.images, &wanted)?;
            context.define(&context.connect()?, &of_machine, &wanted).map(drop)
        };
        run_exclusively(names.dir.display(), blocking(make)).await?;
        self.machine(&spec.cluster, &spec.name).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        let cluster = cluster.map(str::to_owned);
        self.with(move |context| {
            let connection = context.connect()?;
            let all = context.all(&connection, cluster.as_deref())?;
            let found = all.iter().map(|names| context.look(&connection, names));
            found.filter_map(Result::transpose).collect()
        })
        .await
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
