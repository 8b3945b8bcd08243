//! The contract between kcl and its drivers, which make machines.
//!
//! A driver makes, lists and deletes machines and the network between them. A machine has a name, an address, power,
//! exec, files and logs; it knows nothing of Kubernetes. What differs between drivers is data ([`Capabilities`]) or a
//! method, never a question for the driver's kind.

#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod exec;
mod machine;
mod network;
mod preflight;

pub use error::{Error, ErrorKind, Result};
pub use exec::{Exec, ExecOutput, Stdin, Stdout};
pub use kcl_node_spec::{Addresses, Subnets};
pub use machine::{File, HostMount, Machine, MachineInfo, MachineSpec, Power, Protocol, PublishedPort, Tree, TreeUse};
pub use network::{Link, Network, NetworkSpec};
pub use preflight::{ClusterRange, Finding, Health, PreflightRequest, Severity};

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The name of a driver, as in `--driver` and in the cluster file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Containers by the bundled runc, no daemon.
    Native,
    /// Containers of a Docker or Podman daemon.
    Docker,
    /// Virtual machines by QEMU itself.
    Qemu,
    /// Virtual machines by libvirt.
    Libvirt,
    /// Hosts that exist already, over SSH.
    Ssh,
    /// Machines in memory, for unit and golden tests.
    Fake,
}

impl DriverKind {
    /// The driver of machines whose host the user names.
    pub const FOR_HOSTS: DriverKind = DriverKind::Ssh;

    /// Returns the name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Native => "native",
            DriverKind::Docker => "docker",
            DriverKind::Qemu => "qemu",
            DriverKind::Libvirt => "libvirt",
            DriverKind::Ssh => "ssh",
            DriverKind::Fake => "fake",
        }
    }

    /// Returns true if machines are computers with a kernel of their own, which kcl has to bring along.
    pub fn needs_kernel(self) -> bool {
        matches!(self, DriverKind::Qemu | DriverKind::Libvirt)
    }

    /// Returns true if machines run on hosts that the user names, one for each machine.
    pub fn uses_hosts(self) -> bool {
        self == Self::FOR_HOSTS
    }
}

impl std::fmt::Display for DriverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The abilities of a driver for a machine, so that nothing outside has to ask which driver it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The path from the process that runs kcl to the machine's ports.
    pub reach: Reach,
    /// The machine runs on the host's kernel, so the host's limits and sysctls are its own.
    pub shares_host_kernel: bool,
    /// CPU and memory limits are enforced from outside, while the machine itself still sees the whole host.
    pub limits_from_outside: bool,
    /// The support for directories of this host in the machine ([`HostMount`]).
    pub mounts: Mounts,
}

/// The support for directories of this host in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounts {
    /// A machine cannot have any.
    Never,
    /// A machine has those of its specification from its creation on.
    AtCreation,
    /// The directories may also change, even while the machine runs ([`Machine::set_mounts`]).
    Live,
}

/// The path from the process that runs kcl to the ports of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Ports are reached by the machine's own address.
    Address,
    /// Only published ports are reached ([`MachineSpec::ports`]): they are bound to `bind` where the engine runs, and
    /// reached at `at` from here. Both are loopback if the engine runs on this host.
    Published {
        /// The address that the engine binds published ports to.
        bind: IpAddr,
        /// The address by which they are reached from here.
        at: IpAddr,
    },
}

/// Makes, lists and deletes machines and their network.
///
/// Every method is idempotent: to make what exists and to delete what does not both succeed.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Returns what the driver can do with a machine of the cluster, whether it exists or not. Once
    /// [`Driver::ensure_network`] has returned, every driver of the same home gives the same answer.
    async fn capabilities(&self, cluster: &str, machine: &str) -> Result<Capabilities>;

    /// Checks quickly, and without changing anything, that machines can be made here at all: for `kcl drivers`, and for
    /// the choice among drivers.
    async fn health(&self) -> Result<Health>;

    /// Finds everything that would make `request` fail, all at once, each with the command that fixes it. Changes
    /// nothing.
    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>>;

    /// Proposes a free network of the host for a cluster without a `--subnet`: it collides with no address, route or
    /// other cluster. Only [`Driver::ensure_network`] takes it.
    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets>;

    /// Returns the addresses that machines have by themselves, by name, for a driver whose machines exist before kcl
    /// uses them. All others get the address of [`MachineSpec::address`].
    async fn addresses(&self) -> Result<BTreeMap<String, Addresses>> {
        Ok(BTreeMap::new())
    }

    /// Makes the cluster's network, or repairs it after a reboot.
    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network>;

    /// Removes the network of a cluster that has no machines.
    async fn delete_network(&self, cluster: &str) -> Result<()>;

    /// Makes a machine, powered off. Several may be made at once.
    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>>;

    /// Lists the machines of `cluster`, or of all clusters, from what the engine knows; half-made ones too.
    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>>;

    /// Returns a handle to a machine that exists, rebuilt from what the engine knows. If there is no such machine, the
    /// error is [`ErrorKind::NotFound`].
    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>>;

    /// Deletes a machine, running or not, whole or half made, with all that belongs to it.
    async fn delete(&self, cluster: &str, name: &str) -> Result<()>;
}
