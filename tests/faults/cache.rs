//! A file of the cache is damaged: kcl sees it before anything runs from it, says so, and gets it anew.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::support::{Home, Output};

#[test]
fn a_damaged_file_of_the_cache() {
    let home = Home::new("damaged-cache");
    let cluster = home.cluster("whole");
    let bundle = home.scratch().join("bundle.tar.zst").display().to_string();
    home.kcl(["bundle", "create", &bundle]).ok();
    // A cache of the test's own, which shares no file with the others'.
    let cache = home.scratch().join("cache");
    let kcl = |arguments: &[&str]| Output::of(cluster.command(arguments).env("KCL_CACHE", &cache));
    kcl(&["artifacts", "fetch", "--bundle", &bundle]).ok();

    home.step("runc is cut to half of its length");
    let runc = file_called("runc", &cache.join("artifacts"));
    let size = fs::metadata(&runc).expect("runc").len();
    let file = OpenOptions::new().write(true).open(&runc).expect("runc");
    file.set_len(size / 2).expect("cut");
    drop(file);
    let start = ["start", "--nameservers", "none", "--bundle", &bundle];

    home.step("a start says so, gets it anew and works");
    let said = kcl(&start);
    said.ok();
    assert!(said.stderr.contains("runc") && said.stderr.contains("corrupt"), "{said}");
    assert_eq!(fs::metadata(file_called("runc", &cache.join("artifacts"))).expect("runc").len(), size);
    assert_eq!(kcl(&["status"]).code, Some(0));

    home.step("the next one finds nothing wrong");
    let said = kcl(&start);
    said.ok();
    assert!(!said.stderr.contains("corrupt"), "{said}");
    kcl(&["delete"]).ok();
}

/// The file of that name below `dir` that an entry in use has, not one that was put aside.
fn file_called(name: &str, dir: &Path) -> PathBuf {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let mut found = files
        .filter(|entry| entry.file_name() == name && !entry.path().display().to_string().contains(".replaced-"))
        .map(walkdir::DirEntry::into_path);
    found.next().unwrap_or_else(|| panic!("no {name} below {}", dir.display()))
}
