//! Several control planes: they come and go while a client writes, any of them may be lost, and nothing that was acknowledged
//! is.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Home, IMAGE, TestCluster, eventually};

#[test]
fn control_planes_come_and_go() {
    let home = Home::new("ha");
    let cluster = home.start("ha", &["--nodes", "2"]);
    let address = server(&cluster);
    let writer = Writer::of(&cluster);

    home.step("from one to three");
    let before = [cluster.components("ha-m02"), lasting(&cluster, "ha")];
    let plan = cluster.start(&["--control-planes", "3", "--dry-run"]);
    assert_eq!(plan.ok().matches("create").count(), 2, "{plan}");
    cluster.start(&["--control-planes", "3"]).ok();
    assert_eq!(cluster.node_names(), ["ha", "ha-m02", "ha-m03", "ha-m04"]);
    assert_eq!([cluster.components("ha-m02"), lasting(&cluster, "ha")], before, "what ran is not restarted");
    assert_eq!(parts(&cluster), ["Leader", "Member", "Member"]);
    assert_eq!(server(&cluster), address, "kubeconfigs stay valid");
    cluster.start(&[]).ok();
    assert_eq!([cluster.components("ha-m02"), lasting(&cluster, "ha")], before, "another start changes nothing");
    assert!(cluster.start(&["--control-planes", "1"]).fails().contains("kcl node delete"));

    home.step("each one is lost in turn");
    for node in ["ha", "ha-m03", "ha-m04"] {
        let written = writer.count();
        cut_power(&cluster, node);
        eventually("the others serve", || match writer.count() > written + 20 {
            true => Ok(()),
            false => Err(format!("{} writes", writer.count())),
        });
        cluster.kubectl(["create", "deployment", node, &format!("--image={IMAGE}")]);
        eventually("controllers and the scheduler work", || {
            match cluster.field(&["pods", "-l", &format!("app={node}")], ".items[*].spec.nodeName") {
                none if none.is_empty() => Err("no pod has a node".to_owned()),
                _ => Ok(()),
            }
        });
        cluster.kubectl(["delete", "deployment", node]);
        assert!(status(&cluster).iter().any(|row| row["Name"] == node && row["Etcd"] == "Stopped"));
        cluster.start(&[]).ok();
        assert_eq!(parts(&cluster), ["Leader", "Member", "Member"]);
    }

    home.step("a machine that is lost for good is replaced");
    cut_power(&cluster, "ha-m03");
    std::fs::remove_dir_all(home.path().join("clusters/ha/nodes/ha-m03")).expect("a machine's directory");
    let plan = cluster.start(&["--dry-run"]);
    assert_eq!(plan.ok().matches("create").count(), 1, "{plan}");
    cluster.start(&[]).ok();
    assert_eq!(parts(&cluster), ["Leader", "Member", "Member"]);
    assert_eq!(cluster.run_on("ha-m03", "works", "echo works"), "works");

    home.step("the loss of most of them is reported, and a start brings them back");
    for node in ["ha", "ha-m04"] {
        cut_power(&cluster, node);
    }
    eventually("the loss of the leader is noticed", || {
        let told = cluster.kcl(["status"]).stderr;
        if told.contains("etcd has no leader") { Ok(()) } else { Err(told) }
    });
    cluster.start(&[]).ok();
    assert_eq!(parts(&cluster), ["Leader", "Member", "Member"]);

    home.step("from three to one, the first node among those that go");
    for node in ["ha", "ha-m04"] {
        cluster.kcl(["node", "delete", node]).ok();
    }
    assert_eq!(cluster.node_names(), ["ha-m02", "ha-m03"]);
    assert!(status(&cluster).iter().all(|row| row["Etcd"].is_null()));
    assert!(cluster.kcl(["node", "delete", "ha-m03"]).fails().contains("the only control plane"));
    assert_eq!(server(&cluster), address);
    cluster.kcl(["stop"]).ok();
    cluster.start(&[]).ok();

    let written = writer.end();
    assert!(written.len() > 100, "{} writes", written.len());
    let kept = names(&cluster);
    let lost: Vec<_> = written.difference(&kept).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), written.len());
}

