//! `kcl bundle`

use std::path::PathBuf;
use std::process::ExitCode;

use super::artifacts::Source;
use crate::app::App;
use crate::artifacts::{Artifacts, Want};
use crate::cluster;
use crate::error::Result;

/// The subcommands of `bundle`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Write everything that `kcl start --bundle FILE` needs into one file
    Create {
        /// The file
        #[arg(value_name = "FILE", default_value = "kcl-bundle.tar.zst")]
        file: PathBuf,

        /// The version of Kubernetes
        #[arg(long, value_name = "VERSION", default_value = "stable")]
        kubernetes_version: String,

        /// Include the kernel for virtual machines
        #[arg(long)]
        vm: bool,

        /// Include these addons, or "all"
        #[arg(long, value_name = "ADDONS", value_delimiter = ',')]
        addons: Vec<String>,

        #[command(flatten)]
        source: Source,
    },
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    let Verb::Create { file, kubernetes_version, vm, addons, source } = verb;
    let artifacts = Artifacts::open(&app.store.paths().cache, source.options())?;
    let images = cluster::addon_images(addons)?;
    let want = Want { way: source.way(None), vm: *vm, images, ..Want::cluster(kubernetes_version) };
    cluster::interruptible(artifacts.bundle_create(file, &want, &app.progress)).await?;
    app.progress.info(format!(
        "On a host without a network, compare its digest (sha256sum), and run: kcl start --bundle {}",
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}
