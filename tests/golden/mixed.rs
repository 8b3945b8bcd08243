//! A cluster with machines of two drivers: who is asked for what.

use kcl::cluster::Mixed;
use kcl_driver_api::{Driver, DriverKind, ErrorKind, Finding, NetworkSpec, PreflightRequest, Severity};
use kcl_driver_fake::FakeDriver;

use crate::world::{machine, net};

struct Two {
    native: FakeDriver,
    docker: FakeDriver,
    mixed: Mixed,
}

fn two() -> Two {
    let (native, docker) = (FakeDriver::new(), FakeDriver::new());
    let drivers: [(DriverKind, Box<dyn Driver>); 2] =
        [(DriverKind::Native, Box::new(native.clone())), (DriverKind::Docker, Box::new(docker.clone()))];
    let machines = [("kcl", DriverKind::Native), ("kcl-m02", DriverKind::Docker)];
    let machines = machines.map(|(name, kind)| (name.to_owned(), kind));
    Two { native, docker, mixed: Mixed::new(drivers.into(), machines.into()) }
}

#[tokio::test]
async fn each_machine_is_made_by_its_driver_on_one_network() {
    let Two { native, docker, mixed } = two();
    let network = mixed.ensure_network(&NetworkSpec::new("kcl", net("10.89.0.0/24"))).await.expect("a network");
    assert_eq!(network.link("kcl").subnet, network.link("kcl-m02").subnet);
    for (name, address) in [("kcl", [10, 89, 0, 2]), ("kcl-m02", [10, 89, 0, 3])] {
        mixed.create(&machine(name, address.into())).await.expect("a machine");
        mixed.machine("kcl", name).await.expect("a machine").power_on().await.expect("powered on");
    }
    let listed = mixed.list(Some("kcl")).await.expect("a list");
    assert_eq!(listed.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["kcl", "kcl-m02"]);
    for name in ["kcl", "kcl-m02", "kcl-m03"] {
        mixed.delete("kcl", name).await.expect("deleted");
    }
    mixed.delete_network("kcl").await.expect("deleted");
    assert_eq!(
        native.calls(),
        [
            "ensure-network kcl 10.89.0.0/24",
            "create kcl/kcl",
            "power-on kcl/kcl",
            "delete kcl/kcl",
            // Nobody's: each is asked.
            "delete kcl/kcl-m03",
            "delete-network kcl",
        ]
    );
    assert_eq!(
        docker.calls(),
        [
            "ensure-network kcl 10.89.0.0/24 on fake",
            "create kcl/kcl-m02",
            "power-on kcl/kcl-m02",
            "delete kcl/kcl-m02",
            "delete kcl/kcl-m03",
            "delete-network kcl",
        ]
    );
}

#[tokio::test]
async fn findings_say_whose_they_are() {
    let Two { docker, mixed, .. } = two();
    let message = "the daemon does not run".to_owned();
    docker.set_findings(vec![Finding { severity: Severity::Error, id: "daemon", message, fix: None }]);
    let request = |names: &[&str]| PreflightRequest {
        cluster: "kcl".to_owned(),
        machines: names.iter().map(|name| (*name).to_owned()).collect(),
        ..PreflightRequest::default()
    };
    let found = mixed.preflight(&request(&["kcl", "kcl-m02"])).await.expect("findings");
    assert_eq!(found.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), ["docker: the daemon does not run"]);
    // Who has nothing to do is not asked.
    assert_eq!(mixed.preflight(&request(&["kcl"])).await.expect("findings"), []);
}

#[tokio::test]
async fn a_machine_of_no_driver_is_not_there() {
    let error = two().mixed.machine("kcl", "kcl-m03").await.err().expect("nobody has it");
    assert_eq!(error.kind, ErrorKind::NotFound);
}
