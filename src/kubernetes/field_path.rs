//! Paths of fields as the API server writes them: `.spec.containers[name="main"].ports[0].colour`
//! (structured-merge-diff, `fieldpath.Path`).

use serde_json::Value;

/// The items of a list that a path reaches, if several fit.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Items {
    First,
    All,
}

/// Selects items of a list.
enum Selector {
    /// The item at this place.
    Index(usize),
    /// The items that have these fields, or that are this value if the key is empty.
    Fields(Vec<(String, Value)>),
}

/// Removes the field or item at a path. Returns false if the value lacks it, or if the path has another form.
pub(super) fn remove(value: &mut Value, path: &str, items: Items) -> bool {
    if let Some(rest) = path.strip_prefix('.') {
        let Some(map) = value.as_object_mut() else { return false };
        // A key may itself have dots, which the path does not quote: the longest one that fits is meant.
        let fits = |key: &&String| {
            rest.strip_prefix(key.as_str()).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let Some(key) = map.keys().filter(fits).max_by_key(|key| key.len()).cloned() else { return false };
        return match &rest[key.len()..] {
            "" => map.shift_remove(&key).is_some(),
            after => map.get_mut(&key).is_some_and(|value| remove(value, after, items)),
        };
    }
    let (Some(list), Some((selector, after))) = (value.as_array_mut(), split(path)) else { return false };
    let fitting =
        list.iter().enumerate().filter(|(index, item)| selector.selects(*index, item)).map(|(index, _)| index);
    let most = if items == Items::First { 1 } else { usize::MAX };
    let fitting: Vec<usize> = fitting.take(most).collect();
    let mut removed = false;
    // The last one first, so that the places of the others stay.
    for index in fitting.into_iter().rev() {
        removed |= match after {
            "" => {
                list.remove(index);
                true
            }
            after => remove(&mut list[index], after, items),
        };
    }
    removed
}

/// Splits `[name="a"].image` after the bracket that is not in quotes.
fn split(path: &str) -> Option<(Selector, &str)> {
    let inner = path.strip_prefix('[')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.find(|character: char| {
        let ends = character == ']' && !quoted;
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })?;
    Some((Selector::parse(&inner[..end])?, &inner[end + 1..]))
}

impl Selector {
    /// Parses a place (`0`), fields (`name="main"`, or `containerPort=80,protocol="TCP"`), or a value (`="y"`).
    fn parse(text: &str) -> Option<Self> {
        if let Ok(index) = text.parse() {
            return Some(Selector::Index(index));
        }
        let mut fields = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (key, value) = rest.split_once('=')?;
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
            fields.push((key.to_owned(), values.next()?.ok()?));
            rest = value[values.byte_offset()..].trim_start_matches(',');
        }
        Some(Selector::Fields(fields))
    }

    /// Returns true if an item is selected. A field that an item lacks has its default value, so it is passed over.
    fn selects(&self, index: usize, item: &Value) -> bool {
        match self {
            Selector::Index(wanted) => *wanted == index,
            Selector::Fields(fields) => fields.iter().all(|(key, value)| match key.as_str() {
                "" => item == value,
                key => item.is_object() && item.get(key).is_none_or(|own| own == value),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_value_at_a_path_is_removed() {
        let mut object = json!({
            "metadata": {"annotations": {"a.b/c": "1", "a": "2"}, "finalizers": ["x", "y"]},
            "data": {"Corefile": "text"},
            "spec": {
                "replicas": 1,
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}],
                "containers": [{"name": "a]", "image": "i"}, {"name": "b\"", "image": "i"}],
            },
        });
        for path in [
            ".data.Corefile",
            ".spec.replicas",
            ".metadata.annotations.a.b/c",
            ".metadata.finalizers[=\"y\"]",
            ".spec.ports[port=53,protocol=\"TCP\"].name",
            ".spec.containers[name=\"b\\\"\"].image",
            ".spec.containers[0].name",
        ] {
            assert!(remove(&mut object, path, Items::First), "{path}");
            assert!(!remove(&mut object, path, Items::First), "{path} is gone");
        }
        let left = json!({
            "metadata": {"annotations": {"a": "2"}, "finalizers": ["x"]},
            "data": {},
            "spec": {
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 53}],
                "containers": [{"image": "i"}, {"name": "b\""}],
            },
        });
        assert_eq!(object, left);
        for path in [".spec.none", ".spec.containers[name=\"c\"].name", ".spec.containers[0", "x", ""] {
            assert!(!remove(&mut object, path, Items::First), "{path}");
        }
    }

    #[test]
    fn of_several_items_the_first_or_all_are_reached() {
        let ports = json!([{"port": 53, "a": 1}, {"port": 54, "a": 1}, {"port": 53, "protocol": "UDP", "a": 1}]);
        let path = "[port=53,protocol=\"UDP\"].a";
        let (mut first, mut all) = (ports.clone(), ports);
        assert!(remove(&mut first, path, Items::First));
        assert_eq!(first[0], json!({"port": 53}));
        assert_eq!(first[2]["a"], 1);
        assert!(remove(&mut all, path, Items::All));
        assert_eq!(all, json!([{"port": 53}, {"port": 54, "a": 1}, {"port": 53, "protocol": "UDP"}]));
        assert!(remove(&mut all, "[port=53]", Items::All));
        assert_eq!(all, json!([{"port": 54, "a": 1}]));
    }
}
