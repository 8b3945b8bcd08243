//! The ssh driver on real hosts: the contract of all drivers, and what only hosts have. Needs root, and the variables
//! `KCL_TEST_RUNC`, `KCL_TEST_ROOTFS`, `KCL_TEST_AGENT` (the node agent) and `KCL_TEST_SSH_HOST` (a root file system with
//! sshd).

mod bench;
mod hosts;

use kcl_driver_api::MachineSpec;
use kcl_driver_api::contract::{self, Fixture, GREETING, VOLUME};

use bench::Bench;
use hosts::Kind;

/// A first process in the manner of an init: it greets once it can be ended.
fn init() -> Vec<String> {
    let script = format!("trap 'exit 0' TERM; echo '{GREETING}'; while :; do sleep 1000 & wait; done");
    ["sh", "-c", &script].map(String::from).into()
}

fn fixture(bench: &Bench) -> Fixture {
    let (cluster, rootfs) = (bench.cluster.to_owned(), bench.rootfs.clone());
    let spec = move |name: &str, address| MachineSpec {
        cluster: cluster.clone(),
        name: name.to_owned(),
        address,
        cpus: None,
        cpu_weight: 100,
        memory: None,
        rootfs: rootfs.clone(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into()],
        ports: Vec::new(),
        init: init(),
        labels: [("kcl.cluster".to_owned(), cluster.clone())].into(),
    };
    Fixture { cluster: bench.cluster.to_owned(), spec: Box::new(spec) }
}

#[test]
fn keeps_the_contract() {
    bench::run("ks-contract", &[Kind::Bare; 3], async |bench| {
        let driver = bench.driver();
        contract::all(&driver, &fixture(bench)).await;
    });
}
