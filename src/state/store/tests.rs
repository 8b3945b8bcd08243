//! The store and its locks, on real files.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::ClusterSpec;
use crate::state::{NodePhase, NodeRecord, Phase, SCHEMA};

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths { home: dir.path().join("home"), cache: dir.path().join("cache") };
    Fixture { store: Store::open(paths), dir }
}

fn state(name: &str) -> ClusterState {
    let spec = ClusterSpec::with_defaults(name);
    ClusterState {
        schema: SCHEMA,
        nodes: vec![NodeRecord {
            name: name.to_owned(),
            machine: name.to_owned(),
            role: spec.nodes[0].role,
            address: "10.1.0.2".parse().unwrap(),
            pod_cidr: "10.244.0.0/24".parse().unwrap(),
            kubernetes_version: "v1.37.0".to_owned(),
            artifacts: Some("v1.37.0-abc".to_owned()),
            phase: NodePhase::Member,
            configured: None,
        }],
        spec,
        subnet: "10.1.0.0/24".parse().unwrap(),
        api: None,
        api_address: None,
        phase: Phase::Creating,
        created: "2026-11-21T12:00:00Z".parse().unwrap(),
        lifetime: Default::default(),
        spare: false,
        proxy: None,
    }
}

impl Fixture {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("home/clusters").join(name).join("state.json")
    }

    async fn lock(&self, name: &str) -> ClusterLock {
        self.store.lock(name, |_| panic!("nobody holds it")).await.unwrap()
    }
}

#[test]
fn state_goes_round_and_is_private() {
    let fixture = fixture();
    assert_eq!(fixture.store.load("kcl").unwrap(), None);
    let mut state = state("kcl");
    fixture.store.save(&state).unwrap();
    state.phase = Phase::Created;
    fixture.store.save(&state).unwrap();
    assert_eq!(fixture.store.load("kcl").unwrap(), Some(state));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = fixture.file("kcl");
    assert_eq!(mode(&file), 0o600);
    for dir in file.ancestors().skip(1).take(3) {
        assert_eq!(mode(dir), 0o700, "{dir:?}");
    }
    assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn damaged_and_unknown_state_is_named_and_never_overwritten() {
    let fixture = fixture();
    fixture.store.save(&state("kcl")).unwrap();
    let file = fixture.file("kcl");
    let whole = std::fs::read_to_string(&file).unwrap();
    for (text, problem) in [
        ("", "it is not JSON"),
        (&whole[..whole.len() / 2], "it is not JSON"),
        ("{}", "it has no number under \"schema\""),
        ("[]", "it has no number under \"schema\""),
        (
            &whole.replace("\"schema\": 2", "\"schema\": 3"),
            "has schema 3, which another version of kcl wrote; this one reads 1 to 2",
        ),
        (&whole.replace("\"subnet\"", "\"subnett\""), "missing field"),
        (&whole.replace("creating", "dreaming"), "unknown variant `dreaming`"),
    ] {
        std::fs::write(&file, text).unwrap();
        let errors = [fixture.store.load("kcl").unwrap_err(), fixture.store.save(&state("kcl")).unwrap_err()];
        for error in errors {
            assert_eq!(error.id, Id::StateUnreadable);
            assert!(error.message.contains(problem) && error.message.contains("clusters/kcl/state.json"), "{error}");
            assert!(error.hints.iter().any(|hint| hint.contains("kcl delete -p kcl")));
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn clusters_are_directories_with_a_state() {
    let fixture = fixture();
    assert!(fixture.store.list().unwrap().is_empty());
    fixture.store.save(&state("b")).unwrap();
    fixture.store.save(&state("a")).unwrap();
    let clusters = fixture.dir.path().join("home/clusters");
    std::fs::create_dir(clusters.join("other")).unwrap();
    std::fs::write(clusters.join("other/app.yaml"), "").unwrap();
    std::fs::create_dir(clusters.join("Not-A-Name")).unwrap();
    std::fs::write(fixture.file("a"), "x").unwrap();
    let list = fixture.store.list().unwrap();
    let names: Vec<_> = list.iter().map(|(name, state)| (name.as_str(), state.is_ok())).collect();
    assert_eq!(names, [("a", false), ("b", true)]);
}

#[tokio::test]
async fn names_never_lead_out_of_the_home() {
    let fixture = fixture();
    for name in ["", "..", "../x", "a/b", "/etc"] {
        assert_eq!(fixture.store.load(name).unwrap_err().id, Id::ClusterNameInvalid);
        assert_eq!(fixture.store.lock(name, |_| {}).await.unwrap_err().id, Id::ClusterNameInvalid);
    }
}

#[tokio::test]
async fn removal_takes_all_and_what_is_not_there_is_no_error() {
    let fixture = fixture();
    fixture.store.save(&state("kcl")).unwrap();
    fixture.store.save(&state("other")).unwrap();
    let lock = fixture.lock("kcl").await;
    fixture.store.remove(&lock).unwrap();
    drop(lock);
    assert_eq!(fixture.store.load("kcl").unwrap(), None);
    let lock = fixture.lock("kcl").await;
    fixture.store.remove(&lock).unwrap();
    drop(lock);
    assert_eq!(fixture.store.list().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(fixture.dir.path().join("home/locks")).unwrap().count(), 0);
}

#[tokio::test]
async fn one_has_the_lock_and_others_hear_who() {
    let fixture = fixture();
    let held = fixture.lock("kcl").await;
    assert_eq!(held.cluster(), "kcl");
    // Another cluster's is free.
    drop(fixture.lock("other").await);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let waiting = tokio::spawn({
        let (store, heard) = (fixture.store.clone(), heard.clone());
        async move { store.lock("kcl", |who| heard.lock().unwrap().push(who.to_owned())).await }
    });
    while heard.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    drop(held);
    waiting.await.unwrap().unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with(&format!("process {} (kcl", std::process::id())), "{heard:?}");
}

#[tokio::test]
async fn who_waits_while_the_cluster_is_deleted_gets_a_lock_that_others_see() {
    let fixture = fixture();
    let held = fixture.lock("kcl").await;
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let waiting = tokio::spawn({
        let store = fixture.store.clone();
        async move { store.lock("kcl", |_| told.send(()).unwrap()).await }
    });
    hears.recv().await.unwrap();
    fixture.store.remove(&held).unwrap();
    drop(held);
    let new = waiting.await.unwrap().unwrap();
    let mut waited = false;
    let third = fixture.store.lock("kcl", |_| waited = true);
    tokio::select! {
        biased;
        _ = third => panic!("two have the lock"),
        () = tokio::task::yield_now() => {}
    }
    assert!(waited);
    drop(new);
    drop(fixture.lock_when_free("kcl").await);
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_no_lock_behind() {
    let fixture = fixture();
    let held = fixture.lock("kcl").await;
    {
        let mut waiting = Box::pin(fixture.store.lock("kcl", |_| {}));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two have the lock"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(held);
    drop(fixture.lock_when_free("kcl").await);
}

impl Fixture {
    /// The lock, which a thread of a wait that was given up may hold for a moment.
    async fn lock_when_free(&self, name: &str) -> ClusterLock {
        self.store.lock(name, |_| {}).await.unwrap()
    }
}
