//! The images that an addon uses: those that it names, and those in the objects that its templates and its chart make.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::chart::{Helm, template};
use super::material::Material;
use super::render::{Facts, chart_values, objects};
use super::selection::Selected;
use crate::error::Result;

/// Returns the references of an addon's images. Without a cluster: `facts` may have made-up values, and `archive` is that
/// of a chart in a registry.
pub async fn images(
    selected: &Selected,
    facts: &Facts,
    helm: &Helm,
    archive: Option<&Path>,
    kubernetes: &str,
) -> Result<Vec<String>> {
    let addon = &selected.addon;
    let mut images: BTreeSet<String> = addon.references()?.into_values().collect();
    let mut objects = objects(selected, facts, &Material::default())?;
    if let Some(chart) = &addon.description.chart {
        let values = chart_values(selected, facts)?;
        objects.extend(template(helm, addon, &chart.namespace, archive, &values, kubernetes).await?);
    }
    objects.iter().for_each(|object| collect(&object.data, &mut images));
    Ok(images.into_iter().collect())
}

/// Collects the values of all fields `image`, which custom resources have as well as pods, and of arguments such as
/// `--helper-image=REFERENCE`.
fn collect(value: &Value, images: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let image = fields.get("image");
            // A volume names its image one level below.
            let image = image.and_then(|image| image.as_str().or_else(|| image.get("reference")?.as_str()));
            images.extend(image.filter(|image| !image.is_empty()).map(str::to_owned));
            fields.values().for_each(|value| collect(value, images));
        }
        Value::Array(values) => {
            let arguments = values.iter().filter_map(Value::as_str).filter_map(|text| text.split_once('='));
            let named = arguments
                .filter(|(flag, image)| flag.starts_with("--") && flag.ends_with("-image") && !image.is_empty());
            images.extend(named.map(|(_, image)| image.to_owned()));
            values.iter().for_each(|value| collect(value, images));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_wherever_pods_take_them_from() {
        let object = json!({
            "spec": {
                "image": "example.org/operated:1",
                "template": { "spec": {
                    "initContainers": [{ "image": "example.org/first:1" }],
                    "containers": [{ "image": "example.org/web:1", "args": ["--solver-image=example.org/solver:1", "--image", "x"] }],
                    "volumes": [{ "image": { "reference": "example.org/files:1" } }],
                } },
            },
            "data": { "values": "image: example.org/text:1" },
        });
        let mut images = BTreeSet::new();
        collect(&object, &mut images);
        let images: Vec<_> = images.iter().map(|image| image.trim_start_matches("example.org/")).collect();
        assert_eq!(images, ["files:1", "first:1", "operated:1", "solver:1", "web:1"]);
    }
}
