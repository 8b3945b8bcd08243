//! Each finding, from facts alone.

use kcl_driver_api::Severity;
use kcl_driver_local::checks::Usage;

use super::*;

fn facts() -> HostFacts {
    HostFacts {
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
    }
}

/// Judges facts as those of a host here, or of one elsewhere, for three machines.
fn judge(facts: &HostFacts, is_remote: bool) -> Vec<Finding> {
    let machines = ["a", "b", "c"].map(str::to_owned).to_vec();
    let inotify_instances = machines.iter().map(|name| (name.clone(), 40)).collect();
    let request = PreflightRequest { machines, inotify_instances, ..Default::default() };
    let host = Host { facts, name: "host x", is_remote, to_send: 0 };
    [kernel(&host, &request), capacity(&host, &request)].concat()
}

/// Returns the one finding for changed facts.
fn only(change: impl FnOnce(&mut HostFacts)) -> Finding {
    let mut facts = facts();
    change(&mut facts);
    let mut findings = judge(&facts, false);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn a_good_host_has_none() {
    assert_eq!(judge(&facts(), false), []);
}

#[test]
fn a_remote_host_is_named_in_all_findings() {
    let bad = HostFacts {
        capabilities: 0,
        kernel: "4.19.0".into(),
        controllers: None,
        overlay: Some("no".into()),
        inotify_instances: Some(Usage { limit: 128, used: 100 }),
        disk_free: 1 << 20,
        memory_available: 1 << 20,
        open_files: 1024,
        ..facts()
    };
    let found = judge(&bad, true);
    let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
    let wanted = [
        "capabilities",
        "kernel",
        "cgroup-controllers",
        "overlayfs",
        "inotify-instances",
        "open-files",
        "memory",
        "disk-space",
    ];
    assert_eq!(ids, wanted);
    assert!(found.iter().all(|finding| finding.message.contains("host x")), "{found:#?}");
    assert_eq!(found[4].fix.as_deref(), Some("sysctl -w fs.inotify.max_user_instances=1024, on that host"));
}

#[test]
fn too_few_inotify_watches() {
    let finding = only(|facts| facts.inotify_watches = Some(Usage { limit: 8192, used: 8000 }));
    assert_eq!(finding.id, "inotify-watches");
    assert_eq!(finding.fix.as_deref(), Some("sysctl -w fs.inotify.max_user_watches=1048576"));
}

#[test]
fn missing_controllers() {
    let finding = only(|facts| facts.controllers = Some(["cpu", "cpuset", "pids"].map(String::from).to_vec()));
    assert!(finding.message.contains("memory"));
    assert!(finding.fix.unwrap().contains("cgroup_enable=memory"));
    let finding = only(|facts| facts.controllers = Some(vec!["memory".into(), "pids".into()]));
    assert_eq!(finding.fix.as_deref(), Some("echo +cpu +cpuset > /sys/fs/cgroup/cgroup.subtree_control"));
    let finding = only(|facts| facts.controllers = None);
    assert_eq!(finding.fix.as_deref(), Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
}

#[test]
fn an_overlay_that_the_kernel_refused() {
    let finding = only(|facts| facts.overlay = Some("could not mount: ENODEV".into()));
    assert!(finding.id == "overlayfs" && finding.message.starts_with("could not mount: ENODEV"));
}

#[test]
fn kernels() {
    assert_eq!(only(|facts| facts.kernel = "5.4.0-150-generic".into()).id, "kernel");
    for good in ["5.10.0", "6.18.44-fc", "7.0"] {
        assert_eq!(judge(&HostFacts { kernel: good.into(), ..facts() }, false), [], "{good}");
    }
}

#[test]
fn withheld_capabilities() {
    let finding = only(|facts| facts.capabilities = !(1 << 21));
    assert_eq!(finding.fix.as_deref(), Some("docker run --cap-add=CAP_SYS_ADMIN …"));
    // Nodes run without CAP_SYS_RESOURCE.
    assert_eq!(judge(&HostFacts { capabilities: !(1 << 24), ..facts() }, false), []);
}

#[test]
fn room() {
    assert_eq!(only(|facts| facts.memory_available = 100 << 20).id, "memory");
    assert_eq!(only(|facts| facts.disk_free = 1 << 30).severity, Severity::Warning);
    assert_eq!(only(|facts| facts.disk_free = 100 << 20).severity, Severity::Error);
    assert_eq!(only(|facts| facts.open_files = 1024).id, "open-files");
}
