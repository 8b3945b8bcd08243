//! Starts that cannot succeed: they say soon and clearly why, and leave things as they were.

use crate::run::nothing_left;
use crate::support::{Home, own_network};

#[test]
fn a_flag_that_the_api_server_does_not_know() {
    let home = Home::new("bad-flag");
    let cluster = home.cluster("flag");
    let output = cluster.start(&["--extra-config", "apiserver.no-such-flag=1"]);
    let said = output.fails_with(76);
    for part in ["kube-apiserver", "unknown flag: --no-such-flag", "--extra-config"] {
        assert!(said.contains(part), "{part} is missing: {output}");
    }
    nothing_left(&home, &cluster);

    home.step("and a kubelet's");
    let output = cluster.start(&["--extra-config", "kubelet.no-such-flag=1"]);
    let said = output.fails_with(76);
    for part in ["kubelet: back-off", "unknown flag: --no-such-flag", "--extra-config"] {
        assert!(said.contains(part), "{part} is missing: {output}");
    }
    nothing_left(&home, &cluster);

    for (setting, part) in [
        ("scheduler.no-such-flag=1", "unknown flag: --no-such-flag"),
        ("controller-manager.no-such-flag=1", "unknown flag: --no-such-flag"),
        ("etcd.no-such-flag=1", "no-such-flag"),
        ("kube-proxy.mode=no-such-mode", "no-such-mode"),
    ] {
        home.step(setting);
        let output = cluster.start(&["--extra-config", setting]);
        assert!(output.fails_with(76).contains(part), "{part} is missing: {output}");
        nothing_left(&home, &cluster);
    }

    home.step("and without it");
    cluster.start(&[]).ok();
    cluster.settled();
}

/// A cluster with data in it is stopped, and a start fails: all is as before, also what kcl remembers of it.
#[test]
fn a_failed_start_of_a_stopped_cluster_keeps_its_data() {
    let home = Home::new("failed-again");
    let cluster = home.start("kept", &[]);
    cluster.kubectl(["create", "configmap", "precious", "--from-literal=a=b"]);
    for running in [false, true] {
        if !running {
            cluster.kcl(["stop"]).ok();
        }
        home.step(&format!("a start that fails; running: {running}"));
        let before = cluster.kcl(["config", "view"]).ok().to_owned();
        let output = cluster.start(&["--extra-config", "apiserver.no-such-flag=1"]);
        assert!(output.fails_with(76).contains("no-such-flag"), "{output}");
        assert_eq!(cluster.kcl(["config", "view"]).ok(), before, "what was tried is not remembered");
        assert_eq!(cluster.nodes()[0]["Status"], if running { "Running" } else { "Stopped" });
        if running {
            assert!(output.stderr.contains("runs as before"), "{output}");
            assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
        }
        cluster.start(&[]).ok();
        cluster.settled();
        assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
    }

    home.step("more nodes, which fail");
    let output = cluster.start(&["--nodes", "2", "--extra-config", "kubelet.no-such-flag=1", "--wait-timeout", "20s"]);
    output.fails();
    assert_eq!(cluster.nodes().len(), 1, "the new node is removed");
    assert_eq!(cluster.nodes()[0]["Status"], "Running");
    assert_eq!(cluster.kubectl(["get", "nodes", "-o", "name"]), "node/kept", "Kubernetes has forgotten it too");
    cluster.start(&[]).ok();
    cluster.settled();
    assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
}

#[test]
fn no_patience() {
    let home = Home::new("impatient");
    let cluster = home.cluster("impatient");
    let output = cluster.start(&["--wait-timeout", "1s"]);
    let said = output.fails_with(75);
    assert!(said.contains("--wait-timeout") && said.contains("not ready: "), "{output}");
    assert!(said.contains(" on impatient"), "it says where: {output}");
    nothing_left(&home, &cluster);
}

