//! Manifests: the objects that kubectl reads from the same bytes.
//!
//! kubectl splits a file into documents itself (`k8s.io/apimachinery/pkg/util/yaml`) and reads each by
//! `sigs.k8s.io/yaml`, which is YAML 1.1 as go-yaml 2 has it. So is it here, a step a file: `split` makes documents of a
//! file, `yaml` reads one, `scalar` gives plain scalars their types. `tests/fixtures/manifests` has kubectl's answers.

mod scalar;
mod split;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::VecDeque;
use std::path::Path;

use kube::api::DynamicObject;
use serde_json::Value;

pub use self::split::text;

use self::split::Document;
use crate::error::{Error, Id, Result};

/// The ends of the names of manifests, which are those that kubectl takes from a directory.
pub const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Returns true if a file is a manifest by the end of its name.
pub fn is_manifest(file: &Path) -> bool {
    file.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known))
}

/// Reads the objects of a manifest, YAML or JSON. Lists stand for their items. `origin` names the manifest in errors.
///
/// # Errors
/// `Usage` if it cannot be read, or has something that is not an object with a kind and a name.
pub fn documents(origin: &str, content: impl AsRef<[u8]>) -> Result<Vec<DynamicObject>> {
    let wrong = |problem: String| Error::new(Id::ManifestInvalid, format!("{origin}, {problem}"));
    let mut objects = Vec::new();
    for Document { line, value } in split::documents(content.as_ref()).map_err(wrong)? {
        let at_line = |problem: String| wrong(format!("line {line}: {problem}"));
        for item in items(value) {
            objects.push(object(item).map_err(at_line)?);
        }
    }
    Ok(objects)
}

/// Returns a document itself, or the items of a list. As for kubectl, everything with `items` is a list, whatever its
/// kind is, and its items need not repeat their kind.
fn items(document: Value) -> Vec<Value> {
    let (mut waiting, mut items) = (VecDeque::from([document]), Vec::new());
    while let Some(mut value) = waiting.pop_front() {
        let list = match value.get_mut("items") {
            Some(Value::Array(list)) => std::mem::take(list),
            Some(Value::Null) => Vec::new(),
            _ => {
                items.push(value);
                continue;
            }
        };
        waiting.extend(list.into_iter().map(|item| typed(item, &value)));
    }
    items
}

/// Gives an item of a list of one kind, such as a `ConfigMapList`, its kind.
fn typed(mut item: Value, list: &Value) -> Value {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let kind = text(list, "kind");
    if let (Some(fields), Some(of_items)) = (item.as_object_mut(), kind.strip_suffix("List"))
        && !of_items.is_empty()
        && !fields.contains_key("kind")
        && !fields.contains_key("apiVersion")
    {
        fields.insert("apiVersion".to_owned(), text(list, "apiVersion").into());
        fields.insert("kind".to_owned(), of_items.into());
    }
    item
}

/// Makes an object of a document; the error says what it lacks.
fn object(mut value: Value) -> std::result::Result<DynamicObject, String> {
    if !value.is_object() {
        let found = value.to_string().chars().take(60).collect::<String>();
        return Err(format!("a document is not an object but {found}"));
    }
    let kind = value["kind"].as_str().unwrap_or("object").to_owned();
    for key in ["apiVersion", "kind"] {
        if value[key].as_str().is_none_or(str::is_empty) {
            return Err(format!("a document needs {key}, a text; found {}", value[key]));
        }
    }
    let name = match &value["metadata"]["name"] {
        Value::String(name) => format!("{kind} {name}"),
        _ => kind,
    };
    // kubectl leaves them out: templates of charts make labels and annotations without a value.
    for path in ["/metadata/labels", "/metadata/annotations"] {
        if let Some(Value::Object(fields)) = value.pointer_mut(path) {
            fields.retain(|_, value| !value.is_null());
        }
    }
    let object: DynamicObject =
        serde_json::from_value(value).map_err(|error| format!("{name}: in metadata: {error}"))?;
    match (&object.metadata.name, &object.metadata.generate_name) {
        (Some(name), _) if !name.is_empty() => Ok(object),
        // A second start would make a second object.
        (_, Some(start)) => {
            Err(format!("{name} {start}: generateName cannot be applied, only created; give it a name"))
        }
        _ => Err(format!("{name} needs metadata.name")),
    }
}
