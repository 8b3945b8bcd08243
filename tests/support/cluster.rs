//! A cluster in a [`Home`].

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Home, LIMIT, Output, Traces, eventually};

/// The image of the tests' pods: every node has it from the start.
pub const IMAGE: &str = "kcl.local/busybox:1.35";

/// A cluster of a home by its profile.
pub struct TestCluster<'h> {
    /// Where it is.
    pub home: &'h Home,
    /// Its name.
    pub profile: String,
}

impl<'h> TestCluster<'h> {
    pub(super) fn new(home: &'h Home, profile: &str) -> Self {
        TestCluster { home, profile: profile.to_owned() }
    }

    /// `kcl start` with these arguments, and without resolvers: tests send nothing outside.
    pub fn start(&self, arguments: &[&str]) -> Output {
        self.kcl(["start", "--nameservers", "none"].iter().chain(arguments))
    }

    /// kcl for this cluster, to be run.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.home.command(["-p", &self.profile]);
        command.args(arguments);
        command
    }

    /// Runs kcl for this cluster.
    pub fn kcl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// `kcl kubectl`, to be run.
    pub fn kubectl_command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(["kubectl", "--"]);
        command.args(arguments);
        command
    }

    /// Runs `kcl kubectl`.
    pub fn kubectl_try<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.kubectl_command(arguments))
    }

    /// Runs `kcl kubectl`, which has to succeed: what it writes, trimmed.
    #[track_caller]
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.kubectl_try(arguments).ok().to_owned()
    }

    /// An object, or a list of them: `get(&["nodes"])`.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        self.kubectl_try(["get", "-o", "json"].iter().chain(arguments)).json()
    }

    /// `kubectl get` of one field by a JSONPath.
    #[track_caller]
    pub fn field(&self, arguments: &[&str], path: &str) -> String {
        self.kubectl(["get", "-o", &format!("jsonpath={{{path}}}")].iter().chain(arguments))
    }

    /// Applies manifests; `IMAGE` in them becomes [`IMAGE`].
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        let file = self.manifest(manifests);
        self.kubectl([OsStr::new("apply"), "-f".as_ref(), file.as_ref()]);
    }

    /// Writes manifests to a file, as [`Self::apply`] would apply them.
    pub fn manifest(&self, manifests: &str) -> PathBuf {
        self.home.file("manifest.yaml", &manifests.replace("IMAGE", IMAGE))
    }

    /// Waits until all of a `deployment/x`, `daemonset/x` or `statefulset/x` is up.
    #[track_caller]
    pub fn rolled_out(&self, what: &str) {
        self.kubectl(["rollout", "status", what, &limit()]);
    }

    /// `kubectl wait --for=<condition> <what>`.
    #[track_caller]
    pub fn wait_for(&self, condition: &str, what: &[&str]) {
        let condition = format!("--for={condition}");
        self.kubectl(["wait", &condition, &limit()].iter().copied().chain(what.iter().copied()));
    }

    /// Waits until all nodes are Ready and CoreDNS answers, as they are after a node was harmed.
    #[track_caller]
    pub fn settled(&self) {
        eventually("all nodes are Ready and DNS is there", || {
            let nodes = self.kubectl_try(["wait", "--for=condition=Ready", "--timeout=10s", "nodes", "--all"]);
            let dns = ["rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=10s"];
            let dns = self.kubectl_try(dns);
            if nodes.succeeded() && dns.succeeded() { Ok(()) } else { Err(format!("{nodes}\n{dns}")) }
        });
    }

    /// Runs a shell line in a pod (`web-0`, `ds/web`).
    pub fn exec(&self, pod: &str, line: &str) -> Output {
        self.kubectl_try(["exec", pod, "--", "sh", "-c", line])
    }

    /// Runs a shell line in a node.
    pub fn ssh(&self, node: &str, line: &str) -> Output {
        self.kcl(["ssh", "-n", node, "--", line])
    }

    /// What the agent of a node says.
    #[track_caller]
    pub fn agent(&self, node: &str) -> Value {
        self.ssh(node, "/opt/kcl/agent/kcl-node status").json()
    }

    /// The processes of a node's components by their names, in the node's own numbers.
    #[track_caller]
    pub fn components(&self, node: &str) -> Vec<(String, u64)> {
        let status = self.agent(node);
        let components = status["components"].as_array().expect("components").iter();
        components
            .map(|one| {
                let name = one["name"].as_str().expect("a name").to_owned();
                (name, one["pid"].as_u64().unwrap_or_else(|| panic!("no process: {one}")))
            })
            .collect()
    }

    /// The nodes as `kcl node list` has them.
    #[track_caller]
    pub fn nodes(&self) -> Vec<Value> {
        self.kcl(["node", "list", "-o", "json"]).json().as_array().expect("a list of nodes").clone()
    }

    /// The names of the nodes.
    #[track_caller]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes().iter().map(|node| node["Name"].as_str().expect("a name").to_owned()).collect()
    }

    /// What this cluster has on the machine now.
    pub fn traces(&self) -> Traces {
        Traces::find(self.home.path(), self.home.cache(), std::slice::from_ref(&self.profile))
    }
}

fn limit() -> String {
    format!("--timeout={}s", LIMIT.as_secs())
}
