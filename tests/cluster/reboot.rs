//! A machine that loses its power: all processes are gone at once, and what was only in memory with them. `kcl start`
//! afterwards finds its files and nothing else.

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::kept;
use crate::support::{Home, Output, TestCluster, eventually};

#[test]
fn a_reboot_keeps_everything() {
    let home = Home::new("reboot");
    let cluster = home.start("phoenix", &["--nodes", "2"]);
    home.step("fill");
    kept::fill(&cluster);
    kept::pods_answer(&cluster);
    let before = kept::look(&cluster);
    let (traces, programs) = (cluster.traces(), programs(&cluster));

    home.step("cut the power");
    cut_the_power(&cluster);
    assert_eq!(cluster.traces().lines(), Vec::<String>::new());
    let status = cluster.kcl(["status"]);
    status.fails_with(1 | 2);

    home.step("start");
    cluster.start(&[]).ok();
    cluster.kcl(["status"]).ok();
    kept::pods_answer(&cluster);
    assert_eq!(kept::look(&cluster), before);

    home.step("nothing is there twice");
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(cluster.traces().links), sorted(traces.links));
    assert_eq!(sorted(cluster.traces().tables), sorted(traces.tables));
    eventually("the same processes as before", || {
        let now = self::programs(&cluster);
        if now == programs { Ok(()) } else { Err(format!("{now:?}, and before {programs:?}")) }
    });

    home.step("power fails again, and the cluster is deleted from what is left");
    cut_the_power(&cluster);
    cluster.kcl(["delete"]).ok();
}

/// Counts the running processes of each long-lived program.
fn programs(cluster: &TestCluster<'_>) -> BTreeMap<String, usize> {
    const STAY: [&str; 11] = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kcl-policy",
        "containerd",
        "coredns",
        "httpd",
        "pause",
    ];
    let mut programs = BTreeMap::new();
    for (_, command) in cluster.traces().processes {
        let program = command.split(' ').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if STAY.contains(&program) {
            *programs.entry(program.to_owned()).or_default() += 1;
        }
    }
    programs
}

/// Ends all processes of the cluster without a word to them, and takes away what a reboot takes away.
fn cut_the_power(cluster: &TestCluster<'_>) {
    eventually("no process is left", || {
        let processes = cluster.traces().processes;
        for (pid, _) in &processes {
            // One that has ended since is as good.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if processes.is_empty() { Ok(()) } else { Err(format!("{processes:?}")) }
    });
    let traces = cluster.traces();
    assert!(traces.mounts.is_empty(), "mounts in the host's own namespace: {:?}", traces.mounts);
    for link in &traces.links {
        // The ends of a pair go together, and those in a namespace with it.
        let deleted = Output::of(Command::new("ip").args(["link", "delete", link]));
        assert!(deleted.succeeded() || deleted.stderr.contains("Cannot find device"), "{deleted}");
    }
    for table in &traces.tables {
        cluster.home.nft(&format!("delete {table}")).ok();
    }
    let mut groups: Vec<_> =
        traces.groups.iter().flat_map(|group| walkdir::WalkDir::new(group).contents_first(true)).collect();
    groups.retain(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_dir()));
    for group in groups.into_iter().flatten() {
        eventually("a control group without processes can be removed", || {
            std::fs::remove_dir(group.path()).map_err(|error| format!("{}: {error}", group.path().display()))
        });
    }
    for directory in &traces.run {
        std::fs::remove_dir_all(directory).expect("the directory on the tmpfs");
    }
}
