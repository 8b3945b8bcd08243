//! The addons of a cluster: the selection that it should have, and the verbs that change it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use kcl_driver_api::{Driver, Machine, Power};
use serde::Serialize;
use tokio::time::Instant;

use super::background::loopback;
use super::drivers;
use super::interrupt::interruptible;
use super::service::{ServiceRow, service};
use crate::addons::{
    self, Addon, Available, BUILT_IN, Certificates, Enabling, Facts, Material, Pair, Record, Selected, Value,
    ValueSchema,
};
use crate::app::App;
use crate::artifacts::{self, Artifacts, Way};
use crate::config::{ClusterSpec, enable_addon};
use crate::error::{Error, Family, Result};
use crate::kubernetes;
use crate::plan::addresses;
use crate::state::ClusterState;

/// The status of an addon that is enabled in a cluster.
pub const ENABLED: &str = "enabled";

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

/// A row of `kcl addons list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddonRow {
    /// The name of the addon.
    #[serde(skip)]
    pub name: String,
    /// The name of the cluster.
    pub profile: String,
    /// The status of the addon: `enabled` or `disabled`.
    pub status: &'static str,
    /// The version of the addon's software.
    pub version: String,
    /// The purpose of the addon, in a few words.
    pub title: String,
    /// The origin of the addon: `built-in`, or the source of the user's own addon.
    pub origin: String,
    /// The addons that this one needs.
    pub needs: Vec<String>,
}

/// The details of one addon.
pub struct AddonInfo {
    /// The addon itself.
    pub addon: Addon,
    /// The addon is enabled in the cluster.
    pub enabled: bool,
    /// The values of the addon by name, each with its schema.
    pub values: BTreeMap<String, (Value, ValueSchema)>,
    /// The references of the addon's images.
    pub images: Vec<String>,
}

/// The addons that a cluster should have, chosen once for a start or a change.
pub(super) struct Choice {
    available: Available,
    /// The chosen addons, each after those that it needs.
    pub selected: Vec<Selected>,
}

impl Choice {
    /// Reads the user's own addons that `spec` names, pulls those in registries, and validates the user's configuration
    /// of addons. Changes nothing.
    pub(super) async fn make(app: &App, spec: &ClusterSpec) -> Result<Choice> {
        let available = Available::with_sources(&app.addon_copies(&spec.name), &spec.addons).await?;
        let selected = available.select(&spec.addons, &spec.kubernetes_version)?;
        Ok(Choice { available, selected })
    }

    /// Copies the user's own addons that were named in this run into the cluster's files.
    pub(super) fn keep(&self, app: &App, cluster: &str) -> Result<()> {
        self.available.keep(&app.addon_copies(cluster))
    }
}

/// Fetches what the addons consist of: images that nodes do not have from the start, manifests from artifacts, and
/// charts.
pub(super) async fn material(
    app: &App,
    cluster: &str,
    options: &artifacts::Options,
    way: &Way,
    selected: &[Selected],
) -> Result<Material> {
    let mut names = Vec::new();
    for one in selected {
        names.extend(one.addon.catalog_images()?.into_iter().filter(|image| !image.system).map(|image| image.name));
    }
    let wanted = selected.iter().flat_map(|one| &one.addon.description.artifact_manifests);
    let mut sources: Vec<String> = wanted.map(|manifest| manifest.artifact.clone()).collect();
    sources.dedup();
    let with_chart = selected.iter().any(|one| one.addon.description.chart.is_some());
    if names.is_empty() && sources.is_empty() && !with_chart {
        return Ok(Material::default());
    }
    let artifacts = Artifacts::open(&app.store.paths().cache, options.clone())?;
    let images = if names.is_empty() { Vec::new() } else { artifacts.images(&names, way, &app.progress).await? };
    let places = if sources.is_empty() { Vec::new() } else { artifacts.fetch(&sources, way, &app.progress).await? };
    let places: BTreeMap<_, _> = sources.iter().zip(places).collect();
    let of = |one: &Selected| {
        let manifests = one.addon.description.artifact_manifests.iter();
        manifests.filter_map(|manifest| Some(places.get(&manifest.artifact)?.join(&manifest.path))).collect()
    };
    let helm = if with_chart { Some(artifacts.tool("helm", "helm", way, &app.progress).await?) } else { None };
    let manifests = selected.iter().map(|one| (one.addon.name.clone(), of(one))).collect();
    let mut charts = BTreeMap::new();
    for one in selected {
        if let Some(source) = one.addon.description.chart.as_ref().and_then(|chart| chart.source.as_deref()) {
            let kept = addons::kept_chart(&app.store.paths().cluster(cluster), source).await?;
            charts.insert(one.addon.name.clone(), kept);
        }
    }
    Ok(Material { images, manifests, helm, charts })
}

