//! Checks comments, messages and documents against the guide's rules on words.

mod guide;

use std::fs;
use std::path::Path;
use std::process::Command;

/// Paths that do not keep to the guide yet, by their starts. The list may only shrink.
const NOT_YET: &[&str] = &[];

/// The files that are read, by the ends of their names.
const READ: [&str; 13] =
    [".rs", ".md", ".js", ".mjs", ".html", ".css", ".py", ".go", ".sh", ".toml", ".yaml", ".yml", ".ci/run"];

/// The files that are read, by their whole names.
const ALSO_READ: [&str; 2] = ["Makefile", "vagrant/Vagrantfile"];

/// This check, which has to name the words.
const SELF: &str = "tests/house/words/";

#[test]
fn comments_and_texts_keep_to_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tracked = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().expect("git ls-files runs");
    assert!(tracked.status.success(), "git ls-files: {}", String::from_utf8_lossy(&tracked.stderr));
    let tracked = String::from_utf8(tracked.stdout).expect("names are UTF-8");
    let mut findings = Vec::new();
    for name in tracked.split_terminator('\0') {
        let is_read = READ.iter().any(|end| name.ends_with(end)) || ALSO_READ.contains(&name);
        if !is_read || name.starts_with(SELF) || NOT_YET.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        // A file that is deleted but not committed yet has no text.
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        let mut found = guide::forbidden(&text);
        if name.ends_with(".rs") {
            found.extend(guide::doc_comments(&text));
        }
        found.sort();
        findings.extend(found.into_iter().map(|(line, finding)| format!("{name}:{line}: {finding}")));
    }
    assert!(findings.is_empty(), "{} places do not keep to the guide:\n{}", findings.len(), findings.join("\n"));
}
