//! Tests of the way from settings to a spec, and of the answers to wrong settings.

mod document;
mod nodes;

use std::path::PathBuf;

use kcl_driver_api::DriverKind;
use kcl_node_spec::Role;

use super::*;
use crate::error::{Error, Family, Result};

fn no_var(_: &str) -> Option<String> {
    None
}

fn resolve_with(
    overrides: &Overrides,
    existing: Option<&ClusterSpec>,
    var: &dyn Fn(&str) -> Option<String>,
) -> Result<ClusterSpec> {
    Source::read_with(overrides, var)?.resolve(existing)
}

/// Resolves flags without an environment.
fn flags(overrides: Overrides, existing: Option<&ClusterSpec>) -> Result<ClusterSpec> {
    resolve_with(&overrides, existing, &no_var)
}

/// Resolves a cluster file.
fn file(text: &str, existing: Option<&ClusterSpec>) -> Result<ClusterSpec> {
    with_file(text, Overrides::default(), existing, &no_var)
}

fn with_file(
    text: &str,
    overrides: Overrides,
    existing: Option<&ClusterSpec>,
    var: &dyn Fn(&str) -> Option<String>,
) -> Result<ClusterSpec> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kcl.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(dir.path().join("app.yaml"), "").unwrap();
    resolve_with(&Overrides { config: Some(path), ..overrides }, existing, var)
}

/// The error and its hints as one text, without the directory of the file.
fn text(error: &Error) -> String {
    assert_eq!(error.id.family(), Family::Usage, "{error}");
    let text = [vec![error.message.clone()], error.hints.clone()].concat().join("\n");
    match text.find("kcl.toml") {
        Some(at) => text[at..].to_owned(),
        None => text,
    }
}

fn wrong_file(content: &str) -> String {
    text(&file(content, None).unwrap_err())
}

fn wrong_flags(overrides: Overrides) -> String {
    text(&flags(overrides, None).unwrap_err())
}

fn nodes(count: usize) -> Overrides {
    Overrides { nodes: Some(count), ..Overrides::default() }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn nothing_said_is_one_control_plane() {
    let spec = flags(Overrides::default(), None).unwrap();
    assert_eq!(spec, ClusterSpec::with_defaults("kcl"));
    assert_eq!(spec.driver, None);
    assert_eq!((spec.nodes.len(), spec.nodes[0].role), (1, Role::ControlPlane));
}

const WHOLE: &str = r#"
name = "dev"
driver = "native"
kubernetes-version = "1.37.0"
cpus = 2
memory = "2g"
cert-expiration = "1y"
manifests = ["app.yaml"]
ports = ["8080:30080", "0.0.0.0:5353:53/udp"]

[[nodes]]
memory = 4096

[[nodes]]
role = "worker"
count = 2
labels = { disk = "ssd" }

[network]
subnet = "192.168.60.0/24"
pod-cidr = "10.10.0.0/16"
service-cidr = "10.11.0.0/20"
dns-domain = "dev.local"

[apiserver]
names = ["api.example.org"]
ips = ["192.0.2.1", "2001:db8::1"]

[feature-gates]
Foo = true

[extra-config.kubelet]
max-pods = "50"
"#;

#[test]
fn a_whole_file_is_read() {
    let spec = file(WHOLE, None).unwrap();
    assert_eq!(spec.name, "dev");
    assert_eq!(spec.kubernetes_version, "v1.37.0");
    assert_eq!(spec.cert_expiration.as_secs(), 365 * 86_400);
    let gib = 1u64 << 30;
    let limits: Vec<_> = spec.nodes.iter().map(|node| (node.cpus, node.memory)).collect();
    assert_eq!(limits, [(Some(2), Some(4 * gib)), (Some(2), Some(2 * gib)), (Some(2), Some(2 * gib))]);
    assert_eq!(spec.nodes[2].labels["disk"], "ssd");
    assert_eq!(spec.subnet.unwrap().to_string(), "192.168.60.0/24");
    assert_eq!(spec.apiserver_ips.len(), 2);
    assert!(spec.feature_gates["Foo"]);
    assert_eq!(spec.extra_config["kubelet"]["max-pods"], "50");
    let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["127.0.0.1:8080:30080/tcp", "0.0.0.0:5353:53/udp"]);
    assert!(spec.manifests[0].is_absolute() && spec.manifests[0].ends_with("app.yaml"));
}

