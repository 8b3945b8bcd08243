//! The steps of a start: they create a cluster, or whatever is missing of it.

mod network;
mod options;
mod planned;
mod preflight;
mod state;
mod target;
mod undo;
mod verb;

pub use self::options::{Context, Scope, StartOptions};
use self::target::Target;
pub use self::verb::start;
use super::background::{loopback, renewal};
use super::interrupt::interruptible_on;
use super::{addons, delete, drivers, kubectl};
use crate::app::App;
use crate::artifacts::{Artifacts, NodeArtifacts, Want};
use crate::bootstrap::{Bootstrap, Reached, Wait, read_manifests, resolvers};
use crate::config::{self, ClusterSpec, Overrides};
use crate::error::{Error, Result};
use crate::kubernetes::Access;
use crate::plan::{Journal, Plan};
use crate::state::{ClusterLock, ClusterState};

/// The result of a start.
pub struct Outcome {
    /// The plan: carried out, or only made.
    pub plan: Plan,
    /// The cluster; none after a dry run.
    pub state: Option<ClusterState>,
    /// The failures beside a cluster that runs.
    pub troubles: Vec<Error>,
}

impl Outcome {
    /// Returns the outcome, or the first failure for a caller who needs the whole cluster.
    pub fn whole(self) -> Result<Self> {
        match self.troubles.into_iter().next() {
            Some(trouble) => Err(trouble),
            None => Ok(Outcome { troubles: Vec::new(), ..self }),
        }
    }
}

/// Returns the plan of a start. A look waits for no other kcl and leaves nothing behind.
pub(super) async fn dry_run(app: &App, options: &StartOptions, source: &config::Source) -> Result<Outcome> {
    let plan = Target::find(app, options, source).await?.plan;
    Ok(Outcome { plan, state: None, troubles: Vec::new() })
}

/// Starts a cluster whose lock the caller holds. If that fails or the user interrupts it, everything that this run created is
/// removed again. What fails beside a cluster that runs is reported with the outcome, and the cluster stays.
pub(super) async fn locked(
    app: &App,
    options: &StartOptions,
    source: &config::Source,
    lock: ClusterLock,
) -> Result<(Outcome, ClusterLock)> {
    let target = Target::find(app, options, source).await?;
    let journal = Journal::default();
    let reached = interruptible_on(source.profile_name(), reconcile(app, options, &target, &lock, &journal)).await;
    let (state, Reached { access, troubles, .. }) = match reached {
        Ok(reached) => reached,
        Err(error) if options.keep => return Err(error),
        Err(error) => {
            let (error, lock) = undo::undo(app, lock, &journal, &target, error).await;
            return Err(match lock.filter(|_| journal.has_restarted()) {
                Some(lock) => resume(app, options, &lock, error).await,
                None => error,
            });
        }
    };
    // The cluster is whole: whatever fails from here on is no reason to remove it.
    if let Err(error) = loopback::follow(app, &state, target.driver.as_ref(), &target.addons.selected).await {
        app.progress.warn(error.to_string());
    }
    if let Err(error) = renewal::follow(app, &state) {
        app.progress.warn(error.to_string());
    }
    point_kubectl(app, &state.spec.name, &access, options.context)?;
    Ok((Outcome { plan: target.plan, state: Some(state), troubles }, lock))
}

/// Gives nodes that ran their earlier configuration again. Returns the error for the user.
async fn resume(app: &App, options: &StartOptions, lock: &ClusterLock, error: Error) -> Error {
    app.progress.info("Restarting nodes with their earlier configuration");
    let cluster = lock.cluster();
    let earlier = async {
        let overrides = Overrides { profile: Some(cluster.to_owned()), ..Overrides::default() };
        let options = StartOptions { overrides, wait: Wait::Nodes, ..options.clone() };
        let source = config::Source::read(&options.overrides)?;
        let target = Target::find(app, &options, &source).await?;
        reconcile(app, &options, &target, lock, &Journal::default()).await
    };
    match interruptible_on(cluster, Box::pin(earlier)).await {
        Ok(_) => error.hint("the cluster runs as before"),
        Err(again) => {
            app.progress.trouble(&again);
            error.hint(format!("bring the cluster back with: kcl start -p {cluster}"))
        }
    }
}

