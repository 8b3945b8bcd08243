//! A kubeconfig that cannot be read or written: the cluster is made and kept, the file is left as it is, and kcl says how
//! to go on.

use std::fs;

use crate::support::Home;

#[test]
fn a_kubeconfig_that_cannot_be_used() {
    let home = Home::new("kubeconfig");
    let cluster = home.cluster("kubeconfig");
    let file = home.kubeconfig();

    home.step("it is no YAML");
    let damaged = "clusters: [\n  - this is\nno: kubeconfig";
    fs::write(&file, damaged).expect("a file");
    let said = cluster.start(&[]);
    let error = said.fails_with(78);
    assert!(error.contains(&file.display().to_string()), "it names the file: {said}");
    assert!(error.contains("update-context"), "it says how to go on: {said}");
    assert_eq!(fs::read_to_string(&file).expect("the file"), damaged, "it is left as it is");

    home.step("the cluster works all the same");
    cluster.settled();
    assert_eq!(cluster.kcl(["status"]).code, Some(4));

    home.step("it is a directory");
    fs::remove_file(&file).expect("the file");
    fs::create_dir(&file).expect("a directory");
    cluster.kcl(["update-context"]).fails_with(78);
    fs::remove_dir(&file).expect("still empty");

    home.step("another program works on it, and does not end");
    let lock = file.with_extension("lock");
    fs::write(&lock, "").expect("a lock as client-go makes it");
    let said = cluster.kcl(["update-context"]);
    assert!(said.fails_with(78).contains(&lock.display().to_string()), "{said}");
    assert!(!file.exists(), "nothing is written without the lock");
    fs::remove_file(&lock).expect("it is not kcl's to remove");

    home.step("when it is mended, so is the cluster's entry");
    cluster.kcl(["update-context"]).ok();
    assert_eq!(cluster.kcl(["status"]).code, Some(0));
}
