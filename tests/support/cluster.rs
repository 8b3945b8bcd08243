//! A cluster in a [`Home`].

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Home, LIMIT, Output, Traces, eventually};

/// The image of the tests' pods: every node has it from the start.
pub(crate) const IMAGE: &str = "kcl.local/busybox:1.37";

/// A pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// The pod's name.
    pub name: String,
    /// Its node's name.
    pub node: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The UID, which differs between pods of the same name.
    pub uid: String,
    /// The number of restarts of its containers.
    pub restarts: u64,
}

/// A cluster of a home by its profile.
pub(crate) struct TestCluster<'h> {
    /// The home of the cluster.
    pub home: &'h Home,
    /// The name of its profile.
    pub profile: String,
}

impl<'h> TestCluster<'h> {
    pub(super) fn new(home: &'h Home, profile: &str) -> Self {
        TestCluster { home, profile: profile.to_owned() }
    }

    /// `kcl start` with these arguments, and without resolvers: tests send nothing outside.
    pub(crate) fn start(&self, arguments: &[&str]) -> Output {
        self.kcl(["start", "--nameservers", "none"].iter().chain(arguments))
    }

    /// kcl for this cluster, to be run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.home.command(["-p", &self.profile]);
        command.args(arguments);
        command
    }

    /// Runs kcl for this cluster.
    pub(crate) fn kcl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// `kcl kubectl`, to be run.
    pub(crate) fn kubectl_command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(["kubectl", "--"]);
        command.args(arguments);
        command
    }

    /// Runs `kcl kubectl`.
    pub(crate) fn kubectl_try<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.kubectl_command(arguments))
    }

    /// Runs `kcl kubectl`, which has to succeed: what it writes, trimmed.
    #[track_caller]
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.kubectl_try(arguments).ok().to_owned()
    }

    /// An object, or a list of them: `get(&["nodes"])`.
    #[track_caller]
    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        self.kubectl_try(["get", "-o", "json"].iter().chain(arguments)).json()
    }

    /// `kubectl get` of one field by a JSONPath.
    #[track_caller]
    pub(crate) fn field(&self, arguments: &[&str], path: &str) -> String {
        self.kubectl(["get", "-o", &format!("jsonpath={{{path}}}")].iter().chain(arguments))
    }

    /// Applies manifests; `IMAGE` in them becomes [`IMAGE`].
    #[track_caller]
    pub(crate) fn apply(&self, manifests: &str) {
        let file = self.manifest(manifests);
        self.kubectl([OsStr::new("apply"), "-f".as_ref(), file.as_ref()]);
    }

    /// Writes manifests to a file, as [`Self::apply`] would apply them.
    pub(crate) fn manifest(&self, manifests: &str) -> PathBuf {
        self.home.file("manifest.yaml", &manifests.replace("IMAGE", IMAGE))
    }

    /// Waits until all of a `deployment/x`, `daemonset/x` or `statefulset/x` is up.
    #[track_caller]
    pub(crate) fn rolled_out(&self, what: &str) {
        self.kubectl(["rollout", "status", what, &limit()]);
    }

    /// `kubectl wait --for=<condition> <what>`.
    #[track_caller]
    pub(crate) fn wait_for(&self, condition: &str, what: &[&str]) {
        let condition = format!("--for={condition}");
        self.kubectl(["wait", &condition, &limit()].iter().copied().chain(what.iter().copied()));
    }

    /// Waits until all nodes are Ready and CoreDNS answers, as they are after a node was harmed.
    #[track_caller]
    pub(crate) fn settled(&self) {
        eventually("all nodes are Ready and DNS is there", || {
            let nodes = self.kubectl_try(["wait", "--for=condition=Ready", "--timeout=10s", "nodes", "--all"]);
            let dns = ["rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=10s"];
            let dns = self.kubectl_try(dns);
            if nodes.succeeded() && dns.succeeded() { Ok(()) } else { Err(format!("{nodes}\n{dns}")) }
        });
    }

    /// The pods with this label, by their nodes' names, once all have an address: one whose node was harmed counts as
    /// running until its node says that it is recreated.
    #[track_caller]
    pub(crate) fn pods(&self, label: &str) -> Vec<Pod> {
        eventually("all pods have addresses", || self.pods_try(label))
    }

    /// The same; an error where one has no address: its node tells nothing of it yet.
    pub(crate) fn pods_try(&self, label: &str) -> Result<Vec<Pod>, String> {
        let output = self.kubectl_try(["get", "-o", "json", "pods", "-l", label]);
        if !output.succeeded() {
            return Err(output.to_string());
        }
        let list = output.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |pod: &Value| {
            let address = text(&pod["status"]["podIP"]).parse().map_err(|_| format!("no address: {pod:#}"))?;
            let containers = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
            Ok(Pod {
                name: text(&pod["metadata"]["name"]),
                node: text(&pod["spec"]["nodeName"]),
                address,
                uid: text(&pod["metadata"]["uid"]),
                restarts: containers.iter().map(|one| one["restartCount"].as_u64().unwrap_or(0)).sum(),
            })
        };
        let mut pods: Vec<Pod> =
            list["items"].as_array().expect("a list of pods").iter().map(pod).collect::<Result<_, String>>()?;
        pods.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        Ok(pods)
    }

    /// Runs a pod to its end on a node, which proves that the node can; what it wrote.
    #[track_caller]
    pub(crate) fn run_on(&self, node: &str, name: &str, line: &str) -> String {
        let overrides = format!(r#"{{"spec":{{"nodeName":"{node}","terminationGracePeriodSeconds":0}}}}"#);
        let image = format!("--image={IMAGE}");
        let overrides = format!("--overrides={overrides}");
        self.kubectl(["run", name, &image, "--restart=Never", &overrides, "--", "sh", "-c", line]);
        self.wait_for("jsonpath={.status.phase}=Succeeded", &["pod", name]);
        let said = self.kubectl(["logs", name]);
        self.kubectl(["delete", "pod", name, "--now"]);
        said
    }

    /// Runs a shell line in a pod (`web-0`, `ds/web`).
    pub(crate) fn exec(&self, pod: &str, line: &str) -> Output {
        self.kubectl_try(["exec", pod, "--", "sh", "-c", line])
    }

    /// Runs a shell line in a node.
    pub(crate) fn ssh(&self, node: &str, line: &str) -> Output {
        self.kcl(["ssh", "-n", node, "--", line])
    }

    /// The address of a node.
    #[track_caller]
    pub(crate) fn address(&self, node: &str) -> Ipv4Addr {
        let nodes = self.nodes();
        let found = nodes.iter().find(|row| row["Name"] == node).unwrap_or_else(|| panic!("no node {node}: {nodes:?}"));
        found["IP"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address: {found}"))
    }

    /// The host's own address on the node network.
    #[track_caller]
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        let list = self.home.kcl(["profile", "list", "-o", "json"]).json();
        let mut profiles = list["valid"].as_array().expect("a list of profiles").iter();
        let profile = profiles.find(|row| row["Name"] == self.profile.as_str()).expect("this cluster");
        let subnet: ipnet::Ipv4Net = profile["Subnet"].as_str().and_then(|text| text.parse().ok()).expect("a subnet");
        subnet.hosts().next().expect("a first address")
    }

    /// Returns the status that a node's agent reports.
    #[track_caller]
    pub(crate) fn agent(&self, node: &str) -> Value {
        self.ssh(node, "/opt/kcl/agent/kcl-node status").json()
    }

    /// The processes of a node's components by their names, in the node's own numbers.
    #[track_caller]
    pub(crate) fn components(&self, node: &str) -> Vec<(String, u64)> {
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
    pub(crate) fn nodes(&self) -> Vec<Value> {
        self.kcl(["node", "list", "-o", "json"]).json().as_array().expect("a list of nodes").clone()
    }

    /// The names of the nodes.
    #[track_caller]
    pub(crate) fn node_names(&self) -> Vec<String> {
        self.nodes().iter().map(|node| node["Name"].as_str().expect("a name").to_owned()).collect()
    }

    /// A client of the API, as the user's kubeconfig has it.
    pub(crate) async fn client(&self) -> kube::Client {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(self.home.kubeconfig()).expect("the kubeconfig");
        let context = kube::config::KubeConfigOptions { context: Some(self.profile.clone()), ..Default::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &context).await.expect("a configuration");
        kube::Client::try_from(config).expect("a client")
    }

    /// Lists the resources of this cluster on the machine.
    pub(crate) fn traces(&self) -> Traces {
        let place = self.home.path().join("clusters").join(&self.profile);
        Traces::find(self.home.path(), &place, self.home.cache(), std::slice::from_ref(&self.profile))
    }
}

fn limit() -> String {
    format!("--timeout={}s", LIMIT.as_secs())
}
