//! Components that die.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};

use crate::support::{LIMIT, TestCluster, eventually};

/// The components of every node.
const EVERYWHERE: [&str; 4] = ["containerd", "kubelet", "kube-proxy", "kcl-policy"];
/// The additional components of the control plane.
const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

pub(crate) fn every_component_comes_back(cluster: &TestCluster<'_>) {
    let pods = cluster.pods("app=web");
    for component in CONTROL_PLANE.iter().chain(&EVERYWHERE) {
        kill(cluster, "three", component);
    }
    for component in EVERYWHERE {
        kill(cluster, "three-m02", component);
    }
    assert_eq!(cluster.pods("app=web"), pods, "pods outlive the components around them");
}

fn kill(cluster: &TestCluster<'_>, node: &str, component: &str) {
    cluster.home.step(&format!("  {component} on {node}"));
    let look = || {
        let status = cluster.agent(node);
        let components = status["components"].as_array().expect("components").clone();
        let found = components.into_iter().find(|one| one["name"] == component);
        found.unwrap_or_else(|| panic!("no {component}: {status:#}"))
    };
    let before = look();
    let pid = before["pid"].as_u64().unwrap_or_else(|| panic!("no process: {before}"));
    cluster.ssh(node, &format!("kill -9 {pid}")).ok();
    let after = eventually(&format!("{component} is ready again on {node}"), || {
        let status = cluster.ssh(node, "/opt/kcl/agent/kcl-node status").stdout;
        let status: serde_json::Value = serde_json::from_str(&status).map_err(|_| status)?;
        let mut components = status["components"].as_array().into_iter().flatten();
        let one = components.find(|one| one["name"] == component).cloned().unwrap_or_default();
        let ready = status["phase"] == "running" && one["state"] == "ready" && one["pid"] != before["pid"];
        if ready { Ok(one) } else { Err(status.to_string()) }
    });
    assert_eq!(after["restarts"].as_u64(), before["restarts"].as_u64().map(|count| count + 1), "{after}");
    assert!(after["last_exit"].as_str().is_some_and(|exit| exit.contains("SIGKILL")), "{after}");
    cluster.settled();
    assert_eq!(cluster.run_on(node, "after", "echo works"), "works", "after {component} was killed");
}

/// A writer creates objects all the time while etcd is killed again and again; whatever the API said yes to is there.
pub(crate) fn etcd_loses_nothing_that_was_acknowledged(cluster: &TestCluster<'_>) {
    const KILLS: usize = 3;
    const BETWEEN: usize = 25;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(cluster.client());
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let (count, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let name = format!("written-{number}");
                let map = ConfigMap {
                    metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                    ..ConfigMap::default()
                };
                let parameters = PostParams::default();
                let create =
                    async { tokio::time::timeout(Duration::from_secs(10), maps.create(&parameters, &map)).await };
                // One that failed may be there or not.
                if let Ok(Ok(_)) = runtime.block_on(create) {
                    acknowledged.push(name);
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
            acknowledged
        });
        let finish = StopOnDrop(&stop);
        for _ in 0..KILLS {
            let so_far = count.load(Ordering::SeqCst);
            eventually("the writer gets on", || match count.load(Ordering::SeqCst) {
                now if now >= so_far + BETWEEN => Ok(()),
                now => Err(format!("{} written", now - so_far)),
            });
            cluster.ssh("three", "kill -9 $(pidof etcd)").ok();
        }
        let so_far = count.load(Ordering::SeqCst);
        eventually("the writer gets on after the last kill", || match count.load(Ordering::SeqCst) {
            now if now >= so_far + BETWEEN => Ok(()),
            now => Err(format!("{} written", now - so_far)),
        });
        drop(finish);
        writer.join().expect("the writer")
    });
    cluster.settled();
    let list = runtime.block_on(async { tokio::time::timeout(LIMIT, maps.list(&ListParams::default())).await });
    let list = list.expect("in time").expect("a list of ConfigMaps");
    let there: std::collections::BTreeSet<String> =
        list.items.into_iter().filter_map(|map| map.metadata.name).collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !there.contains(*name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
}

/// The writer ends with the test, however that ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
