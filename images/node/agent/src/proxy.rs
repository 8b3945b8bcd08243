//! The proxy of the node spec, as variables in a file: it may change while the node runs.

use std::path::Path;

use kcl_node_spec::NodeSpec;

use crate::error::Result;
use crate::{files, paths};

/// The name of the file below [`paths::RENDERED`].
pub(crate) const FILE: &str = "proxy";

/// Writes the variables.
pub(crate) fn write(spec: &NodeSpec) -> Result<()> {
    let variables = spec.proxy.iter().flat_map(|proxy| proxy.variables());
    let text: String = variables.map(|(name, value)| format!("{name}={value}\n")).collect();
    files::write(&paths::rendered(FILE), text.as_bytes(), 0o600)
}

/// Reads the variables.
pub(crate) fn variables() -> Vec<(String, String)> {
    read(&paths::rendered(FILE))
}

fn read(path: &Path) -> Vec<(String, String)> {
    let text = files::read(path).unwrap_or_default();
    let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_have_equal_signs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy");
        assert!(read(&path).is_empty());
        std::fs::write(&path, "HTTP_PROXY=http://a:b=c@proxy:3128\nNO_PROXY=localhost,.svc\n").unwrap();
        let wanted = [("HTTP_PROXY", "http://a:b=c@proxy:3128"), ("NO_PROXY", "localhost,.svc")];
        assert_eq!(read(&path), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
