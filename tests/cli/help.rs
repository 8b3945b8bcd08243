//! Help, versions, completion.

use std::io::Write;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::home::Home;

#[test]
fn help_is_a_page() {
    let told = Home::new().told(&["--help"]);
    assert!(told.lines().count() <= 52, "it is to fit on a screen:\n{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
    assert_snapshot!(told);
}

#[test]
fn help_of_each_verb() {
    let home = Home::new();
    for verb in [
        "start",
        "stop",
        "delete",
        "run",
        "pool",
        "status",
        "node",
        "profile",
        "addons",
        "image",
        "cp",
        "mount",
        "kubectl",
        "helm",
        "service",
        "tunnel",
        "policy",
        "dashboard",
        "ssh",
        "logs",
        "update-context",
        "ca",
        "certs",
        "drivers",
        "artifacts",
        "bundle",
        "config",
        "completion",
        "version",
    ] {
        assert_snapshot!(format!("help_{verb}"), home.told(&[verb, "--help"]));
    }
    for (verb, under) in [
        ("node", "list"),
        ("node", "add"),
        ("node", "delete"),
        ("node", "start"),
        ("node", "stop"),
        ("node", "cordon"),
        ("node", "uncordon"),
        ("node", "drain"),
        ("profile", "list"),
        ("pool", "fill"),
        ("pool", "list"),
        ("pool", "drain"),
        ("addons", "list"),
        ("addons", "enable"),
        ("addons", "disable"),
        ("addons", "configure"),
        ("addons", "info"),
        ("addons", "open"),
        ("addons", "images"),
        ("image", "load"),
        ("image", "ls"),
        ("image", "rm"),
        ("image", "tag"),
        ("image", "build"),
        ("image", "save"),
        ("image", "import"),
        ("image", "pull"),
        ("image", "push"),
        ("image", "env"),
        ("service", "list"),
        ("policy", "test"),
        ("certs", "list"),
        ("certs", "rotate"),
        ("artifacts", "list"),
        ("artifacts", "fetch"),
        ("artifacts", "clean"),
        ("bundle", "create"),
        ("config", "view"),
    ] {
        assert_snapshot!(format!("help_{verb}_{under}"), home.told(&[verb, under, "--help"]));
    }
    assert!(home.files().is_empty(), "help leaves nothing behind: {:?}", home.files());
}

/// Every verb is in the test above.
#[test]
fn no_verb_is_forgotten() {
    let told = Home::new().told(&["--help"]);
    let verbs = told.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let known = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/snapshots")).expect("snapshots");
    let known: Vec<String> = known.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    // That of `help` is the page itself.
    for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        assert!(known.contains(&format!("cli__help__help_{verb}.snap")), "there is no snapshot of {verb} --help");
    }
}

#[test]
fn versions() {
    let home = Home::new();
    home.kcl(&["--version"]).assert().success().stdout(format!("kcl {}\n", env!("CARGO_PKG_VERSION")));
    let text = home.told(&["version"]);
    assert!(text.contains("kcl ") && text.contains("Kubernetes v1."), "{text}");
    let json = home.kcl(&["version", "-o", "json"]).assert().success().get_output().stdout.clone();
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["kcl"], env!("CARGO_PKG_VERSION"));
    assert!(json["kubernetes"][0].as_str().is_some_and(|version| version.starts_with("v1.")), "{json}");
    let bill = home.kcl(&["version", "--sbom"]).assert().success().get_output().stdout.clone();
    let bill: serde_json::Value = serde_json::from_slice(&bill).expect("JSON");
    assert_eq!((&bill["bomFormat"], &bill["metadata"]["component"]["name"]), (&"CycloneDX".into(), &"kcl".into()));
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn completion_is_read_by_its_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.kcl(&["completion", shell]).assert().success().get_output().stdout.clone();
        let text = String::from_utf8(script).expect("text");
        assert!(text.contains("KCL_COMPLETE"), "{shell} does not ask kcl");
        // bash is everywhere; others are asked where they are.
        let Ok(mut child) = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn() else {
            assert_ne!(shell, "bash", "bash is not there");
            continue;
        };
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("the shell reads");
        assert!(child.wait().expect("it ends").success(), "{shell} cannot read its script");
    }
}

/// Returns what kcl offers fish for the last word of a command line.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let mut command = home.kcl(&["--", "kcl"]);
    let output = command.args(words).env("KCL_COMPLETE", "fish").assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).expect("text");
    text.lines().map(|line| line.split('\t').next().unwrap_or(line).to_owned()).collect()
}

#[test]
fn completion_knows_values() {
    let home = Home::new();
    assert_eq!(offered(&home, &["sta"]), ["start", "status"]);
    assert_eq!(offered(&home, &["logs", "kube-s"]), ["kube-scheduler"]);
    assert_eq!(offered(&home, &["start", "--driver", "q"]), ["qemu"]);
    assert_eq!(offered(&home, &["addons", "enable", "metrics"]), ["metrics-server"]);
    assert!(offered(&home, &["start", "--kubernetes-version", ""]).iter().any(|version| version.starts_with("v1.")));
    assert!(offered(&home, &["ssh", "--node", ""]).is_empty(), "there is no cluster, and files are no nodes");
    let verbs = offered(&home, &[""]);
    assert!(verbs.iter().any(|verb| verb == "start") && !verbs.iter().any(|verb| verb == "guard"), "{verbs:?}");
}
