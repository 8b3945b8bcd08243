//! Reconciles the Helm release of an addon with a chart. The addon's own manifests are applied before it.

use std::path::PathBuf;

use kube::Client;
use kube::api::DynamicObject;

use super::apply::apply;
use super::chart::{Helm, Release, Status, digest_of};
use super::context::Enabling;
use super::definition::Chart;
use super::record::{ObjectName, Record, ReleaseRecord, State};
use super::remove::remove_objects;
use super::render;
use super::selection::Selected;
use crate::error::Result;
use crate::kubernetes::{self, Access, Resources};

/// The annotation of objects that Helm keeps when a release is removed: `keep`.
const POLICY: &str = "helm.sh/resource-policy";

/// Applies an addon with a chart, whose record is `before`: its own manifests `own`, and the release. A release that
/// would be made from the same as the last time is left alone, so that what a chart made up at random stays. With
/// `always`, its objects that are missing are made again.
pub(super) async fn reconcile(
    enabling: &Enabling<'_>,
    selected: &Selected,
    chart: &Chart,
    own: &[DynamicObject],
    before: Option<&Record>,
    always: bool,
) -> Result<()> {
    let (client, addon) = (enabling.client, &selected.addon);
    let archive = enabling.material.charts.get(&addon.name).map(PathBuf::as_path);
    let values = render::chart_values(selected, enabling.facts)?;
    let digest = digest_of(addon, &chart.namespace, archive, &values)?;
    // An older kcl applied the chart's objects itself: the release takes them over.
    let adopted = before.filter(|record| record.release.is_none()).map(|record| record.objects.clone());
    let adopts = adopted.is_some() || before.is_some_and(|record| record.release.as_ref().is_some_and(|it| it.adopts));
    let known: Option<Record> = before.map(|record| without_adopted(record, own));
    apply(client, selected, own, known.as_ref(), always, enabling.patience()).await?;
    let same = before.and_then(|record| record.release.as_ref()).is_some_and(|release| release.digest == digest);
    if same && !always {
        return Ok(());
    }
    let release = Release::open(enabling.helm, enabling.access, &addon.name, &chart.namespace).await?;
    let status = release.status().await?;
    if same && status == Status::Deployed {
        return restore(enabling, &release).await;
    }
    release.recover(status).await?;
    let definitions = release.definitions(addon, archive).await?;
    let mut record = Record {
        addon: addon.name.clone(),
        version: addon.description.version.clone(),
        state: State::Applied,
        digest: super::apply::digest_of(own)?,
        objects: own.iter().map(ObjectName::of).collect(),
        release: Some(ReleaseRecord {
            namespace: chart.namespace.clone(),
            digest: String::new(),
            definitions: definitions.iter().map(ObjectName::of).collect(),
            adopts,
        }),
    };
    // Written before anything is made; without a digest, so that the next run makes all of it.
    record.write(client).await?;
    kubernetes::apply(client, &definitions, enabling.patience()).await?;
    release.install(addon, archive, &values, adopts, enabling.left()).await?;
    if let Some(adopted) = adopted {
        remove_leftovers(client, &release, &record, &adopted).await?;
    }
    if let Some(release) = &mut record.release {
        release.digest = digest;
        release.adopts = false;
    }
    record.write(client).await
}

/// Returns a record without the objects that a release takes over, so that they are not removed as gone.
fn without_adopted(record: &Record, own: &[DynamicObject]) -> Record {
    let own: Vec<ObjectName> = own.iter().map(ObjectName::of).collect();
    let mut record = record.clone();
    if record.release.is_none() {
        record.objects.retain(|name| own.contains(name));
    }
    record
}

/// Makes objects of a release again that are missing.
async fn restore(enabling: &Enabling<'_>, release: &Release) -> Result<()> {
    let client = enabling.client;
    let resources = Resources::discover(client).await?;
    let mut missing = Vec::new();
    for object in release.manifest().await? {
        let types = object.types.clone().unwrap_or_default();
        let Some((resource, scope)) = resources.of(&types.api_version, &types.kind) else {
            missing.push(object);
            continue;
        };
        let name = object.metadata.name.clone().unwrap_or_default();
        let api = kubernetes::api_of(client, &resource, &scope, object.metadata.namespace.as_deref());
        if matches!(api.get_metadata_opt(&name).await, Ok(None)) {
            missing.push(object);
        }
    }
    kubernetes::apply(client, &missing, enabling.patience()).await
}

/// Removes what an older kcl made of the chart and the release does not have. Definitions stay, as their removal would
/// remove users' objects.
async fn remove_leftovers(client: &Client, release: &Release, record: &Record, adopted: &[ObjectName]) -> Result<()> {
    let same = |a: &ObjectName, b: &ObjectName| (&a.kind, &a.name) == (&b.kind, &b.name);
    let made: Vec<ObjectName> = release.manifest().await?.iter().map(ObjectName::of).collect();
    let left = |name: &&ObjectName| {
        !name.keep
            && !matches!(name.kind.as_str(), "CustomResourceDefinition" | "Namespace")
            && !made.iter().chain(&record.objects).any(|other| same(name, other))
    };
    let left: Vec<ObjectName> = adopted.iter().filter(left).cloned().collect();
    remove_objects(client, &left).await
}

/// Returns the objects of the release of an addon that is installed.
pub(super) async fn objects(enabling: &Enabling<'_>, addon: &str, chart: &Chart) -> Result<Vec<DynamicObject>> {
    let release = Release::open(enabling.helm, enabling.access, addon, &chart.namespace).await?;
    release.manifest().await
}

/// Removes the release of an addon, if it has one. Returns the record of what is left of the addon, with the objects that
/// the chart keeps as users' data.
pub(super) async fn uninstall(client: &Client, helm: &Helm, access: &Access, record: &Record) -> Result<Record> {
    let Some(recorded) = record.release.clone() else { return Ok(record.clone()) };
    let release = Release::open(helm, access, &record.addon, &recorded.namespace).await?;
    let made = match release.status().await? {
        Status::Missing => Vec::new(),
        _ => release.manifest().await?,
    };
    let kept = |object: &&DynamicObject| object.metadata.annotations.as_ref().is_some_and(is_kept);
    let mut left = record.clone();
    left.objects.extend(made.iter().filter(kept).map(|object| ObjectName { keep: true, ..ObjectName::of(object) }));
    left.objects.extend(recorded.definitions.iter().cloned());
    // A run that is interrupted here leaves a release that is made again by the next one.
    left.release = Some(ReleaseRecord { digest: String::new(), ..recorded });
    left.write(client).await?;
    // Definitions go while their controllers still run, which handle finalizers.
    let definitions = made.iter().filter(|object| !kept(object)).map(ObjectName::of);
    let definitions: Vec<_> = definitions.filter(|name| name.kind == "CustomResourceDefinition").collect();
    remove_objects(client, &definitions).await?;
    release.uninstall().await?;
    left.release = None;
    Ok(left)
}

fn is_kept(annotations: &std::collections::BTreeMap<String, String>) -> bool {
    annotations.get(POLICY).is_some_and(|policy| policy == "keep")
}
