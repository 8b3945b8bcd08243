//! Runs machines as domains of libvirt.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, MachineInfo, MachineSpec, Result};
use kcl_driver_local::storage;
use kcl_driver_local::task::blocking;
use kcl_driver_vm::accelerator::{self, Accelerator};
use kcl_driver_vm::images::Images;
use kcl_driver_vm::list::power;
use kcl_driver_vm::preflight::Host;
use kcl_driver_vm::{Guest, GuestFiles, Hypervisor, Layout, MachineNames, channel, network};
use virt::domain::Domain;
use virt::sys;

use crate::connection::{Connection, LibvirtContext as _, Uri};
use crate::domain::Definition;
use crate::metadata::Metadata;
use crate::names;

/// The longest address of a socket, in bytes (unix(7)).
const SOCKET: usize = 107;

/// The settings that every part of the driver uses.
#[derive(Clone)]
pub(crate) struct Context {
    pub uri: Uri,
    pub layout: Layout,
    pub run: PathBuf,
    pub images: Images,
    pub directories: [PathBuf; 2],
    pub files: Option<GuestFiles>,
}

impl Context {
    /// Returns the part of the host that preflight examines.
    pub(crate) fn host(&self) -> Host<'_> {
        Host { run: &self.run, files: self.files.as_ref(), directories: &self.directories }
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(&self.uri)
    }

    /// Defines the machine's domain for its next boot, with everything that it is started from, so that libvirt can
    /// start it without kcl.
    pub(crate) fn define(&self, connection: &Connection, names: &MachineNames, spec: &MachineSpec) -> Result<Domain> {
        let longest = names.port(channel::PORTS - 1);
        if longest.as_os_str().len() > SOCKET {
            let message = format!("{} is too long for a socket: at most {SOCKET} bytes are allowed", longest.display());
            return Err(Error::new(ErrorKind::State, message).hint("set KCL_HOME to a shorter path"));
        }
        let files = GuestFiles::given(self.files.as_ref())?;
        let segment = network::segment(&names.cluster)?;
        let interfaces = segment.interfaces(spec)?;
        let accelerator = accelerator::find(&self.run, files)?;
        if accelerator == Accelerator::Emulation {
            tracing::info!(machine = names.name, "no KVM: the machine is emulated");
        }
        let guest = Guest::prepare(names, spec, files, &self.images, interfaces)?;
        let domain = names::domain(names);
        let what = || format!("define the domain {domain}");
        let there = connection.domain(&domain)?;
        let definition = Definition {
            names,
            spec,
            guest: &guest,
            segment: &segment,
            accelerator,
            scope: self.uri.scope,
            metadata: &Metadata::of(self.layout.home(), spec),
            uuid: there.map(|domain| domain.get_uuid_string()).transpose().with_context(what)?,
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        };
        Domain::define_xml(connection, &definition.render()?).with_context(what)
    }

    /// Returns all machines that libvirt or the disk knows, of a cluster or of all clusters, ordered by name.
    pub(crate) fn all(&self, connection: &Connection, cluster: Option<&str>) -> Result<Vec<MachineNames>> {
        let mut found: BTreeSet<(String, String)> = kcl_driver_vm::list::all(&self.layout, cluster)?
            .into_iter()
            .map(|names| (names.cluster.name.clone(), names.name))
            .collect();
        for domain in connection.list_all_domains(0).with_context(|| "list its domains".to_owned())? {
            let Some(metadata) = Metadata::read(&domain)? else { continue };
            let wanted = cluster.is_none_or(|cluster| cluster == metadata.cluster);
            if wanted && self.owns(&metadata) && self.is_named(&domain, &metadata)? {
                found.insert((metadata.cluster, metadata.name));
            }
        }
        Ok(found.iter().filter_map(|(cluster, name)| self.layout.machine(cluster, name).ok()).collect())
    }

    fn owns(&self, metadata: &Metadata) -> bool {
        metadata.home == self.layout.home().to_string_lossy()
    }

    /// Returns true if a domain has the name that this home gives the machine: another home, in a container, may have the
    /// same path.
    fn is_named(&self, domain: &Domain, metadata: &Metadata) -> Result<bool> {
        let name = domain.get_name().with_context(|| "read the name of a domain".to_owned())?;
        Ok(self.layout.machine(&metadata.cluster, &metadata.name).is_ok_and(|names| names::domain(&names) == name))
    }

    /// Returns the state of a machine; none if it has neither a domain nor a directory.
    pub(crate) fn look(&self, connection: &Connection, names: &MachineNames) -> Result<Option<MachineInfo>> {
        let domain = connection.domain(&names::domain(names))?;
        let metadata = domain.as_ref().map(Metadata::read).transpose()?.flatten().filter(|found| self.owns(found));
        if metadata.is_none() && !names.dir.is_dir() {
            return Ok(None);
        }
        let runs = match &domain {
            Some(domain) => runs(domain)?,
            None => false,
        };
        let whole = metadata.is_some() && names.spec_file().is_file();
        Ok(Some(MachineInfo {
            cluster: names.cluster.name.clone(),
            name: names.name.clone(),
            power: power(names, whole, runs),
            address: metadata.as_ref().map(|metadata| metadata.address),
            labels: metadata.map(|metadata| metadata.labels()).unwrap_or_default(),
        }))
    }

    /// Removes the machine's domain, running or not.
    fn undefine(&self, names: &MachineNames) -> Result<()> {
        let connection = self.connect()?;
        let Some(domain) = connection.domain(&names::domain(names))? else { return Ok(()) };
        if !Metadata::read(&domain)?.is_some_and(|metadata| self.owns(&metadata)) {
            let message = format!("the domain {} is not of a machine of this home, and stays", names::domain(names));
            return Err(Error::new(ErrorKind::Conflict, message).hint("see it with: virsh dumpxml"));
        }
        destroy(&domain, names)?;
        // Others may have made libvirt keep these.
        let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
        domain.undefine_flags(flags).with_context(|| format!("remove the domain of machine {}", names.name))
    }

    fn begin(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
        let connection = self.connect()?;
        if let Some(domain) = connection.domain(&names::domain(names))?
            && runs(&domain)?
        {
            return Ok(());
        }
        storage::remove_tree(&names.run)?;
        storage::make_private_directory(&names.run)?;
        let domain = self.define(&connection, names, spec)?;
        // A saved memory belongs to another boot.
        let started = domain.create_with_flags(sys::VIR_DOMAIN_START_FORCE_BOOT);
        started.with_context(|| format!("start machine {}", names.name)).map(drop)
    }

    fn set_autostart(&self, names: &MachineNames, autostart: bool) -> Result<()> {
        let connection = self.connect()?;
        let Some(domain) = connection.domain(&names::domain(names))? else { return Ok(()) };
        let set = domain.set_autostart(autostart);
        set.with_context(|| format!("set whether machine {} starts with the host", names.name)).map(drop)
    }
}

