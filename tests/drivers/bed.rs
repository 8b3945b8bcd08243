//! Hosts that a test logs in to.

use std::path::PathBuf;

use crate::hosts::{Hosts, Kind, rootfs};
use crate::support::Home;

/// The hosts of one test, and a home directory of the user that logs in there.
pub(crate) struct Bed {
    pub runtime: tokio::runtime::Runtime,
    hosts: Option<Hosts>,
    // It is removed after the hosts.
    _base: tempfile::TempDir,
}

impl Bed {
    /// Starts the hosts; returns nothing if this machine has no root file system for them.
    pub(crate) fn new(home: &Home, kinds: &[Kind]) -> Option<Bed> {
        let (rootfs, runc) = (rootfs()?, std::env::var_os("KCL_TEST_RUNC").map(PathBuf::from)?);
        let beside = home.cache().parent().expect("the cache is not the root directory");
        let base = tempfile::Builder::new().prefix("kcl-hosts-").tempdir_in(beside).expect("a directory");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let hosts = runtime.block_on(Hosts::new(base.path(), "kcl-test-hosts", &runc, &rootfs, kinds));
        home.set("HOME", &hosts.user_home);
        Some(Bed { runtime, hosts: Some(hosts), _base: base })
    }

    pub(crate) fn hosts(&self) -> &Hosts {
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
