//! Enable, configure, disable: with the cluster running, stopped and missing, twice, at once, failing and killed.

use std::process::Stdio;

use crate::own;
use crate::support::{Home, TestCluster, eventually};

const ALL: &str = "namespaces,deployments,configmaps,services,secrets,customresourcedefinitions";
const USAGE: i32 = 64;
const CLUSTER: i32 = 76;
const NOT_FOUND: i32 = 85;

#[test]
fn an_addon_of_ones_own() {
    let home = Home::new("addons");
    let folder = own::copy(&home, "hello");
    let path = folder.to_str().expect("a plain path");

    home.step("nobody there");
    let nobody = home.kcl(["addons", "enable", "storage", "-p", "nobody"]);
    assert!(nobody.fails_with(NOT_FOUND).contains("kcl start -p nobody"), "{nobody}");

    home.step("start with it");
    let cluster = home.start("kit", &["--nodes", "2", "--addons", path]);
    assert_eq!(cluster.field(&["deployment", "hello", "-n", "kcl-hello"], ".status.availableReplicas"), "1");
    assert_eq!(status(&cluster, "hello"), "enabled");
    says(&cluster, "hello");
    let alert = cluster.field(&["configmap", "alerts", "-n", "kcl-hello"], ".data.alert");
    assert_eq!(alert, "{{ $labels.instance }} is down");
    // It came from a folder that may be gone: the cluster has a copy.
    std::fs::rename(&folder, home.scratch().join("elsewhere")).expect("a rename");

    home.step("twice");
    let version = |what: &str| cluster.field(&[what, "hello", "-n", "kcl-hello"], ".metadata.resourceVersion");
    let before = (version("deployment"), version("service"));
    cluster.kcl(["addons", "enable", "hello"]).ok();
    cluster.start(&[]).ok();
    assert_eq!((version("deployment"), version("service")), before);

    home.step("configure");
    let wrong = cluster.kcl(["addons", "configure", "hello", "replicas=two"]);
    assert!(wrong.fails_with(USAGE).contains("\"two\" is not an integer"), "{wrong}");
    let wrong = cluster.kcl(["addons", "configure", "hello", "replica=2"]);
    assert!(wrong.fails_with(USAGE).contains("did you mean \"replicas\"?"), "{wrong}");
    cluster.kcl(["addons", "configure", "hello", "replicas=2", "text=good day"]).ok();
    assert_eq!(cluster.field(&["deployment", "hello", "-n", "kcl-hello"], ".status.availableReplicas"), "2");
    says(&cluster, "good day");
    let values = cluster.kcl(["addons", "configure", "hello", "-o", "json"]).json();
    assert_eq!((&values["replicas"]["Value"], &values["replicas"]["Default"]), (&2.into(), &1.into()));
    let wrong = cluster.kcl(["addons", "configure", "monitoring", "retention=banana"]);
    assert!(wrong.fails_with(USAGE).contains("\"banana\" is not valid"), "{wrong}");
    let wrong = cluster.kcl(["addons", "configure", "monitoring", "node_port=70000"]);
    assert!(wrong.fails_with(USAGE).contains("from 1 to 65535"), "{wrong}");

    home.step("a value with which it crashes");
    let failed = cluster.kcl(["addons", "configure", "hello", "page=/nowhere"]);
    let said = failed.fails_with(CLUSTER);
    for word in ["pod kcl-hello/hello-", "log: ", "the earlier values apply again"] {
        assert!(said.contains(word), "no {word} in {failed}");
    }
    assert_eq!(cluster.kcl(["addons", "configure", "hello", "-o", "json"]).json()["page"]["Value"], "/page");
    says(&cluster, "good day");

    home.step("a version that lacks an object");
    let folder = own::copy(&home, "hello");
    std::fs::remove_file(folder.join("20-greetings.yaml")).expect("a file");
    cluster.kubectl(["create", "-f", &greeting(&home)]);
    cluster.kcl(["addons", "enable", path]).ok();
    assert!(!left(&cluster).iter().any(|name| name.contains("greetings") || name.contains("secret")));
    says(&cluster, "good day");

    home.step("disable");
    cluster.kubectl(["create", "configmap", "mine", "-n", "kcl-hello"]);
    cluster.kcl(["addons", "disable", "hello"]).ok();
    assert_eq!(left(&cluster), ["configmap/guests", "namespace/kcl-hello"], "what users have stored stays");
    assert_eq!(cluster.kubectl(["get", "pods", "-n", "kcl-hello", "-o", "name"]), "");
    cluster.kubectl(["get", "configmap", "mine", "-n", "kcl-hello"]);

    home.step("enable again, and disable with all data");
    cluster.kcl(["addons", "enable", path]).ok();
    cluster.kcl(["addons", "disable", "hello", "--data"]).ok();
    assert_eq!(left(&cluster), Vec::<String>::new());
    cluster.kcl(["addons", "disable", path]).fails_with(USAGE);

    home.step("two at once");
    let enable = || cluster.command(["addons", "enable", path]).stderr(Stdio::null()).spawn().expect("kcl");
    let (mut first, mut second) = (enable(), enable());
    assert!(first.wait().expect("an end").success() && second.wait().expect("an end").success());
    says(&cluster, "hello");

    home.step("while stopped");
    cluster.kcl(["stop"]).ok();
    let disabled = cluster.kcl(["addons", "disable", "hello"]);
    disabled.ok();
    assert!(disabled.stderr.contains("at its next start"), "{disabled}");
    cluster.start(&[]).ok();
    assert_eq!(left(&cluster), ["configmap/guests", "namespace/kcl-hello"]);
    cluster.kcl(["stop"]).ok();
    cluster.kcl(["addons", "enable", path]).ok();
    cluster.start(&[]).ok();
    says(&cluster, "hello");

    home.step("killed in the middle");
    cluster.kcl(["addons", "disable", "hello", "--data"]).ok();
    let mut enable = cluster.command(["addons", "enable", path]).stderr(Stdio::null()).spawn().expect("kcl");
    eventually("it is being applied", || match cluster.kubectl_try(["get", "namespace", "kcl-hello"]).succeeded() {
        true => Ok(()),
        false => Err("no namespace yet".to_owned()),
    });
    enable.kill().expect("a kill");
    enable.wait().expect("an end");
    cluster.kcl(["addons", "disable", "hello", "--data"]).ok();
    assert_eq!(left(&cluster), Vec::<String>::new());

    home.step("one that never runs");
    let broken = own::copy(&home, "broken");
    let failed = cluster.kcl(["addons", "enable", broken.to_str().expect("a plain path")]);
    let said = failed.fails_with(CLUSTER);
    for word in ["pod default/broken-", "ErrImageNeverPull", "kcl addons disable broken"] {
        assert!(said.contains(word), "no {word} in {failed}");
    }
    cluster.kcl(["addons", "disable", "broken"]).ok();
    assert_eq!(cluster.kubectl(["get", "deployments,pods", "-l", "kcl.dev/addon=broken", "-o", "name"]), "");

    home.step("one whose image cannot be pulled");
    cluster.kcl(["addons", "configure", "headlamp", "image=localhost:1/headlamp:1"]).ok();
    let failed = cluster.kcl(["addons", "enable", "headlamp"]);
    let said = failed.fails_with(CLUSTER);
    for word in ["pod kcl-headlamp/headlamp-", "localhost:1/headlamp:1", "kcl addons disable headlamp"] {
        assert!(said.contains(word), "no {word} in {failed}");
    }
    cluster.kcl(["addons", "disable", "headlamp"]).ok();
    assert_eq!(cluster.kubectl(["get", "all,namespaces", "-A", "-l", "kcl.dev/addon=headlamp", "-o", "name"]), "");
}

