//! What the manifests tell the program, in its environment.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::{Error, Result};
use crate::pool::Pool;

/// What this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gives out addresses.
    Controller,
    /// Answers for them.
    Speaker,
}

/// The role that the first argument names.
pub fn role(argument: Option<&str>) -> Result<Role> {
    match argument {
        Some("controller") => Ok(Role::Controller),
        Some("speaker") => Ok(Role::Speaker),
        other => Err(Error::Setting(format!("the role is {other:?}, and has to be controller or speaker"))),
    }
}

/// The controller's settings.
#[derive(Clone, Debug)]
pub struct Controller {
    /// The addresses to give out; none: those of the nodes.
    pub pool: Option<Pool>,
    /// The node network: who is on another one cannot answer on this one.
    pub subnet: Option<Ipv4Net>,
    /// The `loadBalancerClass` that is ours.
    pub class: String,
    /// Whether Services that name no class are ours too.
    pub classless: bool,
    /// The name of the Deployment that this is of.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
}

impl Controller {
    /// Reads them.
    pub fn from_env() -> Result<Self> {
        let pool = variable("POOL")?;
        let pool = if pool.trim().is_empty() { None } else { Some(pool.parse().map_err(Error::Setting)?) };
        let subnet = variable("SUBNET")?;
        let subnet = if subnet.is_empty() {
            None
        } else {
            let wrong = |_| Error::Setting(format!("the variable SUBNET is {subnet:?}, which is no IPv4 network"));
            Some(subnet.parse().map_err(wrong)?)
        };
        let classless = variable("CLASSLESS")?;
        let classless = classless.parse().map_err(|_| {
            Error::Setting(format!("the variable CLASSLESS is {classless:?}, and has to be true or false"))
        })?;
        let (workload, namespace) = (variable("WORKLOAD")?, variable("NAMESPACE")?);
        Ok(Controller { pool, subnet, class: variable("CLASS")?, classless, workload, namespace })
    }
}

/// A speaker's settings.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The node that it is on.
    pub node: String,
    /// The node's address, which tells the interface on the node network.
    pub address: Ipv4Addr,
    /// The name of the DaemonSet that this is of.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
}

impl Speaker {
    /// Reads them.
    pub fn from_env() -> Result<Self> {
        let address = variable("NODE_ADDRESS")?;
        let address = address.parse().map_err(|_| {
            Error::Setting(format!("the variable NODE_ADDRESS is {address:?}, which is no IPv4 address"))
        })?;
        let (workload, namespace) = (variable("WORKLOAD")?, variable("NAMESPACE")?);
        Ok(Speaker { node: variable("NODE_NAME")?, address, workload, namespace })
    }
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| Error::Setting(format!("the variable {name}: {error}")))
}
