//! Compares kcl's view of nodes with that of Kubernetes.

use serde_json::Value;

use crate::support::TestCluster;

pub(crate) fn are_what_the_list_says(cluster: &TestCluster<'_>) {
    let said = cluster.nodes();
    let names: Vec<&str> = said.iter().map(|node| node["Name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["three", "three-m02", "three-m03"]);
    let found = cluster.get(&["nodes"]);
    let found = found["items"].as_array().expect("nodes");
    assert_eq!(found.len(), 3);
    for row in &said {
        let name = &row["Name"];
        assert_eq!(row["Status"], "Running", "{row}");
        let node = found.iter().find(|node| node["metadata"]["name"] == *name).expect("the node");
        assert_eq!(condition(node, "Ready"), "True", "{node:#}");
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.37.2", "{name}");
        assert_eq!(node["spec"]["podCIDR"], row["PodCIDR"], "{name}");
        assert_eq!(*internal_ip(node), row["IP"], "{name}");
        let role = format!("node-role.kubernetes.io/{}", row["Role"].as_str().expect("a role"));
        assert!(node["metadata"]["labels"].get(&role).is_some(), "{name}: {}", node["metadata"]["labels"]);
    }
    let roles: Vec<&Value> = said.iter().map(|row| &row["Role"]).collect();
    assert_eq!(roles, ["control-plane", "worker", "worker"]);
}

fn condition<'n>(node: &'n Value, kind: &str) -> &'n Value {
    let mut conditions = node["status"]["conditions"].as_array().expect("conditions").iter();
    &conditions.find(|condition| condition["type"] == kind).expect("the condition")["status"]
}

fn internal_ip(node: &Value) -> &Value {
    let mut addresses = node["status"]["addresses"].as_array().expect("addresses").iter();
    &addresses.find(|address| address["type"] == "InternalIP").expect("an InternalIP")["address"]
}
