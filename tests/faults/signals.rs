//! Ctrl-C and SIGTERM: kcl takes back what it made and says so by its exit code.

use nix::sys::signal::Signal;

use crate::run::{self, Moment, nothing_left};
use crate::support::Home;

/// Resources that `start` must not touch.
const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: mine\ncontexts: []\nclusters: []\nusers: []\n";

#[test]
fn a_start_that_was_interrupted() {
    let home = Home::new("interrupted");
    let cluster = home.cluster("interrupted");
    std::fs::write(home.kubeconfig(), KUBECONFIG).expect("a kubeconfig");
    let mut moments = Moment::ladder(Some("machines"), 0..200, 20);
    moments.extend(["control-plane", "system", "ready"].map(Moment::at));
    for (number, moment) in moments.into_iter().enumerate() {
        let signal = if number % 2 == 0 { Signal::SIGINT } else { Signal::SIGTERM };
        let mut run = run::start(&cluster, &[]);
        moment.wait(&mut run);
        run.signal(signal);
        let output = run.end();
        home.step(&format!("{signal} {moment:?}"));
        assert_eq!(output.code, Some(130), "{output}");
        assert!(output.stdout.contains("INTERRUPTED") && !output.stdout.contains("could not be removed"), "{output}");
        nothing_left(&home, &cluster);
        assert_eq!(std::fs::read_to_string(home.kubeconfig()).expect("it is there"), KUBECONFIG);
    }
    cluster.start(&[]).ok();
    cluster.settled();
}

/// With `--keep` all stays where it was; `start` goes on from there, and `delete` takes it away.
#[test]
fn an_interrupted_start_that_is_kept_for_a_look() {
    let home = Home::new("kept");
    for (profile, goes_on) in [("gone", false), ("on", true)] {
        let cluster = home.cluster(profile);
        let mut run = run::start(&cluster, &["--keep"]);
        run.step("control-plane");
        run.signal(Signal::SIGINT);
        assert_eq!(run.end().code, Some(130));
        let nodes = cluster.nodes();
        assert_eq!(nodes[0]["Status"], "Running", "{nodes:?}");
        cluster.kcl(["logs", "agent"]).ok();
        if goes_on {
            cluster.start(&[]).ok();
            cluster.settled();
        }
        cluster.kcl(["delete"]).ok();
        nothing_left(&home, &cluster);
    }
}

/// A second Ctrl-C skips the rollback; the next run does it.
#[test]
fn a_second_interrupt_ends_at_once() {
    let home = Home::new("twice");
    let cluster = home.cluster("twice");
    let mut run = run::start(&cluster, &[]);
    run.step("control-plane");
    run.signal(Signal::SIGINT);
    run.says("Removing what was created");
    run.signal(Signal::SIGINT);
    let output = run.end();
    assert_eq!(output.code, Some(130), "{output}");
    assert!(!output.stdout.contains("INTERRUPTED"), "it was to end before it could tell: {output}");
    assert!(output.stderr.contains("kcl delete -p twice"), "it says what is left: {output}");
    cluster.kcl(["delete"]).ok();
    nothing_left(&home, &cluster);
}

#[test]
fn a_stop_and_a_delete_that_were_interrupted() {
    let home = Home::new("interrupted-end");
    let cluster = home.start("interrupted", &[]);
    for (verb, next) in [("stop", "start"), ("stop", "stop"), ("delete", "delete")] {
        let mut run = run::verb(&cluster, verb);
        run.step(verb);
        run.signal(Signal::SIGINT);
        let output = run.end();
        assert_eq!(output.code, Some(130), "{output}");
        match next {
            "start" => {
                cluster.start(&[]).ok();
                cluster.settled();
            }
            next => {
                cluster.kcl([next]).ok();
            }
        }
        home.step(&format!("{verb}, interrupted, and then {next}"));
    }
    nothing_left(&home, &cluster);
}