#[test]
fn a_spec_goes_round_through_toml() {
    let file_spec = ClusterSpec { manifests: vec![], ..file(WHOLE, None).unwrap() };
    let alike = flags(Overrides { cpus: Some(2), memory: some("2g"), ..nodes(3) }, None).unwrap();
    for spec in [file_spec, alike, ClusterSpec::with_defaults("x")] {
        let toml = spec.to_toml().unwrap();
        assert_eq!(file(&toml, None).unwrap(), spec, "{toml}");
    }
    let toml = ClusterSpec::with_defaults("x").to_toml().unwrap();
    assert!(toml.contains("nodes = 1\n") && !toml.contains("feature-gates"), "{toml}");
}

#[test]
fn a_spec_goes_round_through_json() {
    let spec = file(WHOLE, None).unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ClusterSpec>(&json).unwrap(), spec);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let var = |name: &str| (name == "KCL_PROFILE").then(|| "env".to_owned());
    let said = "name = \"file\"\ncpus = 2\nnodes = 2\n";
    assert_eq!(with_file(said, Overrides::default(), None, &no_var).unwrap().name, "file");
    assert_eq!(with_file(said, Overrides::default(), None, &var).unwrap().name, "env");
    let overrides = Overrides { profile: some("flag"), cpus: Some(4), ..nodes(3) };
    let spec = with_file(said, overrides, None, &var).unwrap();
    assert_eq!((spec.name.as_str(), spec.nodes.len()), ("flag", 3));
    assert!(spec.nodes.iter().all(|node| node.cpus == Some(4)));
    let wrong = |name: &str| (name == "KCL_DRIVER").then(|| "docker?".to_owned());
    let error = resolve_with(&Overrides::default(), None, &wrong).unwrap_err();
    assert!(text(&error).starts_with("the variable KCL_DRIVER: \"docker?\" is not a driver"), "{error}");
    let empty = |_: &str| Some(String::new());
    assert_eq!(resolve_with(&Overrides::default(), None, &empty).unwrap().name, "kcl");
}

#[test]
fn flags_add_to_tables_and_replace_lists() {
    let overrides = Overrides {
        extra_config: vec!["kubelet.v=4".into(), "etcd.quota-backend-bytes=1=1".into()],
        feature_gates: some("Foo=false, Bar=true"),
        apiserver_names: vec!["a,b.example.org".into()],
        ..Overrides::default()
    };
    let spec = with_file(WHOLE, overrides, None, &no_var).unwrap();
    assert_eq!(spec.extra_config["kubelet"].len(), 2);
    assert_eq!(spec.extra_config["etcd"]["quota-backend-bytes"], "1=1");
    assert_eq!((spec.feature_gates["Foo"], spec.feature_gates["Bar"]), (false, true));
    assert_eq!(spec.apiserver_names, ["a", "b.example.org"]);
}

#[test]
fn what_is_not_said_of_an_existing_cluster_stays() {
    let existing = file(WHOLE, None).unwrap();
    assert_eq!(flags(Overrides::default(), Some(&existing)).unwrap(), existing);
    let grown = flags(nodes(5), Some(&existing)).unwrap();
    assert_eq!(grown.nodes[..3], existing.nodes[..]);
    assert_eq!((grown.nodes[4].name.as_str(), grown.nodes[4].cpus), ("dev-m05", Some(2)));
    for version in ["1.37", "v1.37.0", "stable", "latest"] {
        let overrides = Overrides { kubernetes_version: some(version), ..Overrides::default() };
        assert_eq!(flags(overrides, Some(&existing)).unwrap(), existing, "{version}");
    }
}

#[test]
fn ports_that_cannot_be_published() {
    let said = |toml: &str| text(&file(toml, None).unwrap_err());
    assert!(said("ports = [\"80:80\", \"0.0.0.0:80:81\"]").contains("are the same port of this host"));
    assert!(said("ports = [\"80:80\"]\n[[nodes]]\nhost = \"root@192.0.2.1\"").contains("the first node is a host"));
    for wrong in ["80", "80:0", "80:80/sctp", "a:80:80", "1:2:3:4"] {
        assert!(said(&format!("ports = [\"{wrong}\"]")).contains("is not a port mapping"), "{wrong}");
    }
}

