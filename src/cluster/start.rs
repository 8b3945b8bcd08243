//! `start`: makes a cluster, or what is missing of it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use jiff::Timestamp;
use kcl_driver_api::{
    ClusterRange, Driver, ErrorKind, Finding, Network, NetworkSpec, PreflightRequest, Reach, Severity,
};

use super::addons::Choice;
use super::background::{guard, loopback};
use super::interrupt::interruptible;
use super::kubectl::kubeconfig_entry;
use super::{addons, delete, drivers, lifetime, mount};
use crate::app::App;
use crate::artifacts::{self, Artifacts, NodeArtifacts, Want};
use crate::bootstrap::{self, Bootstrap, Wait};
use crate::config::{self, ClusterSpec, Overrides};
use crate::error::{Error, Family, Result};
use crate::kubeconfig::Kubeconfig;
use crate::kubernetes::Access;
use crate::plan::{Action, Journal, Made, Observed, Plan, plan};
use crate::state::{ApiEndpoint, ClusterLock, ClusterState, Lifetime, NodeRecord, Phase, SCHEMA};

/// What the user asks of `start`.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// What the cluster is to be.
    pub overrides: Overrides,
    /// How artifacts are had.
    pub artifacts: artifacts::Options,
    /// And which way.
    pub way: artifacts::Way,
    /// What is waited for.
    pub wait: Wait,
    /// And how long at most.
    pub wait_timeout: Duration,
    /// What a new cluster is but for the overrides; none: the defaults.
    pub base: Option<ClusterSpec>,
    /// It is a spare one.
    pub spare: bool,
    /// When it ends by itself; none: as it was.
    pub lifetime: Option<Lifetime>,
    /// What a failed start made is left for a look.
    pub keep: bool,
    /// What becomes of the user's kubeconfig.
    pub context: Context,
    /// Only the plan is made.
    pub dry_run: bool,
}

/// What becomes of the user's kubeconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The cluster is put in, and is the current context.
    Current,
    /// The cluster is put in; the current context stays.
    Kept,
    /// Nothing.
    Absent,
}

/// What became of it.
pub struct Outcome {
    /// What was, or is to be, done.
    pub plan: Plan,
    /// The cluster; none after a dry run.
    pub state: Option<ClusterState>,
}

/// What is wanted, what is there, and what follows.
struct Prepared {
    spec: ClusterSpec,
    addons: Choice,
    driver: Box<dyn Driver>,
    observed: Observed,
    plan: Plan,
}

/// Makes a cluster, or what is missing of it.
pub async fn start(app: &App, options: &StartOptions) -> Result<Outcome> {
    let source = config::Source::read(&options.overrides)?;
    let name = source.profile_name().to_owned();
    if options.dry_run {
        // Only a look: it waits for nobody and leaves nothing behind.
        let plan = prepare(app, options, &source).await?.plan;
        return Ok(Outcome { plan, state: None });
    }
    lifetime::sweep(app).await;
    let mut lock = app.lock(&name).await?;
    let Prepared { spec, addons, driver, observed, mut plan } = prepare(app, options, &source).await?;
    let before_mounts = observed.state.as_ref().filter(|_| !plan.new).map(|state| state.spec.mounts.clone());
    let other_mounts = before_mounts.as_ref().is_some_and(|before| *before != spec.mounts);
    mount::able(driver.as_ref(), &spec, other_mounts).await?;
    preflight(app, driver.as_ref(), &plan, &spec).await?;
    let leftovers = plan.new && app.store.paths().cluster(&name).exists();
    if leftovers {
        // A delete that was cut off: what is left of it must not be taken for a part of the new cluster.
        delete::remove(app, driver.as_ref(), &name).await?;
        delete::forget(app, lock).await?;
        lock = app.lock(&name).await?;
    }
    let journal = Journal::default();
    let before = observed.state.filter(|_| !plan.new);
    let mut state = planned_state(&plan, spec, before.as_ref());
    state.lifetime = options.lifetime.clone().unwrap_or(state.lifetime);
    state.spare = options.spare;
    match interruptible(carry_out(app, options, &addons, &mut plan, &mut state, &journal)).await {
        Ok(access) => {
            // The cluster is whole: what is missing then is no reason to take it back.
            if let Err(error) = loopback::follow(app, &state, driver.as_ref(), &addons.selected).await {
                app.progress.warn(error.to_string());
            }
            tell_kubectl(&name, &access, options.context)?;
            drop(lock);
            Ok(Outcome { plan, state: Some(state) })
        }
        Err(error) if options.keep => Err(error),
        Err(error) => Err(undo(app, lock, &journal, &state, before, error).await),
    }
}

