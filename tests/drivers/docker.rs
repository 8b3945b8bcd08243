//! Containers of a Docker daemon of the test's own, which is in a network namespace of its own, and so is kcl.

use serde_json::Value;

use crate::story;
use crate::support::dockerd::Dockerd;
use crate::support::{Home, eventually, own_network};

/// Runs a test in a home with a daemon of its own. Nothing is left in the daemon but the node image.
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

        home.step("the daemon's host is started anew");
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

fn addresses(nodes: &[Value]) -> Vec<(Value, Value)> {
    nodes.iter().map(|node| (node["Name"].clone(), node["IP"].clone())).collect()
}

fn uptime(status: &Value) -> u64 {
    status["uptime_ms"].as_u64().expect("a time")
}
