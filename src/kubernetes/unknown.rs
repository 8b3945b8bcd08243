//! Fields that the API does not know. Server-side apply refuses an object with one, where a create only warns of it.

use serde_json::Value;

use super::field_path::{self, Items};

/// The complaint of server-side apply, after the path of a field (structured-merge-diff, `typed/validate.go`).
const COMPLAINT: &str = ": field not declared in schema";

/// Removes the fields of an object that the API server complains of. Returns a warning for each, in the API server's words.
pub(super) fn remove(object: &mut Value, message: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for line in message.lines().filter_map(|line| line.strip_suffix(COMPLAINT)) {
        // A single complaint stands behind the name of the object, and several of them on lines of their own.
        let path = line.rfind(": .").map_or(line, |at| &line[at + 2..]).trim();
        if field_path::remove(object, path, Items::All) {
            warnings.push(format!("unknown field \"{}\"", path.trim_start_matches('.')));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_the_api_does_not_know_are_removed() {
        let mut object = json!({"spec": {"colour": "blue", "containers": [
            {"name": "a", "shape": 1, "ports": [{"containerPort": 80, "shape": 1}]},
            {"name": "b]", "shape": 2},
        ], "rules": [{"shape": 1}, {"shape": 2}]}});
        let one =
            "failed to create typed patch object (own/a; /v1, Kind=Pod): .spec.colour: field not declared in schema";
        assert_eq!(remove(&mut object, one), ["unknown field \"spec.colour\""]);
        assert_eq!(object["spec"]["colour"], Value::Null);
        let several = "failed to create typed patch object (own/a; /v1, Kind=Pod): errors:\n  \
            .spec.containers[name=\"b]\"].shape: field not declared in schema\n  \
            .spec.containers[name=\"a\"].ports[containerPort=80,protocol=\"TCP\"].shape: field not declared in schema\n  \
            .spec.rules[1].shape: field not declared in schema\n  \
            .spec.replicas: expected numeric (int or float), got string";
        let warnings = remove(&mut object, several);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(warnings[0], "unknown field \"spec.containers[name=\"b]\"].shape\"");
        let left = json!({"spec": {"containers": [
            {"name": "a", "shape": 1, "ports": [{"containerPort": 80}]}, {"name": "b]"},
        ], "rules": [{"shape": 1}, {}]}});
        assert_eq!(object, left);
        assert!(remove(&mut object, one).is_empty(), "it is not there any more");
        assert!(remove(&mut object, "Internal error occurred").is_empty());
    }
}
