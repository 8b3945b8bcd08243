//! The orderly end of a node.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Command, pods};

/// How components are told.
pub type Handles = HashMap<&'static str, mpsc::Sender<Command>>;

/// Ends everything: first who would start pods anew, then the pods, then the API server before the etcd that it needs
/// to end in time. containerd stays until the pods are gone, as their shims report to it.
pub async fn stop(handles: &Handles, grace: Duration) {
    let end = |name: &'static str| end(handles, name);
    tokio::join!(end("kubelet"), end("kube-controller-manager"), end("kube-scheduler"), end("kube-proxy"));
    pods::end(grace).await;
    let control_plane = async {
        end("kube-apiserver").await;
        end("etcd").await;
    };
    tokio::join!(control_plane, end("containerd"));
}

async fn end(handles: &Handles, name: &str) {
    let Some(handle) = handles.get(name) else { return };
    let (done, ended) = oneshot::channel();
    if handle.send(Command::Stop(done)).await.is_ok() {
        let _ = ended.await;
    }
}
