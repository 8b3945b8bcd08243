//! A cluster of the driver with machines in memory, and ways to bring it into a situation.

use kcl::config::{ClusterSpec, NodeConfig};
use kcl::error::{Error, Result};
use kcl::plan::{Action, Observed, Plan, plan};
use kcl::state::{ClusterState, Configured, NodePhase, NodeRecord, Phase, SCHEMA};
use kcl_driver_api::{Addresses, Driver, DriverKind, MachineSpec, NetworkSpec, Subnets};
use kcl_driver_fake::FakeDriver;

/// A cluster in some situation.
pub(crate) struct World {
    pub driver: FakeDriver,
    pub spec: ClusterSpec,
    pub state: Option<ClusterState>,
}

impl World {
    /// Nothing is there yet, and so many nodes are wanted.
    pub(crate) fn new(nodes: usize) -> Self {
        let spec = ClusterSpec {
            driver: Some(DriverKind::Fake),
            kubernetes_version: "v1.37.0".to_owned(),
            ..ClusterSpec::with_defaults("kcl")
        };
        let mut world = World { driver: FakeDriver::new(), spec, state: None };
        world.want(nodes);
        world
    }

    /// So many nodes are wanted now.
    pub(crate) fn want(&mut self, nodes: usize) {
        self.spec.nodes = (0..nodes).map(|index| NodeConfig::new("kcl", index)).collect();
    }

    /// A cluster that was started and runs.
    pub(crate) async fn started(nodes: usize) -> Self {
        let mut world = World::new(nodes);
        world.start(Phase::Created).await;
        world
    }

    /// Carries the plan out, as far as machines and memory go.
    pub(crate) async fn start(&mut self, phase: Phase) {
        let plan = self.plan().await.expect("a plan");
        let network = NetworkSpec::new("kcl", plan.subnet);
        self.driver.ensure_network(&network).await.expect("a network");
        for node in plan.nodes() {
            if node.action == Action::Create {
                self.driver.create(&machine(&node.name, node.address)).await.expect("a machine");
            }
            self.machine(&node.name).await.power_on().await.expect("powered on");
        }
        self.state = Some(state(&plan, &self.spec, phase));
    }

    /// The plan of a `start` now.
    pub(crate) async fn plan(&self) -> Result<Plan> {
        plan(&self.spec, &self.observed().await?)
    }

    /// Returns the state that a `start` finds now.
    pub(crate) async fn observed(&self) -> Result<Observed> {
        Ok(Observed {
            state: self.state.clone(),
            machines: self.driver.list(Some("kcl")).await?,
            free_subnet: self.driver.propose_subnet("kcl").await?,
            addresses: self.driver.addresses().await?,
        })
    }

    /// The error that a `start` ends with now.
    pub(crate) async fn refusal(&self) -> String {
        text(&self.plan().await.expect_err("no plan is possible"))
    }

    /// The machine of a node.
    pub(crate) async fn machine(&self, name: &str) -> Box<dyn kcl_driver_api::Machine> {
        self.driver.machine("kcl", name).await.expect("a machine")
    }

    /// A machine whose creation was cut off.
    pub(crate) async fn break_machine(&self, name: &str) {
        self.driver.delete("kcl", name).await.expect("deleted");
        self.driver.fail(&format!("create kcl/{name}"), "cut off");
        let address = "10.89.0.99".parse().expect("an address");
        assert!(self.driver.create(&machine(name, address)).await.is_err(), "it was to be cut off");
    }

    /// The memory that is there.
    pub(crate) fn remembered(&mut self) -> &mut ClusterState {
        self.state.as_mut().expect("a state")
    }
}

/// An error as a user reads it.
pub(crate) fn text(error: &Error) -> String {
    let hints = error.hints.iter().map(|hint| format!("  -> {hint}\n"));
    format!("{} (exit {})\n{error}\n{}", error.id.as_str(), error.id.exit_code(), hints.collect::<String>())
}

/// Returns the state of a cluster whose plan was carried out.
pub(crate) fn state(plan: &Plan, spec: &ClusterSpec, phase: Phase) -> ClusterState {
    let nodes = plan.nodes().map(|node| NodeRecord {
        name: node.name.clone(),
        machine: node.machine.clone(),
        role: node.role,
        address: node.address,
        pod_cidr: node.pod_cidr,
        kubernetes_version: node.kubernetes_version.clone(),
        artifacts: None,
        phase: NodePhase::Member,
        configured: Some(Configured {
            whole: "0123456789abcdef".to_owned(),
            own: "fedcba9876543210".to_owned(),
            certificates: String::new(),
        }),
    });
    ClusterState {
        schema: SCHEMA,
        spec: spec.clone(),
        subnet: plan.subnet,
        nodes: nodes.collect(),
        api: None,
        api_address: plan.api_address,
        phase,
        created: "2026-11-01T12:00:00Z".parse().expect("a time"),
        lifetime: Default::default(),
        spare: false,
        proxy: None,
    }
}

/// A network of that name.
pub(crate) fn net(text: &str) -> Subnets {
    text.parse().expect("a network")
}

/// A machine of a small cluster.
pub(crate) fn machine(name: &str, address: Addresses) -> MachineSpec {
    MachineSpec {
        cluster: "kcl".to_owned(),
        name: name.to_owned(),
        address,
        cpu_weight: 100,
        cpus: None,
        memory: None,
        rootfs: "/rootfs".into(),
        trees: Vec::new(),
        volumes: Vec::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
        init: vec!["init".to_owned()],
        labels: Default::default(),
    }
}
