//! The story of a cluster on the machines of any driver.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Home, Pod, TestCluster, eventually, http};

/// Three nodes whose pods reach each other; stopped and started with all they have; deleted. `flags` are those of
/// `kcl start` that name the driver and what it needs.
pub(crate) fn three_nodes<'h>(home: &'h Home, profile: &str, flags: &[&str]) -> TestCluster<'h> {
    nodes(home, profile, 3, flags)
}

/// The same with another number of nodes.
pub(crate) fn nodes<'h>(home: &'h Home, profile: &str, count: usize, flags: &[&str]) -> TestCluster<'h> {
    let cluster = home.start(profile, &[&["--nodes", &count.to_string()], flags].concat());
    home.step("kcl status finds nothing wrong");
    status_is_right(&cluster);

    home.step("pods reach each other");
    cluster.apply(include_str!("../cluster/manifests/web.yaml"));
    pods_reach_each_other(&cluster);
    commands_in_nodes(&cluster);
    home.step("files and images come and go");
    files_and_images(&cluster);

    home.step("this host reaches services");
    service_answers(&cluster, "web-port");

    home.step("a second start changes nothing");
    let uids = |cluster: &TestCluster<'_>| cluster.pods("app=web").into_iter().map(|pod| pod.uid).collect::<Vec<_>>();
    let before = (cluster.nodes(), uids(&cluster));
    cluster.start(&[]).ok();
    assert_eq!((cluster.nodes(), uids(&cluster)), before);

    home.step("stop and start");
    cluster.kcl(["stop"]).ok();
    assert!(cluster.nodes().iter().all(|node| node["Status"] == "Stopped"));
    cluster.start(&[]).ok();
    assert_eq!(addresses(&cluster.nodes()), addresses(&before.0));
    cluster.settled();
    pods_reach_each_other(&cluster);
    service_answers(&cluster, "web-port");
    cluster
}

fn addresses(nodes: &[Value]) -> Vec<(Value, Value)> {
    nodes.iter().map(|node| (node["Name"].clone(), node["IP"].clone())).collect()
}

/// A web server on every node answers every other one, by its address and by the name of its service. What is known of
/// pods just after their nodes died is out of date, so the request is retried until it is true.
pub(crate) fn pods_reach_each_other(cluster: &TestCluster<'_>) {
    cluster.rolled_out("daemonset/web");
    eventually("pods reach each other", || {
        let pods = cluster.pods_try("app=web")?;
        let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
        if nodes != cluster.node_names() {
            return Err(format!("pods on {nodes:?}"));
        }
        for from in &pods {
            for to in &pods {
                let answer = page(cluster, from, &to.address.to_string())?;
                if answer != to.node {
                    return Err(format!("from {} to {}: {answer}", from.node, to.node));
                }
            }
            let answer = page(cluster, from, "web.default.svc.cluster.local")?;
            if !nodes.contains(&answer.as_str()) {
                return Err(format!("from {} by name: {answer}", from.node));
            }
        }
        Ok(())
    });
}

fn page(cluster: &TestCluster<'_>, from: &Pod, host: &str) -> Result<String, String> {
    let output = cluster.exec(&from.name, &format!("wget -q -O - http://{host}/"));
    if output.succeeded() { Ok(output.ok().to_owned()) } else { Err(output.to_string()) }
}

/// `kcl status` exits with 0, and finds the API where the kubeconfig says it is, published or not.
pub(crate) fn status_is_right(cluster: &TestCluster<'_>) {
    let nodes = cluster.kcl(["status", "-o", "json"]).json();
    let nodes = nodes.as_array().cloned().unwrap_or_else(|| vec![nodes]);
    assert_eq!(nodes.len(), cluster.node_names().len());
    let control_plane = &nodes[0];
    let found =
        ["Host", "Kubelet", "APIServer", "Kubeconfig"].map(|key| control_plane[key].as_str().unwrap_or_default());
    assert_eq!(found, ["Running", "Running", "Running", "Configured"]);
}

/// A service has a URL that works, whether this host reaches nodes or not.
pub(crate) fn service_answers(cluster: &TestCluster<'_>, name: &str) {
    let url = cluster.kcl(["service", name, "--url"]);
    let address = url.ok().trim_start_matches("http://").parse().expect("an address and a port");
    let answer = eventually("the service answers", || http::get(address, "/").map_err(|error| error.to_string()));
    assert!(cluster.node_names().iter().any(|node| node == answer.trim()), "{answer}");
}

/// A port of this host that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The first node's host port answers on a published port of this host.
pub(crate) fn published_port_answers(cluster: &TestCluster<'_>, port: u16) {
    let page = eventually("the published port answers", || {
        http::get(([127, 0, 0, 1], port).into(), "/").map_err(|error| error.to_string())
    });
    assert_eq!(page.trim(), cluster.node_names()[0]);
}

/// Commands run in nodes, with their exit codes, and components tell their logs. Nodes themselves reach services, as the API
/// server does that asks another server; also hosts that have no default route.
pub(crate) fn commands_in_nodes(cluster: &TestCluster<'_>) {
    let service = cluster.field(&["service", "kubernetes"], ".spec.clusterIP");
    for node in cluster.node_names() {
        cluster.kcl(["ssh", "-n", &node, "--", "bash", "-c", &format!("exec 3<>/dev/tcp/{service}/443")]).ok();
        assert_eq!(cluster.agent(&node)["name"], node.as_str());
        assert_eq!(cluster.ssh(&node, "exit 7").code, Some(7));
    }
    cluster.kcl(["logs", "kubelet"]).ok();
}

/// Files go to every node and come back, and images go from one to all, whatever the way to a machine is.
fn files_and_images(cluster: &TestCluster<'_>) {
    let scratch = cluster.home.scratch();
    let path = |name: &str| scratch.join(name).display().to_string();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(scratch.join("there"), &bytes).expect("a file");
    for node in cluster.node_names() {
        cluster.kcl(["cp", &path("there"), &format!("{node}:/root/there")]).ok();
        cluster.kcl(["cp", &format!("{node}:/root/there"), &path("back")]).ok();
        assert!(std::fs::read(scratch.join("back")).expect("it came back") == bytes, "{node}");
    }
    cluster.kcl(["image", "save", "kcl.local/busybox:1.37", "-o", &path("saved.tar")]).ok();
    let loaded = cluster.kcl(["image", "load", &path("saved.tar"), "--name", "again:1", "-o", "json"]).json();
    assert_eq!(loaded[0]["nodes"].as_object().map(|nodes| nodes.len()), Some(cluster.node_names().len()), "{loaded}");
    let list = cluster.kcl(["image", "ls", "--format", "json"]).json();
    let has = |row: &&Value| row["repoTags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == AGAIN));
    let row = list.as_array().and_then(|rows| rows.iter().find(has)).expect("the image under its new name");
    assert_eq!(row["nodes"], serde_json::json!(cluster.node_names()));
    cluster.kcl(["image", "rm", "again:1"]).ok();
}

/// The whole name of `again:1`.
const AGAIN: &str = "docker.io/library/again:1";
