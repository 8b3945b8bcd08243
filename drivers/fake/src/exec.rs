//! Commands in fake machines.

use kcl_driver_api::Exec;

/// A command in a fake machine, for `FakeDriver::on_exec`.
#[derive(Debug)]
pub struct FakeExec<'a> {
    /// The machine's cluster.
    pub cluster: &'a str,
    /// The machine.
    pub machine: &'a str,
    /// The command.
    pub exec: &'a Exec,
}
