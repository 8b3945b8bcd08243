//! `kcl artifacts`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::artifacts::{Artifacts, Options, Want, Way};
use crate::cluster::App;
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
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE", help_heading = "Artifacts")]
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
    },
}

/// Does it.
pub async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Fetch { kubernetes_version, source, bundle } => {
            let artifacts = Artifacts::open(&app.store.paths().cache, source.options())?;
            let want = Want { way: source.way(bundle.as_deref()), ..Want::cluster(kubernetes_version) };
            artifacts.ensure(&want, &app.progress).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
