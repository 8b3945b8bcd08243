//! The disk of the home is full.

use crate::mount::Tmpfs;
use crate::support::{Home, Output, Traces};

/// As little as no state fits in, no directory of a machine, not all that a machine begins with.
#[test]
fn a_home_on_a_full_disk() {
    let home = Home::new("full-disk");
    for size in ["8k", "256k", "4m", "48m"] {
        let disk = Tmpfs::new(home.scratch().join(format!("disk-{size}")), size);
        let kcl = |arguments: &[&str]| {
            Output::of(home.command(["-p", "full"]).args(arguments).env("KCL_HOME", disk.path()))
        };
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
