//! Users and their rights, and what the text does not show.

use std::process::Command;

use crate::support::{Output, TestCluster};
use crate::tutorial::Tutorial;

/// Runs the tutorial.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let mut tutorial = Tutorial::open(cluster.home, "admin");
    tutorial.section("");
    tutorial.section("A user with a certificate");
    tutorial.section("A role");
    let link = tutorial.section("A token for the console");
    the_console_is_the_guests(cluster, link.lines().last().expect("a link"));
    tutorial.section("A private registry");
    tutorial.finish();
}

/// Tests the rights of the page in the session that the link opens.
fn the_console_is_the_guests(cluster: &TestCluster<'_>, link: &str) {
    let jar = cluster.home.scratch().join("cookies");
    let curl = |path: &str| {
        let mut command = Command::new("curl");
        command
            .args(["-sL", "-o", "/dev/null", "-w", "%{url_effective} %{http_code}", "-b"])
            .arg(&jar)
            .arg("-c")
            .arg(&jar);
        Output::of(command.arg(path)).ok().to_owned()
    };
    let opened = curl(link);
    let (base, code) = opened.split_once(' ').expect("an address and a code");
    assert_eq!(code, "200", "{opened}");
    let asked = |path: &str| curl(&format!("{base}{path}")).rsplit(' ').next().expect("a code").to_owned();
    assert_eq!(asked("api/v1/namespaces/team/pods"), "200");
    assert_eq!(asked("api/v1/namespaces/team/secrets"), "403");
    assert_eq!(asked("api/v1/namespaces/kube-system/pods"), "403");
}
