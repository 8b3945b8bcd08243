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
pub use machine::{File, Machine, MachineInfo, MachineSpec, Power, Tree, TreeUse};
pub use network::{Network, NetworkSpec};
pub use preflight::{Finding, PreflightRequest, Severity};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The name of a driver, as in `--driver` and in the cluster file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Containers by the bundled runc, no daemon.
    Native,
    /// Machines in memory, for unit and golden tests.
    Fake,
}

impl DriverKind {
    /// The name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Native => "native",
            DriverKind::Fake => "fake",
        }
    }
}

impl std::fmt::Display for DriverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a driver can do, so that nothing outside has to ask which driver it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Node addresses are reachable from the process that runs kcl.
    pub host_reaches_nodes: bool,
    /// The machines run on the host's kernel, so the host's limits and sysctls are theirs.
    pub shares_host_kernel: bool,
    /// CPU and memory limits are enforced from outside, while the machine itself still sees the whole host.
    pub limits_from_outside: bool,
}

/// Makes, lists and deletes machines and their network.
///
/// Every method is idempotent: making what is there and deleting what is not there both succeed.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Which driver this is; for messages and for the record, not for decisions.
    fn kind(&self) -> DriverKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Everything that stands in the way of `request`, all at once, each with the command that mends it.
    /// Nothing is changed.
    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>>;

    /// A free network of the host for a cluster without a `--subnet`: collides with no address, route or other
    /// cluster. The answer is a suggestion: [`Driver::ensure_network`] takes it.
    async fn propose_subnet(&self, cluster: &str) -> Result<ipnet::Ipv4Net>;

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
