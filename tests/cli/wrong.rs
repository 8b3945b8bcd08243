//! Tests messages about invalid input: each names the place, the value found and the values allowed.

use insta::assert_snapshot;
use kcl::error::Id;
use serde_json::Value;

use crate::home::Home;

#[test]
fn cluster_files() {
    let home = Home::new();
    let mut told = String::new();
    for (name, content) in [
        ("syntax", "name = \"web\"\nnodes = = 3\n"),
        ("unterminated", "name = \"web\n"),
        ("unknown-key", "name = \"web\"\nkubernetes-verison = \"1.37\"\n"),
        ("unknown-key-in-table", "[network]\npod-cird = \"10.244.0.0/16\"\n"),
        ("unknown-key-in-nodes", "[[nodes]]\nrole = \"control-plane\"\nmemroy = \"2g\"\n"),
        ("nothing-like-it", "flavour = \"sweet\"\n"),
        ("wrong-type", "nodes = \"three\"\n"),
        ("wrong-type-of-list", "manifests = \"app.yaml\"\n"),
        ("overlap", "[network]\npod-cidr = \"10.96.0.0/12\"\n"),
        ("host-bits", "[network]\nsubnet = \"10.1.2.3/24\"\n"),
        ("not-a-network", "[network]\nservice-cidr = \"ten\"\n"),
        ("bad-name", "name = \"My Cluster\"\n"),
        ("bad-version", "kubernetes-version = \"one\"\n"),
        ("no-nodes", "nodes = 0\n"),
        ("many-nodes", "nodes = 101\n"),
        ("negative-nodes", "nodes = -1\n"),
        ("bad-memory", "memory = \"2 bananas\"\n"),
        ("little-memory", "memory = \"10m\"\n"),
        ("no-cpus", "cpus = 0\n"),
        ("unknown-driver", "driver = \"natvie\"\n"),
        ("unknown-role", "[[nodes]]\nrole = \"master\"\n"),
        ("first-is-a-worker", "[[nodes]]\nrole = \"worker\"\n"),
        ("bad-label", "[[nodes]]\nlabels = { \"a b\" = \"x\" }\n"),
        ("bad-component", "[extra-config.kube-apiserver]\nv = \"4\"\n"),
        ("dashes", "[extra-config.kubelet]\n\"--v\" = \"4\"\n"),
        ("missing-manifest", "manifests = [\"missing.yaml\"]\n"),
        ("long-life", "cert-expiration = \"100y\"\n"),
    ] {
        let file = format!("{name}.toml");
        home.file(&file, content);
        told += &home.told(&["start", "--config", &file]);
        told.push('\n');
    }
    std::fs::create_dir(home.file("x", "").with_file_name("directory.toml")).expect("a directory");
    told += &home.told(&["start", "--config", "directory.toml"]);
    told += &home.told(&["start", "--config", "missing.toml"]);
    assert_snapshot!(told);
    assert!(!told.contains("exit 0"));
}

#[test]
fn flags() {
    let home = Home::new();
    let lines: [&[&str]; 29] = [
        &[],
        &["strat"],
        &["start", "--node", "3"],
        &["start", "--nodes", "three"],
        &["start", "--nodes", "0"],
        &["start", "--cpus", "0"],
        &["start", "--memory", "lots"],
        &["start", "--memory", "10m"],
        &["start", "--driver", "dokcer"],
        &["start", "--driver", "fake"],
        &["start", "--kubernetes-version", "one"],
        &["start", "--kubernetes-version", "1.20"],
        &["start", "--subnet", "10.244.7.0/24"],
        &["start", "--subnet", "192.168.89.0/30", "--nodes", "3"],
        &["start", "--service-cidr", "10.0.0.0/8"],
        &["start", "--pod-cidr", "10.244.0.0/24", "--nodes", "2"],
        &["start", "--dns-domain", "Cluster_Local"],
        &["start", "--nameservers", "dns.example"],
        &["start", "--extra-config", "apiserver"],
        &["start", "--extra-config", "api.v=4"],
        &["start", "--extra-config", "kube-apiserver.v=4"],
        &["start", "--feature-gates", "A=maybe"],
        &["start", "--cert-expiration", "1s"],
        &["start", "--manifest", "missing.yaml"],
        &["start", "--wait", "forever"],
        &["start", "--wait-timeout", "18446744073709551615h"],
        &["start", "-p", "../up"],
        &["status", "--profile", "Web"],
        &["logs", "--follow"],
    ];
    assert_snapshot!(home.story(&lines));
    assert!(home.files().iter().all(|path| path.starts_with("home")), "{:?}", home.files());
}

/// Verbs and flags of other tools: each gets the words of kcl, and no verb that people cannot run is suggested.
#[test]
fn habits() {
    let home = Home::new();
    let lines: [&[&str]; 7] = [
        &["create", "cluster", "--name", "demo"],
        &["load", "docker-image", "app:1"],
        &["get", "pods"],
        &["start", "--servers", "3"],
        &["start", "--cni", "calico"],
        &["tunnel", "--cleanup"],
        &["guar"],
    ];
    let told = home.story(&lines);
    assert!(!told.contains("'guard'") && !told.contains("'loopback'"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn variables() {
    let home = Home::new();
    for (variable, value, named) in [("KCL_PROFILE", "A B", "the variable KCL_PROFILE"), ("KCL_DRIVER", "x", "driver")]
    {
        let output = home.kcl(&["start", "--dry-run"]).env(variable, value).output().expect("kcl runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(named) && said.contains(value), "{said}");
    }
}

/// A program that asked for JSON gets an event, whatever is wrong.
#[test]
fn errors_are_events_where_json_was_asked_for() {
    let home = Home::new();
    let lines: [(&[&str], Id); 9] = [
        (&["start", "-o", "json", "--memory", "lots"], Id::FlagInvalid),
        (&["start", "-o", "json", "--config", "missing.toml"], Id::ConfigInvalid),
        (&["start", "-o", "json", "--kubernetes-version", "1.2"], Id::VersionUnknown),
        (&["start", "-o", "json", "--pod-cidr", "10.96.0.0/16"], Id::NetworkConflict),
        (&["start", "-o", "json", "--driver", "native", "--addons", "no-such"], Id::AddonUnknown),
        (&["start", "--bogus", "--output=json"], Id::FlagInvalid),
        (&["stop", "-o", "json"], Id::ClusterNotFound),
        (&["addons", "enable", "metrics-server", "-o", "json"], Id::ClusterNotFound),
        (&["delete", "-o", "json", "-p", "Not A Name"], Id::FlagInvalid),
    ];
    for (arguments, id) in lines {
        let output = home.kcl(arguments).output().expect("kcl runs");
        let code = id.exit_code();
        assert_eq!(output.status.code(), Some(code.into()), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        let [event] = events.as_slice() else { panic!("{arguments:?}: one event, not {text}") };
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "io.k8s.sigs.kcl.error");
        assert_eq!(event["data"]["id"], id.as_str(), "{event}");
        let name = id.family().name();
        assert_eq!((&event["data"]["name"], &event["data"]["exitcode"]), (&name.into(), &code.to_string().into()));
        assert!(event["data"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{event}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
