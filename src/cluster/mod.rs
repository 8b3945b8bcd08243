//! Clusters: a file a verb, the drivers that make their machines, and the processes that stay in the background.

mod addons;
mod archive;
mod background;
mod ca;
mod certs;
mod copy;
mod dashboard;
mod delete;
mod drivers;
mod images;
mod interrupt;
mod kubectl;
mod lifetime;
mod logs;
mod mount;
mod node;
mod nodes;
mod policy;
mod pool;
mod proxy;
mod run;
mod service;
mod start;
mod status;
mod stop;

pub use addons::{
    AddonInfo, AddonOptions, AddonRow, addon_images, addon_page, addons, configure, disable, enable, images_of_addon,
    info,
};
pub use archive::archive;
pub use background::loopback::serve as serve_loopback;
pub use ca::{Trust, ca, trust, untrust};
pub use certs::{CertificateRow, certificates, keep_certificates, rotate};
pub use copy::{CopyRequest, Place, copy};
pub use dashboard::{DashboardOptions, dashboard, dashboard_page, serve_dashboard};
pub use delete::{delete, delete_all};
pub use drivers::{DriverRow, KINDS as DRIVER_KINDS, Mixed, keep_sudo_password, rows as drivers};
pub use images::{
    BuildRequest, LoadedImage, build_image, image_env, import_image, list_images, load_images, pull_images, push_image,
    remove_images, save_images, tag_image,
};
pub use interrupt::interruptible;
pub use kubectl::{Kubectl, become_client, kubectl, needs_cluster, point_kubectl};
pub use lifetime::guard;
pub use logs::{LogRequest, log_names, logs};
pub use mount::{mount, mounts, unmount};
pub use node::{DeleteNode, add_node, cordon_node, delete_node, drain_node, start_node};
pub use nodes::{NodeRow, ProfileRow, machine, nodes, profiles};
pub use policy::{ConnectionReport, ConnectionRequest, EndReport, test_connection};
pub use pool::{drain, fill, fresh_name, refilled, spares};
pub use run::{RunOptions, run};
pub use service::{ServiceRow, service, services};
pub use start::{Context, Outcome, Scope, StartOptions, start};
pub use status::{Bits, NodeState, status};
pub use stop::{stop, stop_node};

pub use crate::kubernetes::Drain;
