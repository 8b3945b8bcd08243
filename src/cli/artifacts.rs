//! `kcl artifacts`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kcl_driver_local::checks::mib;

use super::output::{self, Output};
use crate::app::App;
use crate::artifacts::manage::Clean;
use crate::artifacts::{Artifacts, Options, Want, Way};
use crate::cluster;
use crate::error::{Error, Id, Result};

/// The source of artifacts that are not in the cache.
#[derive(clap::Args)]
pub(super) struct Source {
    /// The way to get artifacts that are not in the cache [default: release if it is reachable, else build]
    #[arg(long, value_enum, value_name = "WAY", help_heading = "Artifacts")]
    from: Option<From>,

    /// A mirror of the projects' release pages that serves the same paths
    #[arg(long, value_name = "URL", help_heading = "Artifacts")]
    binary_mirror: Option<String>,

    /// Certificates of CAs to trust in addition to the system's (PEM)
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE", hide_env_values = true, help_heading = "Artifacts")]
    ca_file: Option<PathBuf>,
}

/// The values of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// Download the projects' releases
    Release,
    /// Build from source
    Build,
}

impl Source {
    /// Returns the options for all artifacts of this run.
    pub(super) fn options(&self) -> Options {
        Options { mirror: self.binary_mirror.clone(), ca_file: self.ca_file.clone() }
    }

    /// Returns the way to get artifacts; a bundle excludes all others.
    pub(super) fn way(&self, bundle: Option<&Path>) -> Way {
        match (bundle, self.from) {
            (Some(bundle), _) => Way::Bundle(bundle.to_owned()),
            (None, Some(From::Release)) => Way::Release,
            (None, Some(From::Build)) => Way::Build,
            (None, None) => Way::Auto,
        }
    }
}

/// The subcommands of `artifacts`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the catalog and the state of the cache
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Fetch everything that a cluster needs, so that it starts quickly
    Fetch {
        /// The version of Kubernetes
        #[arg(long, value_name = "VERSION", default_value = "stable")]
        kubernetes_version: String,

        #[command(flatten)]
        source: Source,

        /// Take all artifacts from this bundle
        #[arg(long, value_name = "FILE", conflicts_with = "from")]
        bundle: Option<PathBuf>,

        /// Include the kernel for virtual machines
        #[arg(long)]
        vm: bool,

        /// Include the artifacts of these addons, or "all"
        #[arg(long, value_name = "ADDONS", value_delimiter = ',')]
        addons: Vec<String>,

        /// Include the programs that kcl runs for you: Helm
        #[arg(long)]
        tools: bool,

        /// First compare the digests of everything in the cache; damaged entries are recreated
        #[arg(long)]
        verify: bool,
    },
    /// Write the digests of the projects' releases: `make pins`
    #[command(hide = true)]
    Pin {
        /// The file
        #[arg(long, value_name = "FILE", default_value = "images/pins.toml")]
        to: PathBuf,

        /// Only these artifacts
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        #[command(flatten)]
        source: Source,
    },
    /// Remove artifacts of other versions that no cluster uses
    Clean {
        /// Remove all artifacts that no cluster uses, even those of this version
        #[arg(long)]
        all: bool,

        /// With --all, also remove artifacts in use; clusters keep running, but cannot be started again
        #[arg(long, requires = "all")]
        force: bool,

        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::List { output } => list(app, *output)?,
        Verb::Fetch { kubernetes_version, source, bundle, vm, addons, tools, verify } => {
            let artifacts = Artifacts::open(&app.store.paths().cache, source.options())?;
            let images = cluster::addon_images(addons)?;
            if *verify {
                for (entry, why) in artifacts.verify()? {
                    app.progress.warn(format!("{entry} is damaged and will be recreated: {why}"));
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
        Verb::Pin { to, names, source } => {
            let artifacts = Artifacts::open(&app.store.paths().cache, source.options())?;
            let pins = cluster::interruptible(artifacts.pins(names, &app.progress)).await?;
            let written = kcl_files::write(to, pins.text().as_bytes(), 0o644);
            written.map_err(|error| {
                Error::new(Id::FileUnusable, format!("{} cannot be written: {error}", to.display())).source(error)
            })?;
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
                output::line(&format!("Removed {entry}"));
            }
            for entry in &cleaned.in_use {
                output::line(&format!("Kept {entry}: a cluster uses it"));
            }
            output::line(&format!("Freed {}", mib(cleaned.bytes)));
            Ok(())
        }
    }
}
