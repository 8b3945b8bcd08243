//! kcl is killed at every step, and in the middle of those that make and remove things: the next run takes it up.

use std::time::Duration;

use crate::run::{self, Moment, nothing_left};
use crate::support::{Home, TestCluster};

/// The moments of a start at which kcl is killed: a node has its machine after a tenth of a second or so.
fn moments() -> Vec<Moment> {
    let mut moments = Moment::ladder(None, 10..160, 30);
    moments.extend(Moment::ladder(Some("machines"), 0..280, 20));
    moments.extend(["control-plane", "system", "ready"].map(Moment::at));
    moments
}

#[test]
fn a_start_that_was_killed() {
    let home = Home::new("killed-start");
    let cluster = home.cluster("killed");
    for (number, moment) in moments().into_iter().enumerate() {
        let mut run = run::start(&cluster, &[]);
        moment.wait(&mut run);
        let killed = run.kill();
        home.step(&format!("killed {moment:?} ({:?})", killed.code));
        // Every fourth goes on; the others are taken away.
        if number % 4 == 0 {
            works(&cluster);
        }
        cluster.kcl(["delete"]).ok();
        nothing_left(&home, &cluster);
    }
}

/// One cluster after the other is stopped and deleted by a kcl that is killed.
#[test]
fn a_stop_and_a_delete_that_were_killed() {
    let home = Home::new("killed-stop");
    let cluster = home.cluster("killed");
    let ladder = [0, 15, 40, 80, 150, 300, 600, 1000].map(Duration::from_millis);
    let mut there = false;
    for (number, delay) in ladder.into_iter().enumerate() {
        if !there {
            works(&cluster);
        }
        let mut stop = run::verb(&cluster, "stop");
        Moment { delay, ..Moment::at("stop") }.wait(&mut stop);
        stop.kill();
        home.step(&format!("stop killed after {delay:?}"));
        there = number % 2 == 0;
        if there {
            works(&cluster);
            continue;
        }
        // Half stopped, and then half deleted.
        let mut delete = run::verb(&cluster, "delete");
        Moment { delay, ..Moment::at("delete") }.wait(&mut delete);
        delete.kill();
        cluster.kcl(["delete"]).ok();
        nothing_left(&home, &cluster);
    }
}

/// A cluster that runs is deleted by a kcl that is killed; a start then starts over, and a delete finishes it.
#[test]
fn a_delete_that_was_killed() {
    let home = Home::new("killed-delete");
    let cluster = home.cluster("killed");
    works(&cluster);
    for (number, delay) in [0, 10, 25, 50, 100, 200].map(Duration::from_millis).into_iter().enumerate() {
        let mut delete = run::verb(&cluster, "delete");
        Moment { delay, ..Moment::at("delete") }.wait(&mut delete);
        delete.kill();
        home.step(&format!("delete killed after {delay:?}"));
        if number % 2 == 0 {
            cluster.kcl(["delete"]).ok();
            nothing_left(&home, &cluster);
        }
        works(&cluster);
    }
}

/// `kcl start` makes a cluster that works of whatever is there.
#[track_caller]
fn works(cluster: &TestCluster<'_>) {
    cluster.start(&[]).ok();
    cluster.settled();
    assert_eq!(cluster.kcl(["status"]).code, Some(0));
}
