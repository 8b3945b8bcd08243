//! A machine as a hypervisor gets it: a kernel, an initrd, disks, a command line.

use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, TreeUse};
use kcl_node_spec::guest::{GuestConfig, GuestInterface, GuestRoute, GuestTree, PROBE};

use crate::images::Images;
use crate::initrd;
use crate::layout::MachineNames;
use crate::spool::spooled;

/// Bytes of memory if the user names none.
const MEMORY: u64 = 2 << 30;
/// CPUs if the user names none.
const CPUS: u32 = 2;

/// The files that all guests of a kcl are made from.
#[derive(Clone, Debug)]
pub struct GuestFiles {
    /// A kernel that hypervisors boot directly.
    pub kernel: PathBuf,
    /// A tree with the kernel's modules in `lib/modules/<version>`, `modules.dep` and the like included.
    pub modules: PathBuf,
    /// The node agent, a static program.
    pub agent: PathBuf,
}

impl GuestFiles {
    /// Returns the files that a driver was given.
    ///
    /// # Errors
    /// `Host` if it was given none.
    pub fn given(files: Option<&GuestFiles>) -> Result<&GuestFiles> {
        files.ok_or_else(|| {
            let error = Error::new(ErrorKind::Host, "there is no kernel for virtual machines");
            error.hint("get it with: kcl artifacts fetch --vm")
        })
    }
}

/// The interfaces and routes of a guest, which its driver knows.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    /// The interfaces, in the order of the devices.
    pub interfaces: Vec<GuestInterface>,
    /// The routes, in the order in which they are set.
    pub routes: Vec<GuestRoute>,
}

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The raw image.
    pub path: PathBuf,
    /// The serial number by which the guest finds it; at most 20 characters (virtio-blk).
    pub serial: String,
    /// The guest never writes it.
    pub read_only: bool,
}

/// The machine that a hypervisor is to run.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel to boot.
    pub kernel: PathBuf,
    /// The initrd of the guest.
    pub initrd: PathBuf,
    /// The virtio disks of the guest.
    pub disks: Vec<Disk>,
    /// The number of CPUs.
    pub cpus: u32,
    /// The memory in bytes.
    pub memory: u64,
}

impl Guest {
    /// Prepares a machine. Makes its disks if they are not in the cache, and its initrd.
    ///
    /// # Errors
    /// `Host` if a disk cannot be made.
    pub fn prepare(
        names: &MachineNames,
        spec: &MachineSpec,
        files: &GuestFiles,
        images: &Images,
        network: Interfaces,
    ) -> Result<Guest> {
        let mut disks = vec![
            Disk { path: images.tree(&spec.rootfs)?, serial: "root".to_owned(), read_only: true },
            Disk { path: names.data(), serial: "data".to_owned(), read_only: false },
        ];
        let mut trees = Vec::new();
        let read_only = spec.trees.iter().filter(|tree| tree.usage == TreeUse::ReadOnly);
        let modules = files.modules.join("lib/modules");
        let sources = read_only
            .map(|tree| (tree.source.as_path(), tree.target.as_path()))
            .chain([(modules.as_path(), Path::new("/lib/modules"))]);
        for (number, (source, target)) in sources.enumerate() {
            let serial = format!("tree{number}");
            trees.push(GuestTree { disk: serial.clone(), target: text(target)? });
            disks.push(Disk { path: images.tree(source)?, serial, read_only: true });
        }
        let config = GuestConfig {
            name: spec.name.clone(),
            root: "root".to_owned(),
            data: "data".to_owned(),
            trees,
            volumes: spec.volumes.iter().map(|volume| text(volume)).collect::<Result<_>>()?,
            interfaces: network.interfaces,
            routes: network.routes,
            init: spec.init.clone(),
        };
        let path = names.initrd();
        initrd::write(&path, &files.agent, Some(&files.modules), Some(&config), &spooled(names)?)?;
        Ok(Guest {
            kernel: files.kernel.clone(),
            initrd: path,
            disks,
            cpus: spec.cpus.unwrap_or(CPUS),
            memory: spec.memory.unwrap_or(MEMORY),
        })
    }

    /// Prepares a guest that only shows that it runs, and switches itself off. Its initrd is written to `initrd`.
    ///
    /// # Errors
    /// `Host` if it cannot be written.
    pub(crate) fn probe(files: &GuestFiles, initrd: &Path) -> Result<Guest> {
        initrd::write(initrd, &files.agent, None, None, &[])?;
        let (kernel, initrd) = (files.kernel.clone(), initrd.to_owned());
        Ok(Guest { kernel, initrd, disks: Vec::new(), cpus: 1, memory: 256 << 20 })
    }

    /// The word that a probe's kernel command line has in addition.
    pub(crate) fn probe_word() -> &'static str {
        PROBE
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::State, format!("{} is not a path for a machine: it is not UTF-8", path.display()))
    })
}
