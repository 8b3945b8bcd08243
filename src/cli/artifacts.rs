//! `kcl artifacts`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kcl_driver_local::checks::mib;

use super::output::{self, Output};
use crate::app::App;
use crate::artifacts::manage::Clean;
use crate::artifacts::{Artifacts, Options, Want, Way};
use crate::cluster;
use crate::error::Result;

/// How artifacts are had that are not in the cache.
#[derive(clap::Args)]
pub struct Source {
    /// How to get what is not in the cache [default: release where the network reaches one, else build]
    #[arg(long, value_enum, value_name = "WAY", help_heading = "Artifacts")]
    from: Option<From>,

    /// A mirror of the projects' release pages: serves the same paths
    #[arg(long, value_name = "URL", help_heading = "Artifacts")]
    binary_mirror: Option<String>,

    /// Certificates of authorities to trust besides the system's (PEM)
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE", hide_env_values = true, help_heading = "Artifacts")]
    ca_file: Option<PathBuf>,
}

/// A way that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// The projects' own releases
    Release,
    /// Built here
    Build,
}

impl Source {
    /// What holds for all artifacts of this run.
    pub fn options(&self) -> Options {
        Options { mirror: self.binary_mirror.clone(), ca_file: self.ca_file.clone() }
    }

    /// The way: a bundle, where one is given, and nothing else.
    pub fn way(&self, bundle: Option<&Path>) -> Way {
        match (bundle, self.from) {
            (Some(bundle), _) => Way::Bundle(bundle.to_owned()),
            (None, Some(From::Release)) => Way::Release,
            (None, Some(From::Build)) => Way::Build,
            (None, None) => Way::Auto,
        }
    }
}

/// What is done with artifacts.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Show the catalog and what of it is in the cache
    List {
        /// How it is shown
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Get everything that a cluster needs, so that its start is quick
    Fetch {
        /// The version of Kubernetes
        #[arg(long, value_name = "VERSION", default_value = "stable")]
        kubernetes_version: String,

        #[command(flatten)]
        source: Source,

        /// Take everything from this bundle
        #[arg(long, value_name = "FILE", conflicts_with = "from")]
        bundle: Option<PathBuf>,

        /// Also the kernel of nodes that are virtual machines
        #[arg(long)]
        vm: bool,

        /// Also what these addons are made from; "all" for all that kcl brings
        #[arg(long, value_name = "ADDONS", value_delimiter = ',')]
        addons: Vec<String>,

        /// Also the programs that kcl runs for users: Helm
        #[arg(long)]
        tools: bool,

        /// Read all that is in the cache first and compare digests; what is damaged is made again
        #[arg(long)]
        verify: bool,
    },
    /// Remove what is left of other versions and no cluster uses
    Clean {
        /// Remove all that no cluster uses, also what this kcl would use
        #[arg(long)]
        all: bool,

        /// With --all: also what clusters use; they run on, but cannot be started again
        #[arg(long, requires = "all")]
        force: bool,

        /// How it is shown
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Does it.
pub async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::List { output } => list(app, *output)?,
        Verb::Fetch { kubernetes_version, source, bundle, vm, addons, tools, verify } => {
            let artifacts = Artifacts::open(&app.store.paths().cache, source.options())?;
            let images = cluster::addon_images(addons)?;
            if *verify {
                for (entry, why) in artifacts.verify()? {
                    app.progress.warn(format!("{entry} is damaged and is made again: {why}"));
                }
            }
            let want = Want { way: source.way(bundle.as_deref()), vm: *vm, ..Want::cluster(kubernetes_version) };
            let work = async {
                artifacts.ensure(&want, &app.progress).await?;
                if !images.is_empty() {
                    artifacts.images(&images, &want.way, &app.progress).await?;
                }
                if *tools {
                    artifacts.tool("helm", "helm", &want.way, &app.progress).await?;
                }
                Ok(())
            };
            cluster::interruptible(work).await?;
        }
        Verb::Clean { all, force, output } => {
            let what = match (all, force) {
                (true, true) => Clean::Forced,
                (true, false) => Clean::All,
                (false, _) => Clean::Unused,
            };
            clean(app, what, *output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(app: &App, output: Output) -> Result<()> {
    let rows = Artifacts::open(&app.store.paths().cache, Options::default())?.list()?;
    match output {
        Output::Json => output::json(&rows),
        Output::Text => {
            output::table(
                ["NAME", "VERSION", "KIND", "STATUS", "SIZE", "WAYS"],
                rows.into_iter().map(|row| {
                    let status = match (&row.corrupt, row.cached, row.current, row.got) {
                        (Some(why), ..) => format!("damaged: {why}"),
                        (None, false, ..) => "not cached".to_owned(),
                        (None, true, false, _) => "unused".to_owned(),
                        (None, true, true, got) => got.unwrap_or_else(|| "cached".to_owned()),
                    };
                    let size = if row.cached { mib(row.size) } else { String::new() };
                    let version = row.version.unwrap_or_default();
                    [row.name, version, row.kind.to_owned(), status, size, row.ways.join(", ")]
                }),
            );
            Ok(())
        }
    }
}

fn clean(app: &App, what: Clean, output: Output) -> Result<()> {
    let states = app.store.list()?.into_iter().filter_map(|(_, state)| state.ok());
    let in_use: Vec<String> = states.flat_map(|state| state.nodes).filter_map(|node| node.artifacts).collect();
    let cleaned = Artifacts::open(&app.store.paths().cache, Options::default())?.clean(what, &in_use)?;
    match output {
        Output::Json => output::json(&cleaned),
        Output::Text => {
            for entry in &cleaned.removed {
                output::line(&format!("removed {entry}"));
            }
            for entry in &cleaned.in_use {
                output::line(&format!("kept {entry}: a cluster uses it"));
            }
            output::line(&format!("{} freed", mib(cleaned.bytes)));
            Ok(())
        }
    }
}
