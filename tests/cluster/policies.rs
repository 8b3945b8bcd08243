//! NetworkPolicies: packets pass if, and only if, `kcl policy test` says so.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{TestCluster, eventually};

/// The clients: the namespace and the Deployment of each.
const CLIENTS: [(&str, &str); 2] = [("guarded", "friend"), ("outside", "stranger")];

/// The ports of the server, and of its Service.
const PORTS: [(u16, u16); 2] = [(8080, 80), (8081, 81)];

/// The number of pods of which none may send a packet before its policy holds.
const NEW_PODS: usize = 20;

/// A server and its clients.
pub(crate) struct Guarded<'c> {
    cluster: &'c TestCluster<'c>,
}

impl<'c> Guarded<'c> {
    /// Deploys them: the server on the last node, the clients on the first.
    pub(crate) fn deploy(cluster: &'c TestCluster<'c>) -> Self {
        let nodes = cluster.node_names();
        let manifest = include_str!("manifests/policies.yaml");
        cluster.apply(&manifest.replace("SERVER", &nodes[nodes.len() - 1]).replace("CLIENT", &nodes[0]));
        cluster.kubectl(["rollout", "status", "-n", "guarded", "deployment/server", "--timeout=180s"]);
        for (namespace, name) in CLIENTS {
            cluster.kubectl(["rollout", "status", "-n", namespace, &format!("deployment/{name}"), "--timeout=180s"]);
        }
        Guarded { cluster }
    }

    /// All that policies promise.
    pub(crate) fn policies_hold(&self) {
        self.connections_are(&[], [[true, true], [true, true]]);
        let deny = policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        self.connections_are(&[&deny], [[false, false], [false, false]]);
        let friends = friends();
        self.connections_are(&[&deny, &friends], [[true, false], [false, false]]);
        let outer = json!([{"namespaceSelector": {"matchLabels": {"zone": "outer"}}}]);
        let outer = policy("outer", allow(outer, "other"));
        self.connections_are(&[&deny, &friends, &outer], [[true, false], [false, true]]);
        self.a_pod_has_its_policies_from_its_first_packet_on();
        self.an_engine_that_is_killed_leaves_the_rules();
        self.a_connection_ends_with_its_permission();
    }

    /// A single policy, which lets friends reach one port of the server.
    pub(crate) fn only_friends_pass(&self) {
        self.connections_are(&[&friends()], [[true, false], [false, false]]);
    }

    /// The policy of [`Guarded::only_friends_pass`] still holds, which is also the last of [`Guarded::policies_hold`].
    pub(crate) fn policies_still_hold(&self) {
        self.pairs(|client, number| (client, number) == ("friend", 8080));
    }

    /// Sets these policies and no others, and looks at connections of each client to each port, by the address of the pod
    /// and by that of its Service.
    fn connections_are(&self, policies: &[&Value], expected: [[bool; 2]; 2]) {
        self.set(policies);
        let ((server, address), service) = (self.pod("guarded", "server"), self.service_address());
        for ((namespace, client), row) in CLIENTS.iter().zip(expected) {
            let (from, _) = self.pod(namespace, client);
            let mut wanted = Vec::new();
            for ((number, port), allowed) in PORTS.iter().zip(&row) {
                let told = self.told(&format!("{namespace}/{from}"), &format!("guarded/{server}:{number}"));
                assert_eq!(told, *allowed, "kcl policy test: {client} to {number}");
                wanted.push((format!("{address}:{number}"), *allowed));
                wanted.push((format!("{service}:{port}"), *allowed));
            }
            let targets: Vec<&str> = wanted.iter().map(|(target, _)| target.as_str()).collect();
            eventually(&format!("{client} passes as {policies:?} allow"), || {
                let passes = self.passes(namespace, client, &targets);
                if passes == wanted { Ok(()) } else { Err(format!("{passes:?} instead of {wanted:?}")) }
            });
        }
    }

