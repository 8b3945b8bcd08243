//! The state is damaged or missing: kcl says so, changes nothing, and `delete` removes the cluster all the same.

use crate::run::nothing_left;
use crate::support::Home;

/// A function that damages a file's content.
type Damage<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn a_damaged_memory() {
    let home = Home::new("damaged");
    let cluster = home.cluster("damaged");
    let file = home.path().join("clusters/damaged/state.json");
    let newer = |whole: &str| whole.replacen("\"schema\": 2", "\"schema\": 99", 1);
    let cut = |whole: &str| whole[..whole.len() / 2].to_owned();
    let damages: [(&str, Damage<'_>); 3] =
        [("is damaged", &cut), ("schema 99", &newer), ("is damaged", &|_| String::new())];
    for (said, damage) in damages {
        cluster.start(&["--wait", "api"]).ok();
        let whole = std::fs::read_to_string(&file).expect("the state");
        let damaged = damage(&whole);
        assert_ne!(damaged, whole);
        std::fs::write(&file, &damaged).expect("damaged");
        for verb in ["start", "status", "stop", "kubectl", "ssh", "update-context"] {
            let output = cluster.kcl([verb]);
            let error = output.fails_with(74);
            assert!(error.contains(said) && error.contains("state.json"), "{output}");
            assert!(error.contains("kcl delete -p damaged"), "it says what to do: {output}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("the state"), damaged, "it is left as it is");
        let list = home.kcl(["profile", "list", "-o", "json"]).json();
        assert_eq!(list["invalid"][0]["Name"], "damaged", "{list}");
        cluster.kcl(["delete"]).ok();
        nothing_left(&home, &cluster);
        home.step(said);
    }
}

#[test]
fn machines_without_a_memory() {
    let home = Home::new("forgotten");
    let cluster = home.start("forgotten", &["--wait", "api"]);
    std::fs::remove_file(home.path().join("clusters/forgotten/state.json")).expect("it was there");
    let output = cluster.start(&[]);
    let said = output.fails_with(74);
    assert!(said.contains("has machines but no state file") && said.contains("kcl delete -p forgotten"), "{output}");
    cluster.kcl(["stop"]).fails_with(85);
    assert_eq!(cluster.kcl(["status"]).code, Some(7));
    cluster.kcl(["delete"]).ok();
    nothing_left(&home, &cluster);
    cluster.start(&[]).ok();
    cluster.settled();
}

/// Without its CA a cluster is lost, but a start must not give it another one and call it whole.
#[test]
fn certificates_that_are_gone() {
    let home = Home::new("pki");
    let cluster = home.start("pki", &["--wait", "api"]);
    cluster.kcl(["stop"]).ok();
    let pki = home.path().join("clusters/pki/pki");
    let files = || walkdir::WalkDir::new(&pki).into_iter().flatten().filter(|file| file.file_type().is_file());
    let key = files().find(|file| file.file_name() == "ca.key").expect("the CA's key").into_path();
    std::fs::write(&key, "no key").expect("damaged");
    let output = cluster.start(&["--wait-timeout", "20s"]);
    assert!(output.fails().contains("ca.key"), "{output}");
    cluster.kcl(["delete"]).ok();
    nothing_left(&home, &cluster);
}
