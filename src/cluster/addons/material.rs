//! The material of addons: artifacts, charts, Helm, and facts about the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use kcl_driver_api::Driver;

use crate::addons::{self, Addon, Available, Certificates, Facts, Helm, Material, Pair, Selected};
use crate::app::App;
use crate::artifacts::{self, Artifacts, Way};
use crate::config::ClusterSpec;
use crate::error::Result;
use crate::plan::addresses;
use crate::state::ClusterState;

/// Fetches what the addons consist of: images that nodes do not have from the start, manifests from artifacts, and
/// charts.
pub(crate) async fn material(
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
    if with_chart {
        // Before anything is changed, as it may have to be built.
        helm(app, options, way).program().await?;
    }
    let manifests = selected.iter().map(|one| (one.addon.name.clone(), of(one))).collect();
    let mut charts = BTreeMap::new();
    for one in selected {
        if let Some(source) = one.addon.description.chart.as_ref().and_then(|chart| chart.source.as_deref()) {
            let kept = addons::kept_chart(&app.store.paths().cluster(cluster), source).await?;
            charts.insert(one.addon.name.clone(), kept);
        }
    }
    Ok(Material { images, manifests, charts })
}

/// Returns the Helm that installs the charts of addons.
pub(crate) fn helm(app: &App, options: &artifacts::Options, way: &Way) -> Helm {
    let (cache, options, way) = (app.store.paths().cache.clone(), options.clone(), way.clone());
    let progress = app.progress.clone();
    Helm::new(move || {
        let (cache, options, way, progress) = (cache.clone(), options.clone(), way.clone(), progress.clone());
        async move { Artifacts::open(&cache, options)?.tool("helm", "helm", &way, &progress).await }.boxed()
    })
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

/// Returns facts to render templates with where there may be no cluster: what is not known yet is made up.
pub(super) fn assumed_facts(spec: &ClusterSpec, state: Option<&ClusterState>) -> Facts {
    let subnet = state.map(|state| state.subnet).or(spec.subnet).unwrap_or(spec.pod_cidr);
    let none = |_: &str, _: &[String]| Ok(Pair { cert: String::new(), key: String::new(), ca: String::new() });
    Facts {
        name: spec.name.clone(),
        dns_domain: spec.dns_domain.clone(),
        subnet,
        pod_cidr: spec.pod_cidr,
        service_cidr: spec.service_cidr,
        cluster_dns: addresses::cluster_dns(spec).primary().to_string(),
        load_balancer_pool: addresses::load_balancer_pool(subnet).map(|(first, last)| format!("{first}-{last}")),
        nodes: state.map_or_else(
            || vec![spec.name.clone()],
            |state| state.nodes.iter().map(|node| node.name.clone()).collect(),
        ),
        proxy: BTreeMap::new(),
        certificates: Certificates(Arc::new(none)),
    }
}

/// Returns the facts about a cluster that templates may use.
pub(crate) async fn facts(app: &App, state: &ClusterState, driver: &dyn Driver) -> Result<Facts> {
    let spec = &state.spec;
    // Machines that already have addresses are on a network that is not kcl's, so kcl must not allocate from it.
    let pool = match driver.addresses().await?.is_empty() {
        true => addresses::load_balancer_pool(state.subnet),
        false => None,
    };
    let (authority, expiration) = (app.pki(&spec.name)?, spec.cert_expiration);
    let certificate = move |name: &str, names: &[String]| {
        let (cert, key) = authority.server_certificate(name, names, expiration, Timestamp::now())?;
        let (ca, _) = authority.services_ca(Timestamp::now())?;
        Ok(Pair { cert, key, ca })
    };
    Ok(Facts {
        load_balancer_pool: pool.map(|(first, last)| format!("{first}-{last}")),
        proxy: state
            .proxy
            .iter()
            .flat_map(|proxy| proxy.variables())
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        certificates: Certificates(Arc::new(certificate)),
        ..assumed_facts(spec, Some(state))
    })
}
