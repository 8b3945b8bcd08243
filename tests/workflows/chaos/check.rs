//! A node dies under load, and what the text does not show.

use crate::support::TestCluster;
use crate::tutorial::Tutorial;

/// Runs the tutorial.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let mut tutorial = Tutorial::open(cluster.home, "chaos");
    for section in ["", "Something to break", "Load", "Pull the plug"] {
        tutorial.section(section);
    }
    let stopped: Vec<_> = cluster.nodes().into_iter().filter(|node| node["Status"] == "Stopped").collect();
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    let lost = stopped[0]["Name"].as_str().expect("a name");
    let ready = cluster.get(&["endpointslices", "-n", "chaos", "-l", "kubernetes.io/service-name=web"]);
    let endpoints = ready["items"][0]["endpoints"].as_array().expect("endpoints").iter();
    let ready: Vec<_> = endpoints.filter(|one| one["conditions"]["ready"] == true).collect();
    assert_eq!(ready.len(), 3, "{ready:#?}");
    assert!(ready.iter().all(|one| one["nodeName"] != lost), "{ready:#?}");
    tutorial.finish();
    cluster.settled();
}
