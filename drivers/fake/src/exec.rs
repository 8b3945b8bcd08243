//! Commands in fake machines.

use kcl_driver_api::Exec;

/// A command in a fake machine, for `FakeDriver::on_exec`.
#[derive(Debug)]
pub struct FakeExec<'a> {
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The name of the machine.
    pub machine: &'a str,
    /// The command to run.
    pub exec: &'a Exec,
}
