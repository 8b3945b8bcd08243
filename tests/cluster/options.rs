//! Tests that the options of `start` take effect.

use serde_json::Value;

use crate::support::{Home, TestCluster};

/// A kubeconfig of someone who has other clusters too.
const FOREIGN: &str = r#"# by hand
apiVersion: v1
kind: Config
preferences:
  colors: true
clusters:
- name: office
  cluster:
    server: https://office.example.org:6443
    certificate-authority-data: Zm9yZWlnbg==
    extensions:
    - name: note
      extension: {"by": "hand"}
users:
- name: me@office
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: ["--now", "007", "yes"]
      interactiveMode: Never
contexts:
- name: work
  context:
    cluster: office
    user: me@office
    namespace: team
current-context: work
"#;

#[test]
fn a_cluster_file_is_carried_out() {
    let home = Home::new("options");
    let foreign = home.file("kubeconfig", FOREIGN);
    let before = home.yaml(&foreign);
    home.file("own.yaml", include_str!("manifests/own.yaml"));
    let file = home.file("options.toml", include_str!("manifests/options.toml"));
    let cluster = home.cluster("options");
    home.step("start");
    let file = file.display().to_string();
    let started = home.kcl(["start", "--config", &file, "--subnet", "10.123.45.0/24", "--keep-context"]);
    started.ok();

    home.step("what was asked for is there");
    networks_are_as_wanted(&cluster);
    labels_and_sizes_are_as_wanted(&cluster);
    components_are_told(&cluster);
    assert_eq!(cluster.field(&["configmap", "own", "-n", "own"], ".data.word"), "applied");
    assert_eq!(cluster.field(&["configmap", "listed", "-n", "own"], ".metadata.name"), "listed");
    assert_eq!(cluster.field(&["thing", "thing", "-n", "own"], ".mode"), "256");
    let of_pod = |path: &str| cluster.field(&["pod", "early", "-n", "own"], path);
    assert_eq!(of_pod(".spec.volumes[0].configMap.defaultMode"), "493");
    assert_eq!(of_pod(".spec.containers[0].ports[*].name"), "a b");
    assert!(started.stderr.contains("warning: Pod early: unknown field \"spec.colour\""), "{started}");
    names_of_the_api_are_certified(&cluster);

    home.step("the kubeconfig's other entries are untouched");
    let merged = home.yaml(&foreign);
    assert_eq!(merged["current-context"], "work");
    assert_eq!(without(&merged, "options"), before);
    cluster.kcl(["update-context", "--keep-context"]).ok();
    assert_eq!(home.yaml(&foreign), merged);
    cluster.kcl(["update-context"]).ok();
    assert_eq!(home.yaml(&foreign)["current-context"], "options");

    home.step("the file again without the manifest, and what cannot be changed");
    std::fs::remove_file(home.scratch().join("own.yaml")).expect("the manifest");
    let again = cluster.start(&["--config", &file]);
    again.ok();
    assert!(again.stderr.contains("own.yaml cannot be read"), "{again}");
    let said = cluster.start(&["--service-cidr", "10.61.0.0/20"]);
    assert!(said.fails_with(64).contains("service-cidr"), "{said}");
    let written = cluster.kcl(["config", "view"]);
    let again = home.file("again.toml", written.ok()).display().to_string();
    let plan = cluster.kcl(["start", "--config", &again, "--dry-run", "-o", "json"]).json();
    let actions: Vec<&Value> =
        plan["waves"][0].as_array().expect("a wave").iter().map(|node| &node["action"]).collect();
    assert_eq!(actions, ["keep", "keep"], "{plan:#}");

    home.step("a flag is changed");
    let uids = cluster.field(&["nodes"], ".items[*].metadata.uid");
    cluster.start(&["--extra-config", "kubelet.max-pods=43"]).ok();
    assert_eq!(cluster.field(&["nodes"], ".items[*].status.capacity.pods"), "43 43");
    assert_eq!(cluster.field(&["nodes"], ".items[*].metadata.uid"), uids);

    home.step("flags after which the kubelet refuses the files of its last run");
    let policy = "kubelet.cpu-manager-policy=static";
    cluster.start(&["--extra-config", policy, "--extra-config", "kubelet.kube-reserved=cpu=200m"]).ok();
    let state = "cat /var/lib/kubelet/cpu_manager_state";
    assert!(cluster.ssh("options", state).ok().contains("\"policyName\":\"static\""));
    cluster.start(&["--extra-config", "kubelet.cpu-manager-policy=none"]).ok();
    assert!(cluster.ssh("options", state).ok().contains("\"policyName\":\"none\""));
    cluster.settled();

    home.step("other resolvers, for which nothing is restarted");
    let processes = || -> Vec<_> { cluster.node_names().iter().map(|node| cluster.components(node)).collect() };
    let running = processes();
    cluster.kcl(["start", "--nameservers", "198.51.100.53"]).ok();
    for node in cluster.node_names() {
        assert_eq!(cluster.ssh(&node, "cat /etc/resolv.conf").ok(), "nameserver 198.51.100.53");
    }
    let corefile = cluster.field(&["configmap", "coredns", "-n", "kube-system"], ".data.Corefile");
    assert!(corefile.contains("forward . 198.51.100.53"), "{corefile}");
    assert_eq!(processes(), running);

    home.step("delete");
    cluster.kcl(["delete"]).ok();
    let after = home.yaml(&foreign);
    assert_eq!(without(&after, "options")["clusters"], before["clusters"]);
    assert_eq!(after["users"], before["users"]);
    assert_eq!(after["contexts"], before["contexts"]);
    assert_eq!(after["preferences"], before["preferences"]);
    assert_ne!(after["current-context"], "options", "no context that is gone");
}

