//! A kubeconfig that cannot be changed: the cluster is whole and stays, nothing in the file is lost, and kcl says how to
//! go on.

use crate::mount::Tmpfs;
use crate::run::nothing_left;
use crate::support::{Home, Output, TestCluster};

const MINE: &str = "\
apiVersion: v1
kind: Config
current-context: mine
contexts: [{name: mine, context: {cluster: mine, user: mine}}]
clusters: [{name: mine, cluster: {server: 'https://192.0.2.1:6443'}}]
users: [{name: mine, user: {token: abc}}]
";

#[test]
fn a_kubeconfig_that_cannot_be_changed() {
    let home = Home::new("kubeconfig");
    let cluster = home.cluster("config");
    let file = home.kubeconfig();

    home.step("no YAML");
    let broken = format!("{MINE}  - [unclosed\n");
    std::fs::write(&file, &broken).expect("a kubeconfig");
    runs_all_the_same(&cluster, &cluster.start(&[]), &file.to_string_lossy());
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), broken);
    assert_eq!(cluster.kcl(["status"]).code, Some(4), "all runs; only the kubeconfig is not set up");
    cluster.kcl(["update-context"]).fails_with(78);

    home.step("locked by another program");
    let lock = home.scratch().join("kubeconfig.lock");
    std::fs::write(&file, MINE).expect("repaired");
    std::fs::write(&lock, "").expect("a lock");
    let output = cluster.start(&[]);
    runs_all_the_same(&cluster, &output, &file.to_string_lossy());
    assert!(output.stderr.contains("kubeconfig.lock"), "it names the lock: {output}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), MINE);
    assert!(lock.exists(), "it is not ours to remove");
    std::fs::remove_file(&lock).expect("it is gone");

    home.step("a directory that cannot be written to");
    let disk = Tmpfs::new(home.scratch().join("read-only"), "1m");
    let elsewhere = disk.path().join("config");
    std::fs::write(&elsewhere, MINE).expect("a kubeconfig");
    disk.read_only();
    let start = ["start", "--nameservers", "none"];
    let output = Output::of(cluster.command(start).env("KUBECONFIG", &elsewhere));
    runs_all_the_same(&cluster, &output, &elsewhere.to_string_lossy());
    assert_eq!(std::fs::read_to_string(&elsewhere).expect("it is there"), MINE);
    drop(disk);

    home.step("repaired");
    cluster.kcl(["update-context", "--keep-context"]).ok();
    assert_eq!(cluster.kcl(["status"]).code, Some(0));
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("token: abc") && text.contains("current-context: mine"), "{text}");

    home.step("a cluster goes although its entry cannot");
    std::fs::write(&file, &broken).expect("broken again");
    let output = cluster.kcl(["delete"]);
    output.ok();
    assert!(output.stderr.contains("warning: ") && output.stderr.contains(&*file.to_string_lossy()), "{output}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), broken);
    nothing_left(&home, &cluster);
}

/// The start told of the trouble, and the cluster works.
#[track_caller]
fn runs_all_the_same(cluster: &TestCluster<'_>, output: &Output, file: &str) {
    let said = output.fails_with(78);
    assert!(said.contains(file), "it names the file: {output}");
    assert!(said.contains("kcl update-context -p config"), "it says how to go on: {output}");
    cluster.settled();
}
