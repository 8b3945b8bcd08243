//! Keeps clusters in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_driver_api::{Error, ErrorKind, ExecOutput, File, Finding, MachineInfo, MachineSpec, Power, Result, Subnets};

use crate::exec::FakeExec;

/// A machine's cluster and name.
pub(crate) type Key = (String, String);

/// The function that answers commands.
pub(crate) type Answer = Arc<dyn Fn(&FakeExec<'_>) -> ExecOutput + Send + Sync>;

/// The state of all clusters.
#[derive(Default)]
pub(crate) struct World {
    pub machines: BTreeMap<Key, FakeMachineState>,
    pub networks: BTreeMap<String, Subnets>,
    pub calls: Vec<String>,
    /// The beginnings of calls that are to fail, with their errors.
    pub failures: Vec<(String, Error)>,
    pub answer: Option<Answer>,
    pub findings: Vec<Finding>,
    pub greeting: Vec<u8>,
}

/// A machine; without a specification it is broken.
#[derive(Default)]
pub(crate) struct FakeMachineState {
    pub spec: Option<MachineSpec>,
    pub running: bool,
    pub files: BTreeMap<PathBuf, File>,
    pub console: Vec<u8>,
}

/// Locks the world, even if a test panicked in the middle of a call.
pub(crate) fn world(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Records a call, and fails it if that was requested.
    pub(crate) fn call(&mut self, call: String) -> Result<()> {
        let failure = self.failures.iter().position(|(beginning, _)| call.starts_with(beginning.as_str()));
        self.calls.push(call);
        match failure {
            Some(index) => Err(self.failures.remove(index).1),
            None => Ok(()),
        }
    }

    pub(crate) fn machine(&mut self, (cluster, name): &Key) -> Result<&mut FakeMachineState> {
        self.machines
            .get_mut(&(cluster.clone(), name.clone()))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}")))
    }

    /// Returns a machine that is not broken.
    pub(crate) fn whole(&mut self, key: &Key) -> Result<&mut FakeMachineState> {
        let machine = self.machine(key)?;
        if machine.spec.is_none() {
            return Err(Error::new(ErrorKind::State, format!("the creation of machine {} was interrupted", key.1)));
        }
        Ok(machine)
    }
}

impl FakeMachineState {
    pub(crate) fn info(&self, (cluster, name): &Key) -> MachineInfo {
        let power = match (&self.spec, self.running) {
            (None, _) => Power::Broken,
            (Some(_), true) => Power::Running,
            (Some(_), false) => Power::Stopped,
        };
        MachineInfo {
            cluster: cluster.clone(),
            name: name.clone(),
            power,
            address: self.spec.as_ref().map(|spec| spec.address),
            labels: self.spec.as_ref().map(|spec| spec.labels.clone()).unwrap_or_default(),
        }
    }
}
