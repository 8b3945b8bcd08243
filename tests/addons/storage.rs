//! Volumes on the nodes' disks: each is on the node of its pod, and outlives pods, nodes and the cluster's stops.

use serde_json::Value;

use crate::support::{Pod, TestCluster, eventually};

/// The directory of volumes in a node.
const PLACE: &str = "/var/lib/kcl/storage";

/// Fills three volumes on three nodes, and looks how they are made.
pub(crate) fn fill(cluster: &TestCluster<'_>) {
    let class = cluster.get(&["storageclass", "local-path"]);
    assert_eq!(class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"], "true", "{class:#}");
    cluster.apply(include_str!("manifests/claims.yaml"));
    cluster.rolled_out("statefulset/store");
    let pods = cluster.pods("app=store");
    let mut nodes: Vec<_> = pods.iter().map(|pod| pod.node.clone()).collect();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "{pods:?}");
    for pod in &pods {
        // As a user that is not root, who writes by the group that the volume is given.
        cluster.exec(&pod.name, &format!("echo of {0} > /kept/own && echo part of {0} > /part/own", pod.name)).ok();
        assert_eq!(cluster.exec(&pod.name, "stat -c %g /kept /kept/own").ok(), "2000\n2000");
        let volume = volume(cluster, &format!("kept-{}", pod.name));
        let place = volume["spec"]["local"]["path"].as_str().unwrap_or_else(|| panic!("not local: {volume:#}"));
        let affinity = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
        assert_eq!(affinity["values"][0], pod.node.as_str(), "{volume:#}");
        assert!(place.starts_with(PLACE), "{place}");
        assert_eq!(cluster.ssh(&pod.node, &format!("cat {place}/own {place}/part/own")).ok(), words(pod));
    }
    kept(cluster);
}

/// All that was written is there, on the same nodes, and can be written.
#[track_caller]
pub(crate) fn kept(cluster: &TestCluster<'_>) {
    cluster.rolled_out("statefulset/store");
    for pod in cluster.pods("app=store") {
        let volume = volume(cluster, &format!("kept-{}", pod.name));
        assert_eq!(volume["metadata"]["annotations"]["local.path.provisioner/selected-node"], pod.node.as_str());
        let said = eventually("the pod can be asked", || {
            let output = cluster.exec(&pod.name, "cat /kept/own /part/own && date > /kept/again");
            if output.succeeded() { Ok(output.ok().to_owned()) } else { Err(output.to_string()) }
        });
        assert_eq!(said, words(&pod));
    }
}

fn words(pod: &Pod) -> String {
    format!("of {0}\npart of {0}", pod.name)
}

/// New pods have what the old ones wrote.
pub(crate) fn pods_are_replaced(cluster: &TestCluster<'_>) {
    let before = cluster.pods("app=store");
    cluster.kubectl(["delete", "pods", "-l", "app=store", "--now"]);
    kept(cluster);
    for (old, new) in before.iter().zip(cluster.pods("app=store")) {
        assert_eq!((&old.name, &old.node), (&new.name, &new.node));
        assert_ne!(old.uid, new.uid);
    }
}

/// Deleting a claim frees the disk, unless its class says that the volume stays; impossible requests are reported.
pub(crate) fn claims_are_given_back(cluster: &TestCluster<'_>) {
    cluster.apply(include_str!("manifests/reclaim.yaml"));
    cluster.wait_for("condition=Ready", &["pod/writer"]);
    let node = cluster.field(&["pod", "writer"], ".spec.nodeName");
    let of = |claim: &str| {
        let volume = volume(cluster, claim);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&volume["metadata"]["name"]), text(&volume["spec"]["local"]["path"]))
    };
    let ((deleted, much), (retained, some)) = (of("deleted"), of("retained"));
    assert_eq!(cluster.ssh(&node, &format!("stat -c %s {much}/much")).ok(), "8388608");

    // A pod that is to use the volume elsewhere waits.
    let elsewhere = cluster.node_names().into_iter().find(|name| *name != node).expect("another node");
    let overrides = format!(
        r#"{{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{elsewhere}"}},"volumes":[{{"name":"v","persistentVolumeClaim":{{"claimName":"deleted"}}}}]}}}}"#
    );
    let image = format!("--image={}", crate::support::IMAGE);
    cluster.kubectl(["run", "elsewhere", &image, &format!("--overrides={overrides}"), "--", "true"]);
    cluster.wait_for("jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].status}=False", &["pod/elsewhere"]);
    eventually("a claim for many nodes is refused", || {
        let events = cluster.kubectl(["get", "events", "--field-selector=involvedObject.name=shared", "-o", "name"]);
        let said = cluster.field(&["events", "--field-selector=involvedObject.name=shared"], ".items[*].message");
        if said.contains("only supports ReadWriteOnce") { Ok(()) } else { Err(format!("{events}: {said}")) }
    });

    cluster.kubectl(["delete", "pod", "writer", "sharer", "elsewhere", "--now"]);
    cluster.kubectl(["delete", "pvc", "deleted", "retained", "shared"]);
    cluster.wait_for("delete", &[&format!("pv/{deleted}")]);
    assert_eq!(cluster.ssh(&node, &format!("test -e {much} || echo gone")).ok(), "gone");
    cluster.wait_for("jsonpath={.status.phase}=Released", &[&format!("pv/{retained}")]);
    assert_eq!(cluster.ssh(&node, &format!("cat {some}/some")).ok(), "some");
    eventually("helper pods go", || match cluster.kubectl(["get", "pods", "-n", "kcl-storage", "-o", "name"]) {
        pods if pods.contains("helper-pod") => Err(pods),
        _ => Ok(()),
    });
}

/// A claim that asks for more gets it.
pub(crate) fn a_claim_grows(cluster: &TestCluster<'_>) {
    let claim = "kept-store-0";
    let more = r#"{"spec": {"resources": {"requests": {"storage": "3Gi"}}}}"#;
    cluster.kubectl(["patch", "pvc", claim, "--type=merge", "-p", more]);
    cluster.wait_for("jsonpath={.status.capacity.storage}=3Gi", &["pvc", claim]);
    assert_eq!(volume(cluster, claim)["spec"]["capacity"]["storage"], "3Gi");
}

/// The volume of a claim.
fn volume(cluster: &TestCluster<'_>, claim: &str) -> Value {
    let name = cluster.field(&["pvc", claim], ".spec.volumeName");
    cluster.get(&["pv", &name])
}