    fn set(&self, policies: &[&Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
        let there = self.cluster.field(&["networkpolicies", "-n", "guarded"], ".items[*].metadata.name");
        let wanted = |name: &&str| policies.iter().any(|policy| policy["metadata"]["name"] == **name);
        for name in there.split_whitespace().filter(|name| !wanted(name)) {
            self.cluster.kubectl(["delete", "networkpolicy", "-n", "guarded", name]);
        }
        if !policies.is_empty() {
            self.cluster.apply(&list.to_string());
        }
    }

    /// Pods that connect at once, more than one network is made for at a time.
    fn a_pod_has_its_policies_from_its_first_packet_on(&self) {
        let deny = policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
        self.connections_are(&[&deny], [[false, false], [false, false]]);
        let line =
            format!("for i in 1 2 3; do timeout 1 wget -q -O - http://{}:8080/; done; true", self.server_address());
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "early", "namespace": "guarded"},
            "spec": {"parallelism": NEW_PODS, "completions": NEW_PODS, "template": {
                "metadata": {"labels": {"app": "early"}},
                "spec": {"restartPolicy": "Never", "containers": [{
                    "name": "early", "image": "IMAGE", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", line],
                }]},
            }},
        });
        self.cluster.apply(&job.to_string());
        self.cluster.kubectl(["wait", "-n", "guarded", "--for=condition=complete", "job/early", "--timeout=180s"]);
        let said =
            self.cluster.kubectl(["logs", "-n", "guarded", "-l", "app=early", "--tail=-1", "--max-log-requests=50"]);
        assert!(!said.contains("served"), "packets passed before the policies of their pods held: {said}");
        self.cluster.kubectl(["delete", "job", "-n", "guarded", "early"]);
    }

    fn an_engine_that_is_killed_leaves_the_rules(&self) {
        for node in self.cluster.node_names() {
            self.cluster.ssh(&node, "/opt/kcl/agent/kcl-node restart kcl-policy").ok();
            self.pairs(|_, _| false);
        }
    }

    /// Compares all connections of the pods with what is expected, at once: nothing may change in between.
    fn pairs(&self, expected: impl Fn(&str, u16) -> bool) {
        let host = self.server_address();
        for (namespace, client) in CLIENTS {
            let wanted = PORTS.map(|(number, _)| (format!("{host}:{number}"), expected(client, number)));
            let targets: Vec<&str> = wanted.iter().map(|(target, _)| target.as_str()).collect();
            assert_eq!(self.passes(namespace, client, &targets), wanted, "{client}");
        }
    }

    /// A stream that is allowed stops when a policy no longer allows it.
    fn a_connection_ends_with_its_permission(&self) {
        self.set(&[]);
        let line =
            format!("(while true; do echo word; sleep 0.1; done) | nc {} 9000; echo ended", self.server_address());
        let mut command =
            self.cluster.kubectl_command(["exec", "-n", "outside", "deploy/stranger", "--", "sh", "-c", &line]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("kubectl exec");
        let size = || self.on_server("wc -c < /tmp/stream").parse::<u64>().expect("a number");
        let grows = || {
            let before = size();
            self.on_server("sleep 0.5");
            size() > before
        };
        eventually("the stream is received", || if grows() { Ok(()) } else { Err("it does not grow".to_owned()) });
        self.set(&[&friends()]);
        eventually("the stream stops", || if grows() { Err("it grows".to_owned()) } else { Ok(()) });
        child.kill().and_then(|()| child.wait()).expect("its end");
    }

    fn on_server(&self, line: &str) -> String {
        self.cluster.kubectl(["exec", "-n", "guarded", "deploy/server", "--", "sh", "-c", line])
    }

    /// Connects a client to all targets at the same time, and returns which of them served it.
    fn passes(&self, namespace: &str, client: &str, targets: &[&str]) -> Vec<(String, bool)> {
        let line = format!(
            "for target in {}; do (timeout 1 wget -q -O - http://$target/ | sed s/^/$target=/) & done; wait",
            targets.join(" ")
        );
        let said =
            self.cluster.kubectl(["exec", "-n", namespace, &format!("deploy/{client}"), "--", "sh", "-c", &line]);
        let served = |target: &str| said.lines().any(|line| line == format!("{target}=served"));
        targets.iter().map(|target| ((*target).to_owned(), served(target))).collect()
    }

    /// The verdict of `kcl policy test`.
    fn told(&self, from: &str, to: &str) -> bool {
        let output = self.cluster.kcl(["policy", "test", from, to, "-o", "json"]);
        let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
        assert_eq!(output.succeeded(), report["Allowed"] == true, "{output}");
        report["Allowed"] == true
    }

    /// Returns the name and the address of the pod of a Deployment.
    fn pod(&self, namespace: &str, app: &str) -> (String, String) {
        let label = format!("app={app}");
        let path = ".items[0]['metadata.name','status.podIP']";
        let said = self.cluster.field(&["pods", "-n", namespace, "-l", &label], path);
        let (name, address) = said.split_once(' ').unwrap_or_else(|| panic!("{app}: {said}"));
        (name.to_owned(), address.to_owned())
    }

    fn server_address(&self) -> String {
        self.pod("guarded", "server").1
    }

    fn service_address(&self) -> String {
        self.cluster.field(&["service", "-n", "guarded", "server"], ".spec.clusterIP")
    }
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "guarded"}, "spec": spec})
}

/// The policy that lets friends reach one port of the server.
fn friends() -> Value {
    policy("friends", allow(json!([{"podSelector": {"matchLabels": {"app": "friend"}}}]), "http"))
}

/// A policy of the server that allows these peers a port by its name.
fn allow(from: Value, port: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [{"from": from, "ports": [{"port": port}]}]})
}
