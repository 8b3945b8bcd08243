//! What a driver is: the contract between kcl and the makers of machines.
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

    /// The name that a user types.
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

/// What a driver can do with a machine, so that nothing outside has to ask which driver it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// How the process that runs kcl reaches the machine's ports.
    pub reach: Reach,
    /// The machine runs on the host's kernel, so the host's limits and sysctls are its own.
    pub shares_host_kernel: bool,
    /// CPU and memory limits are enforced from outside, while the machine itself still sees the whole host.
    pub limits_from_outside: bool,
    /// Whether directories of this host can be in it too ([`HostMount`]).
    pub mounts: Mounts,
}

/// Whether directories of this host can be in a machine too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounts {
    /// No.
    Never,
    /// Those of its specification when it is made.
    AtCreation,
    /// And they may change, also while it runs ([`Machine::set_mounts`]).
    Live,
}

/// How the process that runs kcl reaches the ports of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// By the machine's own address.
    Address,
    /// Only by ports that are published ([`MachineSpec::ports`]): bound to `bind` where the engine runs, and reached at
    /// `at` from here. Both are loopback where the engine runs on this host.
    Published {
        /// What the engine binds published ports to.
        bind: IpAddr,
        /// By which address they are reached from here.
        at: IpAddr,
    },
}

/// Makes, lists and deletes machines and their network.
///
/// Every method is idempotent: making what is there and deleting what is not there both succeed.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Returns what the driver can do with a machine of the cluster, whether it exists or not. Once
    /// [`Driver::ensure_network`] has returned, every driver of the same home gives the same answer.
    async fn capabilities(&self, cluster: &str, machine: &str) -> Result<Capabilities>;

    /// Whether machines could be made here at all, quickly and without a change: what `kcl drivers` shows, and what the
    /// choice among drivers goes by.
    async fn health(&self) -> Result<Health>;

    /// Everything that stands in the way of `request`, all at once, each with the command that mends it.
    /// Nothing is changed.
    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>>;

    /// A free network of the host for a cluster without a `--subnet`: collides with no address, route or other
    /// cluster. The answer is a suggestion: [`Driver::ensure_network`] takes it.
    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets>;

    /// The addresses that machines have by themselves, by name: of a driver whose machines exist before kcl comes.
    /// All others get the address that [`MachineSpec::address`] names.
    async fn addresses(&self) -> Result<BTreeMap<String, Addresses>> {
        Ok(BTreeMap::new())
    }

    /// Makes the cluster's network, or mends it after a reboot.
    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network>;

    /// Removes the cluster's network. It has no machines any more.
    async fn delete_network(&self, cluster: &str) -> Result<()>;

    /// Makes a machine, powered off. Several may be made at once.
    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>>;

    /// All machines of `cluster`, or of all clusters, from what the engine knows; half-made ones too.
    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>>;

    /// A handle to a machine that exists, rebuilt from what the engine knows.
    /// Errors with [`ErrorKind::NotFound`] where there is none.
    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>>;

    /// Deletes a machine, running or not, whole or half made, with all that belongs to it.
    async fn delete(&self, cluster: &str, name: &str) -> Result<()>;
}