/// Looks and plans. Changes nothing.
async fn prepare(app: &App, options: &StartOptions, source: &config::Source) -> Result<Prepared> {
    let existing = app.store.load(source.profile_name())?.filter(|state| state.phase != Phase::Deleting);
    // A subnet that was found free is the cluster's own from then on.
    let existing = existing.map(|state| ClusterSpec { subnet: Some(state.subnet), ..state.spec });
    let mut spec = source.resolve(existing.as_ref().or(options.base.as_ref()))?;
    spec.kubernetes_version = artifacts::catalog::CATALOG.kubernetes_version(&spec.kubernetes_version)?;
    if spec.nodes.iter().any(|node| node.driver.is_none()) && spec.driver.is_none() {
        spec.driver = Some(match drivers::choose(app).await {
            Err(error) if options.dry_run => {
                app.progress.warn(error.to_string());
                drivers::KINDS[0]
            }
            choice => choice?,
        });
    }
    let addons = Choice::make(app, &spec).await?;
    let cached = drivers::cached(app, &spec)?;
    let driver = drivers::driver(&spec, app.store.paths(), cached.as_ref())?;
    let observed = observe(app, driver.as_ref(), &spec).await?;
    let plan = plan(&spec, &observed)?;
    Ok(Prepared { spec, addons, driver, observed, plan })
}

/// Looks up what exists of a cluster.
async fn observe(app: &App, driver: &dyn Driver, spec: &ClusterSpec) -> Result<Observed> {
    let state = app.store.load(&spec.name)?;
    let machines = driver.list(Some(&spec.name)).await?;
    let free_subnet = match (&state, spec.subnet) {
        (Some(state), _) => state.subnet,
        (None, Some(subnet)) => subnet,
        (None, None) => driver.propose_subnet(&spec.name).await?,
    };
    let addresses = driver.addresses().await?;
    Ok(Observed { state, machines, free_subnet, addresses })
}

/// Points kubectl at the cluster. The cluster is whole by then: trouble here is no reason to take it back.
fn tell_kubectl(name: &str, access: &Access, context: Context) -> Result<()> {
    if context == Context::Absent {
        return Ok(());
    }
    Kubeconfig::from_env()
        .and_then(|kubeconfig| kubeconfig.merge(&kubeconfig_entry(name, access), context == Context::Kept))
        .map(drop)
        .map_err(|error| {
            let hint = format!(
                "cluster \"{name}\" runs; once this is mended, point kubectl at it: kcl update-context -p {name}"
            );
            error.hint(hint).hint(format!("until then: kcl kubectl -p {name} -- get nodes"))
        })
}

