//! The crate's module for integration tests, as a test of another crate would use it.
//!
//! It finds kcl, its home and its cache by the environment, so its users run as processes of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use kcl::testing::Cluster;
use kcl::testing::k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kcl::testing::kube::Api;
use kcl::testing::kube::api::PostParams;

use crate::run::gone;
use crate::support::{Home, Output};

/// Set in a process that uses it.
const USER: &str = "KCL_TEST_USER_OF_TESTING";

/// A test of this binary, to be run as a process of its own.
fn process(home: &Home, name: &str) -> Command {
    let kcl = home.command([""; 0]);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "--ignored", name, "--nocapture"]);
    command.envs(kcl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("KCL", kcl.get_program()).env(USER, "1").current_dir(home.scratch());
    command
}

#[test]
fn a_cluster_for_a_test() {
    let home = Home::new("testing");
    home.step("one of its own, and one for two tests");
    Output::of(&mut process(&home, "testing::user")).ok();
    // The shared one goes when the process has ended.
    gone(&home);
    assert!(!home.kubeconfig().exists(), "the user's kubeconfig was touched");

    home.step("a test that is killed");
    let mut killed = process(&home, "testing::user_that_is_killed").stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = BufReader::new(killed.stdout.as_mut().expect("a pipe")).lines();
    lines.map_while(Result::ok).find(|line| line.contains("ready")).expect("its cluster");
    killed.kill().expect("it waits");
    killed.wait().expect("its end");
    gone(&home);
}

#[tokio::test]
#[ignore = "only as a process of its own"]
async fn user() {
    if std::env::var_os(USER).is_none() {
        return;
    }
    let cluster = Cluster::start_with(["--nameservers", "none", "--nodes", "2"]).await.expect("a cluster");
    let nodes: Api<Node> = Api::all(cluster.client().expect("a client"));
    assert_eq!(nodes.list(&Default::default()).await.expect("nodes").items.len(), 2);
    let said = Output::of(&mut cluster.kcl(["node", "list"]));
    assert!(said.ok().contains(cluster.name()), "{said}");
    let kubeconfig = cluster.kubeconfig();
    drop(cluster);
    assert!(!Path::new(&kubeconfig).exists());

    let shared = Cluster::shared().await.expect("a cluster");
    assert_eq!(Cluster::shared().await.expect("the same").name(), shared.name());
    let (left, right) = (shared.namespace().await.expect("one"), shared.namespace().await.expect("another"));
    assert_ne!(left.name(), right.name());
    for namespace in [&left, &right] {
        let maps: Api<ConfigMap> = Api::namespaced(shared.client().expect("a client"), namespace.name());
        let map = serde_json::from_value(serde_json::json!({"metadata": {"name": "same"}})).expect("an object");
        maps.create(&PostParams::default(), &map).await.expect("each its own");
        // Admission takes pods at once.
        let pods: Api<Pod> = Api::namespaced(shared.client().expect("a client"), namespace.name());
        let pod = serde_json::json!({
            "metadata": {"name": "pod"},
            "spec": {"containers": [{"name": "pod", "image": "kcl.local/busybox:1.37"}]},
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a pod")).await.expect("a pod");
    }
}

#[tokio::test]
#[ignore = "only as a process of its own"]
async fn user_that_is_killed() {
    if std::env::var_os(USER).is_none() {
        return;
    }
    let _cluster = Cluster::start_with(["--nameservers", "none"]).await.expect("a cluster");
    println!("ready");
    std::io::stdout().flush().expect("a pipe");
    std::future::pending::<()>().await;
}
