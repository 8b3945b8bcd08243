//! New nodes of an existing cluster: those that do not become a part of it leave nothing behind.

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};

use super::{Bootstrap, Reached, members};
use crate::error::{Error, Id, Result};
use crate::kubernetes;

/// Returns the new nodes of an existing cluster that are not ready.
pub(super) async fn not_ready(bootstrap: &Bootstrap<'_>, client: &Client) -> Vec<String> {
    let new = bootstrap.state.nodes.iter().map(|node| node.name.clone()).filter(|name| bootstrap.joins(name));
    let new: Vec<String> = new.collect();
    if new.is_empty() {
        return new;
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let ready = |name: &String| {
        nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name) && kubernetes::node_is_ready(node, None))
    };
    new.into_iter().filter(|name| !ready(name)).collect()
}

/// Removes new nodes that did not become a part of the cluster: their machines, and what Kubernetes knows of them.
pub(super) async fn give_up(bootstrap: &Bootstrap<'_>, client: &Client, names: &[String], reached: &mut Reached) {
    for name in names {
        let Some(record) = bootstrap.state.node(name) else { continue };
        bootstrap.progress.info(format!("Removing {name}, which did not become a part of the cluster"));
        // etcd first: a member with a vote that is gone may cost the others their quorum.
        let result = async {
            members::remove(bootstrap.driver, bootstrap.state, record).await?;
            bootstrap.driver.delete(&bootstrap.plan.cluster, &record.machine).await?;
            forget(client, std::slice::from_ref(name)).await
        };
        reached.troubles.extend(result.await.err());
        reached.lost.push(name.clone());
    }
}

/// Deletes Node objects, so that Kubernetes does not wait for nodes that are gone; missing ones are ignored.
pub async fn forget(client: &Client, names: &[String]) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    for name in names {
        match nodes.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let message = format!("the node {name} cannot be removed from Kubernetes: {error}");
                return Err(Error::new(Id::NodeNotJoined, message)
                    .hint(format!("remove it with: kcl kubectl -- delete node {name}"))
                    .source(error));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
