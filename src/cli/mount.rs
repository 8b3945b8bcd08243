//! `kcl mount`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::config;
use crate::error::{Error, Id, Result};

/// The options of `mount`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A directory of this host and its path in all nodes; read-only with :ro. Without it, list the mounts
    #[arg(value_name = "HOST:NODE[:ro]")]
    mount: Option<String>,

    /// Remove the mount at this path of the nodes
    #[arg(long, value_name = "NODE", conflicts_with = "mount")]
    remove: Option<PathBuf>,

    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A row of the list of mounts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    host: PathBuf,
    node: PathBuf,
    read_only: bool,
}

/// Mounts a directory, removes a mount, or lists the mounts.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    if let Some(text) = &args.mount {
        let mount =
            config::parse_mount(text, Path::new("")).map_err(|problem| Error::new(Id::MountInvalid, problem))?;
        let copy = mount.clone();
        match cluster::mount(app, profile, mount).await? {
            true => app.progress.info(format!(
                "{} is mounted at {} in all nodes of \"{profile}\"; remove it with: kcl mount -p {profile} --remove {}",
                copy.source.display(),
                copy.target.display(),
                copy.target.display()
            )),
            false => app.progress.info(format!("{} is already mounted", copy.target.display())),
        }
    } else if let Some(target) = &args.remove {
        cluster::unmount(app, profile, target).await?;
    } else {
        let rows = cluster::mounts(app, profile)?.into_iter();
        let rows = rows.map(|mount| Row { host: mount.source, node: mount.target, read_only: mount.read_only });
        match args.output {
            Output::Json => output::json(&rows.collect::<Vec<_>>())?,
            Output::Text => output::table(
                ["HOST", "NODE", "MODE"],
                rows.map(|row| {
                    let mode = if row.read_only { "ro" } else { "rw" };
                    [row.host.display().to_string(), row.node.display().to_string(), mode.to_owned()]
                }),
            ),
        }
    }
    Ok(ExitCode::SUCCESS)
}
