//! kcl is killed or interrupted while it adds or deletes a node: the next call finishes it, or a start does, and the other
//! nodes run on.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::run::{Moment, Run};
use crate::support::{Home, IMAGE, TestCluster};

const NODE: &str = "grown-m02";

#[test]
fn a_node_that_comes_or_goes_while_kcl_is_killed() {
    let home = Home::new("killed-node");
    let cluster = home.start("grown", &[]);
    let before = cluster.components("grown");
    let mut adding = Moment::ladder(None, 20..120, 50);
    adding.extend(Moment::ladder(Some("machines"), 0..300, 60));
    adding.extend(["control-plane", "system", "ready"].map(Moment::at));
    for (number, moment) in adding.into_iter().enumerate() {
        cut(&cluster, &["node", "add", NODE], moment, Signal::SIGKILL);
        match number % 2 {
            // Killed before it had begun, it is added now; after the end it is there already.
            0 => drop(cluster.kcl(["node", "add", NODE])),
            _ if cluster.node_names().len() == 1 => continue,
            _ => drop(cluster.start(&[]).ok().to_owned()),
        }
        is_there(&cluster);
        assert_eq!(cluster.components("grown"), before, "others run on");
        cluster.kcl(["node", "delete", NODE]).ok();
        is_gone(&home, &cluster);
    }

    let mut deleting = Moment::ladder(None, 20..120, 50);
    deleting.extend(Moment::ladder(Some("node"), 0..1500, 150));
    deleting.extend(["machines", "system"].map(Moment::at));
    for (number, moment) in deleting.into_iter().enumerate() {
        if cluster.node_names().len() == 1 {
            cluster.kcl(["node", "add", NODE]).ok();
        }
        is_there(&cluster);
        let signal = if number % 3 == 2 { Signal::SIGINT } else { Signal::SIGKILL };
        cut(&cluster, &["node", "delete", NODE], moment, signal);
        let has_begun = std::fs::read_to_string(home.path().join("clusters/grown/state.json"));
        let has_begun = has_begun.expect("a state").contains("leaving");
        match number % 2 {
            1 if has_begun => drop(cluster.start(&[]).ok().to_owned()),
            _ => drop(cluster.kcl(["node", "delete", NODE])),
        }
        is_gone(&home, &cluster);
        assert_eq!(cluster.components("grown"), before, "others run on");
    }
}

/// Runs a verb up to a moment.
fn cut(cluster: &TestCluster<'_>, arguments: &[&str], moment: Moment, signal: Signal) {
    let mut run = Run::of(cluster.command(arguments));
    // It may be too fast for the moment.
    if let Some(step) = moment.step {
        run.event(|event| event["type"] == "io.k8s.sigs.kcl.step" && event["data"]["name"] == step);
    }
    std::thread::sleep(moment.delay);
    run.signal(signal);
    let output = run.end();
    cluster.home.step(&format!("{} {signal} {moment:?}: {:?}", arguments[1], output.code));
}

/// The node is a part of the cluster, and works.
#[track_caller]
fn is_there(cluster: &TestCluster<'_>) {
    assert_eq!(cluster.node_names(), ["grown", NODE]);
    cluster.settled();
    assert_eq!(cluster.run_on(NODE, "works", "echo works"), "works");
}

/// Nothing is left of the node: no Node, no machine, no certificates, no phase.
#[track_caller]
fn is_gone(home: &Home, cluster: &TestCluster<'_>) {
    assert_eq!(cluster.node_names(), ["grown"]);
    assert_eq!(cluster.field(&["nodes"], ".items[*].metadata.name"), "grown");
    let agents = cluster.traces().processes.into_iter().filter(|(_, command)| command.contains("kcl-node run"));
    assert_eq!(agents.count(), 1);
    for place in ["pki/nodes", "nodes"] {
        let path = home.path().join("clusters/grown").join(place).join(NODE);
        assert!(!path.exists(), "{}", path.display());
    }
    let known = cluster.ssh("grown", &format!("grep -w {NODE} /etc/hosts"));
    assert!(!known.succeeded(), "{known}");
    cluster.settled();
}

#[test]
fn an_addition_that_is_interrupted_leaves_nothing() {
    let home = Home::new("interrupted-node");
    let cluster = home.start("grown", &[]);
    for (step, signal) in [("machines", Signal::SIGINT), ("ready", Signal::SIGTERM)] {
        let mut run = Run::of(cluster.command(["node", "add"]));
        run.step(step);
        run.signal(signal);
        assert_eq!(run.end().code, Some(130));
        // The other node may have heard of it.
        cluster.start(&[]).ok();
        is_gone(&home, &cluster);
    }
    // A deletion that the user gives up: the node stays.
    cluster.kcl(["node", "add"]).ok();
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: held, namespace: default}\n\
                  spec:\n  minAvailable: 1\n  selector: {matchLabels: {run: held}}\n";
    cluster.apply(budget);
    let overrides = format!(r#"--overrides={{"spec":{{"nodeName":"{NODE}"}}}}"#);
    let image = format!("--image={IMAGE}");
    cluster.kubectl(["run", "held", &image, &overrides, "--", "sleep", "1000000"]);
    cluster.wait_for("condition=Ready", &["pod/held"]);
    let mut run = Run::of(cluster.command(["node", "delete", NODE, "--force"]));
    run.step("node");
    std::thread::sleep(Duration::from_secs(2));
    run.signal(Signal::SIGINT);
    let output = run.end();
    assert_eq!(output.code, Some(130), "{output}");
    assert!(output.stdout.contains("node uncordon"), "it says how to keep the node: {output}");
    cluster.kcl(["node", "uncordon", NODE]).ok();
    cluster.start(&[]).ok();
    is_there(&cluster);
    cluster.kubectl(["delete", "pdb", "held"]);
    cluster.kcl(["node", "delete", NODE, "--force", "--grace-period", "1"]).ok();
    is_gone(&home, &cluster);
}
