use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Deserializer, Value, json};

use super::*;

/// The files with kubectl's answers, which `expect.sh` there writes.
const EXPECTED: &str = "expected";

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/manifests");
    let files = fs::read_dir(folder).expect("the fixtures").map(|entry| entry.expect("a file").path());
    files.filter(|path| is_manifest(path)).collect()
}

fn read(text: impl AsRef<[u8]>) -> Vec<Value> {
    let objects = documents("a.yaml", text).unwrap_or_else(|error| panic!("{error}"));
    objects.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

fn refused(text: impl AsRef<[u8]>) -> String {
    let error = documents("a.yaml", text).expect_err("it is refused");
    assert_eq!(error.id, Id::ManifestInvalid);
    error.message
}

/// Returns numbers as those of 64 bits with a point where kubectl has them, which prints them without one.
fn as_kubectl(mut value: Value) -> Value {
    scalar::as_read_from_json(&mut value);
    value
}

#[test]
fn objects_are_those_of_kubectl() {
    let files = fixtures();
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let expected = fs::read_to_string(format!("{}.{EXPECTED}", file.display())).expect("kubectl's answer");
        let expected = Deserializer::from_str(&expected).into_iter::<Value>().map(|value| as_kubectl(value.unwrap()));
        let (found, expected) = (read(fs::read(&file).unwrap()), expected.collect::<Vec<_>>());
        assert_eq!(found.len(), expected.len(), "{}", file.display());
        for (found, expected) in found.iter().zip(&expected) {
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(&found[key], value, "{}: {key}", file.display());
            }
            assert_eq!(found, expected, "{}", file.display());
        }
    }
}

#[test]
fn encodings_and_ends_of_lines_make_no_difference() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/manifests/documents.yaml"));
    let text = text.unwrap();
    let expected = read(&text);
    let windows = text.replace('\n', "\r\n");
    let wide = |mark: u16, bytes: fn(u16) -> [u8; 2]| {
        std::iter::once(mark).chain(text.encode_utf16()).flat_map(bytes).collect::<Vec<u8>>()
    };
    assert_eq!(read(&windows), expected);
    assert_eq!(read(format!("\u{feff}{windows}")), expected);
    assert_eq!(read(wide(0xfeff, u16::to_le_bytes)), expected);
    assert_eq!(read(wide(0xfeff, u16::to_be_bytes)), expected);
    let json = read(format!("\u{feff}{}", json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}})));
    assert_eq!(json[0]["metadata"]["name"], "a");
}

#[test]
fn documents_have_no_limits_of_size() {
    let head = |name: usize| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a-{name}}}\ndata:\n");
    let many: Vec<String> = (0..3000).map(|number| format!("{}  n: \"{number}\"\n", head(number))).collect();
    assert_eq!(read(many.join("---\n")).len(), 3000);
    let keys: String = (0..100_000).map(|number| format!("  key-{number}: value\n")).collect();
    let large = head(0) + &keys + &format!("  long: {}\n", "x".repeat(3_000_000));
    assert_eq!(read(large)[0]["data"].as_object().unwrap().len(), 100_001);
}

#[test]
fn lists_may_hold_lists() {
    let inner = json!({"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": {"name": "inner"}}]});
    let own = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "outer"}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [inner, own]});
    let found = read(list.to_string());
    let names: Vec<_> = found.iter().map(|object| (&object["kind"], &object["metadata"]["name"])).collect();
    assert_eq!(json!(names), json!([["Secret", "outer"], ["ConfigMap", "inner"]]));
    assert!(read("apiVersion: v1\nkind: List\nitems:\n").is_empty());
}

#[test]
fn nothing_is_no_object() {
    for text in ["", "\n", "---\n", "# a\n---\n# b\n", "null", "~\n---\n", "\u{feff}", "--- # a", "..."] {
        assert!(read(text).is_empty(), "{text:?}");
    }
}

#[test]
fn errors_name_the_line_and_the_finding() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    for (text, place, finding) in [
        (format!("{object}---\na: b: c\n"), "line 5", "not valid YAML"),
        (format!("{object}--- text\n"), "line 4", "\"text\" follows the separator"),
        (format!("{object}-----BEGIN CERTIFICATE-----\n"), "line 4", "follows the separator"),
        (format!("{object}data: *x\n"), "line 4", "not valid YAML"),
        (format!("{object}data: &x {{a: *x}}\n"), "line 4", "contains itself"),
        (format!("{object}data: .inf\n"), "line 4", "no form in JSON"),
        (format!("{object}data: !!int x\n"), "line 4", "\"x\" is not of the type !!int"),
        (format!("{object}~: x\n"), "line 4", "a key is null"),
        (format!("{object}? [a]\n: x\n"), "line 4", "a key is a list"),
        (format!("{object}<<: x\n"), "line 4", "<< merges a mapping"),
        (format!("{object}data: a\0b\n"), "line 4", "NUL"),
        (format!("{object}\tdata: x\n"), "line 4", "not valid YAML"),
        (format!("{object}---\n\n# a\nsome text\n"), "line 7", "not an object but \"some text\""),
        (format!("{object}---\n- a\n"), "line 5", "not an object"),
        (format!("{object}---\nkind: A\nmetadata: {{name: a}}\n"), "line 5", "needs apiVersion, a text; found null"),
        ("apiVersion: v1\nkind: ConfigMap\n".to_owned(), "line 1", "ConfigMap needs metadata.name"),
        ("apiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\n".to_owned(), "line 1", "Job a-: generateName"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {b: 1}}\n".to_owned(),
            "line 1",
            "A a: in metadata: invalid type: integer `1`",
        ),
        ("{\"apiVersion\": \"v1\",}".to_owned(), "line 1", "needs kind"),
        (format!("{{}}{{}}\n{object}"), "line 2", "not valid JSON"),
    ] {
        let said = refused(&text);
        assert!(said.starts_with(&format!("a.yaml, {place}: ")) && said.contains(finding), "{text}: {said}");
    }
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = "apiVersion: v1\nkind: A\nmetadata: {name: a}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for number in 1..20 {
        let aliases = vec![format!("*a{}", number - 1); 10].join(", ");
        text.push_str(&format!("a{number}: &a{number} [{aliases}]\n"));
    }
    assert!(refused(text).contains("aliases stand for too many values"));
}
