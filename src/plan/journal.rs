//! The record of everything that a run makes, so that a failure or Ctrl-C can roll it back.

use std::sync::Mutex;

use kcl_driver_api::{Driver, ErrorKind, Exec};
use kcl_node_spec::paths;

/// Something that a run makes. It is recorded before it is made, as rolling back what does not exist succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// The cluster's state directory.
    State,
    /// The network of the cluster.
    Network,
    /// The machine of this name.
    Machine(String),
    /// Members were added to etcd on this machine: each with its name and address, as the node agent reads them.
    Members {
        /// The machine of a member that stays.
        machine: String,
        /// The members, each `NAME=ADDRESS`.
        members: Vec<String>,
    },
    /// The machine of this name was configured and powered on.
    Powered(String),
    /// The machine of this name ran, and was restarted with another configuration.
    Restarted(String),
}

/// The record of everything that a run makes, oldest first.
#[derive(Debug, Default)]
pub struct Journal {
    made: Mutex<Vec<Made>>,
}

impl Journal {
    /// Records something that is about to be made.
    pub fn record(&self, made: Made) {
        self.entries().push(made);
    }

    /// Returns true if it was recorded.
    pub fn has(&self, made: &Made) -> bool {
        self.entries().contains(made)
    }

    /// Returns true if a machine was restarted that has to run again with its earlier configuration.
    pub fn has_restarted(&self) -> bool {
        self.entries().iter().any(|made| matches!(made, Made::Restarted(_)))
    }

    /// Rolls back machines, and networks unless they are to be kept, newest first. Continues after a failure, and
    /// returns the messages of all failures.
    pub async fn undo(&self, driver: &dyn Driver, cluster: &str, keep_network: bool) -> Vec<String> {
        let made: Vec<Made> = self.entries().clone();
        let mut complaints = Vec::new();
        for entry in made.iter().rev() {
            // Before their machines: a member with a vote that is gone may cost the others their quorum.
            if let Made::Members { machine, members } = entry {
                complain(&mut complaints, [remove_members(driver, cluster, machine, members).await]);
            }
        }
        let machine = |entry: &Made| match entry {
            Made::Machine(name) => Some(name.clone()),
            _ => None,
        };
        let machines: Vec<String> = made.iter().rev().filter_map(machine).collect();
        let deleted = machines.iter().map(|name| driver.delete(cluster, name));
        complain(&mut complaints, futures::future::join_all(deleted).await);
        for entry in made.iter().rev() {
            let result = match entry {
                Made::Network if keep_network => Ok(()),
                Made::Network => driver.delete_network(cluster).await,
                // A machine that existed before is left as it was: off.
                Made::Powered(name) if !machines.contains(name) => match driver.machine(cluster, name).await {
                    Ok(machine) => machine.power_off(super::POWER_OFF_GRACE).await,
                    Err(error) => Err(error),
                },
                // The next start gives it its earlier configuration.
                Made::Restarted(_) | Made::Powered(_) | Made::Machine(_) | Made::Members { .. } | Made::State => Ok(()),
            };
            complain(&mut complaints, [result]);
        }
        complaints
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Made>> {
        // A panic elsewhere does not make the list wrong.
        self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn remove_members(
    driver: &dyn Driver,
    cluster: &str,
    machine: &str,
    members: &[String],
) -> kcl_driver_api::Result<()> {
    let command = [paths::AGENT, "etcd", "remove"].into_iter().chain(members.iter().map(String::as_str));
    let output = driver.machine(cluster, machine).await?.exec(Exec::new(command)).await?;
    match output.code {
        0 => Ok(()),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = format!("members of etcd could not be removed on {machine}: {}", said.trim_end());
            Err(kcl_driver_api::Error::new(ErrorKind::Engine, message))
        }
    }
}

fn complain(complaints: &mut Vec<String>, results: impl IntoIterator<Item = kcl_driver_api::Result<()>>) {
    complaints.extend(results.into_iter().filter_map(|result| result.err().map(|error| error.to_string())));
}