#[test]
fn changes_that_an_existing_cluster_cannot_take() {
    let driver = Some(DriverKind::Native);
    let existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(nodes(3), None).unwrap() };
    let refused = |overrides: Overrides| text(&flags(overrides, Some(&existing)).unwrap_err());
    let none = Overrides::default;
    for (overrides, is, wanted) in [
        (Overrides { driver: some("fake"), ..none() }, "the driver native", "to fake"),
        (Overrides { kubernetes_version: some("1.36.3"), ..none() }, "kubernetes-version v1.37.0", "to v1.36.3"),
        (Overrides { kubernetes_version: some("1.3"), ..none() }, "kubernetes-version v1.37.0", "to v1.3"),
        (Overrides { subnet: some("10.1.0.0/24"), ..none() }, "subnet that the driver chose", "to 10.1.0.0/24"),
        (Overrides { pod_cidr: some("10.1.0.0/16"), ..none() }, "pod-cidr 10.244.0.0/16", "to 10.1.0.0/16"),
        (Overrides { service_cidr: some("10.1.0.0/16"), ..none() }, "service-cidr 10.96.0.0/16", "to 10.1.0.0/16"),
        (Overrides { ports: vec!["1:2".into()], ..none() }, "ports none", "to 127.0.0.1:1:2/tcp"),
        (Overrides { dns_domain: some("x.y"), ..none() }, "dns-domain cluster.local", "to x.y"),
    ] {
        let error = refused(overrides);
        assert!(error.contains(is) && error.contains(wanted) && error.contains("`kcl delete -p kcl`"), "{error}");
    }
    let error = refused(nodes(2));
    assert!(error.contains("the node kcl-m03 of the cluster kcl cannot be removed"), "{error}");
    assert!(error.contains("the wanted nodes are kcl, kcl-m02"), "{error}");
    assert!(error.contains("kcl node delete -p kcl kcl-m03"), "{error}");
    let error = text(&file("[[nodes]]\n[[nodes]]\nrole = \"control-plane\"\n[[nodes]]", Some(&existing)).unwrap_err());
    assert!(error.contains("the node kcl-m02 is a worker, which cannot be changed to control-plane"), "{error}");
    let error = text(&file("[[nodes]]\n[[nodes]]\ndriver = \"fake\"\n[[nodes]]", Some(&existing)).unwrap_err());
    assert!(error.contains("the node kcl-m02 has the driver native, which cannot be changed to fake"), "{error}");
}

