//! `config view`: what it prints makes the same cluster.

use insta::assert_snapshot;

use crate::home::Home;

/// Everything that a cluster file can say.
const FULL: &str = r#"
name = "web"
driver = "native"
kubernetes-version = "1.37"
cpus = 2
memory = "2g"
cert-expiration = "90d"
manifests = ["app.yaml"]

[[nodes]]
role = "control-plane"

[[nodes]]
count = 2
memory = "1500Mi"
labels = { disk = "fast", "example.org/zone" = "a" }

[network]
subnet = "192.168.89.0/24"
pod-cidr = "10.200.0.0/16"
service-cidr = "10.100.0.0/16"
dns-domain = "k8s.example"
nameservers = ["192.0.2.53"]

[apiserver]
names = ["api.example.org"]
ips = ["192.0.2.7"]

[feature-gates]
SomeGate = true

[extra-config.kubelet]
max-pods = "50"
"#;

#[test]
fn defaults() {
    assert_snapshot!(Home::new().told(&["config", "view"]));
}

#[test]
fn a_cluster_file_comes_back() {
    let home = Home::new();
    home.file("app.yaml", "");
    home.file("cluster.toml", FULL);
    let first = home.told(&["config", "view", "--config", "cluster.toml"]);
    assert_snapshot!(first);
    let (_, printed) = first.split_once("--- stdout\n").expect("it prints");
    home.file("again.toml", &printed.replace("DIR", &home.file("x", "").parent().expect("a place").to_string_lossy()));
    let again = home.told(&["config", "view", "--config", "again.toml"]);
    assert_eq!(again.split_once("--- stdout\n").expect("it prints").1, printed);
}

#[test]
fn the_whole_as_json() {
    let home = Home::new();
    home.file("app.yaml", "");
    home.file("cluster.toml", FULL);
    assert_snapshot!(home.told(&["config", "view", "--config", "cluster.toml", "-o", "json"]));
}

/// A flag wins over the file, the variable over the file's name too.
#[test]
fn who_has_the_last_word_about_the_name() {
    let home = Home::new();
    home.file("cluster.toml", "name = \"file\"");
    let name = |command: &mut assert_cmd::Command| {
        let output = command.assert().success().get_output().stdout.clone();
        String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
    };
    let view = ["config", "view", "--config", "cluster.toml"];
    assert_eq!(name(&mut home.kcl(&view)), "name = \"file\"");
    assert_eq!(name(home.kcl(&view).env("KCL_PROFILE", "variable")), "name = \"variable\"");
    assert_eq!(name(home.kcl(&view).env("KCL_PROFILE", "variable").args(["-p", "flag"])), "name = \"flag\"");
}
