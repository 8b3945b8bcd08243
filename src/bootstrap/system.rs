//! The system manifests: the objects that kcl adds to every cluster, in addition to those of Kubernetes itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kcl_driver_api::Network;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectList, PartialObjectMeta};
use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::json;
use tokio::time::Instant;

use super::{Bootstrap, Resolvers, taints};
use crate::artifacts::oci;
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Attempt};
use crate::plan::addresses::cluster_dns;
use crate::state::ClusterState;

/// The rights of the components that kcl adds to those of Kubernetes.
const RIGHTS: (&str, &str) = ("addons/system/rbac.yaml", include_str!("../../addons/system/rbac.yaml"));

/// The templates and manifests, by the names that errors use.
const MANIFESTS: [(&str, &str); 2] =
    [RIGHTS, ("addons/system/coredns.yaml", include_str!("../../addons/system/coredns.yaml"))];

/// The pause between two tries: nothing tells that a webhook answers from now on.
const PAUSE: Duration = Duration::from_secs(1);

/// The name by which nodes and pods reach the host.
pub const HOST_NAME: &str = "host.kcl.internal";

/// Returns all system objects of a cluster.
pub(super) fn objects(
    state: &ClusterState,
    network: &Network,
    resolvers: &Resolvers,
    coredns_image: &str,
) -> Result<Vec<DynamicObject>> {
    let spec = &state.spec;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! {
        cluster_dns => cluster_dns(spec).primary().to_string(),
        dns_domain => spec.dns_domain.clone(),
        forward => resolvers.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        host_address => network.host.map(|host| host.to_string()),
        host_name => HOST_NAME,
        image => coredns_image,
    };
    let mut objects = nodes(state)?;
    for (name, template) in MANIFESTS {
        let text = environment
            .render_str(template, &values)
            .map_err(|error| Error::new(Id::Internal, format!("{name} cannot be filled in: {error}")).source(error))?;
        objects.extend(kubernetes::documents(name, &text)?);
    }
    Ok(objects)
}

/// Returns the Node objects with the role, which a kubelet may not set for itself (NodeRestriction), and with the share
/// of the pod addresses, which kcl assigns itself because routes are set before the controller manager runs.
fn nodes(state: &ClusterState) -> Result<Vec<DynamicObject>> {
    let node = |record: &crate::state::NodeRecord| {
        let pods = record.pod_cidr;
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": record.name,
                "labels": labels(&state.spec, &record.name, record.role),
            },
            "spec": {"podCIDR": pods.primary(), "podCIDRs": pods.iter().collect::<Vec<_>>()},
        })
    };
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "kube-system", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    });
    std::iter::once(namespace)
        .chain(state.nodes.iter().map(node))
        .map(|value| {
            serde_json::from_value(value)
                .map_err(|error| Error::new(Id::Internal, format!("a system object is malformed: {error}")))
        })
        .collect()
}

fn labels(spec: &ClusterSpec, name: &str, role: kcl_node_spec::Role) -> serde_json::Map<String, serde_json::Value> {
    let own = spec.nodes.iter().find(|node| node.name == name).map(|node| node.labels.clone()).unwrap_or_default();
    let mut labels: serde_json::Map<_, _> = own.into_iter().map(|(key, value)| (key, value.into())).collect();
    labels.insert(format!("node-role.kubernetes.io/{}", role.name()), "".into());
    labels
}

