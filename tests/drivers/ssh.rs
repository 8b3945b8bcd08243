//! Hosts that exist, over SSH: the story that all drivers share, and that hosts are left as they were found.
//!
//! `KCL_TEST_RUNC` and `KCL_TEST_SSH_HOST` say what the hosts are made of: see `drivers/ssh/tests/hosts`.

use std::path::PathBuf;

use crate::hosts::{Hosts, Kind, rootfs};
use crate::story;
use crate::support::Home;

/// Hosts for one test, with a home of who logs in there.
struct Bed {
    runtime: tokio::runtime::Runtime,
    hosts: Option<Hosts>,
    // Removed after them.
    _base: tempfile::TempDir,
}

impl Bed {
    /// None where this machine has no root file system for hosts.
    fn new(home: &Home, kinds: &[Kind]) -> Option<Bed> {
        let (rootfs, runc) = (rootfs()?, std::env::var_os("KCL_TEST_RUNC").map(PathBuf::from)?);
        let beside = home.cache().parent().expect("the cache is not the root directory");
        let base = tempfile::Builder::new().prefix("kcl-hosts-").tempdir_in(beside).expect("a directory");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let hosts = runtime.block_on(Hosts::new(base.path(), "kcl-test-hosts", &runc, &rootfs, kinds));
        home.set("HOME", &hosts.user_home);
        Some(Bed { runtime, hosts: Some(hosts), _base: base })
    }

    fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("they go with the bed")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(hosts) = self.hosts.take() {
            self.runtime.block_on(hosts.end());
        }
    }
}

#[test]
fn three_nodes() {
    let home = Home::new("ssh");
    let Some(bed) = Bed::new(&home, &[Kind::Bare; 3]) else { return };
    // Dropped first: its clusters are deleted while their hosts are there.
    let home = home;
    let before = bed.runtime.block_on(bed.hosts().all_traces());
    let hosts: Vec<String> = bed.hosts().targets.iter().map(|target| target.host.to_string()).collect();
    let mut flags = vec!["--accept-host-key"];
    flags.extend(hosts.iter().flat_map(|host| ["--host", host]));
    let cluster = story::three_nodes(&home, "ssh", &flags);
    home.step("delete");
    cluster.kcl(["delete"]).ok();
    bed.runtime.block_on(bed.hosts().assert_as_before(&before));
}
