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
    assert!(error.contains("kcl node delete -p kcl kcl-m02"), "{error}");
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
        (
            "[[nodes]]\nname = \"kcl-m02\"",
            "none of the nodes is a control-plane: the first one is, if no role is given",
        ),
    ] {
        let error = wrong_file(content);
        assert!(error.contains(right), "{content}\n  {error}");
    }
}

#[test]
fn control_planes_count_as_nodes() {
    let wanted = |count: usize, nodes: Option<usize>, existing: Option<&ClusterSpec>| {
        flags(Overrides { control_planes: Some(count), nodes, ..Overrides::default() }, existing)
    };
    let roles = |spec: &ClusterSpec| {
        let short = |node: &NodeConfig| if node.role == Role::ControlPlane { 'c' } else { 'w' };
        spec.nodes.iter().map(short).collect::<String>()
    };
    assert_eq!(roles(&wanted(3, None, None).unwrap()), "ccc");
    let five = wanted(3, Some(5), None).unwrap();
    assert_eq!(roles(&five), "cccww");
    // In a file too, in either form.
    assert_eq!(file("control-planes = 3\nnodes = 5", None).unwrap(), five);
    assert!(five.to_toml().unwrap().contains("control-planes = 3\nnodes = 5"), "{}", five.to_toml().unwrap());
    assert_eq!(file(&five.to_toml().unwrap(), None).unwrap(), five);
    // The role of a node that exists stays: others come.
    let driver = Some(DriverKind::Native);
    let existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(nodes(3), None).unwrap() };
    assert_eq!(roles(&wanted(3, None, Some(&existing)).unwrap()), "cwwcc");
    assert_eq!(roles(&wanted(3, Some(6), Some(&existing)).unwrap()), "cwwccw");
    let grown = wanted(3, None, Some(&existing)).unwrap();
    assert_eq!(wanted(3, None, Some(&grown)).unwrap(), grown);
    for (result, right) in [
        (wanted(3, Some(2), None), "3 control planes need 1 more than the 2 nodes: control planes count as nodes too"),
        (wanted(0, None, None), "--control-planes: 0 control planes are not possible: a cluster has 1 to 7"),
        (wanted(8, None, None), "8 control planes are not possible"),
        (wanted(1, None, Some(&grown)), "the cluster has more than 1; delete one with: kcl node delete -p kcl kcl-m04"),
        (file("control-planes = 3\n[[nodes]]", None), "in [[nodes]], say the role of each"),
    ] {
        let error = text(&result.unwrap_err());
        assert!(error.contains(right), "{right}\n  {error}");
    }
}

fn adding(new: NewNode) -> Overrides {
    Overrides { new_node: Some(new), ..Overrides::default() }
}

#[test]
fn a_node_that_is_added_has_its_own_settings_and_they_stay() {
    let driver = Some(DriverKind::Native);
    let small = Overrides { cpus: Some(2), memory: some("2g"), ..nodes(3) };
    let mut existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(small, None).unwrap() };
    existing.nodes.remove(1);
    // The first free name, and the size of the last node.
    let spec = flags(adding(NewNode::default()), Some(&existing)).unwrap();
    let added = spec.nodes.last().unwrap();
    assert_eq!(
        (added.name.as_str(), added.role, added.cpus, added.memory),
        ("kcl-m02", Role::Worker, Some(2), Some(2 << 30))
    );
    let new = NewNode {
        name: some("kcl-m07"),
        cpus: Some(4),
        memory: some("3g"),
        labels: vec!["disk=fast".to_owned(), "example.org/zone=a".to_owned()],
        taints: vec!["gpu=a100:NoSchedule".to_owned()],
        ..NewNode::default()
    };
    let spec = flags(adding(new), Some(&existing)).unwrap();
    let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["kcl", "kcl-m03", "kcl-m07"]);
    let added = spec.nodes.last().unwrap();
    assert_eq!((added.cpus, added.memory, added.labels["disk"].as_str()), (Some(4), Some(3 << 30), "fast"));
    assert_eq!(added.taints[0].to_string(), "gpu=a100:NoSchedule");
    // A start without flags keeps it, as one with the file of the cluster; one with fewer nodes is refused.
    assert_eq!(flags(Overrides::default(), Some(&spec)).unwrap(), spec);
    assert_eq!(file(&spec.to_toml().unwrap(), Some(&spec)).unwrap(), spec);
    assert!(text(&flags(nodes(2), Some(&spec)).unwrap_err()).contains("kcl node delete -p kcl kcl-m07"));
}

/// `KCL_DRIVER` is for clusters: that of one that exists has been chosen.
#[test]
fn a_node_that_is_added_has_the_driver_of_its_cluster() {
    let driver = Some(DriverKind::Native);
    let existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(nodes(1), None).unwrap() };
    let docker = |name: &str| (name == "KCL_DRIVER").then(|| "docker".to_owned());
    let spec = resolve_with(&adding(NewNode::default()), Some(&existing), &docker).unwrap();
    assert_eq!((spec.driver, spec.nodes[1].driver), (driver, None));
    let new = NewNode { driver: some("docker"), ..NewNode::default() };
    assert_eq!(flags(adding(new), Some(&existing)).unwrap().nodes[1].driver, Some(DriverKind::Docker));
    let new = NewNode { host: some("root@192.0.2.1"), ..NewNode::default() };
    assert_eq!(flags(adding(new), Some(&existing)).unwrap().nodes[1].driver, Some(DriverKind::Ssh));
}

#[test]
fn wrong_flags_of_a_node_are_named() {
    let driver = Some(DriverKind::Native);
    let existing = ClusterSpec { kubernetes_version: "v1.37.0".into(), driver, ..flags(nodes(2), None).unwrap() };
    let wrong = |new: NewNode| text(&flags(adding(new), Some(&existing)).unwrap_err());
    let new = NewNode::default;
    for (new, right) in [
        (NewNode { name: some("gpu"), ..new() }, "NAME: \"gpu\" is not a name for a node of the cluster kcl"),
        (NewNode { name: some("kcl-m02"), ..new() }, "NAME: the cluster kcl has a node kcl-m02 already"),
        (NewNode { memory: some("much"), ..new() }, "--memory: "),
        (NewNode { memory: some("1m"), ..new() }, "memory of the node kcl-m03 is 1Mi"),
        (NewNode { labels: vec!["disk".into()], ..new() }, "--label: \"disk\" is not a label"),
        (NewNode { taints: vec!["gpu".into()], ..new() }, "--taint: \"gpu\" is not a taint"),
        (NewNode { taints: vec!["a:NoExecute".into(), "a=b:NoExecute".into()], ..new() }, "--taint: there are two"),
        (NewNode { driver: some("natvie"), ..new() }, "--driver: \"natvie\" is not a driver"),
        (NewNode { driver: some("ssh"), ..new() }, "no host is named for the node kcl-m03"),
    ] {
        let error = wrong(new);
        assert!(error.contains(right), "{right}\n  {error}");
    }
}
