//! Answers without what the page has no use for. More than half of a list of pods are notes of who set which field and what
//! every pod has, and the browser takes longer over them than the API server.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::HeaderName;
use serde_json::value::RawValue;

/// In which header the page names the members of a document that it does without, as in
/// `items.metadata.managedFields,items.spec.volumes`. What is in an array has the path of the array.
pub(crate) const OMIT: HeaderName = HeaderName::from_static("x-omit");

/// Members by their names; one that is left out has none of its own.
#[derive(Default)]
pub(crate) struct Omitted(BTreeMap<String, Omitted>);

impl Omitted {
    /// What a request names, if it names anything.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Omitted> {
        let mut all = Omitted::default();
        for path in headers.get(OMIT)?.to_str().ok()?.split(',') {
            path.split('.').fold(&mut all, |at, name| at.0.entry(name.to_owned()).or_default());
        }
        Some(all)
    }

    /// The document without them; none where it is no JSON.
    pub(crate) fn leave_out(&self, document: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::with_capacity(document.len());
        self.write(serde_json::from_slice(document).ok()?, &mut kept).ok()?;
        Some(kept)
    }

    fn write(&self, value: &RawValue, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text)?;
                to.push(b'[');
                for (index, value) in values.into_iter().enumerate() {
                    to.extend((index > 0).then_some(b','));
                    self.write(value, to)?;
                }
                to.push(b']');
            }
            Some(b'{') => {
                let members: BTreeMap<&str, &RawValue> = serde_json::from_str(text)?;
                let wanted = |name: &str| self.0.get(name).is_none_or(|omitted| !omitted.0.is_empty());
                to.push(b'{');
                for (index, (name, value)) in members.into_iter().filter(|(name, _)| wanted(name)).enumerate() {
                    to.extend((index > 0).then_some(b','));
                    to.push(b'"');
                    to.extend_from_slice(name.as_bytes());
                    to.extend_from_slice(b"\":");
                    match self.0.get(name) {
                        Some(omitted) => omitted.write(value, to)?,
                        None => to.extend_from_slice(value.get().as_bytes()),
                    }
                }
                to.push(b'}');
            }
            _ => to.extend_from_slice(text.as_bytes()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave_out(paths: &'static str, document: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(OMIT, http::HeaderValue::from_static(paths))]);
        let kept = Omitted::of(&headers).expect("paths").leave_out(document.as_bytes());
        kept.map(|kept| String::from_utf8(kept).expect("text"))
    }

    #[test]
    fn members_go_by_their_paths_and_all_else_stays() {
        let list = r#"{"items":[{"a":{"x":"},","y":[1]},"b":2},{"a":{"x":{}}}],"kind":"List","a":{"x":"é\"]"}}"#;
        let kept = r#"{"a":{"x":"é\"]"},"items":[{"a":{"y":[1]}},{"a":{}}],"kind":"List"}"#;
        assert_eq!(leave_out("items.a.x,items.b,items.kind.none", list).as_deref(), Some(kept));
        assert_eq!(leave_out("items.a", r#"{"items":null}"#).as_deref(), Some(r#"{"items":null}"#));
        assert_eq!(leave_out("items.a", r#"{"items":["#), None);
        assert!(Omitted::of(&HeaderMap::new()).is_none());
    }
}
