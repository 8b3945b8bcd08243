//! `start`: makes a cluster, or what is missing of it.

use std::time::Duration;

use jiff::Timestamp;
use kcl_driver_api::{Driver, Finding, PreflightRequest, Severity};

use super::kubectl::{kubeconfig_entry, pki};
use super::{Action, App, Journal, Made, Plan, delete, drivers, interruptible, observe, plan};
use crate::artifacts::{self, Artifacts, NodeArtifacts, Want};
use crate::bootstrap::{self, Bootstrap, Wait};
use crate::config::{self, ClusterSpec, Overrides};
use crate::error::{Error, Family, Result};
use crate::kubeconfig::Kubeconfig;
use crate::state::{ClusterLock, ClusterState, NodeRecord, Phase, SCHEMA};

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
    /// What a failed start made is left for a look.
    pub keep: bool,
    /// The kubeconfig's current context is left as it is.
    pub keep_context: bool,
    /// Only the plan is made.
    pub dry_run: bool,
}

/// What became of it.
pub struct Outcome {
    /// What was, or is to be, done.
    pub plan: Plan,
    /// The cluster; none after a dry run.
    pub state: Option<ClusterState>,
    /// The kubeconfig that has the cluster now; none after a dry run.
    pub kubeconfig: Option<std::path::PathBuf>,
}

/// Makes a cluster, or what is missing of it.
pub async fn start(app: &App, options: &StartOptions) -> Result<Outcome> {
    let name = config::profile_name(&options.overrides)?;
    let mut lock = app.lock(&name).await?;
    let existing = app.store.load(&name)?.filter(|state| state.phase != Phase::Deleting);
    // A subnet that was found free is the cluster's own from then on.
    let existing = existing.map(|state| ClusterSpec { subnet: Some(state.subnet), ..state.spec });
    let mut spec = config::resolve(&options.overrides, existing.as_ref())?;
    spec.kubernetes_version = artifacts::catalog::CATALOG.kubernetes_version(&spec.kubernetes_version)?;
    let cached = observe::cached(app, &spec)?;
    let driver = drivers::driver(spec.driver, app.store.paths(), cached.as_ref())?;
    let observed = observe::observe(app, driver.as_ref(), &spec).await?;
    let plan = plan(&spec, &observed)?;
    if options.dry_run {
        return Ok(Outcome { plan, state: None, kubeconfig: None });
    }
    preflight(app, driver.as_ref(), &plan, &spec).await?;
    let leftovers = plan.new && app.store.paths().cluster(&name).exists();
    if leftovers {
        // A delete that was cut off: what is left of it must not be taken for a part of the new cluster.
        delete::remove(app, driver.as_ref(), &name).await?;
        app.store.remove(lock)?;
        lock = app.lock(&name).await?;
    }
    let journal = Journal::default();
    let mut state = planned_state(&plan, spec, observed.state.filter(|_| !plan.new));
    let result = interruptible(carry_out(app, options, &plan, &mut state, &journal)).await;
    let result = match result {
        Ok(kubeconfig) => Ok(Outcome { plan, state: Some(state), kubeconfig: Some(kubeconfig) }),
        Err(error) if options.keep => Err(error),
        Err(error) => return Err(undo(app, lock, &journal, &state, plan.new, error).await),
    };
    drop(lock);
    result
}

/// Everything that stands in the way, in one report, before anything is changed.
async fn preflight(app: &App, driver: &dyn Driver, plan: &Plan, spec: &ClusterSpec) -> Result<()> {
    if plan.to_start() == 0 {
        return Ok(());
    }
    let starting = plan.nodes.iter().filter(|node| node.action != Action::Keep).map(|node| node.role);
    let request = PreflightRequest {
        cluster: plan.cluster.clone(),
        machines: plan.to_start(),
        inotify_instances: bootstrap::inotify_instances(starting),
        subnet: Some(plan.subnet),
        cpus: spec.nodes.iter().filter_map(|node| node.cpus).max(),
        memory: spec.nodes.iter().filter_map(|node| node.memory).max(),
    };
    let findings = driver.preflight(&request).await?;
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
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

fn told(finding: &Finding) -> String {
    match &finding.fix {
        Some(fix) => format!("{}\n      mend it with: {fix}", finding.message),
        None => finding.message.clone(),
    }
}

/// The state as it is once the plan is carried out.
fn planned_state(plan: &Plan, spec: ClusterSpec, existing: Option<ClusterState>) -> ClusterState {
    let configured = |name: &str| {
        let nodes = existing.iter().flat_map(|state| &state.nodes);
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
        phase: existing.as_ref().map_or(Phase::Creating, |state| state.phase),
        artifacts: existing.as_ref().and_then(|state| state.artifacts.clone()),
        created: existing.as_ref().map_or_else(Timestamp::now, |state| state.created),
        spec,
    }
}

/// Carries the plan out. Each half of what can be cut off is recorded before it begins.
async fn carry_out(
    app: &App,
    options: &StartOptions,
    plan: &Plan,
    state: &mut ClusterState,
    journal: &Journal,
) -> Result<std::path::PathBuf> {
    let artifacts = artifacts(app, options, &state.spec).await?;
    state.artifacts = Some(artifacts.key.clone());
    journal.record(Made::State);
    app.store.save(state)?;
    let pki = pki(app, &plan.cluster)?;
    let driver = drivers::driver(state.spec.driver, app.store.paths(), Some(&artifacts))?;
    for orphan in &plan.orphans {
        driver.delete(&plan.cluster, orphan).await?;
    }
    let bootstrap = Bootstrap {
        driver: driver.as_ref(),
        artifacts: &artifacts,
        pki: &pki,
        plan,
        journal,
        progress: &app.progress,
        wait: options.wait,
        wait_timeout: options.wait_timeout,
    };
    let access = bootstrap.run(state).await?;
    state.phase = Phase::Created;
    app.store.save(state)?;
    Kubeconfig::from_env()?.merge(&kubeconfig_entry(&plan.cluster, &access), options.keep_context)
}

async fn artifacts(app: &App, options: &StartOptions, spec: &ClusterSpec) -> Result<NodeArtifacts> {
    let artifacts = Artifacts::open(&app.store.paths().cache, options.artifacts.clone())?;
    let want = Want { way: options.way.clone(), ..Want::cluster(&spec.kubernetes_version) };
    artifacts.ensure(&want, &app.progress).await
}

/// The way back: takes back what this run made, and tells the first cause.
async fn undo(app: &App, lock: ClusterLock, journal: &Journal, state: &ClusterState, new: bool, error: Error) -> Error {
    let cluster = &state.spec.name;
    if !journal.has(&Made::State) {
        return error;
    }
    app.progress.info("Taking back what was made");
    let mut complaints = match observe::driver_of(app, state) {
        Ok(driver) => journal.undo(driver.as_ref(), cluster).await,
        Err(error) => vec![error.message],
    };
    if new && complaints.is_empty() {
        complaints.extend(app.store.remove(lock).err().map(|error| error.message));
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
