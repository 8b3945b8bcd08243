//! The orderly stop of a node, and orders to all components.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Command, pods};
use crate::components::{POLICY, Process};

/// The senders of orders, by component.
pub(super) type Handles = HashMap<&'static str, mpsc::Sender<Command>>;

/// Stops everything: first the components that would restart pods, then the pods, then the API server before the etcd
/// that it needs. containerd stays until the pods have ended, as their shims report to it.
pub(crate) async fn stop(handles: &Handles, grace: Duration) {
    let end = |name: &'static str| end(handles, name);
    tokio::join!(end("kubelet"), end("kube-controller-manager"), end("kube-scheduler"), end("kube-proxy"));
    pods::end(grace).await;
    let control_plane = async {
        end("kube-apiserver").await;
        end("etcd").await;
    };
    // Until then a pod that the container runtime still starts waits for its policies.
    tokio::join!(control_plane, end("containerd"), end(POLICY));
}

/// Restarts the components whose arguments or files have changed. Returns once these have ended, so that a wait for the node
/// that follows waits for them.
pub(crate) async fn refresh(handles: &Handles, processes: Vec<Process>) {
    let orders = processes.into_iter().filter_map(|process| {
        let handle = handles.get(process.name)?;
        Some(order(handle, |done| Command::Refresh(Box::new(process), done)))
    });
    futures::future::join_all(orders).await;
}

/// Gives an order and waits until it is obeyed.
pub(crate) async fn order(handle: &mpsc::Sender<Command>, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
    let (done, ended) = oneshot::channel();
    if handle.send(command(done)).await.is_ok() {
        let _ = ended.await;
    }
}

async fn end(handles: &Handles, name: &str) {
    if let Some(handle) = handles.get(name) {
        order(handle, Command::Stop).await;
    }
}