#[test]
fn wrong_files_are_answered_with_line_and_key() {
    for (content, right) in [
        ("nodse = 3", "kcl.toml, line 1, at `nodse = 3`: \"nodse\" is not a key here: did you mean \"nodes\"?"),
        ("\nzzz = 3", "kcl.toml, line 2, at `zzz = 3`: \"zzz\" is not a key here: known are name, driver"),
        (
            "[network]\npod_cidr = \"10.0.0.0/8\"",
            "line 2, at `pod_cidr = \"10.0.0.0/8\"`: \"pod_cidr\" is not a key here: did you mean \"pod-cidr\"?",
        ),
        (
            "[[nodes]]\nrole = \"master\"",
            "line 2, at `role = \"master\"`: \"master\" is not a value for this key: known are control-plane, worker",
        ),
        ("[[nodes]]\ncpu = 2", "line 2, at `cpu = 2`: \"cpu\" is not a key here: did you mean \"cpus\"?"),
        (
            "driver = \"natve\"",
            "line 1, at `driver = \"natve\"`: \"natve\" is not a value for this key: did you mean \"native\"?",
        ),
        ("name = \"A b\"", "line 1, at `name = \"A b\"`: \"A b\" is not a name for a cluster"),
        ("name = ", "kcl.toml, line 1, at `name =`: "),
        ("nodes = \"3\"", "line 1, at `nodes = \"3\"`: invalid type: string \"3\", expected a number of nodes"),
        ("nodes = -1", "line 1, at `nodes = -1`: -1 nodes are not possible: a cluster has 1 to 100"),
        ("nodes = 0", "kcl.toml: 0 nodes are not possible"),
        ("nodes = 101", "kcl.toml: 101 nodes are not possible"),
        ("nodes = []", "kcl.toml: 0 nodes are not possible"),
        ("[[nodes]]\ncount = 99999999999", "nodes are not possible: a cluster has 1 to 100"),
        ("[[nodes]]\ncount = 0", "kcl.toml: entry 1 of [[nodes]]: count is 0"),
        (
            "[[nodes]]\nrole = \"worker\"",
            "entry 1 of [[nodes]]: the first node, kcl, is always a control-plane, not a worker",
        ),
        ("[[nodes]]\nlabels = { \"a b\" = \"c\" }", "entry 1 of [[nodes]]: labels: \"a b\" is not a key for a label"),
        ("memory = \"lots\"", "line 1, at `memory = \"lots\"`: \"lots\" is not a size of memory"),
        ("memory = -1", "line 1, at `memory = -1`: \"-1\" is not a size of memory"),
        ("memory = \"10m\"", "memory of the node kcl is 10Mi: it needs 256Mi or more"),
        ("cpus = 0", "cpus of the node kcl is 0"),
        ("cpus = -1", "line 1, at `cpus = -1`: invalid value"),
        ("kubernetes-version = \"new\"", "line 1, at `kubernetes-version = \"new\"`: \"new\" is not a version"),
        ("kubernetes-version = 1.37", "line 1, at `kubernetes-version = 1.37`: invalid type"),
        ("cert-expiration = \"soon\"", "line 1, at `cert-expiration = \"soon\"`: \"soon\" is not a lifetime"),
        ("cert-expiration = \"11y\"", "cert-expiration is 96360h: it must be from 10m to 10y"),
        ("cert-expiration = \"1m\"", "cert-expiration is 60s: it must be from 10m to 10y"),
        (
            "[network]\nsubnet = \"10.0.0.1/24\"",
            "line 2, at `subnet = \"10.0.0.1/24\"`: 10.0.0.1/24 is an address in a network, not a network: did you mean 10.0.0.0/24?",
        ),
        ("[network]\nservice-cidr = \"10.244.0.0/20\"", "pod-cidr 10.244.0.0/16 overlaps service-cidr 10.244.0.0/20"),
        ("[network]\nsubnet = \"10.96.7.0/24\"", "subnet 10.96.7.0/24 overlaps service-cidr 10.96.0.0/16"),
        ("[network]\nsubnet = \"127.0.0.0/24\"", "subnet 127.0.0.0/24 has addresses that cannot be used"),
        (
            "nodes = 3\n[network]\npod-cidr = \"10.1.0.0/23\"",
            "pod-cidr 10.1.0.0/23 is too small for 3 nodes of a /24 each: give a /22",
        ),
        (
            "[network]\npod-cidr = \"10.1.0.0/25\"",
            "pod-cidr 10.1.0.0/25 is too small for 1 nodes of a /24 each: give a /24",
        ),
        ("[network]\nservice-cidr = \"10.1.0.0/25\"", "service-cidr 10.1.0.0/25 must be from a /12 to a /24"),
        ("[network]\nservice-cidr = \"11.0.0.0/8\"", "service-cidr 11.0.0.0/8 must be from a /12 to a /24"),
        ("nodes = 7\n[network]\nsubnet = \"10.1.0.0/29\"", "subnet 10.1.0.0/29 is too small for 7 nodes"),
        ("[network]\nsubnet = \"10.1.0.0/32\"", "subnet 10.1.0.0/32 is too small for 1 nodes"),
        ("[network]\ndns-domain = \"A_b\"", "line 2, at `dns-domain = \"A_b\"`: \"A_b\" is not a DNS domain"),
        ("[apiserver]\nnames = [\"a b\"]", "kcl.toml: names under [apiserver]: \"a b\" is not a DNS name"),
        ("[apiserver]\nips = [\"1.2.3\"]", "line 2, at `ips = [\"1.2.3\"]`: invalid IP address"),
        ("[feature-gates]\nA = \"yes\"", "line 2, at `A = \"yes\"`: invalid type: string \"yes\", expected a boolean"),
        ("[feature-gates]\n\"a b\" = true", "[feature-gates]: \"a b\" is not the name of a feature gate"),
        (
            "[extra-config.kube-apiserver]\nv = \"4\"",
            "[extra-config]: \"kube-apiserver\" is not a component: did you mean \"apiserver\"?",
        ),
        ("[extra-config.kubectl]", "[extra-config]: \"kubectl\" is not a component"),
        ("[extra-config.etcd]\n--v = \"4\"", "[extra-config]: \"--v\": write the flag without dashes: \"v\""),
        ("[extra-config.etcd]\nv = 4", "line 2, at `v = 4`: invalid type: integer `4`, expected a string"),
        ("manifests = [\"none.yaml\"]", "kcl.toml: manifests: "),
    ] {
        let error = wrong_file(content);
        assert!(error.contains(right), "{content}\n  {error}\n  {right}");
    }
}

