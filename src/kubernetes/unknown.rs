//! Fields that the API does not know. Server-side apply refuses an object with one, where a create only warns of it.

use serde_json::Value;

/// The complaint of server-side apply, after the path of a field (structured-merge-diff, `typed/validate.go`).
const COMPLAINT: &str = ": field not declared in schema";

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    /// A field of an object.
    Field(String),
    /// The items of a list that have these fields.
    Items(Vec<(String, Value)>),
    /// The item of a list at this place.
    Place(usize),
}

/// Removes the fields of an object that the API server complains of. Returns a warning for each, in the API server's words.
pub(super) fn remove(object: &mut Value, message: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for line in message.lines().filter_map(|line| line.strip_suffix(COMPLAINT)) {
        // A single complaint stands behind the name of the object, and several of them on lines of their own.
        let path = line.rfind(": .").map_or(line, |at| &line[at + 2..]).trim();
        if steps(path).is_some_and(|steps| remove_at(object, &steps)) {
            warnings.push(format!("unknown field \"{}\"", path.trim_start_matches('.')));
        }
    }
    warnings
}

/// Parses a path such as `.spec.containers[name="main"].ports[0].colour`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(field) = rest.strip_prefix('.') {
            let end = field.find(['.', '[']).unwrap_or(field.len());
            steps.push(Step::Field(field[..end].to_owned()));
            rest = &field[end..];
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        let (mut quoted, mut escaped) = (false, false);
        let end = inner.find(|character: char| {
            let ends = character == ']' && !quoted;
            quoted ^= character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        })?;
        steps.push(match inner[..end].parse() {
            Ok(place) => Step::Place(place),
            Err(_) => Step::Items(keys(&inner[..end])?),
        });
        rest = &inner[end + 1..];
    }
    Some(steps)
}

/// Parses the keys of an item: `name="main"`, or `containerPort=80,protocol="TCP"`.
fn keys(text: &str) -> Option<Vec<(String, Value)>> {
    let mut keys = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
        keys.push((key.to_owned(), values.next()?.ok()?));
        rest = value[values.byte_offset()..].trim_start_matches(',');
    }
    Some(keys)
}

/// Removes the field at a path. Returns true if it was there.
fn remove_at(value: &mut Value, steps: &[Step]) -> bool {
    match (steps, value) {
        ([Step::Field(field)], Value::Object(fields)) => fields.shift_remove(field).is_some(),
        ([Step::Field(field), rest @ ..], Value::Object(fields)) => {
            fields.get_mut(field).is_some_and(|value| remove_at(value, rest))
        }
        ([Step::Place(place), rest @ ..], Value::Array(items)) => {
            items.get_mut(*place).is_some_and(|item| remove_at(item, rest))
        }
        ([Step::Items(keys), rest @ ..], Value::Array(items)) => {
            // A key that an item does not have has its default value.
            let meant = |item: &Value| keys.iter().all(|(key, value)| item.get(key).is_none_or(|found| found == value));
            let mut removed = false;
            for item in items.iter_mut().filter(|item| meant(item)) {
                removed |= remove_at(item, rest);
            }
            removed
        }
        _ => false,
    }
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
