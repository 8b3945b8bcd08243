//! The reader of manifests over manifests of others: those that Kubernetes and several operators ship, against kubectl's
//! own code for reading them. Needs Go and its module proxy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcl::kubernetes;
use serde_json::Value;

/// The modules whose files are read.
const MODULES: [&str; 5] = [
    "k8s.io/kubernetes@v1.37.2",
    "github.com/cert-manager/cert-manager@v1.21.2",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "github.com/kyverno/kyverno@v1.19.1",
    "github.com/argoproj/argo-cd/v2@v2.14.21",
];

#[test]
fn manifests_of_others_are_read_as_by_kubectl() {
    let files: Vec<PathBuf> = MODULES.into_iter().flat_map(|module| manifests(&download(module))).collect();
    let expected = by_kubectl(&files);
    let (mut read, mut wrong) = (0, Vec::new());
    for file in &files {
        let name = file.display().to_string();
        let expected = &expected[&name];
        let objects: Vec<Value> = expected["objects"].as_array().cloned().unwrap_or_default();
        if expected.get("error").is_some() || objects.iter().any(lacks_something) {
            continue;
        }
        match kubernetes::documents(&name, std::fs::read(file).expect("the file")) {
            Ok(found) => {
                let found = found.into_iter().map(|object| normal(serde_json::to_value(object).expect("JSON")));
                match found.eq(objects.into_iter().map(normal)) {
                    true => read += 1,
                    false => wrong.push(format!("{name}: other objects")),
                }
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{read} files are right, {} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(read > 2000, "only {read} of {} files", files.len());
}

/// Returns the folder of a Go module.
fn download(module: &str) -> PathBuf {
    let output = Command::new("go").args(["mod", "download", "-json", module]).output().expect("go runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer of go");
    answer["Dir"].as_str().unwrap_or_else(|| panic!("{module}: {}", answer["Error"])).into()
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.expect("a file"));
    let known = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|end| kubernetes::EXTENSIONS.iter().any(|known| end == *known))
    };
    files.map(walkdir::DirEntry::into_path).filter(known).collect()
}

/// Returns what kubectl reads, by file.
fn by_kubectl(files: &[PathBuf]) -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/long/kubectl");
    let reader = tempfile::tempdir().expect("a folder");
    let reader = reader.path().join("reader");
    let build = Command::new("go").arg("build").arg("-o").arg(&reader).current_dir(folder).status().expect("go runs");
    assert!(build.success());
    let mut answers = BTreeMap::new();
    for some in files.chunks(500) {
        let output = Command::new(&reader).args(some).output().expect("the reader runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8(output.stdout).expect("text").lines() {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            answers.insert(answer["file"].as_str().expect("a name").to_owned(), answer);
        }
    }
    answers
}

/// Returns true for files that are read but could not be applied: parts of charts, patches, configurations.
fn lacks_something(object: &Value) -> bool {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let texts = |value: &Value| {
        value.as_object().is_none_or(|fields| fields.values().all(|value| value.is_string() || value.is_null()))
    };
    let metadata = &object["metadata"];
    !text(&object["apiVersion"])
        || !text(&object["kind"])
        || !text(&metadata["name"])
        || !texts(&metadata["labels"])
        || !texts(&metadata["annotations"])
}

/// Leaves out empty metadata, and what only the API server writes, and gives numbers one form: kubectl's beyond 64 bits have no point.
fn normal(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // The last one left the API long ago.
        let written = ["ownerReferences", "managedFields", "clusterName"];
        metadata.retain(|key, value| !value.is_null() && !written.contains(&key.as_str()));
        for key in ["labels", "annotations"] {
            if let Some(fields) = metadata.get_mut(key).and_then(Value::as_object_mut) {
                fields.retain(|_, value| !value.is_null());
            }
        }
    }
    numbers(&mut object);
    object
}

fn numbers(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            let float = number.as_f64();
            *value = float.into();
        }
        Value::Array(list) => list.iter_mut().for_each(numbers),
        Value::Object(fields) => fields.values_mut().for_each(numbers),
        _ => {}
    }
}
