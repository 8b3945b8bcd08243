//! The plan, or the error, for the fake driver in each situation.

use std::time::Duration;

use insta::{assert_json_snapshot, assert_snapshot};
use kcl::plan::{Action, plan};
use kcl::state::Phase;
use kcl_driver_api::{Driver, NetworkSpec, Power};
use kcl_node_spec::Role;

use crate::world::{World, net};

#[tokio::test]
async fn new_with_one_node() {
    assert_json_snapshot!(World::new(1).plan().await.unwrap());
}

#[tokio::test]
async fn new_with_three_nodes() {
    assert_json_snapshot!(World::new(3).plan().await.unwrap());
}

#[tokio::test]
async fn new_beside_another_cluster() {
    let world = World::new(1);
    let other = NetworkSpec::new("other", net("10.89.0.0/24"));
    world.driver.ensure_network(&other).await.unwrap();
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn new_in_networks_that_were_asked_for() {
    let mut world = World::new(2);
    world.spec.subnet = Some(net("192.168.89.0/28"));
    world.spec.pod_cidr = net("10.200.0.0/20");
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn started_again_while_all_runs() {
    let world = World::started(3).await;
    let plan = world.plan().await.unwrap();
    assert_eq!(plan.starting().count(), 0);
    assert_json_snapshot!(plan);
}

#[tokio::test]
async fn more_pods_than_addresses_are_advised_against() {
    let mut world = World::new(1);
    let advice = async |world: &World| kcl::bootstrap::advice(&world.spec, &world.plan().await.unwrap());
    let about_pods = |advice: Vec<String>| advice.into_iter().find(|text| text.contains("max-pods"));
    world.spec.extra_config = [("kubelet".to_owned(), [("max-pods".to_owned(), "253".to_owned())].into())].into();
    assert_eq!(about_pods(advice(&world).await), None);
    world.spec.extra_config = [("kubelet".to_owned(), [("max-pods".to_owned(), "300".to_owned())].into())].into();
    let text = about_pods(advice(&world).await).unwrap();
    assert!(text.contains("300") && text.contains("253 pods (10.244.0.0/24)"), "{text}");
    world.spec.extra_config.clear();
    world.spec.pod_cidr = net("10.200.0.0/26");
    let text = about_pods(advice(&world).await).unwrap();
    assert!(text.contains("by default kubelet.max-pods is 110") && text.contains("61 pods"), "{text}");
}

#[tokio::test]
async fn started_with_another_size() {
    let world = World::started(2).await;
    let mut plan = world.plan().await.unwrap();
    plan.restart(|node| node == "kcl-m02");
    assert_eq!(plan.starting().count(), 0);
    let actions: Vec<Action> = plan.nodes().map(|node| node.action).collect();
    assert_eq!(actions, [Action::Keep, Action::Restart]);
}

/// A run for some nodes leaves the others as they are, on or off.
#[tokio::test]
async fn a_run_for_one_node() {
    let mut world = World::started(3).await;
    world.machine("kcl-m02").await.power_off(Duration::ZERO).await.unwrap();
    world.want(4);
    let mut plan = world.plan().await.unwrap();
    plan.limit_to(["kcl-m04".to_owned()].into());
    plan.restart(|_| true);
    let actions: Vec<Action> = plan.nodes().map(|node| node.action).collect();
    assert_eq!(actions, [Action::Keep, Action::Leave, Action::Keep, Action::Create]);
    assert_eq!(plan.starting().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["kcl-m04"]);
    assert!(plan.is_for("kcl-m04") && !plan.is_for("kcl"));
}

#[tokio::test]
async fn after_a_stop() {
    let world = World::started(3).await;
    for name in ["kcl", "kcl-m02", "kcl-m03"] {
        world.machine(name).await.power_off(Duration::ZERO).await.unwrap();
    }
    assert_json_snapshot!(world.plan().await.unwrap());
}

/// A stop was cut off: what was asked to end will, so it counts as off.
#[tokio::test]
async fn machines_are_about_to_end() {
    let world = World::started(1).await;
    let mut observed = world.observed().await.unwrap();
    observed.machines[0].power = Power::Stopping;
    assert_eq!(plan(&world.spec, &observed).unwrap().waves[0][0].action, Action::PowerOn);
}

#[tokio::test]
async fn a_worker_is_half_made() {
    let world = World::started(3).await;
    world.break_machine("kcl-m02").await;
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn a_worker_is_missing() {
    let world = World::started(3).await;
    world.driver.delete("kcl", "kcl-m03").await.unwrap();
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn the_control_plane_is_missing() {
    let world = World::started(3).await;
    world.driver.delete("kcl", "kcl").await.unwrap();
    assert_snapshot!(world.refusal().await);
}

#[tokio::test]
async fn one_of_three_control_planes_is_missing() {
    let mut world = World::new(4);
    world.spec.nodes[..3].iter_mut().for_each(|node| node.role = Role::ControlPlane);
    world.start(Phase::Created).await;
    world.driver.delete("kcl", "kcl").await.unwrap();
    let plan = world.plan().await.unwrap();
    let wave =
        |index: usize| plan.waves[index].iter().map(|node| (node.name.as_str(), node.action)).collect::<Vec<_>>();
    // It joins the others, so it comes after them.
    assert_eq!(wave(0), [("kcl-m02", Action::Keep), ("kcl-m03", Action::Keep), ("kcl-m04", Action::Keep)]);
    assert_eq!(wave(1), [("kcl", Action::Create)]);
    world.driver.delete("kcl", "kcl-m03").await.unwrap();
    let refusal = world.refusal().await;
    assert!(refusal.contains("has lost the machines of its control planes kcl, kcl-m03"), "{refusal}");
}

#[tokio::test]
async fn the_control_plane_is_half_deleted() {
    let world = World::started(1).await;
    world.break_machine("kcl").await;
    assert_snapshot!(world.refusal().await);
}

/// Before the first start has ended there is nothing to lose: a control plane is made again.
#[tokio::test]
async fn the_first_start_was_cut_off() {
    let mut world = World::new(3);
    world.start(Phase::Creating).await;
    world.break_machine("kcl").await;
    world.driver.delete("kcl", "kcl-m03").await.unwrap();
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn a_delete_was_cut_off() {
    let mut world = World::started(3).await;
    world.remembered().phase = Phase::Deleting;
    world.driver.delete("kcl", "kcl").await.unwrap();
    world.want(1);
    let plan = world.plan().await.unwrap();
    assert!(plan.new);
    assert_json_snapshot!(plan);
}

#[tokio::test]
async fn machines_without_a_node() {
    let mut world = World::started(3).await;
    world.want(1);
    world.remembered().nodes.truncate(1);
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn machines_without_a_memory() {
    let mut world = World::started(1).await;
    world.state = None;
    assert_snapshot!(world.refusal().await);
}

#[tokio::test]
async fn more_nodes_for_an_existing_cluster() {
    let mut world = World::started(2).await;
    world.want(4);
    assert_json_snapshot!(world.plan().await.unwrap());
}

/// Addresses of a node that was deleted are given out again, and nobody else's change.
#[tokio::test]
async fn a_gap_is_filled() {
    let mut world = World::started(3).await;
    world.driver.delete("kcl", "kcl-m02").await.unwrap();
    world.remembered().nodes.remove(1);
    assert_json_snapshot!(world.plan().await.unwrap());
}

#[tokio::test]
async fn the_subnet_is_full() {
    let mut world = World::new(5);
    world.spec.subnet = Some(net("192.168.89.0/29"));
    world.start(Phase::Created).await;
    world.want(6);
    assert_snapshot!(world.refusal().await);
}

#[tokio::test]
async fn the_pod_addresses_are_full() {
    let mut world = World::new(2);
    world.spec.pod_cidr = net("10.244.0.0/23");
    world.start(Phase::Created).await;
    world.want(3);
    assert_snapshot!(world.refusal().await);
}