fn status(cluster: &TestCluster, addon: &str) -> String {
    let list = cluster.kcl(["addons", "list", "-o", "json"]).json();
    assert_eq!(list[addon]["Profile"], cluster.profile.as_str(), "{list:#}");
    list[addon]["Status"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the addon's pods answer this: kube-proxies hear of new pods a moment after they are ready.
fn says(cluster: &TestCluster, text: &str) {
    let address = cluster.field(&["service", "hello", "-n", "kcl-hello"], ".spec.clusterIP");
    eventually("the pods' answer", || {
        let answer = cluster.kcl(["ssh", "--", "busybox", "wget", "-q", "-O", "-", &format!("http://{address}/")]);
        if answer.succeeded() && answer.stdout.trim() == text { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// A user's own object of the addon's kind.
fn greeting(home: &Home) -> String {
    let text =
        "apiVersion: hello.example.org/v1\nkind: Greeting\nmetadata: {name: mine, namespace: default}\ntext: hi\n";
    home.file("greeting.yaml", text).display().to_string()
}

/// The addon's objects that are there.
fn left(cluster: &TestCluster) -> Vec<String> {
    let names = cluster.kubectl(["get", ALL, "-A", "-l", "kcl.dev/addon=hello", "-o", "name"]);
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    names
}
