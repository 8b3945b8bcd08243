//! Clusters: the plan, and the verbs that carry it out.

mod addons;
mod background;
mod ca;
mod copy;
mod dashboard;
mod delete;
mod drivers;
mod guard;
mod images;
mod interrupt;
mod journal;
mod kubectl;
mod logs;
mod mount;
mod nodes;
mod observe;
mod plan;
mod pool;
mod run;
mod service;
mod start;
mod status;
mod stop;

pub use addons::{
    AddonInfo, AddonOptions, AddonRow, addon_images, addon_page, addons, configure, disable, enable, info,
};
pub use ca::{Trust, ca, trust, untrust};
pub use copy::{Place, copy};
pub use dashboard::{DashboardOptions, dashboard, serve_dashboard};
pub use delete::{delete, delete_all};
pub use drivers::{DriverRow, Mixed, rows as drivers};
pub use guard::guard;
pub use images::{
    BuildRequest, LoadedImage, build_image, image_env, import_image, list_images, load_images, pull_images, push_image,
    remove_images, save_images, tag_image,
};
pub use interrupt::interruptible;
pub use journal::{Journal, Made};
pub use kubectl::{Kubectl, access, become_client, kubeconfig_entry, kubectl};
pub use logs::{LogRequest, archive, logs};
pub use mount::{mount, mounts, unmount};
pub use nodes::{NodeRow, ProfileRow, machine, nodes, profiles};
pub use plan::{Action, NodePlan, Observed, Plan, plan};
pub use pool::{drain, fill, refilled, spares};
pub use run::{RunOptions, fresh_name, run};
pub use service::loopback::serve as serve_loopback;
pub use service::{ServiceRow, service, services};
pub use start::{Context, Outcome, StartOptions, start};
pub use status::{Bits, NodeState, status};
pub use stop::{stop, stop_node};

use crate::error::{Error, Family, Result};
use crate::progress::Progress;
use crate::state::{ClusterLock, ClusterState, Store};

/// What every verb works with.
#[derive(Clone)]
pub struct App {
    /// What kcl remembers.
    pub store: Store,
    /// Where it tells what goes on.
    pub progress: Progress,
}

impl App {
    /// The right to change a cluster. Where another kcl has it, says for whom it waits.
    async fn lock(&self, cluster: &str) -> Result<ClusterLock> {
        let progress = self.progress.clone();
        self.store
            .lock(cluster, move |owner| progress.info(format!("Waiting for {owner}, which works on the same cluster")))
            .await
    }

    /// The state of a cluster that has to be there.
    pub fn existing(&self, cluster: &str) -> Result<ClusterState> {
        self.store.load(cluster)?.ok_or_else(|| {
            Error::new(Family::NotFound, format!("there is no cluster \"{cluster}\""))
                .hint(format!("make it with: kcl start -p {cluster}"))
                .hint("see what is there with: kcl profile list")
        })
    }
}