/// Brings a cluster from what is observed to what is planned. Each step takes values and returns values; everything it
/// creates is recorded in the journal before.
async fn reconcile(
    app: &App,
    options: &StartOptions,
    target: &Target,
    lock: &ClusterLock,
    journal: &Journal,
) -> Result<(ClusterState, Reached)> {
    // Everything that this host lacks is reported at once, before anything changes.
    preflight::check(app, target).await?;
    let manifests = read_manifests(&target.spec.manifests, target.before.is_some(), &app.progress)?;
    // Remains of an interrupted `delete` must not become part of the new cluster.
    delete::leftovers(app, target.driver.as_ref(), &target.plan, lock).await?;
    // Binaries, the root file system and images come from the cache, a bundle, a release or a build.
    let artifacts = ensure_artifacts(app, options, &target.spec).await?;
    let equipped = target.equip(app, &artifacts)?;
    let driver = equipped.as_deref().unwrap_or(target.driver.as_ref());
    // The state is on disk before the first machine exists, and the guard runs: a kcl that is killed loses nothing.
    let state = state::begin(app, options, target, &artifacts, journal).await?;
    // Addons need images, charts and manifests. A cluster that exists starts without them too.
    let material =
        addons::material(app, &state.spec.name, &options.artifacts, &options.way, &target.addons.selected).await;
    let (material, missing) = match material {
        Ok(material) => (Some(material), None),
        Err(error) if target.plan.new => return Err(error),
        Err(error) => (None, Some(error)),
    };
    // The network comes first. A new cluster whose subnet was taken meanwhile gets another one, and so another plan.
    let (plan, state, network) = network::ensure(app, driver, &target.plan, state, journal).await?;
    // Where this host reaches no machine by its address, the API gets a published port for the cluster's life.
    let state = network::publish_api(app, driver, state).await?;
    // Machines that are no node any more go, before others get their addresses.
    for leaving in &plan.leaving {
        driver.delete(&plan.cluster, &leaving.machine).await?;
    }
    target.clear_leaving(app).await?;
    let bootstrap = Bootstrap {
        driver,
        artifacts: &artifacts,
        pki: &app.pki(&plan.cluster)?,
        plan: &plan,
        state: &state,
        network: &network,
        resolvers: &resolvers::for_cluster(&state.spec),
        addons: &target.addons.selected,
        material: material.as_ref(),
        helm: &addons::helm(app, &options.artifacts, &options.way),
        facts: &addons::facts(app, &state, driver).await?,
        manifests: &manifests,
        journal,
        progress: &app.progress,
        wait: options.wait,
        wait_timeout: options.wait_timeout,
    };
    // The machines of each wave are created together, configured and powered on.
    let mut machines = bootstrap.machines().await?;
    // The API answers, the system manifests and addons are applied, nodes become ready.
    let mut reached = bootstrap.kubernetes(&mut machines).await?;
    reached.troubles.extend(missing);
    // From now on the cluster counts as whole.
    Ok((state::finish(app, &state, &plan, &machines, &artifacts, &reached.lost)?, reached))
}

async fn ensure_artifacts(app: &App, options: &StartOptions, spec: &ClusterSpec) -> Result<NodeArtifacts> {
    let artifacts = Artifacts::open(&app.store.paths().cache, options.artifacts.clone())?;
    let vm = drivers::wants_kernel(spec);
    let want = Want { way: options.way.clone(), vm, ..Want::cluster(&spec.kubernetes_version) };
    artifacts.ensure(&want, &app.progress).await
}

/// Points kubectl at the cluster.
fn point_kubectl(app: &App, name: &str, access: &Access, context: Context) -> Result<()> {
    if context == Context::Absent {
        return Ok(());
    }
    kubectl::point_kubectl(app, name, access, context == Context::Kept).map(drop).map_err(|error| {
        let hint =
            format!("cluster \"{name}\" runs; once this is fixed, point kubectl at it: kcl update-context -p {name}");
        error.hint(hint).hint(format!("until then: kcl kubectl -p {name} -- get nodes"))
    })
}