/// Everything that stands in the way, in one report, before anything is changed.
async fn preflight(app: &App, driver: &dyn Driver, plan: &Plan, spec: &ClusterSpec) -> Result<()> {
    if plan.to_start() == 0 {
        return Ok(());
    }
    let starting = plan.nodes.iter().filter(|node| node.action != Action::Keep);
    let request = PreflightRequest {
        cluster: plan.cluster.clone(),
        machines: starting.clone().map(|node| node.name.clone()).collect(),
        inotify_instances: starting.map(|node| (node.name.clone(), bootstrap::inotify_instances(node.role))).collect(),
        // One that was found free is no demand: another is found where it is taken by now.
        subnet: (!plan.new || spec.subnet.is_some()).then_some(plan.subnet),
        ranges: [("--pod-cidr", spec.pod_cidr), ("--service-cidr", spec.service_cidr)].map(range).to_vec(),
        cpus: spec.nodes.iter().filter_map(|node| node.cpus).max(),
        memory: spec.nodes.iter().filter_map(|node| node.memory).max(),
    };
    let findings = driver.preflight(&request).await?;
    let gone = spec.mounts.iter().filter(|mount| !mount.source.is_dir()).map(|mount| Finding {
        id: "mount-missing",
        severity: Severity::Error,
        message: format!("{} is mounted in the nodes, and is no directory any more", mount.source.display()),
        fix: Some(format!(
            "mkdir -p {}, or without it: kcl mount -p {} --remove {}",
            mount.source.display(),
            plan.cluster,
            mount.target.display()
        )),
    });
    let findings = findings.into_iter().chain(gone);
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        findings.partition(|finding| finding.severity == Severity::Error);
    for warning in warnings {
        app.progress.warn(told(&warning));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let mut message = format!("this host is not ready for the {} driver:", plan.driver);
    for error in &errors {
        message.push_str("\n  - ");
        message.push_str(&told(error));
    }
    Err(Error::new(Family::Host, message))
}

/// Returns a network of the cluster with the flag that sets it.
fn range((flag, net): (&str, ipnet::Ipv4Net)) -> ClusterRange {
    ClusterRange { net, fix: format!("kcl start {flag} RANGE, with one that no host has") }
}

fn told(finding: &Finding) -> String {
    match &finding.fix {
        Some(fix) => format!("{}\n      mend it with: {fix}", finding.message),
        None => finding.message.clone(),
    }
}

/// The state as it is once the plan is carried out.
fn planned_state(plan: &Plan, spec: ClusterSpec, existing: Option<&ClusterState>) -> ClusterState {
    let configured = |name: &str| {
        let nodes = existing.into_iter().flat_map(|state| &state.nodes);
        nodes.filter(|node| node.name == name).find_map(|node| node.configured.clone())
    };
    let nodes = plan.nodes.iter().map(|node| NodeRecord {
        name: node.name.clone(),
        role: node.role,
        address: node.address,
        pod_cidr: node.pod_cidr,
        configured: configured(&node.name).filter(|_| matches!(node.action, Action::Keep | Action::PowerOn)),
    });
    ClusterState {
        schema: SCHEMA,
        subnet: plan.subnet,
        nodes: nodes.collect(),
        api: existing.and_then(|state| state.api),
        phase: existing.map_or(Phase::Creating, |state| state.phase),
        artifacts: existing.and_then(|state| state.artifacts.clone()),
        created: existing.map_or_else(Timestamp::now, |state| state.created),
        lifetime: existing.map(|state| state.lifetime.clone()).unwrap_or_default(),
        spare: false,
        spec,
    }
}

/// Carries the plan out. Each half of what can be cut off is recorded before it begins.
async fn carry_out(
    app: &App,
    options: &StartOptions,
    choice: &Choice,
    plan: &mut Plan,
    state: &mut ClusterState,
    journal: &Journal,
) -> Result<Access> {
    let artifacts = artifacts(app, options, &state.spec).await?;
    state.artifacts = Some(artifacts.key.clone());
    journal.record(Made::State);
    remember(app, state)?;
    // Before the first machine: whoever kills this kcl leaves nothing.
    guard::follow(app, state).await?;
    choice.keep(app, &plan.cluster)?;
    let material = addons::material(app, &plan.cluster, &options.artifacts, &options.way, &choice.selected).await?;
    let pki = app.pki(&plan.cluster)?;
    let driver = drivers::driver(&state.spec, app.store.paths(), Some(&artifacts))?;
    let network = network(app, driver.as_ref(), plan, state, journal).await?;
    if state.api.is_none() {
        state.api = api_endpoint(driver.as_ref(), plan).await?;
        remember(app, state)?;
    }
    for orphan in &plan.orphans {
        driver.delete(&plan.cluster, orphan).await?;
    }
    let facts = addons::facts(app, state, driver.as_ref()).await?;
    let bootstrap = Bootstrap {
        addons: &choice.selected,
        material: &material,
        facts: &facts,
        driver: driver.as_ref(),
        artifacts: &artifacts,
        pki: &pki,
        plan,
        network: &network,
        journal,
        progress: &app.progress,
        wait: options.wait,
        wait_timeout: options.wait_timeout,
    };
    let access = bootstrap.run(state).await?;
    state.phase = Phase::Created;
    app.store.save(state)?;
    Ok(access)
}

/// Where the API is to be reached, if not by the address of its control plane: a port that is free now.
async fn api_endpoint(driver: &dyn Driver, plan: &Plan) -> Result<Option<ApiEndpoint>> {
    let Some(control_plane) = plan.control_planes().next() else { return Ok(None) };
    let Reach::Published { bind, at } = driver.capabilities(&plan.cluster, &control_plane.name).await?.reach else {
        return Ok(None);
    };
    // On another machine it may be taken all the same; the engine says so.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| {
        Error::new(Family::Host, format!("no free port for the API was found on {}: {error}", Ipv4Addr::LOCALHOST))
    })?;
    Ok(Some(ApiEndpoint { address: SocketAddr::new(at, port.port()), bind }))
}

/// Keeps the state of a run that may be cut off. What nodes are told from here on may differ from what they were told
/// before, so that is forgotten until the run is through: the start after a cut tells them anew.
fn remember(app: &App, state: &ClusterState) -> Result<()> {
    let mut kept = state.clone();
    kept.nodes.iter_mut().for_each(|node| node.configured = None);
    app.store.save(&kept)
}

/// Makes or mends the network. Where somebody took the subnet that was free when a new one was planned, plans again with
/// the one that is free now. That may be the same: who had it has gone meanwhile. Proposed again after a second refusal,
/// it is no race: the driver proposes what it does not take.
async fn network(
    app: &App,
    driver: &dyn Driver,
    plan: &mut Plan,
    state: &mut ClusterState,
    journal: &Journal,
) -> Result<Network> {
    if plan.new {
        journal.record(Made::Network);
    }
    let mut refused = None;
    loop {
        let wanted = NetworkSpec::new(plan.cluster.clone(), plan.subnet);
        let conflict = match driver.ensure_network(&wanted).await {
            Err(error) if error.kind == ErrorKind::Conflict && plan.new && state.spec.subnet.is_none() => error,
            result => return Ok(result?),
        };
        let free_subnet = driver.propose_subnet(&plan.cluster).await?;
        if free_subnet == plan.subnet && refused == Some(free_subnet) {
            return Err(conflict.into());
        }
        refused = Some(plan.subnet);
        let addresses = driver.addresses().await?;
        let observed = Observed { state: None, machines: Vec::new(), free_subnet, addresses };
        *plan = crate::plan::plan(&state.spec, &observed)?;
        let ClusterState { artifacts, lifetime, spare, .. } = state.clone();
        *state = ClusterState { artifacts, lifetime, spare, ..planned_state(plan, state.spec.clone(), None) };
        remember(app, state)?;
    }
}

