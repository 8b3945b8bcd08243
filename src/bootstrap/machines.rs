//! Machines: they are created, configured and powered on, all at the same time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::future::join_all;
use jiff::Timestamp;
use kcl_driver_api::{File, Machine, MachineSpec, Mounts, PublishedPort, Tree, TreeUse};
use kcl_node_spec::{Role, paths};

use super::{Bootstrap, Machines, certificates, members, node, ready};
use crate::error::{Error, Id, Result};
use crate::plan::{Action, Made, NodePlan, POWER_OFF_GRACE, Plan};
use crate::state::{ApiEndpoint, ClusterState, Configured, NodePhase, NodeRecord};

/// The configuration of a node, and its difference from the node's last one.
struct Briefing {
    plan: NodePlan,
    files: Vec<File>,
    /// A certificate that the node had was not valid.
    was_invalid: bool,
    configured: Configured,
    news: News,
}

/// The difference between a node's new configuration and its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Nothing has changed.
    None,
    /// Only its certificates or its surroundings have changed, the other nodes or resolvers: the agent applies that while it
    /// runs.
    Surroundings,
    /// The node's own configuration has changed: it has to be restarted.
    Own,
}

impl News {
    fn to(record: &NodeRecord, configured: &Configured) -> Self {
        match &record.configured {
            Some(before) if before == configured => News::None,
            Some(before) if before.own == configured.own => News::Surroundings,
            _ => News::Own,
        }
    }
}

/// Brings up the machines of the plan: those of a wave together, wave by wave. Nodes that run and have to be restarted
/// are left to [`restart`] if `serves` says that the cluster serves.
pub(super) async fn start(bootstrap: &Bootstrap<'_>, serves: impl AsyncFn() -> bool) -> Result<Machines> {
    let since = Timestamp::now();
    let step = bootstrap.progress.step("machines", title(bootstrap.plan));
    let mut machines =
        Machines { since, started: Vec::new(), configured: BTreeMap::new(), restarts: Vec::new(), failed: Vec::new() };
    for wave in &bootstrap.plan.waves {
        let wave: Vec<NodePlan> = wave.iter().filter(|node| node.action != Action::Leave).cloned().collect();
        let briefings = brief(bootstrap, &wave).await?;
        let later = briefings.iter().any(restarts) && serves().await;
        let (restarted, briefings): (Vec<_>, Vec<_>) =
            briefings.into_iter().partition(|briefing| later && restarts(briefing));
        machines.restarts.extend(restarted.into_iter().map(|briefing| briefing.plan.name));
        let joining = members::joining(bootstrap, &wave);
        let added = members::add(bootstrap, &joining).await;
        let bring_up = async |briefing: &Briefing| match &added {
            Err(error) if joining.iter().any(|node| node.name == briefing.plan.name) => Err(error.again()),
            _ => bring_up(bootstrap, briefing).await,
        };
        let mut results = join_all(briefings.iter().map(bring_up)).await;
        if added.is_ok() && !joining.is_empty() {
            match settle(bootstrap, &joining).await {
                Ok(settled) => machines.configured.extend(settled),
                Err(error) => {
                    for (briefing, result) in briefings.iter().zip(&mut results) {
                        if joining.iter().any(|node| node.name == briefing.plan.name) && result.is_ok() {
                            *result = Err(error.again());
                        }
                    }
                }
            }
        }
        for (briefing, result) in briefings.into_iter().zip(results) {
            let name = briefing.plan.name;
            match result {
                Ok(started) => {
                    machines.started.extend(Some(name.clone()).filter(|_| started));
                    machines.configured.entry(name).or_insert(briefing.configured);
                }
                Err(error) if bootstrap.joins(&name) => machines.failed.push((name, error)),
                Err(error) => return Err(error),
            }
        }
    }
    machines.restarts.sort_by_key(|name| record(bootstrap.state, name).is_ok_and(|record| record.role == Role::Worker));
    step.finish(match bootstrap.plan.starting().count() {
        0 if !machines.started.is_empty() => "Nodes restarted with their new configuration".to_owned(),
        0 => format!("{} running", nodes(bootstrap.plan.nodes().filter(|node| node.action == Action::Keep).count())),
        count => format!("{} started", nodes(count)),
    });
    Ok(machines)
}

