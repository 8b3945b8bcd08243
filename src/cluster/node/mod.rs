//! Single nodes of a cluster: they are added, started, cordoned, drained and deleted while the others run.

mod add;
mod cordon;
mod delete;
mod drain;
mod start;

pub use add::add as add_node;
pub use cordon::cordon as cordon_node;
pub(super) use delete::finish as finish_departures;
pub use delete::{DeleteNode, delete as delete_node};
pub use drain::drain as drain_node;
pub use start::start as start_node;

use kcl_driver_api::{Driver, Power};
use kube::Client;

use super::drivers;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::ClusterState;

/// Returns a client of a cluster that runs.
///
/// # Errors
/// `Cluster` if its API does not answer.
async fn client_of(app: &App, state: &ClusterState) -> Result<Client> {
    let client = kubernetes::connect(&app.access(state)?)?;
    match kubernetes::serves(&client).await {
        true => Ok(client),
        false => {
            let name = &state.spec.name;
            Err(Error::new(Id::ClusterFailed, format!("cluster \"{name}\" does not run, or its API does not answer"))
                .hint(format!("start it with: kcl start -p {name}")))
        }
    }
}

/// Returns true if a machine runs.
async fn runs(driver: &dyn Driver, state: &ClusterState, machine: &str) -> Result<bool> {
    let machines = driver.list(Some(&state.spec.name)).await?;
    Ok(machines.iter().any(|found| found.name == machine && found.power == Power::Running))
}

/// Returns the state of a cluster and the driver of its machines.
fn open(app: &App, cluster: &str) -> Result<(ClusterState, Box<dyn Driver>)> {
    let state = app.existing(cluster)?;
    let driver = drivers::driver_of(app, &state)?;
    Ok((state, driver))
}
