//! The registry: an image is pushed from the host, and pulled on each node by the same name; others are mirrored.

mod image;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{TestCluster, eventually};
use image::Image;

/// Its name in image references on nodes; on this host too, unless something else has the port.
const NAME: &str = "localhost:5000";

/// Pushes, pulls and mirrors.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let image = Image::of_busybox(&busybox(cluster));
    let here = cluster.kcl(["service", "registry", "-n", "kcl-registry", "--url"]);
    assert!(here.ok().starts_with("http://127.0.0.1:"), "{here}");
    image.push(here.ok(), "team/tool", "one");
    pulled_everywhere(cluster, &format!("{NAME}/team/tool:one"), "pulled");

    // What a node pushes is there for the others, too; and all have what kcl lets them pull.
    let (pulled, pushed) = (format!("{NAME}/team/tool:one"), format!("{NAME}/from-node:two"));
    cluster.kcl(["image", "pull", &pulled]).ok();
    cluster.kcl(["image", "tag", &pulled, &pushed]).ok();
    cluster.kcl(["image", "push", &pushed]).ok();
    cluster.kcl(["image", "rm", &pushed]).ok();
    pulled_everywhere(cluster, &pushed, "from-node");
    let list = cluster.kcl(["image", "ls", "--format", "json"]).json();
    let mut rows = list.as_array().expect("a list").iter();
    let row = rows.find(|row| row["repoTags"].as_array().is_some_and(|tags| tags.iter().any(|tag| *tag == *pulled)));
    assert_eq!(row.expect("it was pulled")["nodes"], serde_json::json!(cluster.node_names()));
    let missing = cluster.kcl(["image", "pull", &format!("{NAME}/nothing:1")]);
    assert!(!missing.succeeded() && missing.stderr.contains("nothing:1"), "{missing}");

    mirrored(cluster, &image);
}

/// Pushed images survive disabling and enabling the addon.
pub(crate) fn kept(cluster: &TestCluster<'_>) {
    for node in cluster.node_names() {
        cluster.ssh(&node, &format!("/opt/kcl/components/bin/ctr -n k8s.io images rm {NAME}/team/tool:one")).ok();
    }
    pulled_everywhere(cluster, &format!("{NAME}/team/tool:one"), "again");
}

/// A pod on each node runs the image, which no node has.
fn pulled_everywhere(cluster: &TestCluster<'_>, image: &str, pod: &str) {
    for (index, node) in cluster.node_names().iter().enumerate() {
        run(cluster, node, image, &format!("{pod}-{index}"));
    }
}

fn run(cluster: &TestCluster<'_>, node: &str, image: &str, pod: &str) {
    let overrides = format!(r#"--overrides={{"spec":{{"nodeName":"{node}","terminationGracePeriodSeconds":0}}}}"#);
    let image = format!("--image={image}");
    let policy = "--image-pull-policy=Always";
    cluster.kubectl([
        "run",
        pod,
        &image,
        policy,
        "--restart=Never",
        &overrides,
        "--",
        "/bin/busybox",
        "echo",
        "it runs",
    ]);
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", &["pod", pod]);
    assert_eq!(cluster.kubectl(["logs", pod]), "it runs");
    cluster.kubectl(["delete", "pod", pod, "--now"]);
}

/// An image that one node pulled through the mirror is available to another without the original registry.
fn mirrored(cluster: &TestCluster<'_>, image: &Image) {
    let upstream = Upstream::start(cluster, cluster.gateway());
    image.push(&upstream.url(), "far/away", "one");
    cluster.kcl(["addons", "configure", "registry", &format!("mirrors={}", upstream.url())]).ok();
    let nodes = cluster.node_names();
    let reference = format!("{}/far/away:one", upstream.host());
    run(cluster, &nodes[0], &reference, "far-0");
    drop(upstream);
    run(cluster, &nodes[2], &reference, "far-2");
    // A mirror asks for what it mirrors when it starts, so it would not start again.
    cluster.kcl(["addons", "configure", "registry", "mirrors="]).ok();
}

/// A registry of the host, which the cluster knows nothing of.
struct Upstream {
    child: Child,
    address: Ipv4Addr,
    port: u16,
}

impl Upstream {
    fn start(cluster: &TestCluster<'_>, address: Ipv4Addr) -> Self {
        let free = std::net::TcpListener::bind((address, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let config = cluster.home.file(
            "upstream.yaml",
            &format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}:{port}\"}}\n",
                cluster.home.scratch().join("upstream").display()
            ),
        );
        let program = entry(cluster, "registry").join("bin/registry");
        let mut command = Command::new(program);
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the registry");
        let upstream = Upstream { child, address, port };
        eventually("the registry of the host answers", || {
            std::net::TcpStream::connect((address, port)).map_err(|error| error.to_string())
        });
        upstream
    }

    fn host(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    fn url(&self) -> String {
        format!("http://{}", self.host())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory of an artifact.
fn entry(cluster: &TestCluster<'_>, name: &str) -> PathBuf {
    let list = cluster.kcl(["artifacts", "list", "-o", "json"]).json();
    let rows = list.as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {list:#}"));
    row["path"].as_str().expect("a path").into()
}

fn busybox(cluster: &TestCluster<'_>) -> PathBuf {
    entry(cluster, "node-rootfs").join("rootfs/usr/bin/busybox")
}

/// A workload that makes no pods.
const LATER: &str = r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: later}
spec:
  schedule: "@yearly"
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: later, image: "example.org/later:1"}]
"#;

/// An addon whose chart is in the registry, where Helm pushed it. It stays what it is when the registry has gone.
pub(crate) fn chart(cluster: &TestCluster<'_>) {
    let here = cluster.kcl(["service", "registry", "-n", "kcl-registry", "--url"]);
    let charts = format!("oci://{}/charts", here.ok().trim_start_matches("http://"));
    let file = |path: &str, text: &str| {
        let path = cluster.home.scratch().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    file("greeting/Chart.yaml", "apiVersion: v2\nname: greeting\nversion: 1.0.0\n");
    file(
        "greeting/templates/greeting.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {text: {{ .Values.text }}}\n",
    );
    file("greeting/templates/later.yaml", LATER);
    file(
        "greets/addon.toml",
        &format!(
            "title = \"Greets\"\nversion = \"1\"\n[chart]\nnamespace = \"greets\"\nsource = \"{charts}/greeting:1.0.0\"\n"
        ),
    );
    file("greets/00-namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: greets}\n");
    file("greets/values.yaml", "text: hello from {{ cluster.name }}\n");
    cluster.kcl(["helm", "--", "package", "greeting"]).ok();
    cluster.kcl(["helm", "--", "push", "greeting-1.0.0.tgz", &charts, "--plain-http"]).ok();
    cluster.kcl(["addons", "enable", "./greets"]).ok();
    assert_eq!(cluster.field(&["configmap", "greeting", "-n", "greets"], ".data.text"), "hello from web");
    assert_eq!(cluster.kcl(["helm", "--", "list", "-A", "-q"]).ok(), "greets", "it is a release of Helm's");
    assert_eq!(cluster.kcl(["addons", "images", "greets"]).ok(), "example.org/later:1", "rendered without the cluster");
}
