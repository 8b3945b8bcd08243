//! Two clusters at once.

use std::process::Stdio;

use crate::support::Home;

#[test]
fn two_clusters_side_by_side() {
    let home = Home::new("side-by-side");
    let (left, right) = (home.cluster("left"), home.cluster("right"));
    home.step("both are started at the same time");
    let children = [&left, &right].map(|cluster| {
        let mut command = cluster.command(["start", "--nameservers", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kcl start")
    });
    for child in children {
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    home.step("both work");
    let list = home.kcl(["profile", "list", "-o", "json"]).json();
    let valid = list["valid"].as_array().expect("a list").clone();
    let names: Vec<&str> = valid.iter().map(|row| row["Name"].as_str().expect("a name")).collect();
    assert_eq!((names, &list["invalid"]), (vec!["left", "right"], &serde_json::json!([])));
    assert!(valid.iter().all(|row| row["Status"] == "Running"), "{list}");
    assert_ne!(valid[0]["Subnet"], valid[1]["Subnet"]);
    for cluster in [&left, &right] {
        cluster.kubectl(["create", "configmap", "whose", &format!("--from-literal=name={}", cluster.profile)]);
        assert_eq!(cluster.run_on(&cluster.profile, "hello", "echo hello"), "hello");
        cluster.kcl(["status"]).ok();
    }
    for cluster in [&left, &right] {
        assert_eq!(cluster.field(&["configmap", "whose"], ".data.name"), cluster.profile);
        // The user's own kubeconfig has both; any kubectl will do.
        let said = right.kubectl_try([
            &format!("--kubeconfig={}", home.kubeconfig().display()),
            &format!("--context={}", cluster.profile),
            "get",
            "nodes",
            "-o",
            "name",
        ]);
        assert_eq!(said.ok(), format!("node/{}", cluster.profile));
    }

    home.step("one is deleted");
    left.kcl(["delete"]).ok();
    assert_eq!(left.traces().lines(), Vec::<String>::new());
    assert_eq!(right.run_on("right", "still", "echo here"), "here");
    assert_eq!(right.field(&["configmap", "whose"], ".data.name"), "right");
    let names: Vec<String> = contexts(&home);
    assert_eq!(names, ["right"]);

    home.step("and made again, as a new one");
    left.start(&[]).ok();
    assert_ne!(left.gateway(), right.gateway());
    assert_eq!(left.kubectl(["get", "configmap", "whose", "--ignore-not-found"]), "");

    home.step("all are deleted");
    home.kcl(["delete", "--all"]).ok();
    let list = home.kcl(["profile", "list", "-o", "json"]).json();
    assert_eq!(list, serde_json::json!({"invalid": [], "valid": []}));
    home.kcl(["delete", "--all"]).ok();
}

/// The contexts of the user's kubeconfig.
fn contexts(home: &Home) -> Vec<String> {
    let kubeconfig = home.yaml(&home.kubeconfig());
    let contexts = kubeconfig["contexts"].as_array().cloned().unwrap_or_default();
    contexts.iter().map(|context| context["name"].as_str().expect("a name").to_owned()).collect()
}