#[test]
fn wrong_flags_are_named() {
    let none = Overrides::default;
    for (overrides, right) in [
        (nodes(0), "--nodes: 0 nodes are not possible"),
        (Overrides { profile: some("A"), ..none() }, "--profile: \"A\" is not a name for a cluster"),
        (
            Overrides { driver: some("natve"), ..none() },
            "--driver: \"natve\" is not a driver: did you mean \"native\"?",
        ),
        (Overrides { driver: some("zzz"), ..none() }, "--driver: \"zzz\" is not a driver: known are native"),
        (Overrides { kubernetes_version: some("x"), ..none() }, "--kubernetes-version: \"x\" is not a version"),
        (Overrides { memory: some("x"), ..none() }, "--memory: \"x\" is not a size"),
        (Overrides { cpus: Some(0), ..none() }, "cpus of the node kcl is 0"),
        (Overrides { subnet: some("x"), ..none() }, "--subnet: \"x\" is not an IPv4 network"),
        (Overrides { pod_cidr: some("x"), ..none() }, "--pod-cidr: \"x\" is not an IPv4 network"),
        (Overrides { service_cidr: some("x"), ..none() }, "--service-cidr: \"x\" is not an IPv4 network"),
        (Overrides { dns_domain: some("-"), ..none() }, "--dns-domain: \"-\" is not a DNS domain"),
        (Overrides { cert_expiration: some("x"), ..none() }, "--cert-expiration: \"x\" is not a lifetime"),
        (Overrides { feature_gates: some("A"), ..none() }, "--feature-gates: \"A\": write it as \"Name=true\""),
        (Overrides { feature_gates: some("A=1"), ..none() }, "--feature-gates: \"A=1\": write it as"),
        (Overrides { extra_config: vec!["a".into()], ..none() }, "--extra-config: \"a\": write it as"),
        (Overrides { extra_config: vec!["a=b".into()], ..none() }, "--extra-config: \"a=b\": write it as"),
        (
            Overrides { extra_config: vec!["api.v=1".into()], ..none() },
            "--extra-config: \"api\" is not a component: did you mean \"apiserver\"?",
        ),
        (Overrides { apiserver_names: vec!["a,".into()], ..none() }, "--apiserver-names: \"\" is not a DNS name"),
        (Overrides { apiserver_ips: vec!["a".into()], ..none() }, "--apiserver-ips: \"a\" is not an IP address"),
        (Overrides { manifests: vec!["/none.yaml".into()], ..none() }, "--manifest: /none.yaml cannot be read"),
    ] {
        let error = wrong_flags(overrides);
        assert!(error.contains(right), "{error}\n  {right}");
    }
    let error = wrong_flags(Overrides { config: Some(PathBuf::from("/none/kcl.toml")), ..none() });
    assert!(error.starts_with("kcl.toml cannot be read: "), "{error}");
}

#[test]
fn the_profile_is_known_before_the_cluster_is() {
    let overrides = Overrides { profile: some("dev"), ..Overrides::default() };
    assert_eq!(Source::read(&overrides).unwrap().profile_name(), "dev");
    assert!(Source::read(&Overrides { profile: some("../x"), ..Overrides::default() }).is_err());
}
