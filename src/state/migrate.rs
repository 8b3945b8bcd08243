//! The history of `state.json`: every schema that a released kcl wrote, and the step from each to the next. A cluster that
//! an older kcl created is read by the newer one; the file is rewritten by the first verb that saves it.
//!
//! `tests/fixtures/state/` holds a file of each schema. A change of the state's form adds a step here and a file there.

use serde_json::{Map, Value};

/// A step from one schema to the next.
type Step = fn(&mut Map<String, Value>);

/// The steps in order: the first makes schema 2 of schema 1.
const STEPS: [Step; 1] = [nodes_have_machines];

/// The schema of `state.json` that this code writes.
pub const SCHEMA: u32 = STEPS.len() as u32 + 1;

/// Returns a state of any known schema in the form of [`SCHEMA`], or a text that says why it cannot be read.
pub(super) fn migrate(mut state: Value) -> Result<Value, String> {
    let schema = state.get("schema").and_then(Value::as_u64);
    let schema = schema.ok_or("is damaged: it has no number under \"schema\"")?;
    let newer = || format!("has schema {schema}, which another version of kcl wrote; this one reads 1 to {SCHEMA}");
    let done = usize::try_from(schema).ok().and_then(|schema| schema.checked_sub(1)).ok_or_else(newer)?;
    let steps = STEPS.get(done..).ok_or_else(newer)?;
    if let Value::Object(members) = &mut state {
        steps.iter().for_each(|step| step(members));
        members.insert("schema".to_owned(), SCHEMA.into());
    }
    Ok(state)
}

/// Schema 2: a node's machine has a name of its own, and each node knows its version and the artifacts it was made from.
/// Until then the cluster had one of each.
fn nodes_have_machines(state: &mut Map<String, Value>) {
    let artifacts = state.remove("artifacts").unwrap_or(Value::Null);
    let version = state.get("spec").and_then(|spec| spec.get("kubernetes-version")).cloned().unwrap_or(Value::Null);
    let nodes = state.get_mut("nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        let name = node.get("name").cloned().unwrap_or(Value::Null);
        node.insert("machine".to_owned(), name);
        node.insert("kubernetes-version".to_owned(), version.clone());
        node.insert("artifacts".to_owned(), artifacts.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::ClusterState;

    /// One file for each schema, the oldest first.
    const FIXTURES: [&str; SCHEMA as usize] =
        [include_str!("../../tests/fixtures/state/1.json"), include_str!("../../tests/fixtures/state/2.json")];

    fn read(text: &str) -> ClusterState {
        let value = serde_json::from_str(text).expect("a fixture is JSON");
        serde_json::from_value(migrate(value).expect("a fixture is known")).expect("a fixture is a state")
    }

    #[test]
    fn a_state_of_every_schema_is_read_as_the_newest() {
        let newest = read(FIXTURES[FIXTURES.len() - 1]);
        assert_eq!(newest.schema, SCHEMA);
        for (index, text) in FIXTURES.iter().enumerate() {
            let written: Value = serde_json::from_str(text).expect("a fixture is JSON");
            assert_eq!(written["schema"], index + 1);
            assert_eq!(read(text), newest, "schema {}", index + 1);
        }
    }

    #[test]
    fn the_newest_fixture_is_what_this_kcl_writes() {
        let text = FIXTURES[FIXTURES.len() - 1];
        let written = serde_json::to_string_pretty(&read(text)).expect("a state is JSON") + "\n";
        assert_eq!(written, text);
    }

    #[test]
    fn unknown_schemas_are_refused() {
        for schema in [json!(0), json!(SCHEMA + 1), json!("1"), json!(-1)] {
            assert!(migrate(json!({"schema": schema})).is_err(), "{schema}");
        }
    }
}
