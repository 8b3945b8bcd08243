//! Spare clusters, which `run` takes.

use crate::run::gone;
use crate::support::{Home, Output, eventually};

#[test]
fn spare_clusters() {
    let home = Home::new("pool");
    let spares = || {
        let rows = home.kcl(["pool", "list", "-o", "json"]).json();
        let name = |row: &serde_json::Value| row["Name"].as_str().expect("a name").to_owned();
        rows.as_array().expect("a list").iter().map(name).collect::<Vec<_>>()
    };
    home.step("filled, and full");
    let fill = ["pool", "fill", "--nameservers", "none"];
    home.kcl(fill).ok();
    let [spare] = <[String; 1]>::try_from(spares()).expect("one spare");
    home.cluster(&spare);
    home.kcl(fill).ok();
    assert_eq!(spares(), std::slice::from_ref(&spare));
    assert!(!home.kubeconfig().exists(), "the user's kubeconfig was touched");

    home.step("a run that wants another kind starts its own");
    let other = ["run", "--nameservers", "none", "--addons", "metrics-server", "--wait", "api"];
    let said = Output::of(home.command(other).args(["--", "sh", "-c", "echo $KCL_PROFILE"]));
    assert_ne!(said.ok(), spare);
    assert_eq!(spares(), std::slice::from_ref(&spare));

    home.step("a run takes the spare, and has another one made");
    let run = ["run", "--nameservers", "none", "--", "sh", "-c", "kubectl get nodes -o name; echo $KCL_PROFILE"];
    let said = home.kcl(run);
    assert_eq!(said.ok(), format!("node/{spare}\n{spare}"));
    let next = eventually("another spare", || spares().pop().ok_or_else(|| "none".to_owned()));
    assert_ne!(next, spare);
    home.cluster(&next);

    home.step("drained");
    home.kcl(["pool", "drain"]).ok();
    // Who made the last one may just be ending.
    gone(&home);
    assert_eq!(spares(), [""; 0]);
    // Left for those who look why one could not be made.
    std::fs::remove_file(home.path().join("pool.log")).expect("a log");
}