fn runs(domain: &Domain) -> Result<bool> {
    domain.is_active().with_context(|| "tell whether a domain runs".to_owned())
}

fn destroy(domain: &Domain, names: &MachineNames) -> Result<()> {
    domain.destroy().unless_ended(|| format!("end machine {}", names.name))
}

#[async_trait]
impl Hypervisor for Context {
    async fn info(&self, names: &MachineNames) -> Result<Option<MachineInfo>> {
        let (context, names) = (self.clone(), names.clone());
        blocking(move || context.look(&context.connect()?, &names)).await
    }

    async fn runs(&self, names: &MachineNames) -> Result<bool> {
        let (context, domain) = (self.clone(), names::domain(names));
        blocking(move || context.connect()?.domain(&domain)?.as_ref().map_or(Ok(false), runs)).await
    }

    async fn start(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
        let (context, names, spec) = (self.clone(), names.clone(), spec.clone());
        blocking(move || context.begin(&names, &spec)).await
    }

    /// Makes libvirt start the machine by itself: the system's with the host, a session's with the session's daemon.
    /// For that the domain is defined again: the files that this boot was given are the machine's own by now.
    async fn stays(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
        let (context, names, spec) = (self.clone(), names.clone(), spec.clone());
        blocking(move || {
            context.define(&context.connect()?, &names, &spec)?;
            context.set_autostart(&names, true)
        })
        .await
    }

    async fn leaves(&self, names: &MachineNames) -> Result<()> {
        let (context, names) = (self.clone(), names.clone());
        blocking(move || context.set_autostart(&names, false)).await
    }

    async fn ended(&self, names: &MachineNames, limit: Duration) -> Result<bool> {
        match tokio::time::timeout(limit, channel::closed(names)).await {
            Ok(result) => result.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn kill(&self, names: &MachineNames) -> Result<()> {
        let (context, names) = (self.clone(), names.clone());
        blocking(move || match context.connect()?.domain(&names::domain(&names))? {
            Some(domain) => destroy(&domain, &names),
            None => Ok(()),
        })
        .await
    }

    async fn forget(&self, names: &MachineNames) -> Result<()> {
        let (context, names) = (self.clone(), names.clone());
        blocking(move || context.undefine(&names)).await
    }
}
