//! The source `build`: artifacts are built from the languages' package registries, with the ordinary clients.

mod debian;
mod follow;
mod go;
mod kernel;
mod modules;
mod needs;
mod package;

use std::path::{Path, PathBuf};

pub(super) use follow::KEPT;
pub(super) use needs::check;

use super::catalog::{Artifact, Recipe};
use super::job::Job;
use crate::error::{Error, Id, Result};

/// Returns the release and the packages of Debian in a definition below `images/node`.
pub(super) fn packages(definition: &str, arch: &str) -> Result<(String, Vec<String>)> {
    match definition {
        "kernel.toml" => kernel::packages(definition, arch),
        _ => debian::packages(definition),
    }
}

/// Builds an artifact into `partial`. Returns the tools and their versions.
pub(super) async fn build(artifact: &Artifact, partial: &Path, logs: &Path, job: &Job<'_>) -> Result<Vec<String>> {
    let build = artifact.definition.build.as_ref().ok_or_else(|| {
        Error::new(
            Id::ArtifactUnavailable,
            format!("{} cannot be built: it has no build instructions", artifact.title()),
        )
    })?;
    let mut directories = vec![partial.to_owned()];
    if matches!(build.recipe, Recipe::Go(_)) {
        directories.extend(go::caches().await?);
    }
    for directory in directories {
        if let Some(warning) = needs::space(&directory, build.disk_mib)? {
            job.progress.warn(warning);
            break;
        }
    }
    let log: PathBuf = logs.join(format!("build-{}-{}.log", artifact.name(), artifact.version));
    // The log is that of the last build only.
    if let Err(error) = std::fs::remove_file(&log)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(super::cache::trouble("remove", &log, error));
    }
    let origin = match &build.recipe {
        Recipe::Go(recipe) => job.ticking(go::build(artifact, recipe, partial, &log, job)).await?,
        Recipe::Kernel { definition } => job.ticking(kernel::build(artifact, definition, partial, &log, job)).await?,
        Recipe::Package { suite, package, files } => {
            job.ticking(package::build(artifact, (suite, package, files), partial, &log, job)).await?
        }
        Recipe::Debian { definition } => job.ticking(debian::build(artifact, definition, partial, &log, job)).await?,
    };
    for (link, target) in &build.links {
        let path = partial.join(link);
        std::os::unix::fs::symlink(target, &path).map_err(|error| super::cache::trouble("make", &path, error))?;
    }
    Ok(origin)
}
