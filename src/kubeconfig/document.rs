//! The contents of a kubeconfig as a tree of values. Only kcl's own entries are changed.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::error::{Error, Id, Result};
use crate::kubeconfig::failure::error;
use crate::kubeconfig::sec1;

/// The cluster and the credentials of one user; all its entries in a kubeconfig bear the name of the profile.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The cluster's name.
    pub profile: &'a str,
    /// The API's URL.
    pub server: &'a str,
    /// The cluster's CA as PEM.
    pub ca_pem: &'a str,
    /// The user's certificate as PEM.
    pub cert_pem: &'a str,
    /// The key of the user's certificate as PEM.
    pub key_pem: &'a str,
}

/// The lists of named entries, each with the key of an entry's content.
const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("users", "user"), ("contexts", "context")];
/// The name of the extension that marks kcl's own entries.
const EXTENSION: &str = "kcl";

/// The contents of a kubeconfig.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    path: PathBuf,
    root: Map<String, Value>,
}

impl Document {
    /// Reads the kubeconfig at `path`. It is empty if the file is missing or empty.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Document::parse(path, &text),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Document::parse(path, ""),
            Err(cause) => Err(error(path, format!("it cannot be read: {cause}")).source(cause)),
        }
    }

    /// Parses the text of a kubeconfig; `path` is for messages.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        let invalid = |problem: &str| {
            error(path, format!("it is not valid: {problem}"))
                .hint("fix it, or name another file with KUBECONFIG")
                .hint(format!("`kubectl config view --kubeconfig {}` shows how kubectl reads it", path.display()))
        };
        // An excerpt in a message could show a key.
        let options = serde_saphyr::options! { with_snippet: false };
        let value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|e| invalid(&e.to_string()))?;
        let root = match value {
            Value::Null => Map::new(),
            Value::Object(root) => root,
            _ => return Err(invalid("it is not a mapping")),
        };
        if root.get("kind").is_some_and(|kind| kind != "Config") {
            return Err(invalid("its kind is not Config"));
        }
        for (list, content) in LISTS {
            match root.get(list) {
                None | Some(Value::Null) => {}
                Some(Value::Array(entries)) => {
                    for (index, entry) in entries.iter().enumerate() {
                        if !entry["name"].is_string() || !(entry[content].is_object() || entry[content].is_null()) {
                            return Err(invalid(&format!("entry {} of {list} has no name or no {content}", index + 1)));
                        }
                    }
                }
                Some(_) => return Err(invalid(&format!("{list} is not a list"))),
            }
        }
        match root.get("current-context") {
            None | Some(Value::Null | Value::String(_)) => Ok(Document { path: path.to_owned(), root }),
            Some(_) => Err(invalid("current-context is not a text")),
        }
    }

    /// Returns the document as text that parses to the same document.
    pub(super) fn to_yaml(&self) -> Result<String> {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&self.root, options)
            .map_err(|cause| error(&self.path, format!("it cannot be written: {cause}")))?;
        // This text holds all contexts of the user, so it is worth reading it once more.
        match Document::parse(&self.path, &text)? == *self {
            true => Ok(text),
            false => Err(error(&self.path, "it holds something that cannot be written back as it was")),
        }
    }

    /// Returns true if one of the three entries exists, by whatever program.
    pub(super) fn has_entry(&self, name: &str) -> bool {
        LISTS.iter().any(|(list, _)| self.find(list, name).is_some())
    }

    /// Returns true if one of the three entries exists and is kcl's own.
    pub(super) fn has_own_entry(&self, name: &str) -> bool {
        LISTS.iter().any(|(list, content)| self.find(list, name).is_some_and(|entry| is_ours(&entry[content])))
    }

    /// Returns true if a user of that name exists.
    pub(super) fn has_user(&self, name: &str) -> bool {
        self.find("users", name).is_some()
    }

    /// Returns the cluster and the user of a context.
    pub(super) fn context(&self, name: &str) -> Option<(String, String)> {
        let context = &self.find("contexts", name)?["context"];
        let text = |key: &str| context[key].as_str().unwrap_or_default().to_owned();
        Some((text("cluster"), text("user")))
    }

    /// Returns the URL of a cluster.
    pub(super) fn server(&self, name: &str) -> Option<String> {
        Some(self.find("clusters", name)?["cluster"]["server"].as_str().unwrap_or_default().to_owned())
    }

    /// Adds kcl's three entries, or replaces them. A namespace that the user added to the context stays.
    pub(super) fn put(&mut self, entry: &Entry<'_>) -> Result<()> {
        let name = entry.profile;
        for (list, content) in LISTS {
            if self.find(list, name).is_some_and(|entry| !is_ours(&entry[content])) {
                let found = error(&self.path, format!("it has an entry \"{name}\" under {list} that is not kcl's"));
                return Err(Error { id: Id::KubeconfigConflict, ..found }
                    .hint("use another name for the cluster with -p NAME")
                    .hint(format!(
                        "or rename or remove that entry, such as by `kubectl config delete-{content} {name}`"
                    )));
            }
        }
        self.root.entry("apiVersion").or_insert_with(|| json!("v1"));
        self.root.entry("kind").or_insert_with(|| json!("Config"));
        let extensions = json!([{ "name": EXTENSION, "extension": { "provider": "kcl" } }]);
        let cluster = json!({
            "certificate-authority-data": STANDARD.encode(entry.ca_pem),
            "extensions": extensions,
            "server": entry.server,
        });
        let user = json!({
            "client-certificate-data": STANDARD.encode(entry.cert_pem),
            "client-key-data": STANDARD.encode(sec1::of(entry.key_pem)),
            "extensions": extensions,
        });
        let mut context = match self.find("contexts", name) {
            Some(old) => old["context"].clone(),
            None => json!({ "extensions": extensions }),
        };
        context["cluster"] = json!(name);
        context["user"] = json!(name);
        for ((list, content), value) in LISTS.into_iter().zip([cluster, user, context]) {
            let entries = self.root.entry(list).or_insert_with(|| json!([]));
            if entries.is_null() {
                *entries = json!([]);
            }
            let Value::Array(entries) = entries else { continue };
            match entries.iter_mut().find(|entry| entry["name"] == name) {
                Some(entry) => entry[content] = value,
                None => entries.push(json!({ "name": name, content: value })),
            }
        }
        Ok(())
    }

    /// Makes a context the current one.
    pub(super) fn set_current_context(&mut self, name: &str) {
        self.root.entry("apiVersion").or_insert_with(|| json!("v1"));
        self.root.entry("kind").or_insert_with(|| json!("Config"));
        self.root.insert("current-context".to_owned(), json!(name));
    }

    /// Removes kcl's entries, and the current context if it was one of them.
    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        let foreign_context = self.find("contexts", name).is_some_and(|entry| !is_ours(&entry["context"]));
        for (list, content) in LISTS {
            if let Some(Value::Array(entries)) = self.root.get_mut(list) {
                entries.retain(|entry| entry["name"] != name || !is_ours(&entry[content]));
            }
        }
        if !foreign_context && self.root.get("current-context").is_some_and(|current| current == name) {
            self.root.insert("current-context".to_owned(), json!(""));
        }
        Ok(())
    }

    fn find(&self, list: &str, name: &str) -> Option<&Value> {
        self.root.get(list)?.as_array()?.iter().find(|entry| entry["name"] == name)
    }
}

/// Returns true if kcl made the content of an entry.
fn is_ours(content: &Value) -> bool {
    content["extensions"].as_array().is_some_and(|list| list.iter().any(|extension| extension["name"] == EXTENSION))
}
