//! Each finding, from facts alone.

use super::*;
use kcl_driver_oci::netlink::Taken;

fn facts() -> Facts {
    Facts {
        uid: 0,
        capabilities: u64::MAX,
        kernel: "6.1.0-25-amd64".into(),
        controllers: Some(["cpu", "cpuset", "io", "memory", "pids"].map(String::from).to_vec()),
        overlay: None,
        links: None,
        filter: None,
        inotify_instances: Usage { limit: 8192, used: 10 },
        inotify_watches: Usage { limit: 1 << 20, used: 1000 },
        taken: vec![
            Taken { net: "10.89.0.0/24".parse().unwrap(), by: "interface eth0".into(), link: Some("eth0".into()) },
            Taken { net: "10.89.7.0/24".parse().unwrap(), by: "interface kcl-0".into(), link: Some("kcl-0".into()) },
        ],
        bridge: "kcl-0".into(),
        home: "/var/lib/kcl".into(),
        disk_free: 100 << 30,
        memory_available: 16 << 30,
        memory_total: 24 << 30,
        cpus: 4,
        open_files: 1 << 20,
    }
}

fn request() -> PreflightRequest {
    PreflightRequest {
        cluster: "kcl".into(),
        machines: ["a", "b", "c"].map(str::to_owned).to_vec(),
        inotify_instances: 120,
        ..Default::default()
    }
}

/// The one finding for changed facts and a changed request: its id, severity, message and fix.
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
    assert_eq!(judge(&facts(), &own), [], "the cluster's own bridge is no rival");
}

#[test]
fn all_at_once() {
    let bad = Facts { uid: 1000, cpus: 1, disk_free: 0, overlay: Some("no".into()), ..facts() };
    let ids: Vec<_> =
        judge(&bad, &PreflightRequest { cpus: Some(2), ..request() }).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["root", "overlayfs", "cpus", "disk-space"]);
}

#[test]
fn too_few_inotify_instances() {
    let finding = only(|facts, _| facts.inotify_instances = Usage { limit: 128, used: 20 });
    assert_eq!((finding.id, finding.severity), ("inotify-instances", Severity::Error));
    assert!(
        finding.message.contains("is 128, of which 20 are used; 3 machines need about 120 more"),
        "{}",
        finding.message
    );
    assert_eq!(finding.fix.as_deref(), Some("sysctl -w fs.inotify.max_user_instances=1024"));
}

#[test]
fn too_few_inotify_watches() {
    let finding = only(|facts, _| facts.inotify_watches = Usage { limit: 8192, used: 8000 });
    assert_eq!(finding.id, "inotify-watches");
    assert_eq!(finding.fix.as_deref(), Some("sysctl -w fs.inotify.max_user_watches=1048576"));
}

#[test]
fn a_subnet_that_somebody_has() {
    let finding = only(|_, request| request.subnet = Some("10.89.0.0/16".parse().unwrap()));
    assert_eq!(finding.message, "the subnet 10.89.0.0/16 collides with interface eth0 (10.89.0.0/24)");
    assert_eq!(finding.fix.as_deref(), Some("kcl start --subnet 10.89.1.0/24"));
}

#[test]
fn controllers_that_are_missing() {
    let finding = only(|facts, _| facts.controllers = Some(["cpu", "cpuset", "pids"].map(String::from).to_vec()));
    assert!(finding.message.contains("memory"));
    assert!(finding.fix.unwrap().contains("cgroup_enable=memory"));
    let finding = only(|facts, _| facts.controllers = Some(vec!["memory".into(), "pids".into()]));
    assert_eq!(finding.fix.as_deref(), Some("echo +cpu +cpuset > /sys/fs/cgroup/cgroup.subtree_control"));
    let finding = only(|facts, _| facts.controllers = None);
    assert_eq!(finding.fix.as_deref(), Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
}

#[test]
fn what_the_kernel_refused_is_told_with_why() {
    let finding = only(|facts, _| facts.overlay = Some("could not mount: ENODEV".into()));
    assert!(finding.id == "overlayfs" && finding.message.starts_with("could not mount: ENODEV"));
    assert_eq!(only(|facts, _| facts.links = Some("x".into())).fix.as_deref(), Some("modprobe -a bridge veth"));
    assert_eq!(only(|facts, _| facts.filter = Some("x".into())).id, "nf-tables");
}

#[test]
fn kernels() {
    assert_eq!(only(|facts, _| facts.kernel = "5.4.0-150-generic".into()).id, "kernel");
    for good in ["5.10.0", "6.18.44-fc", "7.0"] {
        assert_eq!(judge(&Facts { kernel: good.into(), ..facts() }, &request()), [], "{good}");
    }
}

#[test]
fn capabilities_that_are_withheld() {
    let finding = only(|facts, _| facts.capabilities = !(1 << 21));
    assert_eq!(finding.fix.as_deref(), Some("docker run --cap-add=CAP_SYS_ADMIN …"));
    // CAP_SYS_RESOURCE is done without.
    assert_eq!(judge(&Facts { capabilities: !(1 << 24), ..facts() }, &request()), []);
}

#[test]
fn sizes() {
    assert_eq!(only(|_, request| request.cpus = Some(8)).message, "8 CPUs were asked for each machine; the host has 4");
    assert_eq!(only(|_, request| request.memory = Some(32 << 30)).severity, Severity::Error);
    assert_eq!(only(|_, request| request.memory = Some(12 << 30)).severity, Severity::Warning);
    assert_eq!(only(|facts, _| facts.memory_available = 100 << 20).id, "memory");
    assert_eq!(only(|facts, _| facts.disk_free = 1 << 30).id, "disk-space");
    assert_eq!(only(|facts, _| facts.open_files = 1024).id, "open-files");
}
