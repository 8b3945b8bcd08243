//! The disk of the home is full.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::mount::Tmpfs;
use crate::support::{Home, Output, Traces, eventually};

/// As little as no state fits in, no directory of a machine, not all that a machine begins with.
#[test]
fn a_home_on_a_full_disk() {
    let home = Home::new("full-disk");
    for size in ["8k", "256k", "4m", "48m"] {
        let disk = Tmpfs::new(home.scratch().join(format!("disk-{size}")), size);
        let kcl =
            |arguments: &[&str]| Output::of(home.command(["-p", "full"]).args(arguments).env("KCL_HOME", disk.path()));
        let output = kcl(&["start", "--nameservers", "none", "--wait-timeout", "60s"]);
        home.step(size);
        let said = output.fails();
        assert!(said.contains("No space left on device") || said.contains("MiB"), "{size}: {output}");
        assert!(said.contains(&*disk.path().to_string_lossy()), "{size}: it names the place: {output}");
        let traces = Traces::find(disk.path(), disk.path(), home.cache(), &["full".to_owned()]).lines();
        // The mount is the test's own.
        let left: Vec<_> = traces.iter().filter(|line| !line.starts_with("mount ")).collect();
        assert!(left.is_empty(), "{size}: {left:#?}\n{output}");
        assert!(!disk.path().join("clusters/full").exists(), "{size}: {output}");
        kcl(&["delete"]).ok();
    }
}

/// The disk fills up while a cluster runs: nothing of it is lost.
#[test]
fn a_disk_that_fills_up() {
    let home = Home::new("filled-disk");
    let disk = Tmpfs::new(home.scratch().join("disk"), "1400m");
    let kcl =
        |arguments: &[&str]| Output::of(home.command(["-p", "filled"]).args(arguments).env("KCL_HOME", disk.path()));
    let start = ["start", "--nameservers", "none"];
    kcl(&start).ok();
    kcl(&["kubectl", "--", "create", "configmap", "kept", "--from-literal=is=kept"]).ok();

    home.step("it fills up, and the node lives on");
    // The agent's next message needs another page.
    let console = disk.path().join("clusters/filled/nodes/filled/console.log");
    let written = std::fs::metadata(&console).expect("the console").len() as usize;
    let pad = vec![b'\n'; PAGE - written % PAGE];
    OpenOptions::new().append(true).open(&console).and_then(|mut file| file.write_all(&pad)).expect("room for it");
    fill(disk.path());
    let restarts = |name: &str| -> u64 {
        let status = kcl(&["ssh", "--", "/opt/kcl/agent/kcl-node status; true"]).json();
        let found = status["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        found.and_then(|one| one["restarts"].as_u64()).unwrap_or_else(|| panic!("{name}: {status:#}"))
    };
    let components = ["kube-scheduler", "kube-controller-manager", "kube-proxy"];
    for name in components {
        kcl(&["ssh", "--", &format!("kill -9 $(pidof {name})")]).ok();
        eventually("it is started again", || if restarts(name) > 0 { Ok(()) } else { Err(name.to_owned()) });
    }
    let status = kcl(&["status"]);
    assert!(status.stdout.contains("Running"), "{status}");
    std::fs::remove_file(disk.path().join(FILLER)).expect("the filler");
    eventually("it has recovered by itself", || {
        let found = kcl(&["kubectl", "--", "get", "configmap", "kept", "-o", "jsonpath={.data.is}"]);
        let status = kcl(&["status"]);
        if found.stdout.trim() == "kept" && status.succeeded() { Ok(()) } else { Err(format!("{found}\n{status}")) }
    });

    home.step("it fills up while the cluster runs, and the cluster is stopped");
    fill(disk.path());
    kcl(&["stop"]).ok();
    // What ran has given some back.
    fill(disk.path());
    let output = kcl(&start);
    let said = output.fails();
    assert!(said.contains("No space left on device") || said.contains("MiB"), "{output}");

    home.step("when there is room again, all is as it was");
    std::fs::remove_file(disk.path().join(FILLER)).expect("the filler");
    kcl(&start).ok();
    assert_eq!(kcl(&["kubectl", "--", "get", "configmap", "kept", "-o", "jsonpath={.data.is}"]).ok(), "kept");

    home.step("a full disk keeps nobody from deleting");
    fill(disk.path());
    kcl(&["delete"]).ok();
    assert!(!disk.path().join("clusters/filled").exists());
}

/// The size of a page of memory, the unit in which a tmpfs runs full.
const PAGE: usize = 1 << 12;

/// The file that fills the disk.
const FILLER: &str = "filler";

/// Fills a disk to the last page.
fn fill(disk: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(disk.join(FILLER)).expect("a file");
    let page = vec![1; PAGE];
    while file.write_all(&page).is_ok() {}
}
