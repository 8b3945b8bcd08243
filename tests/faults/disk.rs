//! The disk of the home is full.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::mount::Tmpfs;
use crate::support::{Home, Output, Traces};

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

    home.step("it fills up while the cluster runs");
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

/// The file that fills the disk.
const FILLER: &str = "filler";

/// Fills a disk to the last page.
fn fill(disk: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(disk.join(FILLER)).expect("a file");
    let page = vec![1; 1 << 12];
    while file.write_all(&page).is_ok() {}
}