/// Gives control planes that have joined their vote and, once they serve, tells the others of them. Returns the digests of
/// what each has been told.
async fn settle(bootstrap: &Bootstrap<'_>, joining: &[&NodePlan]) -> Result<Vec<(String, Configured)>> {
    members::promote(bootstrap, joining).await?;
    for node in joining {
        let machine = bootstrap.driver.machine(&bootstrap.plan.cluster, &node.machine).await?;
        if let Some(error) = ready::wrong(bootstrap, machine.as_ref()).await? {
            return Err(error);
        }
    }
    let mut state = bootstrap.state.clone();
    for node in joining {
        state.set_node_phase(&node.name, NodePhase::Member);
    }
    let settled = Bootstrap { state: &state, ..*bootstrap };
    let up = bootstrap.plan.nodes().filter(|node| node.role == Role::ControlPlane && node.action != Action::Leave);
    let up: Vec<NodePlan> = up.map(|node| NodePlan { action: Action::Keep, ..node.clone() }).collect();
    let mut told = Vec::new();
    for briefing in brief(&settled, &up).await? {
        if !restarts(&briefing) {
            bring_up(&settled, &briefing).await?;
            told.push((briefing.plan.name, briefing.configured));
        }
    }
    Ok(told)
}

fn title(plan: &Plan) -> String {
    let creating = plan.nodes().any(|node| matches!(node.action, Action::Create | Action::Replace));
    match plan.starting().count() {
        0 => "Looking at the nodes".to_owned(),
        count if creating => format!("Creating {}", nodes(count)),
        count => format!("Starting {}", nodes(count)),
    }
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// Restarts a node that runs with its new configuration. The caller waits for it.
pub(super) async fn restart(bootstrap: &Bootstrap<'_>, name: &str) -> Result<Configured> {
    let plan: Vec<NodePlan> = bootstrap.plan.nodes().filter(|plan| plan.name == name).cloned().collect();
    let briefing = brief(bootstrap, &plan).await?.pop();
    let briefing = briefing.ok_or_else(|| Error::new(Id::Internal, format!("node {name} is not planned")))?;
    bring_up(bootstrap, &briefing).await?;
    Ok(briefing.configured)
}

/// Returns true if a running node has to be restarted.
fn restarts(briefing: &Briefing) -> bool {
    match briefing.plan.action {
        Action::Keep => briefing.news == News::Own,
        Action::Restart => true,
        Action::PowerOn | Action::Create | Action::Replace | Action::Leave => false,
    }
}

/// Makes the files of each node: its spec, its certificates, its kubeconfigs.
async fn brief(bootstrap: &Bootstrap<'_>, wave: &[NodePlan]) -> Result<Vec<Briefing>> {
    let state = bootstrap.state;
    let cluster = certificates::identity(state)?;
    let mut renewed = Vec::new();
    let mut briefings = Vec::new();
    for plan in wave {
        let record = record(state, &plan.name)?;
        let issued = bootstrap.pki.node_files(&certificates::node_identity(record), &cluster, Timestamp::now())?;
        renewed.extend(issued.renewed);
        let mut files = issued.files;
        let bounded = bootstrap.driver.capabilities(&state.spec.name, &record.machine).await?.limits_from_outside;
        let spec = node::node_spec(state, record, bootstrap.network, bootstrap.resolvers, bounded);
        let whole = node::spec_file(&spec)?;
        let mut configured = Configured {
            whole: node::digest([&whole]),
            own: node::digest([&node::spec_file(&node::lasting(spec))?]),
            certificates: node::digest(&files),
        };
        files.push(whole);
        let mut news = News::to(record, &configured);
        if news == News::Own && plan.action == Action::Keep && !bootstrap.plan.is_for(&plan.name) {
            // The next start of the whole cluster restarts it, as this digest stays what it was.
            configured.own = record.configured.as_ref().map(|before| before.own.clone()).unwrap_or_default();
            news = News::Surroundings;
        }
        let was_invalid = issued.was_invalid;
        briefings.push(Briefing { plan: plan.clone(), files, was_invalid, configured, news });
    }
    if !renewed.is_empty() {
        bootstrap.progress.info(format!("Renewed certificates: {}", renewed.join(", ")));
    }
    Ok(briefings)
}

fn record<'a>(state: &'a ClusterState, name: &str) -> Result<&'a NodeRecord> {
    state.node(name).ok_or_else(|| Error::new(Id::Internal, format!("node {name} was planned but not recorded")))
}