#[test]
fn a_manifest_that_the_api_refuses() {
    let home = Home::new("bad-manifest");
    let cluster = home.cluster("manifest");
    let file = home.file("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"No Name\"}\n");
    let output = cluster.start(&["--manifest", &file.to_string_lossy()]);
    let said = output.fails_with(76);
    assert!(said.contains("No Name") && said.contains("bad.yaml"), "{output}");
    home.step("the cluster is there all the same");
    cluster.settled();
    home.file("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-name, namespace: default}\n");
    cluster.start(&[]).ok();
    cluster.kubectl(["get", "configmap", "a-name"]);
}

/// An addon that does not get ready is trouble beside the cluster: of a new one, of a stopped one, and of one that runs.
#[test]
fn an_addon_that_is_never_ready() {
    let home = Home::new("bad-addon");
    let broken = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/addons/broken");
    let cluster = home.cluster("addon");
    let output = cluster.start(&["--addons", broken]);
    let said = output.fails_with(76);
    assert!(said.contains("warning: the addon broken") && said.contains("ErrImageNeverPull"), "{output}");
    assert!(said.contains("\"addon\" runs Kubernetes"), "{output}");
    cluster.kubectl(["create", "configmap", "precious", "--from-literal=a=b"]);
    for stopped in [true, false] {
        if stopped {
            cluster.kcl(["stop"]).ok();
        }
        home.step(&format!("once more, as it is stopped: {stopped}"));
        let mut run = crate::run::start(&cluster, &[]);
        let trouble =
            run.event(|event| event["type"] == "io.k8s.sigs.kcl.warning" && event["data"]["id"] == "addon.failed");
        let message = trouble.expect("a warning")["data"]["message"].to_string();
        assert!(message.contains("ErrImageNeverPull"), "{message}");
        assert_eq!(run.end().code, Some(76));
        assert_eq!(cluster.nodes()[0]["Status"], "Running");
        assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
    }
    cluster.kcl(["addons", "disable", "broken"]).ok();
    cluster.start(&[]).ok();
}

/// An address of another link conflicts: the error names it; without `--subnet` kcl avoids it.
#[test]
fn a_subnet_that_is_taken() {
    // The link would conflict with other tests' clusters too.
    own_network(|| {
        let home = Home::new("subnet");
        let cluster = home.cluster("subnet");
        let link = Link::new("kcltestdummy0", "10.89.0.77/24");
        let output = cluster.start(&["--subnet", "10.89.0.0/24"]);
        let said = output.fails_with(69);
        assert!(
            said.contains("kcltestdummy0") && said.contains("10.89.0.0/24") && said.contains("--subnet"),
            "{output}"
        );
        nothing_left(&home, &cluster);
        cluster.start(&["--wait", "api"]).ok();
        assert_ne!(cluster.gateway().octets()[2], 0);

        home.step("the address comes while the cluster is stopped");
        cluster.kcl(["stop"]).ok();
        drop(link);
        let own = cluster.nodes()[0]["IP"].as_str().expect("an address").to_owned();
        let subnet = format!("{}.7/24", own.rsplit_once('.').expect("four numbers").0);
        let link = Link::new("kcltestdummy1", &subnet);
        let output = cluster.start(&["--wait", "api"]);
        assert!(output.fails_with(69).contains("kcltestdummy1"), "{output}");
        drop(link);
        cluster.start(&[]).ok();
        cluster.settled();
    });
}

/// A link of the test's own.
struct Link(&'static str);

impl Link {
    fn new(name: &'static str, address: &str) -> Self {
        let link = Link(name);
        ip(&["link", "add", name, "type", "bridge"]).expect("a link");
        ip(&["address", "add", address, "dev", name]).expect("an address");
        ip(&["link", "set", name, "up"]).expect("it is up");
        link
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        ip(&["link", "delete", self.0]).unwrap_or_else(|error| eprintln!("{error}"));
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = crate::support::Output::of(std::process::Command::new("ip").args(words));
    if output.succeeded() { Ok(()) } else { Err(output.to_string()) }
}
