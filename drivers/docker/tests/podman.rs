//! Tests the driver contract with Podman's service of Docker's API.
//!
//! Needs root, `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`) and `KCL_TEST_PODMAN` (one with Podman 5.1 or
//! later).

#[path = "../../../tests/support/own_network.rs"]
mod own_network;
#[path = "../../../tests/support/podman.rs"]
mod podman;

use std::path::PathBuf;

use kcl_driver_api::contract::{self, Fixture};
use kcl_driver_api::{Driver, PreflightRequest, Severity};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use nix::sched::{CloneFlags, setns};
use own_network::own_network;
use podman::Podman;

#[test]
fn keeps_the_contract() {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(rootfs), Some(root)) = (path("KCL_TEST_ROOTFS"), path("KCL_TEST_PODMAN")) else {
        eprintln!("skipped: KCL_TEST_ROOTFS and KCL_TEST_PODMAN are not set");
        return;
    };
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-podman-").tempdir().unwrap();
        let podman = Podman::start(&root, dir.path());
        let driver = DockerDriver::new(DockerConfig { home: dir.path().join("home"), host: Some(podman.host()) });
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().on_thread_start(move || setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap());
        runtime.build().unwrap().block_on(async {
            let findings = driver
                .preflight(&PreflightRequest { cluster: "kd-podman".into(), ..Default::default() })
                .await
                .unwrap();
            assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
            contract::all(&driver, &Fixture::new("kd-podman", &rootfs)).await;
            assert_eq!(driver.list(None).await.unwrap(), []);
        });
    });
}