async fn artifacts(app: &App, options: &StartOptions, spec: &ClusterSpec) -> Result<NodeArtifacts> {
    let artifacts = Artifacts::open(&app.store.paths().cache, options.artifacts.clone())?;
    let vm = drivers::wants_kernel(spec);
    let want = Want { way: options.way.clone(), vm, ..Want::cluster(&spec.kubernetes_version) };
    artifacts.ensure(&want, &app.progress).await
}

/// The way back: takes back what this run made, and tells the first cause. A cluster that was there `before` is
/// remembered as it was.
async fn undo(
    app: &App,
    lock: ClusterLock,
    journal: &Journal,
    state: &ClusterState,
    before: Option<ClusterState>,
    error: Error,
) -> Error {
    let cluster = &state.spec.name;
    if !journal.has(&Made::State) {
        return error;
    }
    app.progress.info("Taking back what was made");
    // Of what goes on later, a new cluster's state and network stay: with them goes what a driver keeps for it.
    let before = before.or_else(|| error.unfinished.then(|| state.clone()));
    let before = before.map(|before| untold(before, journal));
    let mut complaints = match drivers::driver_of(app, state) {
        Ok(driver) => journal.undo(driver.as_ref(), cluster, error.unfinished).await,
        Err(error) => vec![error.message],
    };
    let error =
        if error.unfinished { error.hint(format!("or remove all with: kcl delete -p {cluster}")) } else { error };
    if complaints.is_empty() {
        let done = match before {
            Some(before) => match app.store.save(&before) {
                Ok(()) => guard::follow(app, &before).await,
                Err(error) => Err(error),
            },
            None => delete::forget(app, lock).await,
        };
        complaints.extend(done.err().map(|error| error.message));
    }
    if complaints.is_empty() {
        return error;
    }
    let left = format!(
        "not all could be taken back ({}); remove the rest with: kcl delete -p {cluster}",
        complaints.join("; ")
    );
    error.hint(left)
}

/// The state with what this run told nodes forgotten: the next start tells them anew.
fn untold(mut state: ClusterState, journal: &Journal) -> ClusterState {
    for node in &mut state.nodes {
        if journal.has(&Made::Powered(node.name.clone())) || journal.has(&Made::Machine(node.name.clone())) {
            node.configured = None;
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::DriverKind;
    use kcl_driver_fake::FakeDriver;

    use super::*;
    use crate::progress::Progress;
    use crate::state::{Paths, Store};

    /// The network of a new cluster, where `refusals` begin the calls that end with a conflict.
    async fn made(refusals: &[&str]) -> (Result<Network>, FakeDriver) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths { home: home.path().to_owned(), cache: home.path().join("cache") };
        let app = App { store: Store::open(paths), progress: Progress::silent() };
        let driver = FakeDriver::new();
        for call in refusals {
            driver.fail_with(call, kcl_driver_api::Error::new(ErrorKind::Conflict, "eth9 has it"));
        }
        let spec = ClusterSpec { driver: Some(DriverKind::Fake), ..ClusterSpec::with_defaults("kcl") };
        let observed = observe(&app, &driver, &spec).await.unwrap();
        let mut plan = plan(&spec, &observed).unwrap();
        let mut state = planned_state(&plan, spec, None);
        let network = network(&app, &driver, &mut plan, &mut state, &Journal::default()).await;
        assert_eq!(plan.subnet, state.subnet);
        (network, driver)
    }

    #[tokio::test]
    async fn who_had_the_subnet_and_is_gone_is_no_reason_to_give_up() {
        let (network, driver) = made(&["ensure-network"]).await;
        assert_eq!(network.unwrap().subnet.to_string(), "10.89.0.0/24");
        assert_eq!(driver.calls(), ["ensure-network kcl 10.89.0.0/24"; 2]);
    }

    #[tokio::test]
    async fn a_driver_that_does_not_take_what_it_proposes_is_told_of() {
        let (network, driver) = made(&["ensure-network"; 3]).await;
        assert!(network.unwrap_err().to_string().contains("eth9 has it"));
        assert_eq!(driver.calls().len(), 2);
    }
}
