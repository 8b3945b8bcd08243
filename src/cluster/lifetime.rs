//! Clusters with a limited lifetime: each has a guard in the background, which deletes it. If the guard is gone, as
//! after a reboot, the next `start` deletes the cluster.

use super::background::{self, guard};
use super::delete;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::state::{ClusterState, End};

/// Runs as the guard of a cluster: waits until its lifetime is over, then deletes it. Standard input is the lock under
/// which the guard was started.
///
/// # Errors
/// The cluster cannot be deleted.
pub async fn guard(app: &App, cluster: &str) -> Result<()> {
    background::detach();
    let Some(state) = app.store.load(cluster)? else { return Ok(()) };
    let is_over = guard::stand(&state.lifetime, app, cluster)
        .map_err(|error| Error::new(Id::Internal, format!("the guard of \"{cluster}\" cannot wait: {error}")))?;
    if is_over { delete_over(app, cluster).await } else { Ok(()) }
}

/// Deletes the clusters whose lifetime is over and whose guards are gone. A process that cannot be seen, as from another
/// container, is no end of a cluster. Failures are warnings.
pub(super) async fn sweep(app: &App) {
    for (name, state) in app.store.list().unwrap_or_default() {
        match state.map(|state| state.lifetime.end()) {
            Ok(End::Over) => {
                if let Err(error) = delete_over(app, &name).await {
                    app.progress.warn(format!("\"{name}\" is over and cannot be deleted: {error}"));
                }
            }
            Ok(End::Unknown(why)) if !guard::is_there(app, &name).await => app.progress.warn(format!(
                "\"{name}\" ends with a process of which it is not known that it has ended ({why}); the cluster stays until: \
                 kcl delete -p {name}"
            )),
            _ => {}
        }
    }
}

async fn delete_over(app: &App, cluster: &str) -> Result<()> {
    // The kcl that held the lock before may have prolonged the cluster, or created it again.
    delete::delete_where(app, cluster, is_over).await.map(drop)
}

fn is_over(state: &ClusterState) -> bool {
    state.lifetime.is_over()
}
