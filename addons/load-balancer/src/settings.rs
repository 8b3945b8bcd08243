//! The settings of the program, which the manifests pass in its environment.

use kcl_node_spec::{Addresses, Subnets};

use crate::error::{Error, Result};
use crate::pool::Pool;

/// The role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Allocates addresses to Services.
    Controller,
    /// Answers for addresses of Services.
    Speaker,
    /// Grows the volumes of claims, for the addon storage.
    Claims,
}

/// Returns the role that the first argument names.
pub(crate) fn role(argument: Option<&str>) -> Result<Role> {
    match argument {
        Some("controller") => Ok(Role::Controller),
        Some("speaker") => Ok(Role::Speaker),
        Some("claims") => Ok(Role::Claims),
        other => Err(Error::Setting(format!("the role is {other:?}, but must be controller, speaker or claims"))),
    }
}

/// The controller's settings.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    /// The addresses to allocate; `None` for those of the nodes.
    pub pool: Option<Pool>,
    /// The node network: a node on another network cannot answer here.
    pub subnet: Option<Subnets>,
    /// The `loadBalancerClass` of this load balancer.
    pub class: String,
    /// True if Services without a class belong to it too.
    pub classless: bool,
    /// The name of the controller's Deployment.
    pub workload: String,
    /// The namespace of the workload.
    pub namespace: String,
}

impl Controller {
    /// Reads the settings from the environment.
    pub(crate) fn from_env() -> Result<Self> {
        let pool = variable("POOL")?;
        let pool = if pool.trim().is_empty() { None } else { Some(pool.parse().map_err(Error::Setting)?) };
        let subnet = variable("SUBNET")?;
        let subnet = if subnet.is_empty() {
            None
        } else {
            let wrong = |_| Error::Setting(format!("the variable SUBNET is {subnet:?}, which is not a network"));
            Some(subnet.parse().map_err(wrong)?)
        };
        let classless = variable("CLASSLESS")?;
        let classless = classless.parse().map_err(|_| {
            Error::Setting(format!("the variable CLASSLESS is {classless:?}, but must be true or false"))
        })?;
        let (workload, namespace) = (variable("WORKLOAD")?, variable("NAMESPACE")?);
        Ok(Controller { pool, subnet, class: variable("CLASS")?, classless, workload, namespace })
    }
}

/// The speaker's settings.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    /// The name of the node.
    pub node: String,
    /// The node's address, which tells the interface on the node network.
    pub address: Addresses,
    /// The name of the speaker's DaemonSet.
    pub workload: String,
    /// The namespace of the workload.
    pub namespace: String,
}

impl Speaker {
    /// Reads the settings from the environment.
    pub(crate) fn from_env() -> Result<Self> {
        let address = variable("NODE_ADDRESS")?;
        let address = address.parse().map_err(|_| {
            Error::Setting(format!("the variable NODE_ADDRESS is {address:?}, which is not an address"))
        })?;
        let (workload, namespace) = (variable("WORKLOAD")?, variable("NAMESPACE")?);
        Ok(Speaker { node: variable("NODE_NAME")?, address, workload, namespace })
    }
}

/// Returns the name of the provisioner whose volumes grow.
pub(crate) fn provisioner() -> Result<String> {
    variable("PROVISIONER")
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| Error::Setting(format!("the variable {name}: {error}")))
}
