//! `start`: creates a cluster, or whatever is missing of it.

mod network;
mod options;
mod preflight;
mod state;
mod target;
mod undo;

pub use self::options::{Context, StartOptions};
use self::target::Target;
use super::background::loopback;
use super::interrupt::interruptible_on;
use super::{addons, delete, drivers, kubectl, lifetime};
use crate::app::App;
use crate::artifacts::{Artifacts, NodeArtifacts, Want};
use crate::bootstrap::{Bootstrap, read_manifests, resolvers};
use crate::config::{self, ClusterSpec};
use crate::error::Result;
use crate::kubernetes::Access;
use crate::plan::{Journal, Plan};
use crate::state::{ClusterLock, ClusterState};

/// The result of a start.
pub struct Outcome {
    /// The plan: carried out, or only made.
    pub plan: Plan,
    /// The cluster; none after a dry run.
    pub state: Option<ClusterState>,
}

/// Creates a cluster, or whatever is missing of it. If that fails or the user interrupts it, everything that this run
/// created is removed again.
///
/// # Errors
/// See [`crate::error::Family`]; the cluster is as it was before, or the hints say what is left.
pub async fn start(app: &App, options: &StartOptions) -> Result<Outcome> {
    let source = config::Source::read(&options.overrides)?;
    if options.dry_run {
        // A look waits for no other kcl and leaves nothing behind.
        let plan = Target::find(app, options, &source).await?.plan;
        return Ok(Outcome { plan, state: None });
    }
    lifetime::sweep(app).await;
    let lock = app.lock(source.profile_name()).await?;
    let target = Target::find(app, options, &source).await?;
    let journal = Journal::default();
    let reached = interruptible_on(source.profile_name(), reconcile(app, options, &target, &lock, &journal)).await;
    let (state, access) = match reached {
        Ok(reached) => reached,
        Err(error) if options.keep => return Err(error),
        Err(error) => return Err(undo::undo(app, lock, &journal, &target, error).await),
    };
    // The cluster is whole: whatever fails from here on is no reason to remove it.
    if let Err(error) = loopback::follow(app, &state, target.driver.as_ref(), &target.addons.selected).await {
        app.progress.warn(error.to_string());
    }
    point_kubectl(app, &state.spec.name, &access, options.context)?;
    Ok(Outcome { plan: target.plan, state: Some(state) })
}

/// Brings a cluster from what is observed to what is planned. Each step takes values and returns values; everything it
/// creates is recorded in the journal before.
async fn reconcile(
    app: &App,
    options: &StartOptions,
    target: &Target,
    lock: &ClusterLock,
    journal: &Journal,
) -> Result<(ClusterState, Access)> {
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
    // Addons need images, charts and manifests.
    let material =
        addons::material(app, &state.spec.name, &options.artifacts, &options.way, &target.addons.selected).await?;
    // The network comes first. A new cluster whose subnet was taken meanwhile gets another one, and so another plan.
    let (plan, state, network) = network::ensure(app, driver, &target.plan, state, journal).await?;
    // Where this host reaches no machine by its address, the API gets a published port for the cluster's life.
    let state = network::publish_api(app, driver, state).await?;
    // Machines that are no node any more go, before others get their addresses.
    for leaving in &plan.leaving {
        driver.delete(&plan.cluster, &leaving.machine).await?;
    }
    let bootstrap = Bootstrap {
        driver,
        artifacts: &artifacts,
        pki: &app.pki(&plan.cluster)?,
        plan: &plan,
        state: &state,
        network: &network,
        resolvers: &resolvers::for_cluster(&state.spec),
        addons: &target.addons.selected,
        material: &material,
        facts: &addons::facts(app, &state, driver).await?,
        manifests: &manifests,
        journal,
        progress: &app.progress,
        wait: options.wait,
        wait_timeout: options.wait_timeout,
    };
    // The machines of each wave are created together, configured and powered on.
    let machines = bootstrap.machines().await?;
    // The API answers, the system manifests and addons are applied, nodes become ready.
    let access = bootstrap.kubernetes(&machines).await?;
    // From now on the cluster counts as whole.
    Ok((state::finish(app, &state, &machines, &artifacts)?, access))
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
