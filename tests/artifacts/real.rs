//! A real build of everything. It takes minutes with cold caches, so it runs on request only (`--ignored`). With
//! `KCL_TEST_CACHE` the artifacts stay in that directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use kcl::artifacts::{Artifacts, Options, Want, Way, process, store};
use kcl::progress::{Event, Progress, Renderer};

/// Prints the changes of progress.
struct Print {
    begun: Instant,
    last: Mutex<String>,
}

impl Renderer for Print {
    fn event(&self, event: &Event) {
        let text = match event {
            Event::Started { title, .. } => format!("> {title}"),
            Event::Progress { message, .. } => message.clone(),
            Event::Finished { message, .. } => format!("< {message}"),
            Event::Failed { .. } => "< failed".into(),
            Event::Warning(text) => format!("warning: {text}"),
            Event::Info(text) => text.clone(),
            Event::Trouble { message, .. } | Event::Error { message, .. } => message.clone(),
        };
        let mut last = self.last.lock().expect("lock");
        if *last != text {
            eprintln!("{:8.3} {text}", self.begun.elapsed().as_secs_f64());
            *last = text;
        }
    }
}

fn progress() -> Progress {
    Progress::new(Arc::new(Print { begun: Instant::now(), last: Mutex::default() }))
}

fn scratch() -> (Option<tempfile::TempDir>, PathBuf) {
    match std::env::var_os("KCL_TEST_CACHE") {
        Some(path) => (None, path.into()),
        None => {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().to_owned();
            (Some(directory), path)
        }
    }
}

async fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    process::output(command).await.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds Kubernetes: minutes"]
async fn everything_is_built_and_works() {
    let (_guard, cache) = scratch();
    let artifacts = Artifacts::open(&cache, Options::default()).expect("open");
    let version = std::env::var("KCL_TEST_KUBERNETES").unwrap_or_default();
    let want = Want { kubernetes: version, way: Way::Build, images: Vec::new(), vm: false };
    let found = artifacts.ensure(&want, &progress()).await.unwrap_or_else(|error| panic!("{error}\n{:?}", error.hints));

    assert!(run(&found.kubectl, &["version", "--client"]).await.contains(&found.kubernetes));
    assert!(run(&found.runc, &["features"]).await.contains("seccomp"));
    for program in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"] {
        let said = run(&found.components.join("bin").join(program), &["--version"]).await;
        assert_eq!(said.trim(), format!("Kubernetes {}", found.kubernetes), "{program}");
    }
    for plugin in ["bridge", "host-local", "loopback", "portmap", "ptp"] {
        assert!(found.components.join("cni").join(plugin).is_file());
    }
    assert!(found.agent.join("kcl-node").is_file());
    assert!(found.rootfs.join("usr/sbin/nft").is_file());

    let bundle = cache.join("test-bundle.tar.zst");
    artifacts.bundle_create(&bundle, &want, &progress()).await.expect("a bundle");
    let other = tempfile::tempdir_in(&cache).expect("a directory");
    let elsewhere = Artifacts::open(other.path(), Options::default()).expect("open");
    let from_bundle = Want { way: Way::Bundle(bundle.clone()), ..want.clone() };
    let there = elsewhere.ensure(&from_bundle, &progress()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(there.key, found.key);
    assert!(elsewhere.verify().expect("verify").is_empty());
    drop(there);
    std::fs::remove_file(&bundle).expect("remove");

    let again = Instant::now();
    let cached = artifacts.cached(&want).expect("all is cached");
    eprintln!("cached() in {:?}", again.elapsed());
    assert_eq!(cached.key, found.key);

    // A second containerd, as a node's: the images are there and a snapshot of one can be used.
    let node = tempfile::tempdir_in(&cache).expect("a directory");
    let seeding = Instant::now();
    store::seed(&found.image_store, &node.path().join("root")).expect("seed");
    eprintln!("seeded in {:?}", seeding.elapsed());
    let log = node.path().join("log");
    let containerd =
        store::Containerd::start(&found.components.join("bin"), node.path(), &log).await.expect("containerd");
    let listed = process::output(containerd.ctr(["images", "ls"])).await.expect("list");
    eprintln!("{listed}");
    assert!(listed.contains("coredns") && listed.contains("pause") && listed.contains("busybox"), "{listed}");
    assert!(listed.contains("io.cri-containerd.pinned=pinned"), "{listed}");
    let snapshots = process::output(containerd.ctr(["snapshots", "ls"])).await.expect("list");
    let mount = node.path().join("mount");
    std::fs::create_dir(&mount).expect("mount point");
    let target = mount.to_str().expect("a path");
    let mut ran = 0;
    for (index, parent) in snapshots.lines().skip(1).filter_map(|line| line.split_whitespace().next()).enumerate() {
        let key = format!("test-{index}");
        process::output(containerd.ctr(["snapshots", "prepare", &key, parent])).await.expect("prepare");
        let mounting = process::output(containerd.ctr(["snapshots", "mounts", target, &key])).await.expect("mounts");
        assert!(mounting.starts_with("mount -t overlay"), "{mounting}");
        let script = format!(
            "{mounting}\n! test -e {target}/bin/sh || chroot {target} sh -c 'echo it runs > /tmp/x; cat /tmp/x'"
        );
        if run(Path::new("unshare"), &["--mount", "sh", "-ec", &script]).await == "it runs\n" {
            ran += 1;
        }
    }
    assert_eq!(ran, 1, "busybox runs in a snapshot of its image: {snapshots}");
    containerd.stop().await.expect("stop");
}
