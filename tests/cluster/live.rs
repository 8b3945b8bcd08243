//! Nodes come and go while a cluster works: a client of a Service's address sees nothing of it, and data is lost only by
//! those who ask for that.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Home, IMAGE, TestCluster, eventually, http};

#[test]
fn nodes_come_and_go() {
    let home = Home::new("live");
    let cluster = home.start("live", &["--nodes", "3"]);
    cluster.apply(include_str!("manifests/live.yaml"));
    for what in ["deployment/web", "statefulset/store"] {
        cluster.rolled_out(what);
    }
    let address = eventually("the Service has an address", || {
        let address = cluster.field(&["service", "web"], ".status.loadBalancer.ingress[0].ip");
        address.parse::<Ipv4Addr>().map_err(|_| address)
    });
    eventually("the address answers", || http::get((address, 80).into(), "/").map_err(|error| error.to_string()));
    let client = Client::of(address);

    home.step("a node is added");
    let before = everything(&cluster, &["live", "live-m02", "live-m03"]);
    let own = ["--cpus", "1", "--label", "disk=fast", "--taint", "gpu=a100:NoSchedule"];
    let add = |more: &[&str]| cluster.kcl(["node", "add", "live-m05"].iter().chain(&own).chain(more));
    let plan = add(&["--dry-run"]);
    assert_eq!(plan.ok().matches("create").count(), 1, "{plan}");
    add(&[]).ok();
    assert_eq!(cluster.node_names(), ["live", "live-m02", "live-m03", "live-m05"]);
    assert_eq!(everything(&cluster, &["live", "live-m02", "live-m03"]), before, "the others are not touched");
    let is_as_wanted = || {
        assert_eq!(cluster.field(&["node", "live-m05"], ".status.capacity.cpu"), "1");
        assert_eq!(cluster.field(&["node", "live-m05"], ".metadata.labels.disk"), "fast");
        assert_eq!(cluster.field(&["node", "live-m05"], ".spec.taints[?(@.key==\"gpu\")].value"), "a100");
    };
    is_as_wanted();
    assert!(add(&[]).fails().contains("has a node live-m05 already"));
    for node in ["live", "live-m05"] {
        let other = if node == "live" { "live-m05" } else { "live" };
        cluster.ssh(node, &format!("ping -c 1 -W 5 {other} || grep {other} /etc/hosts")).ok();
    }
    assert_eq!(cluster.run_on("live-m05", "there", "echo works"), "works");

    home.step("a start keeps it, and what users change of its taints");
    cluster.kubectl(["taint", "node", "live-m05", "mine:NoSchedule"]);
    cluster.start(&[]).ok();
    is_as_wanted();
    assert_eq!(cluster.field(&["node", "live-m05"], ".spec.taints[?(@.key==\"mine\")].effect"), "NoSchedule");
    cluster.kubectl(["taint", "node", "live-m05", "mine-", "gpu-"]);
    cluster.start(&[]).ok();
    assert_eq!(cluster.field(&["node", "live-m05"], ".spec.taints"), "", "the user has removed it");
    assert!(cluster.start(&["--nodes", "3"]).fails().contains("kcl node delete -p live live-m05"));

    home.step("a node is cordoned and drained");
    let cordoned = |node: &str| cluster.field(&["node", node], ".spec.unschedulable") == "true";
    cluster.kcl(["node", "cordon", "live-m03"]).ok();
    assert!(cordoned("live-m03"));
    cluster.kcl(["node", "uncordon", "live-m03"]).ok();
    assert!(!cordoned("live-m03"));
    cluster.kubectl(["run", "lonely", &format!("--image={IMAGE}"), &on("live-m03"), "--", "sleep", "1000000"]);
    cluster.wait_for("condition=Ready", &["pod/lonely"]);
    assert!(cluster.kcl(["node", "drain", "live-m03"]).fails().contains("default/lonely"));
    cluster.kcl(["node", "drain", "live-m03", "--force", "--grace-period", "1"]).ok();
    assert!(cordoned("live-m03"));
    let left = cluster.kubectl(["get", "pods", "-A", "--field-selector=spec.nodeName=live-m03", "-o", "name"]);
    assert!(left.lines().all(|pod| pod.contains("speaker")), "{left}");
    cluster.kcl(["node", "uncordon", "live-m03"]).ok();

    home.step("a budget holds a drain up");
    cluster.rolled_out("deployment/web");
    cluster.kubectl(["patch", "pdb", "web", "--type=merge", "-p", r#"{"spec":{"minAvailable":2}}"#]);
    cluster.wait_for("jsonpath={.status.disruptionsAllowed}=0", &["pdb", "web"]);
    let host = cluster.pods("app=web")[0].node.clone();
    let refused = cluster.kcl(["node", "drain", &host, "--timeout", "3s"]);
    assert_eq!(refused.code, Some(75), "{refused}");
    assert!(refused.stderr.contains("is not empty after 3 s: default/web"), "{refused}");
    assert!(refused.stderr.contains("disruption budget"), "{refused}");
    cluster.kcl(["node", "uncordon", &host]).ok();
    cluster.kubectl(["patch", "pdb", "web", "--type=merge", "-p", r#"{"spec":{"minAvailable":1}}"#]);
    cluster.wait_for("jsonpath={.status.disruptionsAllowed}=1", &["pdb", "web"]);

    home.step("a node with data is not deleted unasked");
    cluster.rolled_out("statefulset/store");
    let store = cluster.pods("app=store")[0].clone();
    let claim = format!("kept-{}", store.name);
    let refused = cluster.kcl(["node", "delete", &store.node]);
    assert!(refused.fails().contains(&format!("claimed by default/{claim}")), "{refused}");
    assert!(!cordoned(&store.node), "it is as it was");
    cluster.wait_for("condition=Ready", &["pod", &store.name]);
    let uid = cluster.field(&["pvc", &claim], ".metadata.uid");
    cluster.kcl(["node", "delete", &store.node, "--delete-volumes"]).ok();
    cluster.rolled_out("statefulset/store");
    assert_ne!(cluster.field(&["pvc", &claim], ".metadata.uid"), uid, "it has a new volume");

    home.step("nothing of the node is left");
    let gone = store.node;
    assert!(
        !cluster.node_names().contains(&gone) && !cluster.field(&["nodes"], ".items[*].metadata.name").contains(&gone)
    );
    for node in cluster.node_names() {
        let knows = cluster.ssh(&node, &format!("grep -w {gone} /etc/hosts"));
        assert!(!knows.succeeded(), "{node}: {knows}");
    }
    let here = cluster.traces();
    let agents = here.processes.iter().filter(|(_, command)| command.contains("kcl-node run")).count();
    assert_eq!(agents, cluster.node_names().len(), "{here:#?}");
    assert!(cluster.kcl(["node", "delete", &gone]).fails().contains("has no node"));

    let lost = client.end();
    assert!(lost.is_empty(), "a client of the Service got no answer: {lost:?}");

    home.step("one node is stopped and started");
    let before = everything(&cluster, &["live"]);
    cluster.kcl(["node", "stop", "live-m05"]).ok();
    cluster.kcl(["node", "start", "live-m05"]).ok();
    cluster.wait_for("condition=Ready", &["node", "live-m05"]);
    assert_eq!(everything(&cluster, &["live"]), before);

    home.step("the name is free again");
    cluster.kcl(["node", "add", &gone]).ok();
    assert_eq!(cluster.node_names().len(), 4);
    cluster.settled();

    home.step("the only control plane stays");
    assert!(cluster.kcl(["node", "delete", "live"]).fails().contains("the only control plane"));
}

/// The processes of nodes' components, and their pods.
fn everything(cluster: &TestCluster<'_>, nodes: &[&str]) -> Vec<(String, u64)> {
    nodes.iter().flat_map(|node| cluster.components(node)).collect()
}

fn on(node: &str) -> String {
    format!(r#"--overrides={{"spec":{{"nodeName":"{node}"}}}}"#)
}

/// A client that asks all the time, each time by a new connection. A connection that is under way while the address moves to
/// another node may be cut, so each question is repeated once.
struct Client {
    stop: std::sync::Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Client {
    fn of(address: Ipv4Addr) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut lost = Vec::new();
            let ask = || http::get((address, 80).into(), "/");
            while !ends.load(Ordering::SeqCst) {
                lost.extend(ask().or_else(|_| ask()).err().map(|error| error.to_string()));
                std::thread::sleep(Duration::from_millis(20));
            }
            lost
        });
        Client { stop, thread }
    }

    /// Ends it. Returns the answers that it did not get.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the client")
    }
}