/// Removes the Node objects that kcl made for nodes that no longer exist, such as those of a start that was rolled
/// back. Others, which a user may have made to try things out, are left alone.
async fn forget_others(
    state: &ClusterState,
    client: &kube::Client,
    nodes: &ObjectList<PartialObjectMeta<Node>>,
) -> Result<()> {
    let failed =
        |error: kube::Error| Error::new(Id::ApiFailed, format!("old nodes cannot be removed: {error}")).source(error);
    let api: Api<Node> = Api::all(client.clone());
    for node in nodes {
        let known = state.nodes.iter().any(|record| record.name == node.name_any());
        let ours = |field: &ManagedFieldsEntry| field.manager.as_deref() == Some(kubernetes::FIELD_MANAGER);
        if !known && node.managed_fields().iter().any(ours) {
            api.delete(&node.name_any(), &DeleteParams::default()).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Applies the rights of kcl's own components, before the rest.
///
/// # Errors
/// They cannot be applied.
pub(super) async fn apply_rights(client: &kube::Client) -> Result<()> {
    let (name, text) = RIGHTS;
    let Attempt { late, mut refused, .. } =
        kubernetes::apply_beside_others(client, &kubernetes::documents(name, text)?).await?;
    refused.extend(late.into_iter().map(|(_, reason)| Error::new(Id::ManifestRefused, format!("applying {reason}"))));
    refused.into_iter().next().map_or(Ok(()), Err)
}

/// The result of applying the system manifests.
pub(super) struct Applied {
    /// The failures beside a cluster that serves.
    pub failed: Vec<Error>,
    /// The objects that are still to be applied, as a webhook of the user's does not answer yet, each with the reason.
    pub late: Vec<(DynamicObject, String)>,
}

/// Applies the system manifests that have changed.
///
/// # Errors
/// The system manifests of a new cluster cannot be applied.
pub(super) async fn apply(bootstrap: &Bootstrap<'_>, client: &kube::Client) -> Result<Applied> {
    let step = bootstrap.progress.step("system", "Applying system manifests");
    let objects = objects(bootstrap.state, bootstrap.network, bootstrap.resolvers, &oci::reference("coredns")?)?;
    let mut failed = Vec::new();
    let attempt = match kubernetes::apply_beside_others(client, &objects).await {
        Ok(attempt) => attempt,
        Err(error) if bootstrap.plan.new => return Err(error),
        Err(error) => Attempt { refused: vec![error], ..Attempt::default() },
    };
    attempt.kept.into_iter().for_each(|field| bootstrap.progress.warn(field));
    let mut late = attempt.late;
    failed.extend(attempt.refused);
    if bootstrap.plan.new {
        // Nothing of a new cluster can be late but for a fault.
        failed.extend(late.drain(..).map(|(_, reason)| Error::new(Id::ManifestRefused, format!("applying {reason}"))));
        if let Some(error) = failed.into_iter().next() {
            return Err(error);
        }
        failed = Vec::new();
    }
    match Api::<Node>::all(client.clone()).list_metadata(&ListParams::default()).await {
        Ok(nodes) => {
            failed.extend(forget_others(bootstrap.state, client, &nodes).await.err());
            failed.extend(taints::apply(bootstrap.state, client, &nodes).await.err());
        }
        Err(error) => {
            let message = format!("the nodes cannot be listed: {error}");
            failed.push(Error::new(Id::ApiFailed, message).source(error));
        }
    }
    let done = failed.is_empty() && late.is_empty();
    step.finish(if done { "System manifests applied" } else { "Some objects could not be applied" });
    Ok(Applied { failed, late })
}

/// Tries objects again that are late, until the user's time is up. Returns what failed.
pub(super) async fn apply_late(
    bootstrap: &Bootstrap<'_>,
    client: &kube::Client,
    mut late: Vec<(DynamicObject, String)>,
    until: Instant,
) -> Vec<Error> {
    let mut failed = Vec::new();
    while let Some((_, reason)) = late.first() {
        if Instant::now() + PAUSE >= until {
            let message = format!("not applied within the time (--wait-timeout): {reason}");
            failed.push(
                Error::new(Id::ManifestNotApplied, message)
                    .hint("the cluster keeps what it had; kcl start tries again"),
            );
            return failed;
        }
        tokio::time::sleep(PAUSE).await;
        let objects: Vec<DynamicObject> = late.drain(..).map(|(object, _)| object).collect();
        match kubernetes::apply_beside_others(client, &objects).await {
            Ok(attempt) => {
                attempt.kept.into_iter().for_each(|field| bootstrap.progress.warn(field));
                failed.extend(attempt.refused);
                late = attempt.late;
            }
            Err(error) => late = objects.into_iter().map(|object| (object, error.to_string())).collect(),
        }
    }
    failed
}
