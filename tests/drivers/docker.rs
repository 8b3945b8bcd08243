//! Containers of the test's own Docker daemon. The daemon and kcl run in a network namespace of their own.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::story;
use crate::support::dockerd::Dockerd;
use crate::support::sshd::{self, Sshd};
use crate::support::{Home, TestCluster, eventually, own_network};

/// Runs a test in a home with its own daemon, and asserts that only the node image remains in the daemon.
fn with_daemon(story: &str, test: impl FnOnce(&Home, &mut Dockerd) + Send) {
    own_network(|| {
        let dir =
            tempfile::Builder::new().prefix("dockerd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut daemon = Dockerd::start(dir.path(), &[]);
        {
            let home = Home::new(story);
            home.set("DOCKER_HOST", daemon.host());
            test(&home, &mut daemon);
        }
        assert_eq!(daemon.left(), [""; 0]);
    });
}

#[test]
fn three_nodes() {
    with_daemon("docker", |home, daemon| {
        let cluster = story::three_nodes(home, "docker", &["--driver", "docker"]);

        home.step("the daemon's host is restarted");
        let before = addresses(&cluster.nodes());
        daemon.restart();
        cluster.settled();
        assert_eq!(addresses(&cluster.nodes()), before);
        story::pods_reach_each_other(&cluster);

        home.step("what is stopped stays so");
        cluster.kcl(["stop"]).ok();
        daemon.restart();
        assert!(cluster.nodes().iter().all(|node| node["Status"] == "Stopped"), "{:?}", cluster.nodes());
        cluster.start(&[]).ok();
        cluster.settled();

        home.step("a node that dies is started again");
        let worker = cluster.node_names().pop().expect("a worker");
        let since = uptime(&cluster.agent(&worker));
        let container = daemon.docker(["ps", "-q", "--filter", &format!("label=kcl.node={worker}")]);
        let pid = daemon.docker(["inspect", "--format", "{{.State.Pid}}", &container]);
        daemon.inside(&["kill", "-9", &pid]);
        eventually("its agent runs again", || {
            let status = cluster.ssh(&worker, "/opt/kcl/agent/kcl-node status");
            if !status.succeeded() {
                return Err(status.to_string());
            }
            let now = uptime(&status.json());
            if now < since { Ok(()) } else { Err(format!("{now} ms")) }
        });
        cluster.settled();
        cluster.kcl(["delete"]).ok();
    });
}

/// Tests an engine on another host, reached over SSH: this host reaches the cluster's API and its ports on loopback
/// only.
#[test]
fn an_engine_elsewhere() {
    own_network(|| {
        let dir =
            tempfile::Builder::new().prefix("dockerd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let sshd = Sshd::start(dir.path());
        sshd.be_known();
        let daemon = Dockerd::start(dir.path(), &[]);
        {
            let home = Home::new("docker-far");
            let socket = daemon.dir().join("docker.sock");
            home.set("DOCKER_HOST", format!("ssh://root@127.0.0.1:{}{}", sshd::PORT, socket.display()));
            home.set("HOME", sshd.user());
            let cluster = story::nodes(&home, "far", 2, &["--driver", "docker"]);

            home.step("services have ports of loopback");
            cluster.kubectl([
                "expose",
                "service",
                "web",
                "--name=balanced",
                "--port=8000",
                "--target-port=80",
                "--type=LoadBalancer",
            ]);
            assert_eq!(cluster.kcl(["service", "balanced", "--url"]).ok(), "http://127.0.0.1:8000");
            story::service_answers(&cluster, "balanced");
            // Another service with the same port gets another port here.
            cluster.kubectl([
                "expose",
                "service",
                "web",
                "--name=second",
                "--port=8000",
                "--target-port=80",
                "--type=LoadBalancer",
            ]);
            story::service_answers(&cluster, "second");
            cluster.kubectl(["delete", "service", "balanced"]);
            eventually("its port is free again", || {
                TcpListener::bind("127.0.0.1:8000").map(drop).map_err(|error| error.to_string())
            });
            // The next command restarts a killed process.
            kill(&cluster);
            story::service_answers(&cluster, "second");
            cluster.kcl(["delete"]).ok();
        }
        assert_eq!(daemon.left(), [""; 0]);
    });
}

/// Ends the process that serves the services on loopback.
fn kill(cluster: &TestCluster<'_>) {
    let note = cluster.home.path().join("clusters/far/loopback");
    let note: Value = serde_json::from_slice(&std::fs::read(note).expect("a note")).expect("JSON");
    let pid = note["process"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a number");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
}

fn addresses(nodes: &[Value]) -> Vec<(Value, Value)> {
    nodes.iter().map(|node| (node["Name"].clone(), node["IP"].clone())).collect()
}

fn uptime(status: &Value) -> u64 {
    status["uptime_ms"].as_u64().expect("a time")
}