/// Brings one machine up, and configures it if its configuration has changed. Returns true if it was started.
async fn bring_up(bootstrap: &Bootstrap<'_>, briefing: &Briefing) -> Result<bool> {
    let (cluster, name) = (&bootstrap.plan.cluster, &briefing.plan.machine);
    let driver = bootstrap.driver;
    if briefing.plan.action == Action::Keep && !restarts(briefing) {
        let machine = driver.machine(cluster, name).await?;
        if driver.capabilities(cluster, name).await?.mounts == Mounts::Live {
            machine.set_mounts(&bootstrap.state.spec.mounts).await?;
        }
        if briefing.news == News::Surroundings {
            let (files, all) = (&briefing.files, briefing.was_invalid);
            certificates::take_over(machine.as_ref(), files, all, briefing.plan.role).await?;
        }
        return Ok(false);
    }
    if matches!(briefing.plan.action, Action::Create | Action::Replace) {
        bootstrap.journal.record(Made::Machine(name.clone()));
    }
    // Recorded before the files are written: a rollback has to know that they may have changed.
    bootstrap.journal.record(match restarts(briefing) {
        true => Made::Restarted(name.clone()),
        false => Made::Powered(name.clone()),
    });
    match briefing.plan.action {
        // Also if it is off: an interrupted stop may not have ended yet.
        Action::Keep | Action::Restart | Action::PowerOn => {
            driver.machine(cluster, name).await?.power_off(POWER_OFF_GRACE).await?
        }
        Action::Replace => driver.delete(cluster, name).await?,
        Action::Create | Action::Leave => {}
    }
    // A machine that already exists adopts the changes in its spec.
    let machine: Box<dyn Machine> = driver.create(&machine_spec(bootstrap, &briefing.plan)).await?;
    // Also if nothing has changed: files outside the volumes may not have survived a power cut.
    machine.put(&briefing.files).await?;
    machine.power_on().await?;
    Ok(true)
}

fn machine_spec(bootstrap: &Bootstrap<'_>, plan: &NodePlan) -> MachineSpec {
    let state = bootstrap.state;
    let config = state.spec.nodes.iter().find(|node| node.name == plan.name);
    let artifacts = bootstrap.artifacts;
    let tree = |source: &PathBuf, target: &str, usage| Tree { source: source.clone(), target: target.into(), usage };
    let agent = PathBuf::from(paths::AGENT);
    let agent_dir = agent.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    MachineSpec {
        cluster: bootstrap.plan.cluster.clone(),
        name: plan.machine.clone(),
        address: plan.address,
        cpus: config.and_then(|node| node.cpus),
        cpu_weight: match plan.role {
            // All other nodes wait for the control plane, above all during a start.
            Role::ControlPlane => 400,
            Role::Worker => 100,
        },
        memory: config.and_then(|node| node.memory),
        rootfs: artifacts.rootfs.clone(),
        trees: vec![
            tree(&artifacts.agent, &agent_dir, TreeUse::ReadOnly),
            tree(&artifacts.components, paths::COMPONENTS, TreeUse::ReadOnly),
            // containerd's databases are written in place; blobs and layers never are.
            tree(&artifacts.image_store, paths::CONTAINERD_ROOT, TreeUse::Seed { copied: vec![".db".to_owned()] }),
        ],
        volumes: paths::VOLUMES.iter().map(PathBuf::from).collect(),
        ports: ports(state, plan),
        mounts: state.spec.mounts.clone(),
        init: vec![paths::AGENT.to_owned(), "run".to_owned()],
        labels: labels(&bootstrap.plan.cluster, &plan.name, plan.role),
    }
}

/// Returns the ports that a machine publishes: the user's ports on the first node, and the API on the first control plane if
/// the host needs it.
fn ports(state: &ClusterState, plan: &NodePlan) -> Vec<PublishedPort> {
    let first = state.nodes.first().is_some_and(|node| node.name == plan.name);
    let own = state.spec.ports.iter().copied().filter(|_| first);
    let serves = state.control_planes().next().is_some_and(|node| node.name == plan.name);
    own.chain(state.api.iter().filter(|_| serves).map(ApiEndpoint::port)).collect()
}

/// Returns the labels that say which cluster and node a machine belongs to.
pub fn labels(cluster: &str, node: &str, role: Role) -> BTreeMap<String, String> {
    [("kcl.cluster", cluster), ("kcl.node", node), ("kcl.role", role.name())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
