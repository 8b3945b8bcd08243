//! Tests the specs of a cluster's nodes, and the rollback of a failed start.

use std::collections::BTreeMap;

use insta::{assert_json_snapshot, assert_snapshot};
use kcl::bootstrap::{Resolvers, node_spec};
use kcl::config::{ClusterSpec, parse_memory};
use kcl::plan::{Journal, Made};
use kcl::state::Phase;
use kcl_driver_api::{Link, Network};

use crate::world::{World, net, state};

/// The specs of all nodes, by name.
async fn specs(world: &World, bounded: bool) -> serde_json::Value {
    let plan = world.plan().await.expect("a plan");
    let state = state(&plan, &world.spec, Phase::Created);
    let gateway = "10.89.0.1".parse().expect("an address");
    let link = Link {
        interface: "eth0".to_owned(),
        subnet: plan.subnet,
        gateway: Some(gateway),
        mtu: 1400,
        host: None,
        masquerades: false,
    };
    let network = Network { subnet: plan.subnet, host: Some(gateway), bridge: None, link, links: BTreeMap::new() };
    let resolvers = Resolvers {
        nameservers: vec!["192.0.2.53".parse().expect("an address")],
        search: vec!["corp.example".into()],
        options: Vec::new(),
    };
    let specs = state.nodes.iter().map(|record| {
        let spec = node_spec(&state, record, &network, &resolvers, bounded);
        (record.name.clone(), serde_json::to_value(spec).expect("a spec as JSON"))
    });
    specs.collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn specs_of_three_nodes() {
    assert_json_snapshot!(specs(&World::new(3), true).await);
}

#[tokio::test]
async fn specs_with_all_that_a_user_can_ask_for() {
    let mut world = World::new(2);
    let spec = &mut world.spec;
    spec.service_cidr = net("10.100.0.0/16");
    spec.dns_domain = "k8s.example".to_owned();
    spec.feature_gates = [("SomeGate".to_owned(), true)].into();
    let flags = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    spec.extra_config =
        [("apiserver".to_owned(), flags("v", "4")), ("kube-proxy".to_owned(), flags("conntrack.maxPerCore", "0"))]
            .into();
    spec.nodes[1].cpus = Some(2);
    spec.nodes[1].memory = Some(parse_memory("2g").expect("a size"));
    assert_json_snapshot!(specs(&world, true).await);
    // Where the machine itself is as small, the kubelet sees it.
    let own = specs(&world, false).await;
    assert_eq!(own["kcl-m02"]["capacity"], serde_json::json!({"cpus": null, "memory": null}));
}

/// A setting of one node restarts that node and no other; new nodes restart no node.
#[tokio::test]
async fn nodes_that_are_restarted() {
    let mut world = World::started(2).await;
    let before = world.state.clone().expect("a state");
    let changed = |change: &dyn Fn(&mut ClusterSpec)| {
        let mut after = before.clone();
        change(&mut after.spec);
        kcl::bootstrap::nodes_to_restart(&before, &after)
    };
    assert_eq!(changed(&|_| {}), [] as [&str; 0]);
    assert_eq!(changed(&|spec| spec.nodes[1].memory = Some(1 << 30)), ["kcl-m02"]);
    // Certificates are taken over without a restart.
    assert_eq!(changed(&|spec| spec.apiserver_names.push("api.test".to_owned())), [] as [&str; 0]);
    let all = changed(&|spec| {
        spec.feature_gates.insert("A".to_owned(), true);
    });
    assert_eq!(all, ["kcl", "kcl-m02"]);
    world.want(3);
    let plan = world.plan().await.expect("a plan");
    let after = crate::world::state(&plan, &world.spec, Phase::Created);
    assert_eq!(kcl::bootstrap::nodes_to_restart(&before, &after), [] as [&str; 0]);
}

/// A node that ran is not left off: the start after the rollback gives it its earlier configuration.
#[tokio::test]
async fn taking_back_a_restart() {
    let world = World::started(1).await;
    let journal = Journal::default();
    journal.record(Made::State);
    journal.record(Made::Restarted("kcl".to_owned()));
    world.driver.forget_calls();
    assert_eq!(journal.undo(&world.driver, "kcl", false).await, [] as [&str; 0]);
    assert_eq!(world.driver.calls(), [] as [&str; 0]);
    assert!(journal.has_restarted());
}

/// Newest first; machines at once; one that resists does not keep the rest.
#[tokio::test]
async fn taking_back_a_new_cluster() {
    let world = World::started(3).await;
    let journal = Journal::default();
    journal.record(Made::State);
    journal.record(Made::Network);
    for name in ["kcl", "kcl-m02", "kcl-m03"] {
        journal.record(Made::Machine(name.to_owned()));
        journal.record(Made::Powered(name.to_owned()));
    }
    world.driver.forget_calls();
    world.driver.fail("delete kcl/kcl-m02", "it hangs");
    let complaints = journal.undo(&world.driver, "kcl", false).await;
    assert_snapshot!(format!("{}\n\ncomplaints: {complaints:?}", world.driver.calls().join("\n")));
}

/// A rollback leaves an existing cluster as it was: its machines are off, and nothing is deleted.
#[tokio::test]
async fn taking_back_the_start_of_a_stopped_cluster() {
    let world = World::started(2).await;
    let journal = Journal::default();
    journal.record(Made::State);
    for name in ["kcl", "kcl-m02"] {
        journal.record(Made::Powered(name.to_owned()));
    }
    world.driver.forget_calls();
    assert_eq!(journal.undo(&world.driver, "kcl", false).await, [] as [&str; 0]);
    assert_snapshot!(world.driver.calls().join("\n"));
}