/// The processes of a control plane that no change of the number of control planes restarts.
fn lasting(cluster: &TestCluster<'_>, node: &str) -> Vec<(String, u64)> {
    let restarted = ["etcd", "kube-controller-manager", "kube-scheduler"];
    cluster.components(node).into_iter().filter(|(name, _)| !restarted.contains(&name.as_str())).collect()
}

/// The address of the API in the user's kubeconfig.
fn server(cluster: &TestCluster<'_>) -> String {
    let view = cluster.kubectl(["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    assert!(view.starts_with("https://"), "{view}");
    view
}

fn status(cluster: &TestCluster<'_>) -> Vec<Value> {
    // Its exit code tells of nodes that do not run.
    let output = cluster.kcl(["status", "-o", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"))
}

/// The parts of the control planes in etcd, sorted.
fn parts(cluster: &TestCluster<'_>) -> Vec<String> {
    let rows = status(cluster);
    let parts = rows.iter().filter(|row| row["Worker"] == false).map(|row| row["Etcd"].as_str().unwrap_or_default());
    let mut parts: Vec<String> = parts.map(str::to_owned).collect();
    parts.sort();
    parts
}

/// Kills the first process of a node, and so all of it.
fn cut_power(cluster: &TestCluster<'_>, node: &str) {
    let is_of = |pid: &i32| {
        let spec = std::fs::read_to_string(format!("/proc/{pid}/root/etc/kcl/node.json")).unwrap_or_default();
        serde_json::from_str::<Value>(&spec).is_ok_and(|spec| spec["name"] == node)
    };
    let processes = cluster.traces().processes;
    let agents = processes.iter().filter(|(_, command)| command.contains("kcl-node run")).map(|(pid, _)| *pid);
    let agent = agents.into_iter().find(is_of).unwrap_or_else(|| panic!("{node} does not run: {processes:#?}"));
    kill(Pid::from_raw(agent), Signal::SIGKILL).expect("the agent runs");
    eventually("the machine is off", || {
        let row = cluster.nodes().into_iter().find(|row| row["Name"] == node).expect("the node");
        if row["Status"] == "Stopped" { Ok(()) } else { Err(row["Status"].to_string()) }
    });
}

/// A client that makes objects all the time, and remembers those that were acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<BTreeSet<String>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn of(cluster: &TestCluster<'_>) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let runtime = runtime();
        let client = || runtime.block_on(cluster.client());
        // A connection to a node without power says nothing: each has clients of its own, as users' programs do.
        let clients: Vec<_> = (0..3).map(|_| client()).collect();
        let thread = std::thread::spawn({
            let (stop, written) = (stop.clone(), written.clone());
            move || runtime.block_on(write(clients, &stop, &written))
        });
        Writer { stop, written, thread }
    }

    fn count(&self) -> usize {
        self.written.lock().expect("no panic").len()
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer");
        self.written.lock().expect("no panic").clone()
    }
}

/// Writes until it has to stop. An answer that does not come within a second counts as none.
async fn write(clients: Vec<kube::Client>, stop: &AtomicBool, written: &Mutex<BTreeSet<String>>) {
    let mut clients = clients.into_iter().cycle();
    let mut client = clients.next().expect("a client");
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("written-{number}");
        let object: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}})).expect("an object");
        let objects: Api<ConfigMap> = Api::default_namespaced(client.clone());
        match tokio::time::timeout(Duration::from_secs(1), objects.create(&PostParams::default(), &object)).await {
            Ok(Ok(_)) => drop(written.lock().expect("no panic").insert(name)),
            _ => client = clients.next().expect("a client"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The names of the objects that are there.
fn names(cluster: &TestCluster<'_>) -> BTreeSet<String> {
    let list = cluster.field(&["configmaps"], ".items[*].metadata.name");
    list.split_whitespace().map(str::to_owned).collect()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
