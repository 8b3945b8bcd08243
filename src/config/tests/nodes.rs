//! Tests of the list of nodes.

use super::*;

#[test]
fn nodes_are_named_after_the_profile() {
    let spec = flags(Overrides { profile: some("dev"), ..nodes(3) }, None).unwrap();
    let names: Vec<_> = spec.nodes.iter().map(|node| (node.name.as_str(), node.role)).collect();
    assert_eq!(names, [("dev", Role::ControlPlane), ("dev-m02", Role::Worker), ("dev-m03", Role::Worker)]);
    assert_eq!(node_name("kcl", 99), "kcl-m100");
}

#[test]
fn names_of_deleted_nodes_are_used_again() {
    let mut existing = flags(nodes(3), None).unwrap();
    existing.nodes.remove(1);
    let spec = flags(nodes(4), Some(&existing)).unwrap();
    let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["kcl", "kcl-m03", "kcl-m02", "kcl-m04"]);
}

#[test]
fn nodes_are_known_by_name() {
    let driver = Some(DriverKind::Native);
    let existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(nodes(3), None).unwrap() };
    let names = |spec: &ClusterSpec| spec.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    // Entries are for the nodes that they name; the others are for the rest, in order.
    let spec =
        file("[[nodes]]\nname = \"kcl-m03\"\ncpus = 3\n[[nodes]]\n[[nodes]]\ncpus = 2", Some(&existing)).unwrap();
    assert_eq!(names(&spec), ["kcl", "kcl-m02", "kcl-m03"]);
    assert_eq!(spec.nodes.iter().map(|node| node.cpus).collect::<Vec<_>>(), [None, Some(2), Some(3)]);
    // One in the middle is left out.
    let without = "[[nodes]]\n[[nodes]]\nname = \"kcl-m03\"\n";
    let error = text(&file(without, Some(&existing)).unwrap_err());
    assert!(
        error.contains("the node kcl-m02 of the cluster kcl cannot be removed: the wanted nodes are kcl, kcl-m03"),
        "{error}"
    );
    // A name in the middle that is free again stays free.
    let holed = file(without, None).unwrap();
    assert_eq!(names(&holed), ["kcl", "kcl-m03"]);
    assert_eq!(file(&holed.to_toml().unwrap(), None).unwrap(), holed);
    assert_eq!(names(&file("nodes = 3", Some(&holed)).unwrap()), ["kcl", "kcl-m03", "kcl-m02"]);
    for (content, right) in [
        (
            "[[nodes]]\n[[nodes]]\nname = \"x\"",
            "entry 2 of [[nodes]]: \"x\" is not a name for a node of the cluster kcl",
        ),
        (
            "[[nodes]]\nname = \"kcl\"\n[[nodes]]\nname = \"kcl\"",
            "entry 2 of [[nodes]]: there is an entry for the node kcl",
        ),
        ("[[nodes]]\nname = \"kcl\"\ncount = 2", "entry 1 of [[nodes]]: a name is for one node"),
        ("[[nodes]]\nname = \"kcl-m02\"", "the first node, kcl-m02, is a worker: it must be a control-plane"),
    ] {
        let error = wrong_file(content);
        assert!(error.contains(right), "{content}\n  {error}");
    }
}