/// A kubeconfig without the entries of a cluster.
fn without(kubeconfig: &Value, profile: &str) -> Value {
    let mut rest = kubeconfig.clone();
    for list in ["clusters", "users", "contexts"] {
        rest[list].as_array_mut().expect("a list").retain(|entry| entry["name"] != profile);
    }
    rest
}

fn networks_are_as_wanted(cluster: &TestCluster<'_>) {
    assert_eq!(cluster.gateway().to_string(), "10.123.45.1");
    let addresses: Vec<String> = cluster.node_names().iter().map(|node| cluster.address(node).to_string()).collect();
    assert_eq!(addresses, ["10.123.45.2", "10.123.45.3"]);
    assert_eq!(cluster.field(&["nodes"], ".items[*].spec.podCIDR"), "10.50.0.0/24 10.50.1.0/24");
    assert_eq!(cluster.field(&["service", "kubernetes"], ".spec.clusterIP"), "10.60.0.1");
    // The cluster's domain, by a name in full, and by the search list that it is in.
    let line = "nslookup kubernetes.default.svc.example.test && nslookup host.kcl.internal && cat /etc/resolv.conf";
    for node in cluster.node_names() {
        let said = cluster.run_on(&node, "names", line);
        for wanted in ["10.60.0.1", "10.60.0.10", "10.123.45.1", "default.svc.example.test"] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }
    let pod = cluster.run_on("options-m02", "address", "ip -4 address show eth0");
    assert!(pod.contains("inet 10.50.1."), "{pod}");
}

fn labels_and_sizes_are_as_wanted(cluster: &TestCluster<'_>) {
    let nodes = cluster.get(&["nodes"]);
    let [first, second] = [0, 1].map(|index| &nodes["items"][index]);
    assert_eq!(first["metadata"]["labels"]["example.org/disk"], "slow");
    assert_eq!(second["metadata"]["labels"]["example.org/disk"], "fast");
    assert_eq!(second["metadata"]["labels"]["topology.kubernetes.io/zone"], "here");
    assert_eq!(second["status"]["capacity"]["cpu"], "1");
    assert_eq!(second["status"]["capacity"]["memory"], "1Gi");
    for node in [first, second] {
        assert_eq!(node["status"]["capacity"]["pods"], "42");
    }
}

fn components_are_told(cluster: &TestCluster<'_>) {
    let arguments = |program: &str| cluster.ssh("options", &format!("tr '\\0' ' ' < /proc/$(pidof {program})/cmdline"));
    assert!(arguments("kube-apiserver").ok().contains("--max-requests-inflight=321"));
    assert!(arguments("kube-controller-manager").ok().contains("--terminated-pod-gc-threshold=77"));
    let enabled = "kubernetes_feature_enabled{name=\"ContainerStopSignals\",stage=\"ALPHA\"} 1";
    assert!(cluster.kubectl(["get", "--raw", "/metrics"]).contains(enabled), "the API server");
    for node in cluster.node_names() {
        let metrics = cluster.kubectl(["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics")]);
        assert!(metrics.contains(enabled), "the kubelet of {node}");
    }
}

fn names_of_the_api_are_certified(cluster: &TestCluster<'_>) {
    for name in ["api.example.test", "192.0.2.7", "kubernetes.default.svc.example.test", "localhost"] {
        cluster.kubectl(["get", "--raw", "/readyz", &format!("--tls-server-name={name}")]);
    }
    let said = cluster.kubectl_try(["get", "--raw", "/readyz", "--tls-server-name=api.example.org"]);
    assert!(said.fails().contains("certificate is valid for"), "{said}");
}
