//! The verbs that change the addons of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use kcl_driver_api::{Driver, Machine, Power};
use tokio::time::{Instant, timeout_at};

use super::Choice;
use super::material::{facts, helm, material};
use crate::addon_config::enable_addon;
use crate::addons::{self, Available, BUILT_IN, Enabling, Material, Record, Selected, Value};
use crate::app::App;
use crate::artifacts::{self, Way};
use crate::cluster::background::loopback;
use crate::cluster::drivers;
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::ClusterState;

/// The options of a change of addons.
#[derive(Clone, Debug)]
pub struct AddonOptions {
    /// The sources of artifacts.
    pub artifacts: artifacts::Options,
    /// The way in which missing artifacts are obtained.
    pub way: Way,
    /// The longest time to wait until addons are ready, or removed.
    pub wait_timeout: Duration,
}

/// Enables addons: by name, or a user's own by its folder or archive. Returns true if the cluster runs; a stopped
/// cluster gets them at its next start.
pub async fn enable(app: &App, cluster: &str, words: &[String], options: &AddonOptions) -> Result<bool> {
    let _lock = app.lock(cluster).await?;
    let before = app.existing(cluster)?;
    let mut state = before.clone();
    let names: Vec<String> =
        words.iter().map(|word| enable_addon(&mut state.spec.addons, word)).collect::<Result<_>>()?;
    let choice = Choice::make(app, &mut state.spec, Some(&before.spec)).await?;
    change(app, &state, &choice, &names, options).await
}

/// Changes values of an addon; `None` restores the default. An enabled addon of a running cluster takes them over at
/// once.
pub async fn configure(
    app: &App,
    cluster: &str,
    name: &str,
    values: BTreeMap<String, Option<Value>>,
    options: &AddonOptions,
) -> Result<bool> {
    let _lock = app.lock(cluster).await?;
    let mut before = app.existing(cluster)?;
    let mut state = before.clone();
    let config = state.spec.addons.entry(name.to_owned()).or_default();
    for (key, value) in values {
        match value {
            Some(value) => config.values.insert(key, value),
            None => config.values.remove(&key),
        };
    }
    let choice = Choice::make(app, &mut state.spec, Some(&before.spec)).await?;
    let enabled = choice.selected.iter().any(|one| one.addon.name == name);
    let names = if enabled { vec![name.to_owned()] } else { Vec::new() };
    match change(app, &state, &choice, &names, options).await {
        Err(error) if enabled && error.id != Id::Interrupted => {
            app.progress.info(format!("Restoring the earlier values of {name}"));
            let given = before.spec.clone();
            let earlier = Choice::make(app, &mut before.spec, Some(&given)).await?;
            Err(match change(app, &before, &earlier, &names, options).await {
                Ok(_) => error.hint("the earlier values apply again"),
                Err(again) => error.hint(format!("the earlier values are back, but: {again}")),
            })
        }
        result => result,
    }
}

/// Applies the enabled addons again that have certificates of servers, so that these are issued again if they have to be.
pub(crate) async fn renew_servers(app: &App, cluster: &str, options: &AddonOptions) -> Result<()> {
    let _lock = app.lock(cluster).await?;
    let mut state = app.existing(cluster)?;
    let before = state.spec.clone();
    let choice = Choice::make(app, &mut state.spec, Some(&before)).await?;
    let with_servers = |one: &&Selected| one.addon.templates.values().any(|text| text.contains("certificate("));
    let names: Vec<String> = choice.selected.iter().filter(with_servers).map(|one| one.addon.name.clone()).collect();
    change(app, &state, &choice, &names, options).await.map(drop)
}

/// Saves the choice and, if the cluster runs, applies the addons called `names` and those that they need.
async fn change(
    app: &App,
    state: &ClusterState,
    choice: &Choice,
    names: &[String],
    options: &AddonOptions,
) -> Result<bool> {
    let wanted = &choice.selected;
    choice.keep(app, &state.spec.name)?;
    app.store.save(state)?;
    let driver = drivers::driver_of(app, state)?;
    let machines = running(driver.as_ref(), state).await?;
    if machines.is_empty() || names.is_empty() {
        return Ok(!machines.is_empty());
    }
    let mut these = names.to_vec();
    for one in wanted.iter().rev() {
        if these.contains(&one.addon.name) {
            these.extend(one.addon.description.needs.iter().cloned());
        }
    }
    let work = async {
        let access = app.access(state)?;
        let client = kubernetes::connect(&access)?;
        let of_these: Vec<Selected> = wanted.iter().filter(|one| these.contains(&one.addon.name)).cloned().collect();
        let material = material(app, &state.spec.name, &options.artifacts, &options.way, &of_these).await?;
        if !material.images.is_empty() {
            let step = app.progress.step("images", "Sending images to the nodes");
            let nodes = machines.iter().filter_map(|machine| node_of(state, machine.name())).collect::<Vec<_>>();
            let sent = addons::ensure_images(machines, &material.images, &step).await?;
            addons::mark_nodes(&client, &nodes, &of_these).await?;
            step.finish(format!("Images are in the nodes ({sent} sent)"));
        }
        let enabling = Enabling {
            client: &client,
            access: &access,
            selected: wanted,
            facts: &facts(app, state, driver.as_ref()).await?,
            material: &material,
            helm: &helm(app, &options.artifacts, &options.way),
            progress: &app.progress,
            until: Instant::now() + options.wait_timeout,
        };
        let mut failed = match timeout_at(enabling.until, enabling.enable(&these)).await {
            Ok(failed) => failed,
            Err(_) => vec![enabling.timed_out(&these, options.wait_timeout.as_secs()).await],
        };
        let last = failed.pop();
        failed.iter().for_each(|error| app.progress.trouble(error));
        last.map_or(Ok(()), Err)
    };
    interruptible(work).await?;
    loopback::follow(app, state, driver.as_ref(), wanted).await?;
    Ok(true)
}

