//! Builds the node agent, the policy engine, the pause program and the programs of addons as static executables and hands
//! their paths to the compiler, which embeds them, as it does the addons themselves: what a user installs is one file.
//!
//! A nested cargo, because cargo builds only the root package's binaries for `cargo install`, and because these are
//! linked statically while kcl itself need not be. Its target directory lies beside the profile directories of the outer
//! build, so debug and release builds share the result.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The embedded binaries: package, and the variable that names the file; another variable has its SHA-256 digest.
const EMBEDDED: [(&str, &str); 4] = [
    ("kcl-node", "KCL_EMBED_AGENT"),
    ("kcl-policy", "KCL_EMBED_POLICY"),
    ("pause", "KCL_EMBED_PAUSE"),
    ("load-balancer", "KCL_EMBED_LOAD_BALANCER"),
];

/// The packages that they belong to.
const PACKAGES: [&str; 3] = ["kcl-node", "kcl-policy", "kcl-load-balancer"];

/// Cargo's profile for them: small and without unwinding.
const PROFILE: &str = "node";

/// Variables that the outer cargo sets for its own crates, such as clippy's wrapper.
const OUTER: [&str; 6] =
    ["CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "RUSTFLAGS"];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    // Those of the programs, and the directories that the crate embeds, which the compiler does not watch.
    let code = ["images/node", "drivers/api", "drivers/files", "drivers/local", "drivers/oci", "drivers/ssh/host"];
    let data = ["addons", "images/components", "images/oci", "Cargo.lock", "Cargo.toml", "build.rs"];
    for input in code.iter().chain(&data) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    fs::write(out.join("addons.rs"), addons(&root.join("addons"))).expect("the output directory can be written");
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("node-agent");
    let target = variable("TARGET");
    build(&root, &target_dir, &target);
    for (binary, name) in EMBEDDED {
        let path = target_dir.join(&target).join(PROFILE).join(binary);
        assert!(path.is_file(), "cargo built no {}", path.display());
        // Not watched: it is younger than the beginning of this run, so the next one would build all again.
        println!("cargo::rustc-env={name}={}", path.display());
        let digest = Sha256::digest(fs::read(&path).expect("what was built can be read"));
        println!("cargo::rustc-env={name}_SHA256={}", base16ct::lower::encode_string(&digest));
    }
}

/// The built-in addons: each folder with a description, as `(name, &[(file, text)])`, sorted. Programs of addons lie
/// beside, and are not meant.
fn addons(root: &Path) -> String {
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).expect("addons are there");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("addons can be read").path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = String::from("&[\n");
    for folder in list(root).iter().filter(|folder| folder.join("addon.toml").exists()) {
        text.push_str(&format!("({:?}, &[\n", name(folder)));
        let files = list(folder);
        for file in files.iter().filter(|file| name(file) == "addon.toml" || name(file).ends_with(".yaml")) {
            text.push_str(&format!("({:?}, include_str!({file:?})),\n", name(file)));
        }
        text.push_str("]),\n");
    }
    text + "]\n"
}

/// Runs the nested cargo, free of what the outer one set for its own crates.
fn build(root: &Path, target_dir: &Path, target: &str) {
    let mut cargo = Command::new(variable("CARGO"));
    for name in OUTER {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(root)
        .args(["build", "--locked"])
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .args(["--bins", "--profile", PROFILE, "--target", target])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the programs of nodes do not build: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
