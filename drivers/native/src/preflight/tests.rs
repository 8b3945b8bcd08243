//! Findings from facts alone: those of this driver, and the order of all.

use kcl_driver_local::checks::Usage;
use kcl_driver_oci::facts::HostFacts;
use kcl_driver_oci::netlink::Taken;

use super::*;

fn facts() -> Facts {
    Facts {
        uid: 0,
        host: HostFacts {
            capabilities: u64::MAX,
            kernel: "6.1.0-25-amd64".into(),
            controllers: Some(["cpu", "cpuset", "io", "memory", "pids"].map(String::from).to_vec()),
            overlay: None,
            inotify_instances: Some(Usage { limit: 8192, used: 10 }),
            inotify_watches: Some(Usage { limit: 1 << 20, used: 1000 }),
            home: "/var/lib/kcl".into(),
            disk_free: 100 << 30,
            memory_available: 16 << 30,
            memory_total: 24 << 30,
            cpus: 4,
            open_files: 1 << 20,
        },
        links: None,
        filter: None,
        networks: vec![
            Taken { net: "10.89.0.0/24".parse().unwrap(), by: "interface eth0".into(), link: Some("eth0".into()) },
            Taken { net: "10.89.7.0/24".parse().unwrap(), by: "interface kcl-0".into(), link: Some("kcl-0".into()) },
        ],
        bridge: "kcl-0".into(),
    }
}

fn request() -> PreflightRequest {
    PreflightRequest {
        cluster: "kcl".into(),
        machines: ["a", "b", "c"].map(str::to_owned).to_vec(),
        ..Default::default()
    }
}

/// Returns the one finding for changed facts and a changed request.
fn only(change: impl FnOnce(&mut Facts, &mut PreflightRequest)) -> Finding {
    let (mut facts, mut request) = (facts(), request());
    change(&mut facts, &mut request);
    let mut findings = judge(&facts, &request);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn a_good_host_has_none() {
    assert_eq!(judge(&facts(), &request()), []);
    let own = PreflightRequest { subnet: Some("10.89.7.0/24".parse().unwrap()), ..request() };
    assert_eq!(judge(&facts(), &own), [], "a cluster does not collide with its own bridge");
}

#[test]
fn all_at_once() {
    let mut bad = Facts { uid: 1000, links: Some("no".into()), ..facts() };
    bad.host = HostFacts { cpus: 1, disk_free: 0, overlay: Some("no".into()), ..bad.host };
    let request = PreflightRequest { cpus: Some(2), ..request() };
    let ids: Vec<_> = judge(&bad, &request).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["root", "overlayfs", "bridge", "cpus", "disk-space"]);
}

#[test]
fn a_subnet_in_use() {
    let finding = only(|_, request| request.subnet = Some("10.89.0.0/16".parse().unwrap()));
    assert_eq!(finding.message, "the subnet 10.89.0.0/16 collides with interface eth0 (10.89.0.0/24)");
    assert_eq!(finding.fix.as_deref(), Some("kcl start --subnet 10.89.1.0/24"));
}

#[test]
fn refusals_of_the_kernel_are_reported_with_their_reason() {
    assert_eq!(only(|facts, _| facts.links = Some("x".into())).fix.as_deref(), Some("modprobe -a bridge veth"));
    assert_eq!(only(|facts, _| facts.filter = Some("x".into())).id, "nf-tables");
}
