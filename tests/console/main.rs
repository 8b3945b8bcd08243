//! The console in a real Chromium, on a real cluster: `story.mjs` is what a person does there. Needs root, artifacts,
//! Node.js with npm, and Chromium (`make test-deps`).

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::{Home, IMAGE, TestCluster, browser, own_network};

/// Runs a script of the browser's with kcl's variables, and tells what it says.
#[track_caller]
fn browse(cluster: &TestCluster<'_>, tools: &Path, script: &str) {
    let mut node = Command::new("node");
    node.arg(tools.join(script)).current_dir(cluster.home.scratch());
    for (name, value) in cluster.command([""; 0]).get_envs() {
        match value {
            Some(value) => node.env(name, value),
            None => node.env_remove(name),
        };
    }
    node.env("KCL", env!("CARGO_BIN_EXE_kcl")).env("PROFILE", &cluster.profile).env("IMAGE", IMAGE);
    node.env("SHOTS", Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-shots"))
        .env("TMPDIR", cluster.home.scratch());
    let output = node.output().expect("node, of Node.js");
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed");
}

/// The processes that are consoles of a home.
fn consoles(cluster: &TestCluster<'_>) -> usize {
    cluster.home.traces().processes.iter().filter(|(_, command)| command.contains("dashboard --serve")).count()
}

#[test]
fn what_a_person_does_in_the_console() {
    let tools = browser::tools();
    // Chromium gives up requests when the host's network changes, as it does when clusters of other tests start.
    own_network(|| {
        let home = Home::new("console");
        let missing = home.kcl(["dashboard", "-p", "con", "--url"]);
        assert!(missing.fails_with(85).contains("there is no cluster \"con\""), "{missing}");

        let cluster = home.start("con", &["--nodes", "2"]);
        cluster.apply(include_str!("shop.yaml"));
        cluster.kubectl(["rollout", "status", "-n", "shop", "deployment/web"]);
        browse(&cluster, &tools, "story.mjs");
        browse(&cluster, &tools, "rights.mjs");
        browse(&cluster, &tools, "many.mjs");
        assert_eq!(consoles(&cluster), 1, "one console serves all links: {:#?}", home.traces());

        home.step("the console ends with the cluster");
        cluster.kcl(["stop"]).ok();
        assert_eq!(consoles(&cluster), 0, "{:#?}", home.traces());
        let stopped = cluster.kcl(["dashboard", "--url"]);
        assert!(stopped.fails_with(85).contains("kcl start -p con"), "{stopped}");
        cluster.start(&[]).ok();
        let link = cluster.kcl(["dashboard", "-o", "json"]).json();
        assert!(link["URL"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{link}");
        // Its end, the home's test of leftovers sees.
    });
}
