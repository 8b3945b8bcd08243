//! An addon's Helm chart: Helm renders it, and the objects are applied like all others.

use std::fs;
use std::path::Path;
use std::process::Command;

use kube::api::DynamicObject;

use super::definition::{Addon, Chart};
use crate::error::{Error, Family, Result};
use crate::kubernetes;

/// The template of the values, in the addon's folder.
pub const VALUES: &str = "values.yaml";

/// Renders the objects of an addon's chart, which is in its folder or in `archive`, with these values. Hooks are left out,
/// as nothing would run them. Objects without a namespace get the chart's.
///
/// # Errors
/// `Usage` if Helm fails.
pub fn render(
    addon: &Addon,
    chart: &Chart,
    archive: Option<&Path>,
    values: &str,
    helm: &Path,
) -> Result<Vec<DynamicObject>> {
    let place = format!("the chart of the addon {}", addon.name);
    let failed = |error: std::io::Error| {
        Error::new(Family::Internal, format!("{place} cannot be rendered: {error}")).source(error)
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    for (file, text) in &addon.chart {
        let path = folder.path().join("chart").join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).map_err(failed)?;
        fs::write(path, text).map_err(failed)?;
    }
    fs::write(folder.path().join(VALUES), values).map_err(failed)?;
    let output = Command::new(helm)
        .args(["template", &addon.name])
        .arg(archive.unwrap_or(Path::new("chart")))
        .args(["--include-crds", "--no-hooks"])
        .args(["--namespace", &chart.namespace, "--values", VALUES])
        .current_dir(folder.path())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(Family::Usage, format!("{place} cannot be rendered: {}", message.trim())));
    }
    let mut objects = kubernetes::documents(&place, &output.stdout)?;
    for object in &mut objects {
        // The API server removes it from objects that are not namespaced.
        object.metadata.namespace.get_or_insert_with(|| chart.namespace.clone());
    }
    Ok(objects)
}
