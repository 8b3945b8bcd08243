//! Machines of several drivers in one cluster.
//!
//! Drivers of this computer share one segment: the first one creates a bridge, and the others attach their machines to
//! it. Existing hosts are on segments of their own; nodes reach each other by routes and a VXLAN, as far as there is a
//! path.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kcl_driver_api::{
    Addresses, Capabilities, Driver, DriverKind, Error, ErrorKind, Finding, Health, Machine, MachineInfo, MachineSpec,
    Network, NetworkSpec, PreflightRequest, Result, Subnets,
};

/// A driver that delegates to the driver of each machine.
pub struct Mixed {
    drivers: BTreeMap<DriverKind, Box<dyn Driver>>,
    machines: BTreeMap<String, DriverKind>,
}

impl Mixed {
    /// Combines these drivers, by the names of their machines.
    pub fn new(drivers: BTreeMap<DriverKind, Box<dyn Driver>>, machines: BTreeMap<String, DriverKind>) -> Self {
        Mixed { drivers, machines }
    }

    fn of(&self, machine: &str) -> Result<&dyn Driver> {
        let kind = self.machines.get(machine);
        kind.and_then(|kind| self.drivers.get(kind))
            .map(Box::as_ref)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no driver is known to have the machine {machine}")))
    }

    /// Returns the driver whose network the others join, and the others. Kinds are ordered by how well others can join
    /// them.
    fn parts(&self) -> Result<(&dyn Driver, impl Iterator<Item = (&DriverKind, &dyn Driver)>)> {
        let mut drivers = self.drivers.iter().map(|(kind, driver)| (kind, driver.as_ref()));
        let (_, first) = drivers.next().ok_or_else(|| Error::engine("a cluster without drivers"))?;
        Ok((first, drivers))
    }

    fn names(&self, kind: DriverKind) -> impl Iterator<Item = &String> {
        self.machines.iter().filter(move |(_, of)| **of == kind).map(|(name, _)| name)
    }
}

#[async_trait]
impl Driver for Mixed {
    async fn capabilities(&self, cluster: &str, machine: &str) -> Result<Capabilities> {
        self.of(machine)?.capabilities(cluster, machine).await
    }

    async fn health(&self) -> Result<Health> {
        let mut all = Health::default();
        for driver in self.drivers.values() {
            all.findings.extend(driver.health().await?.findings);
        }
        Ok(all)
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for (kind, driver) in &self.drivers {
            let machines = request.machines.iter().filter(|name| self.machines.get(*name) == Some(kind)).cloned();
            // A driver whose machines join the network does not choose its addresses.
            let subnet = request.subnet.filter(|_| Some(kind) == self.drivers.keys().next());
            let request = PreflightRequest { machines: machines.collect(), subnet, ..request.clone() };
            if request.machines.is_empty() {
                continue;
            }
            let found = driver.preflight(&request).await?.into_iter();
            findings
                .extend(found.map(|finding| Finding { message: format!("{kind}: {}", finding.message), ..finding }));
        }
        Ok(findings)
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        self.parts()?.0.propose_subnet(cluster).await
    }

    async fn addresses(&self) -> Result<BTreeMap<String, Addresses>> {
        let mut all = BTreeMap::new();
        for driver in self.drivers.values() {
            all.extend(driver.addresses().await?);
        }
        Ok(all)
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        let (first, others) = self.parts()?;
        let others: Vec<_> = others.collect();
        let mut whole = spec.clone();
        for (_, driver) in &others {
            whole.peers.extend(driver.addresses().await?.into_values());
        }
        let mut network = first.ensure_network(&whole).await?;
        for (kind, driver) in others {
            let part = NetworkSpec { bridge: network.bridge.clone(), ..spec.clone() };
            let joined = driver.ensure_network(&part).await?;
            for name in self.names(*kind) {
                let mut link = joined.link(name).clone();
                link.host = link.host.or(joined.host);
                path(name, &network, &link)?;
                network.links.insert(name.clone(), link);
            }
        }
        Ok(network)
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        // The drivers that joined the network leave it first.
        for driver in self.drivers.values().rev() {
            driver.delete_network(cluster).await?;
        }
        Ok(())
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        self.of(&spec.name)?.create(spec).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        let mut all = Vec::new();
        for driver in self.drivers.values() {
            all.extend(driver.list(cluster).await?);
        }
        Ok(all)
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        self.of(name)?.machine(cluster, name).await
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        if let Ok(driver) = self.of(name) {
            return driver.delete(cluster, name).await;
        }
        // The machine belongs to no node any more, so any driver may have it.
        for driver in self.drivers.values() {
            driver.delete(cluster, name).await?;
        }
        Ok(())
    }
}

/// Checks that machines on the shared network and one that is attached in another way have a path to each other: they
/// are on the same segment, or this host is on both.
fn path(machine: &str, network: &Network, link: &kcl_driver_api::Link) -> Result<()> {
    let same = link.subnet == network.subnet;
    let beside = link.host.is_some_and(|host| link.subnet.contains(host)) && network.host.is_some();
    if same || beside {
        return Ok(());
    }
    let host = link.host.map_or("an address that it cannot reach".to_owned(), |host| host.to_string());
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "there is no path between {machine} ({}) and the network {} of this computer, which it sees as {host}",
            link.subnet, network.subnet
        ),
    )
    .hint("a node on another computer has to be on one segment with this one, or all nodes on hosts over SSH"))
}
