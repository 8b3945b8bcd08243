//! kube, the client for Rust, of which kcl is made too.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::TestCluster;

/// Lists, watches, runs a command and forwards a port.
pub(crate) fn all(cluster: &TestCluster<'_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = cluster.client().await;
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let list = pods.list(&ListParams::default()).await.expect("pods");
        assert!(list.items.iter().any(|pod| pod.metadata.name.as_deref() == Some("web")));

        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let mut changes = maps.watch(&WatchParams::default(), "0").await.expect("a watch").boxed();
        let metadata = ObjectMeta { name: Some("rust".to_owned()), ..ObjectMeta::default() };
        let map = ConfigMap { metadata, ..ConfigMap::default() };
        maps.create(&PostParams::default(), &map).await.expect("it is created");
        loop {
            match changes.next().await.expect("an event").expect("an event") {
                WatchEvent::Added(map) if map.metadata.name.as_deref() == Some("rust") => break,
                _ => {}
            }
        }

        let mut process =
            pods.exec("web", ["echo", "hi there"], &AttachParams::default().stderr(false)).await.expect("a process");
        let mut out = String::new();
        process.stdout().expect("its output").read_to_string(&mut out).await.expect("text");
        assert_eq!(out, "hi there\n");

        let mut forward = pods.portforward("web", &[8080]).await.expect("a port");
        let mut stream = forward.take_stream(8080).expect("a stream");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        assert!(answer.ends_with("hello\n"), "{answer}");
    });
}
