//! Entries of the cache are damaged. The shared cache is only read: what is damaged lies in one of the test's own, whose
//! other entries lead there.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, Output};

/// The artifact that the second half damages: a small one.
const ARTIFACT: &str = "cni-plugins";

#[test]
fn a_damaged_cache() {
    let home = Home::new("cache");
    let cluster = home.cluster("cache");
    let shared = home.cache().canonicalize().expect("a cache");

    home.step("the tree of a node, which can be linked together again");
    cluster.start(&["--wait", "api"]).ok();
    let state = std::fs::read_to_string(home.path().join("clusters/cache/state.json")).expect("the state");
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    let key = state["nodes"][0]["artifacts"].as_str().expect("the key of the tree").to_owned();
    cluster.kcl(["delete"]).ok();
    let own = home.scratch().join("cache-one");
    let entry = like(&shared, &own, "nodes", |name| name == key);
    damage(&entry);
    let start = ["start", "--nameservers", "none"];
    let output = Output::of(cluster.command(start).env("KCL_CACHE", &own));
    output.ok();
    assert!(output.stderr.contains("is corrupt") && output.stderr.contains("recreated"), "it is reported: {output}");
    Output::of(cluster.command(["delete"]).env("KCL_CACHE", &own)).ok();

    home.step("an artifact, which cannot be had");
    let own = home.scratch().join("cache-two");
    damage(&like(&shared, &own, "artifacts", |name| name.starts_with(ARTIFACT)));
    let mirror = ["--from", "release", "--binary-mirror", "http://127.0.0.1:9"];
    let output = Output::of(cluster.command(start).args(mirror).env("KCL_CACHE", &own));
    let said = output.fails_with(66);
    assert!(said.contains(ARTIFACT) && said.contains("is corrupt"), "{output}");
    crate::run::nothing_left(&home, &cluster);
}

/// A cache like `shared`, whose entries of a kind that `chosen` says are its own: linked file by file. Its one entry.
fn like(shared: &Path, own: &Path, kind: &str, chosen: impl Fn(&str) -> bool) -> PathBuf {
    let mut found = None;
    for directory in ["artifacts", "nodes", "image-stores", "images"] {
        std::fs::create_dir_all(own.join(directory)).expect("a directory");
        for entry in std::fs::read_dir(shared.join(directory)).expect("the cache").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let place = own.join(directory).join(&name);
            if directory == kind && chosen(&name) && found.is_none() {
                Output::of(Command::new("cp").arg("-al").arg(entry.path()).arg(&place)).ok();
                found = Some(place);
            } else {
                symlink(entry.path(), place).expect("a link");
            }
        }
    }
    found.expect("the entry is there")
}

/// Cuts the first program of an entry short: a copy of it, since the file is shared.
fn damage(entry: &Path) {
    let manifest = std::fs::read_to_string(entry.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let (name, _) = manifest["files"].as_object().and_then(|files| files.iter().next()).expect("a file");
    let file = entry.join(name);
    let content = std::fs::read(&file).expect("the file");
    std::fs::remove_file(&file).expect("the link");
    std::fs::write(&file, &content[..content.len() / 2]).expect("the damaged file");
    // What kcl writes here itself is replaced as a whole; this makes sure of it.
    let manifest = entry.join("manifest.json");
    let text = std::fs::read(&manifest).expect("the manifest");
    std::fs::remove_file(&manifest).expect("the link");
    std::fs::write(&manifest, text).expect("the manifest");
}
