//! Detects the removal of the addon by the deletion of its Deployment or DaemonSet. SIGTERM is not enough: the pod may
//! be replaced in a moment, and its addresses have to stay.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

/// Returns an item each time that the workload is found deleted, or about to be.
pub(crate) fn withdrawn<K>(client: Client, namespace: &str, name: &str) -> impl Stream<Item = ()> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Metadata<Ty = ObjectMeta>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut there = false;
    let leaving = |object: &PartialObjectMeta<K>| object.metadata.deletion_timestamp.is_some();
    watcher(api, config).default_backoff().filter_map(move |event| {
        let gone = match event {
            Ok(watcher::Event::Init) => {
                there = false;
                false
            }
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                there = true;
                leaving(&object)
            }
            Ok(watcher::Event::InitDone) => !there,
            Ok(watcher::Event::Delete(_)) => true,
            Err(_) => false,
        };
        std::future::ready(gone.then_some(()))
    })
}