/// Disables addons: removes everything that they created, with `data` also the users' data. Returns true if the cluster
/// runs; a stopped cluster loses them at its next start.
pub async fn disable(app: &App, cluster: &str, names: &[String], data: bool, options: &AddonOptions) -> Result<bool> {
    let _lock = app.lock(cluster).await?;
    let mut state = app.existing(cluster)?;
    let copies = app.addon_copies(cluster);
    let available = Available::with_copies(&copies)?;
    let before = available.select(&state.spec.addons, &state.spec.kubernetes_version)?;
    let mut own = Vec::new();
    for name in names {
        own.extend(Some(available.find(name)?).filter(|addon| addon.origin != BUILT_IN));
        state.spec.addons.entry(name.clone()).or_default().enabled = Some(false);
    }
    let after = available.select(&state.spec.addons, &state.spec.kubernetes_version)?;
    let driver = drivers::driver_of(app, &state)?;
    let runs = !running(driver.as_ref(), &state).await?.is_empty();
    if data && !runs {
        let message =
            format!("cluster \"{cluster}\" does not run, so the data of {} cannot be removed", names.join(", "));
        return Err(Error::new(Id::AddonDataUnreachable, message)
            .hint(format!("start it with: kcl start -p {cluster}"))
            .hint("or disable without --data: what users have stored stays"));
    }
    app.store.save(&state)?;
    if runs {
        let access = app.access(&state)?;
        let client = kubernetes::connect(&access)?;
        let helm = helm(app, &options.artifacts, &options.way);
        let enabling = Enabling {
            client: &client,
            access: &access,
            selected: &after,
            facts: &facts(app, &state, driver.as_ref()).await?,
            material: &Material::default(),
            helm: &helm,
            progress: &app.progress,
            until: Instant::now() + options.wait_timeout,
        };
        let work = async {
            let records = addons::records(&client).await?;
            // Dependents are removed before their dependencies; an addon that was disabled earlier may have data left.
            let enabled: Vec<&String> = before.iter().rev().map(|one| &one.addon.name).collect();
            let order = enabled.iter().copied().chain(names.iter().filter(|name| !enabled.contains(name)));
            for name in order.filter(|name| names.contains(name)) {
                if let Some(record) = records.get(name) {
                    let step = app.progress.step("addons", format!("Removing {name}"));
                    remove(&enabling, record, data, options.wait_timeout).await?;
                    step.finish(format!("{name} is removed"));
                }
            }
            Ok(())
        };
        interruptible(work).await?;
        loopback::follow(app, &state, driver.as_ref(), &after).await?;
    }
    for addon in own {
        state.spec.addons.remove(&addon.name);
        app.store.save(&state)?;
        addons::forget(&copies, &addon.name)?;
    }
    Ok(runs)
}

async fn remove(enabling: &Enabling<'_>, record: &Record, data: bool, limit: Duration) -> Result<()> {
    let name = &record.addon;
    tokio::time::timeout(limit, enabling.remove(record, data)).await.unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        let message = format!("the addon {name} was not gone within {seconds} s (--wait-timeout)");
        Err(Error::new(Id::AddonNotRemoved, message)
            .hint(format!("see what is left with: kcl kubectl -- get all -A -l {}={name}", addons::LABEL))
            .hint(format!("go on with: kcl addons disable {name}")))
    })
}

/// Returns the name of the node of a machine.
fn node_of(state: &ClusterState, machine: &str) -> Option<String> {
    state.nodes.iter().find(|node| node.machine == machine).map(|node| node.name.clone())
}

/// Returns the running machines of a cluster's nodes, or none if no control plane runs.
async fn running(driver: &dyn Driver, state: &ClusterState) -> Result<Vec<Box<dyn Machine>>> {
    let list = driver.list(Some(&state.spec.name)).await?;
    let runs = |name: &str| list.iter().any(|machine| machine.name == name && machine.power == Power::Running);
    if !state.control_planes().any(|node| runs(&node.machine)) {
        return Ok(Vec::new());
    }
    let nodes = state.nodes.iter().filter(|node| runs(&node.machine));
    Ok(try_join_all(nodes.map(|node| driver.machine(&state.spec.name, &node.machine))).await?)
}