/// Returns the names of the catalog images that these addons of kcl use; "all" stands for all addons.
pub fn addon_images(names: &[String]) -> Result<Vec<String>> {
    let available = Available::built_in()?;
    let mut images = Vec::new();
    for name in names {
        let these: Vec<&Addon> = match name.as_str() {
            "all" => available.iter().collect(),
            name => vec![available.find(name)?],
        };
        for addon in these {
            images.extend(addon.catalog_images()?.into_iter().map(|image| image.name));
        }
    }
    images.sort();
    images.dedup();
    Ok(images)
}

/// Returns the facts about a cluster that templates may use.
pub(super) async fn facts(app: &App, state: &ClusterState, driver: &dyn Driver) -> Result<Facts> {
    let spec = &state.spec;
    // Machines that already have addresses are on a network that is not kcl's, so kcl must not allocate from it.
    let pool = match driver.addresses().await?.is_empty() {
        true => addresses::load_balancer_pool(state.subnet),
        false => None,
    };
    let text = |(first, last): (Ipv4Addr, Ipv4Addr)| format!("{first}-{last}");
    let (authority, expiration) = (app.pki(&spec.name)?, spec.cert_expiration);
    let certificate = move |name: &str, names: &[String]| {
        let (cert, key) = authority.server_certificate(name, names, expiration, Timestamp::now())?;
        let (ca, _) = authority.services_ca(Timestamp::now())?;
        Ok(Pair { cert, key, ca })
    };
    Ok(Facts {
        name: spec.name.clone(),
        dns_domain: spec.dns_domain.clone(),
        subnet: state.subnet,
        pod_cidr: spec.pod_cidr,
        service_cidr: spec.service_cidr,
        cluster_dns: addresses::cluster_dns(spec).primary().to_string(),
        load_balancer_pool: pool.map(text),
        nodes: state.nodes.iter().map(|node| node.name.clone()).collect(),
        certificates: Certificates(Arc::new(certificate)),
    })
}

/// Returns all addons with their status in a cluster, which need not exist.
pub fn addons(app: &App, cluster: &str) -> Result<Vec<AddonRow>> {
    let state = app.store.load(cluster)?;
    let available = Available::with_copies(&app.addon_copies(cluster))?;
    let enabled = match state {
        Some(ClusterState { spec, .. }) => available.select(&spec.addons, &spec.kubernetes_version)?,
        None => Vec::new(),
    };
    let row = |addon: &Addon| AddonRow {
        profile: cluster.to_owned(),
        status: if enabled.iter().any(|one| one.addon.name == addon.name) { ENABLED } else { "disabled" },
        version: addon.description.version.clone(),
        title: addon.description.title.clone(),
        needs: addon.description.needs.clone(),
        origin: addon.origin.clone(),
        name: addon.name.clone(),
    };
    Ok(available.iter().map(row).collect())
}

/// Returns the details of one addon.
pub fn info(app: &App, cluster: &str, name: &str) -> Result<AddonInfo> {
    let state = app.store.load(cluster)?;
    let spec = state.map_or_else(|| ClusterSpec::with_defaults(cluster), |state| state.spec);
    let available = Available::with_copies(&app.addon_copies(cluster))?;
    let addon = available.find(name)?.clone();
    let selected = available.select(&spec.addons, &spec.kubernetes_version)?;
    let enabled = selected.iter().any(|one| one.addon.name == name);
    let said = spec.addons.get(name).map(|config| config.values.clone()).unwrap_or_default();
    let value = |(name, schema): (&String, &ValueSchema)| {
        let value = said.get(name).unwrap_or(&schema.default).clone();
        (name.clone(), (value, schema.clone()))
    };
    let values = addon.description.values.iter().map(value).collect();
    let images = addon.references()?.into_values().collect();
    Ok(AddonInfo { addon, enabled, values, images })
}

