//! Removes members that the page does not use from responses. More than half of a list of pods is managed fields and
//! defaults, and the browser takes longer to parse them than the API server to send them.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use http::header::HeaderName;
use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The header in which the page names the members of a document that it does not need, as in
/// `items.metadata.managedFields,items.spec.volumes`. Elements of an array have the path of the array.
pub(crate) const OMIT: HeaderName = HeaderName::from_static("x-omit");

/// The members to omit, as a tree by name; a leaf is omitted.
#[derive(Default)]
pub(crate) struct Omitted(BTreeMap<String, Omitted>);

/// The longest value of the header, in bytes, and the most parts of a path: the page uses less than half.
const LONGEST: usize = 4096;
const DEEPEST: usize = 16;

impl Omitted {
    /// Returns the members that a request names, if any. A header that no page of the console sends counts as missing: each
    /// part of a path is a call on the stack.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Omitted> {
        let text = headers.get(OMIT)?.to_str().ok().filter(|text| text.len() <= LONGEST)?;
        if text.split(',').any(|path| path.split('.').count() > DEEPEST) {
            return None;
        }
        let mut all = Omitted::default();
        for path in text.split(',') {
            path.split('.').fold(&mut all, |at, name| at.0.entry(name.to_owned()).or_default());
        }
        Some(all)
    }

    /// Returns the document without these members, or `None` if it is not JSON.
    pub(crate) fn leave_out(&self, document: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::with_capacity(document.len());
        let mut reader = serde_json::Deserializer::from_slice(document);
        Kept { omitted: self, to: &mut kept }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(kept)
    }
}

/// Writes the remaining members of a value while it is read: the page waits for it, so each byte is read once.
struct Kept<'a> {
    omitted: &'a Omitted,
    to: &'a mut Vec<u8>,
}

impl Kept<'_> {
    /// Closes an array or an object whose elements were each written with a trailing comma.
    fn close(self, bracket: u8) {
        self.to.pop_if(|last| *last == b',');
        self.to.push(bracket);
    }

    fn scalar<E: de::Error>(self, value: impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.to, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Kept<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.to.push(b'{');
        while let Some(name) = members.next_key::<&str>()? {
            let omitted = self.omitted.0.get(name);
            if omitted.is_some_and(|omitted| omitted.0.is_empty()) {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            self.to.push(b'"');
            self.to.extend_from_slice(name.as_bytes());
            self.to.extend_from_slice(b"\":");
            match omitted {
                Some(omitted) => members.next_value_seed(Kept { omitted, to: &mut *self.to })?,
                None => self.to.extend_from_slice(members.next_value::<&RawValue>()?.get().as_bytes()),
            }
            self.to.push(b',');
        }
        self.close(b'}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.to.push(b'[');
        while elements.next_element_seed(Kept { omitted: self.omitted, to: &mut *self.to })?.is_some() {
            self.to.push(b',');
        }
        self.close(b']');
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
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
        let kept = r#"{"items":[{"a":{"y":[1]}},{"a":{}}],"kind":"List","a":{"x":"é\"]"}}"#;
        assert_eq!(leave_out("items.a.x,items.b,items.kind.none", list).as_deref(), Some(kept));
        for other in ["null", "true", "-1", "18446744073709551615", "0.5", r#""\"a\"""#, "[]", "{}", "[[],{},1]"] {
            let document = format!(r#"{{"items":{other}}}"#);
            assert_eq!(leave_out("items.a", &document), Some(document));
        }
        assert_eq!(leave_out("items.a", r#"{"items":[]} {}"#), None);
        assert_eq!(leave_out("items.a", r#"{"items":["#), None);
        assert!(Omitted::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_header_that_no_page_sends_is_left_aside() {
        let of = |text: String| {
            let value = http::HeaderValue::try_from(text).expect("a header");
            Omitted::of(&HeaderMap::from_iter([(OMIT, value)])).is_some()
        };
        assert!(of("items.metadata.managedFields".to_owned()));
        assert!(!of("a.".repeat(DEEPEST) + "a"));
        assert!(!of("a.".repeat(200_000)));
        assert!(!of("a,".repeat(LONGEST)));
    }
}
