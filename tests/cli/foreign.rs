//! Directories of others, output that is lost, and modes of files: what kcl does not remove, and what it says.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;

use crate::home::Home;

/// A repository as others lay it out, where a variable leads by mistake.
#[test]
fn directories_of_others_are_refused_and_stay() {
    let home = Home::new();
    let repository = home.file("x", "").with_file_name("repository");
    for file in
        ["clusters/staging/app.yaml", "clusters/prod/addons/app.yaml", "images/logo.png", "downloads/a", "logs/b"]
    {
        let path = repository.join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, "precious").expect("a file");
    }
    let before = files(&repository);
    for variable in ["KCL_HOME", "KCL_CACHE"] {
        let lines: [&[&str]; 6] = match variable {
            "KCL_HOME" => [
                &["delete", "--all"],
                &["delete", "-p", "staging"],
                &["start", "-p", "staging"],
                &["start", "-p", "staging", "--dry-run"],
                &["profile", "list"],
                &["status", "-p", "prod"],
            ],
            _ => [
                &["artifacts", "clean", "--all"],
                &["artifacts", "clean", "--all", "--force"],
                &["artifacts", "clean"],
                &["artifacts", "list"],
                &["artifacts", "fetch"],
                &["bundle", "create", "b.tar.zst"],
            ],
        };
        for line in lines {
            let output = home.kcl(line).env(variable, &repository).output().expect("kcl runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{line:?}: {said}");
            assert!(said.contains("repository is not a") && said.contains(variable), "{line:?}: {said}");
            assert_eq!(files(&repository), before, "{line:?}");
        }
    }
}

#[test]
fn a_home_is_marked_once() {
    let home = Home::new();
    home.kcl(&["delete"]).assert().success();
    let marker = home.file("x", "").with_file_name("home").join(".kcl");
    let text = fs::read_to_string(&marker).expect("the marker");
    home.kcl(&["delete"]).assert().success();
    assert_eq!(fs::read_to_string(&marker).expect("the marker"), text);
}

#[test]
fn what_root_makes_in_the_home_of_the_user_behind_sudo_is_the_users() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let user = home.file("x", "").with_file_name("user");
    fs::create_dir(&user).expect("a directory");
    std::os::unix::fs::chown(&user, Some(65534), Some(65534)).expect("its owner");
    let mut kcl = home.kcl(&["delete"]);
    kcl.env_remove("KCL_HOME").env_remove("KCL_CACHE").env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
    kcl.env("HOME", &user).env("SUDO_UID", "65534").env("SUDO_GID", "65534").assert().success();
    for path in files(&user) {
        assert_eq!(path.metadata().expect("it is there").uid(), 65534, "{path:?}");
    }
    assert!(user.join(".local/share/kcl/.kcl").is_file());
}

#[test]
fn nobody_else_writes_to_the_cache_whatever_the_mask() {
    let home = Home::new();
    let script = format!("umask 000; {:?} artifacts list", cargo_bin("kcl"));
    let base = home.file("x", "");
    let cache = base.with_file_name("cache");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("KCL_CACHE", &cache).env("KCL_HOME", base.with_file_name("home"));
    assert!(shell.output().expect("sh runs").status.success());
    for path in files(&cache) {
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o022, 0, "{path:?}");
    }
}

/// Data that is lost is an error; a reader who has seen enough is not.
#[test]
fn a_full_disk_and_a_closed_pipe() {
    let home = Home::new();
    for line in [
        "status -o json",
        "profile list",
        "profile list -o json",
        "drivers",
        "artifacts list",
        "version",
        "--version",
        "--help",
        "start --help",
        "help stop",
        "completion bash",
        "start --dry-run",
        "delete -o json",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let shell = |rest: &str| {
            let script = format!("{:?} {line} {rest}", cargo_bin("kcl"));
            let mut shell = Command::new("bash");
            for (name, value) in home.kcl(&words).get_envs() {
                value.map(|value| shell.env(name, value));
            }
            shell.args(["-o", "pipefail", "-c", &script]).output().expect("bash runs")
        };
        let full = shell(">/dev/full");
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(69), "{line}: {said}");
        assert!(said.contains("standard output cannot be written: No space left"), "{line}: {said}");
        let closed = shell("| true");
        let said = String::from_utf8_lossy(&closed.stderr);
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

/// Times that no clock has are refused.
#[test]
fn times_beyond_all_clocks() {
    let home = Home::new();
    for option in ["--ttl", "--wait-timeout"] {
        for time in ["300000000000", "18446744073709551615", "5124095576030431h"] {
            let told = home.told(&["start", "--dry-run", option, time]);
            assert!(told.contains("exit 64") && told.contains("is too long"), "{told}");
        }
    }
    let told = home.told(&["start", "--dry-run", "--cert-expiration", "9000y"]);
    assert!(told.contains("exit 64"), "{told}");
}

/// The help that users of other programs type.
#[test]
fn help_is_a_verb_too() {
    let home = Home::new();
    for (verb, flag) in [(&["help"][..], &["--help"][..]), (&["help", "start"], &["start", "--help"])] {
        let [verb, flag] = [verb, flag].map(|line| home.kcl(line).assert().success().get_output().stdout.clone());
        assert_eq!(String::from_utf8_lossy(&verb), String::from_utf8_lossy(&flag));
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let all = walkdir::WalkDir::new(dir).sort_by_file_name();
    all.into_iter().map(|entry| entry.expect("an entry").into_path()).collect()
}
