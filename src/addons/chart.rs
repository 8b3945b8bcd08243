//! An addon's Helm chart: Helm renders it, and what comes out is applied like all else.

use std::fs;
use std::path::Path;
use std::process::Command;

use kube::api::DynamicObject;

use super::definition::{Addon, Chart};
use crate::error::{Error, Family, Result};
use crate::kubernetes;

/// The template of the values, in the addon's folder.
pub const VALUES: &str = "values.yaml";

/// The objects of an addon's chart, which is in its folder or in `archive`, with these values. Hooks are left out: nothing
/// would run them. What says no namespace is in the chart's.
///
/// # Errors
/// `Usage` for what Helm refuses.
pub fn render(
    addon: &Addon,
    chart: &Chart,
    archive: Option<&Path>,
    values: &str,
    helm: &Path,
) -> Result<Vec<DynamicObject>> {
    let place = format!("the chart of the addon {}", addon.name);
    let trouble = |error: std::io::Error| {
        Error::new(Family::Internal, format!("{place} cannot be rendered: {error}")).source(error)
    };
    let folder = tempfile::tempdir().map_err(trouble)?;
    for (file, text) in &addon.chart {
        let path = folder.path().join("chart").join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).map_err(trouble)?;
        fs::write(path, text).map_err(trouble)?;
    }
    fs::write(folder.path().join(VALUES), values).map_err(trouble)?;
    let output = Command::new(helm)
        .args(["template", &addon.name])
        .arg(archive.unwrap_or(Path::new("chart")))
        .args(["--include-crds", "--no-hooks"])
        .args(["--namespace", &chart.namespace, "--values", VALUES])
        .current_dir(folder.path())
        .output()
        .map_err(trouble)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(Family::Usage, format!("{place} cannot be rendered: {}", said.trim())));
    }
    let mut objects = kubernetes::documents(&place, &String::from_utf8_lossy(&output.stdout))?;
    for object in &mut objects {
        // Of those that have none, the API server takes it away again.
        object.metadata.namespace.get_or_insert_with(|| chart.namespace.clone());
    }
    Ok(objects)
}
