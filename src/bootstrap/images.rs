//! Images that users brought to a cluster: a node that joins it gets them before pods come to it. Until then it has a taint.

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use kcl_driver_api::{Machine, Power};
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::{Bootstrap, ready};
use crate::error::{Error, Id, Result};
use crate::images::carry::{carry, is_wanted};
use crate::kubernetes::{self, FIELD_MANAGER};
use crate::plan::Action;
use crate::state::Phase;

/// The taint of nodes without these images.
const TAINT: &str = "kcl.dev/images";

/// Keeps pods from the new nodes of a cluster until they have the images that users brought, if there are some. Nodes are
/// held before their machines are made: a kubelet finds itself registered. Returns what failed.
pub(super) async fn hold(bootstrap: &Bootstrap<'_>, client: &Client) -> Option<Error> {
    let is_new = |action| matches!(action, Action::Create | Action::Replace);
    let new: Vec<&str> =
        bootstrap.plan.nodes().filter(|node| is_new(node.action)).map(|node| node.name.as_str()).collect();
    if new.is_empty() || bootstrap.plan.new || bootstrap.state.phase != Phase::Created {
        return None;
    }
    let work = async {
        let others = running(bootstrap, |name| !new.contains(&name)).await?;
        if others.is_empty() || !kubernetes::serves(client).await || !is_wanted(others).await? {
            return Ok(());
        }
        for name in new {
            taint(client, name, true).await?;
        }
        Ok(())
    };
    work.await.err()
}

/// Gives nodes that are held the images that users brought to others, and lets pods come to them, also if that fails. Returns
/// what failed.
pub(super) async fn bring(bootstrap: &Bootstrap<'_>, client: &Client) -> Option<Error> {
    if bootstrap.plan.new {
        return None;
    }
    let work = async {
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.map_err(failed)?;
        let held = |node: &&Node| taints(node).iter().any(|taint| taint.key == TAINT);
        let held: Vec<String> = nodes.items.iter().filter(held).map(Node::name_any).collect();
        if held.is_empty() {
            return Ok(());
        }
        let step = bootstrap.progress.step("images", "Images for new nodes");
        let sent = send(bootstrap, &held, &step).await;
        for name in &held {
            taint(client, name, false).await?;
        }
        step.finish(match sent? {
            1 => "New nodes have 1 image that the others had".to_owned(),
            count => format!("New nodes have {count} images that the others had"),
        });
        Ok(())
    };
    work.await.err().map(|error: Error| error.hint("load images onto the new nodes again: kcl image load"))
}

async fn send(bootstrap: &Bootstrap<'_>, held: &[String], step: &crate::progress::Step) -> Result<usize> {
    let is_held = |name: &str| held.iter().any(|held| held == name);
    let mut to = Vec::new();
    for machine in running(bootstrap, is_held).await? {
        // containerd is one of the components. The wait for nodes reports those that fail.
        if ready::wrong(bootstrap, machine.as_ref()).await?.is_none() {
            to.push(machine);
        }
    }
    carry(running(bootstrap, |name| !is_held(name)).await?, to, step).await
}

/// Returns the machines of the nodes that run.
async fn running(bootstrap: &Bootstrap<'_>, wanted: impl Fn(&str) -> bool) -> Result<Vec<Box<dyn Machine>>> {
    let cluster = &bootstrap.plan.cluster;
    let list = bootstrap.driver.list(Some(cluster)).await?;
    let mut machines = Vec::new();
    for node in bootstrap.state.nodes.iter().filter(|node| wanted(&node.name)) {
        if list.iter().any(|machine| machine.name == node.machine && machine.power == Power::Running) {
            machines.push(bootstrap.driver.machine(cluster, &node.machine).await?);
        }
    }
    Ok(machines)
}

/// Sets or removes the taint of a node; a node that is to be held is made if it does not exist.
async fn taint(client: &Client, name: &str, is_held: bool) -> Result<()> {
    let own = Taint { key: TAINT.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    if is_held && make(client, name, own.clone()).await? {
        return Ok(());
    }
    let patch = |node: &Node| {
        let mut wanted = taints(node);
        wanted.retain(|taint| taint.key != TAINT);
        wanted.extend(is_held.then(|| own.clone()));
        json!({"spec": {"taints": wanted}})
    };
    kubernetes::change_node(client, name, patch).await.map(drop)
}

/// Makes a node with a taint. Returns false if it exists.
async fn make(client: &Client, name: &str, own: Taint) -> Result<bool> {
    let node = Node {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(NodeSpec { taints: Some(vec![own]), ..NodeSpec::default() }),
        ..Node::default()
    };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match Api::<Node>::all(client.clone()).create(&parameters, &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        made => made.map(|_| true).map_err(failed),
    }
}

fn taints(node: &Node) -> Vec<Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).cloned().collect()
}

fn failed(error: kube::Error) -> Error {
    Error::new(Id::ApiFailed, format!("new nodes cannot be kept free until they have images: {error}")).source(error)
}