/// Returns the Service that serves an addon's page.
///
/// # Errors
/// `NotFound` if the addon has no page or is not enabled; otherwise those of [`service`].
pub async fn addon_page(app: &App, cluster: &str, name: &str) -> Result<ServiceRow> {
    app.existing(cluster)?;
    let info = info(app, cluster, name)?;
    if !info.enabled {
        return Err(Error::new(Family::NotFound, format!("the addon {name} is not enabled"))
            .hint(format!("enable it with: kcl addons enable {name}")));
    }
    let Some(page) = info.addon.description.open else {
        return Err(Error::new(Family::NotFound, format!("the addon {name} has no page"))
            .hint("see what it made with: kcl dashboard"));
    };
    service(app, cluster, &page.namespace, &page.service, false).await
}

/// Enables addons: by name, or a user's own by its folder or archive. Returns true if the cluster runs; a stopped
/// cluster gets them at its next start.
pub async fn enable(app: &App, cluster: &str, words: &[String], options: &AddonOptions) -> Result<bool> {
    let _lock = app.lock(cluster).await?;
    let mut state = app.existing(cluster)?;
    let names: Vec<String> =
        words.iter().map(|word| enable_addon(&mut state.spec.addons, word)).collect::<Result<_>>()?;
    let choice = Choice::make(app, &state.spec).await?;
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
    let mut state = app.existing(cluster)?;
    let config = state.spec.addons.entry(name.to_owned()).or_default();
    for (key, value) in values {
        match value {
            Some(value) => config.values.insert(key, value),
            None => config.values.remove(&key),
        };
    }
    let choice = Choice::make(app, &state.spec).await?;
    let enabled = choice.selected.iter().any(|one| one.addon.name == name);
    let names = if enabled { vec![name.to_owned()] } else { Vec::new() };
    change(app, &state, &choice, &names, options).await
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
        let of_these: Vec<Selected> = wanted.iter().filter(|one| these.contains(&one.addon.name)).cloned().collect();
        let material = material(app, &state.spec.name, &options.artifacts, &options.way, &of_these).await?;
        if !material.images.is_empty() {
            let step = app.progress.step("images", "Sending images to the nodes");
            let sent = addons::ensure_images(machines, &material.images, &step).await?;
            step.finish(format!("Images are in the nodes ({sent} sent)"));
        }
        let client = kubernetes::connect(&app.access(state)?)?;
        let facts = facts(app, state, driver.as_ref()).await?;
        let until = Instant::now() + options.wait_timeout;
        let progress = &app.progress;
        let enabling =
            Enabling { client: &client, selected: wanted, facts: &facts, material: &material, progress, until };
        match tokio::time::timeout_at(until, enabling.enable(&these)).await {
            Ok(result) => result,
            Err(_) => Err(enabling.timed_out(&these, options.wait_timeout.as_secs()).await),
        }
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
        return Err(Error::new(Family::Usage, message)
            .hint(format!("start it with: kcl start -p {cluster}"))
            .hint("or disable without --data: what users have stored stays"));
    }
    app.store.save(&state)?;
    if runs {
        let client = kubernetes::connect(&app.access(&state)?)?;
        let work = async {
            let records = addons::records(&client).await?;
            // Dependents are removed before their dependencies; an addon that was disabled earlier may have data left.
            let enabled: Vec<&String> = before.iter().rev().map(|one| &one.addon.name).collect();
            let order = enabled.iter().copied().chain(names.iter().filter(|name| !enabled.contains(name)));
            for name in order.filter(|name| names.contains(name)) {
                if let Some(record) = records.get(name) {
                    let step = app.progress.step("addons", format!("Removing {name}"));
                    remove(&client, record, data, options).await?;
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

async fn remove(client: &kube::Client, record: &Record, data: bool, options: &AddonOptions) -> Result<()> {
    let name = &record.addon;
    tokio::time::timeout(options.wait_timeout, addons::remove(client, record, data)).await.unwrap_or_else(|_| {
        let seconds = options.wait_timeout.as_secs();
        let message = format!("the addon {name} was not gone within {seconds} s (--wait-timeout)");
        Err(Error::new(Family::Timeout, message)
            .hint(format!("see what is left with: kcl kubectl -- get all -A -l {}={name}", addons::LABEL))
            .hint(format!("go on with: kcl addons disable {name}")))
    })
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
