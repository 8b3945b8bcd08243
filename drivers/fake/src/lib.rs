//! Makes machines in memory, for unit and golden tests: every call is recorded, and any can be made to fail.
//!
//! ```
//! use kcl_driver_api::Driver;
//! use kcl_driver_fake::FakeDriver;
//!
//! let fake = FakeDriver::new();
//! fake.fail("power-on kcl/kcl-m02", "no more memory");
//! # let _: &dyn Driver = &fake;
//! assert_eq!(fake.calls(), [] as [&str; 0]);
//! ```

mod exec;
mod machine;
mod world;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use kcl_driver_api::{
    Capabilities, Driver, Error, ErrorKind, ExecOutput, Finding, Health, Link, Machine, MachineInfo, MachineSpec,
    Mounts, Network, NetworkSpec, PreflightRequest, Reach, Result, Subnets,
};

pub use crate::exec::FakeExec;
use crate::machine::FakeMachine;
use crate::world::{World, world};

/// A driver whose machines are in memory. Clones share them.
#[derive(Clone, Default)]
pub struct FakeDriver {
    world: Arc<Mutex<World>>,
}

impl FakeDriver {
    /// Returns a driver without machines.
    pub fn new() -> Self {
        FakeDriver::default()
    }

    /// Returns the calls in order: the operation, the machine and other relevant arguments, as in `create kcl/kcl`,
    /// `power-on kcl/kcl`, `exec kcl/kcl kcl-node status`, `put kcl/kcl /etc/kcl/node.json`, `ensure-network kcl
    /// 10.89.0.0/24`. Calls that only read (list, info, console, preflight) are not recorded.
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Forgets all recorded calls.
    pub fn forget_calls(&self) {
        self.world().calls.clear();
    }

    /// Makes the next call that begins with `call` fail with an engine's error. A `create` that fails this way leaves a
    /// broken machine, as a real one may.
    pub fn fail(&self, call: &str, message: &str) {
        self.fail_with(call, Error::engine(message));
    }

    /// Makes the next call that begins with `call` fail with an error of any kind.
    pub fn fail_with(&self, call: &str, error: Error) {
        self.world().failures.push((call.to_owned(), error));
    }

    /// Sets the function that answers commands; without one all succeed and write nothing.
    pub fn on_exec(&self, answer: impl Fn(&FakeExec<'_>) -> ExecOutput + Send + Sync + 'static) {
        self.world().answer = Some(Arc::new(answer));
    }

    /// Sets the findings of preflight.
    pub fn set_findings(&self, findings: Vec<Finding>) {
        self.world().findings = findings;
    }

    /// Sets the text that machines write on their consoles when they are powered on.
    pub fn set_console(&self, text: &str) {
        self.world().greeting = text.as_bytes().to_vec();
    }

    /// Returns the mode and the content of a file that was put into a machine.
    pub fn file(&self, cluster: &str, machine: &str, path: &Path) -> Option<(u32, Vec<u8>)> {
        let world = self.world();
        let file = world.machines.get(&(cluster.to_owned(), machine.to_owned()))?.files.get(path)?;
        Some((file.mode, file.content.clone()))
    }

    /// Returns the specification of a machine.
    pub fn spec(&self, cluster: &str, machine: &str) -> Option<MachineSpec> {
        self.world().machines.get(&(cluster.to_owned(), machine.to_owned()))?.spec.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        world(&self.world)
    }
}

#[async_trait]
impl Driver for FakeDriver {
    async fn capabilities(&self, _: &str, _: &str) -> Result<Capabilities> {
        Ok(Capabilities {
            reach: Reach::Address,
            shares_host_kernel: true,
            limits_from_outside: true,
            mounts: Mounts::Never,
        })
    }

    async fn health(&self) -> Result<Health> {
        Ok(Health { engine: Some("memory".to_owned()), findings: self.world().findings.clone() })
    }

    async fn preflight(&self, _: &PreflightRequest) -> Result<Vec<Finding>> {
        Ok(self.world().findings.clone())
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        let world = self.world();
        if let Some(own) = world.networks.get(cluster) {
            return Ok(*own);
        }
        let mut nets = (0..=255).map(|third| Subnets::from(Ipv4Net::new_assert(Ipv4Addr::new(10, 89, third, 0), 24)));
        nets.find(|net| world.networks.values().all(|other| other != net))
            .ok_or_else(|| Error::new(ErrorKind::SubnetTaken, "no free network was found in 10.89.0.0/16"))
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        let mut world = self.world();
        let on = spec.bridge.as_ref().map(|bridge| format!(" on {bridge}")).unwrap_or_default();
        world.call(format!("ensure-network {} {}{on}", spec.cluster, spec.subnet))?;
        let rival = world.networks.iter().find(|(cluster, net)| **cluster != spec.cluster && net.overlaps(spec.subnet));
        if let Some((cluster, net)) = rival {
            let message = format!("the subnet {} collides with cluster {cluster} ({net})", spec.subnet);
            return Err(Error::new(ErrorKind::SubnetTaken, message));
        }
        world.networks.insert(spec.cluster.clone(), spec.subnet);
        let gateway = spec.subnet.hosts().next().unwrap_or_else(|| spec.subnet.network());
        let link = Link {
            interface: "eth0".to_owned(),
            subnet: spec.subnet,
            gateway: Some(gateway),
            mtu: 1500,
            host: None,
            masquerades: false,
        };
        Ok(Network {
            subnet: spec.subnet,
            host: Some(gateway),
            bridge: Some("fake".to_owned()),
            link,
            links: BTreeMap::new(),
        })
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        let mut world = self.world();
        world.call(format!("delete-network {cluster}"))?;
        world.networks.remove(cluster);
        Ok(())
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        let key = (spec.cluster.clone(), spec.name.clone());
        let mut world = self.world();
        let called = world.call(format!("create {}/{}", spec.cluster, spec.name));
        let machine = world.machines.entry(key.clone()).or_default();
        called?;
        machine.spec = Some(spec.clone());
        drop(world);
        Ok(Box::new(FakeMachine { world: self.world.clone(), key }))
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        let world = self.world();
        let wanted = world.machines.iter().filter(|((of, _), _)| cluster.is_none_or(|cluster| cluster == of));
        Ok(wanted.map(|(key, machine)| machine.info(key)).collect())
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        let key = (cluster.to_owned(), name.to_owned());
        self.world().machine(&key)?;
        Ok(Box::new(FakeMachine { world: self.world.clone(), key }))
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        let mut world = self.world();
        world.call(format!("delete {cluster}/{name}"))?;
        world.machines.remove(&(cluster.to_owned(), name.to_owned()));
        Ok(())
    }
}
