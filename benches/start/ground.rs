//! Hosts for the ssh driver if none are given: containers of the bench, the same as the tests use.

#[path = "../../drivers/ssh/tests/hosts/mod.rs"]
// The tests use more of the module.
#[allow(dead_code)]
mod hosts;

use std::error::Error;
use std::path::PathBuf;

use kcl::state::Paths;
use tokio::runtime::Runtime;

use crate::subject::Subject;
use hosts::{Hosts, Kind, rootfs};

/// The number of hosts, which is that of the nodes of the largest cluster.
const KINDS: [Kind; 3] = [Kind::Bare; 3];

/// The hosts, which end when this is dropped.
pub(crate) struct Ground {
    runtime: Runtime,
    hosts: Option<Hosts>,
    // It is removed after the hosts.
    _base: tempfile::TempDir,
}

impl Ground {
    /// Creates hosts from `KCL_TEST_SSH_HOST`, with the runc of `KCL_TEST_RUNC`, and adds them to a subject.
    pub(crate) fn new(subject: &mut Subject) -> Result<Self, Box<dyn Error>> {
        let runc = std::env::var_os("KCL_TEST_RUNC").map(PathBuf::from);
        let (Some(rootfs), Some(runc)) = (rootfs(), runc) else {
            return Err("KCL_BENCH_SSH_HOSTS names no hosts, and KCL_TEST_SSH_HOST and KCL_TEST_RUNC nothing to make \
                        some of: see the Makefile's test"
                .into());
        };
        let base = tempfile::Builder::new().prefix("bench-hosts-").tempdir_in(Paths::from_env()?.cache)?;
        let runtime = Runtime::new()?;
        let hosts = runtime.block_on(Hosts::new(base.path(), "kcl-bench-hosts", &runc, &rootfs, &KINDS));
        subject.user = Some(hosts.user_home.clone());
        subject.hosts = hosts.targets.iter().map(|target| target.host.to_string()).collect();
        subject.flags.push("--accept-host-key".to_owned());
        Ok(Ground { runtime, hosts: Some(hosts), _base: base })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(hosts) = self.hosts.take() {
            self.runtime.block_on(hosts.end());
        }
    }
}
