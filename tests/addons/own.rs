//! An addon of one's own, as a user would have one, in the home of a story.

use std::path::{Path, PathBuf};

use crate::support::Home;

/// Copies the addon `name` of these tests to where the story may change it. Returns its folder.
pub(crate) fn copy(home: &Home, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/addons").join(name);
    let to = home.scratch().join(name);
    std::fs::create_dir_all(&to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the addon") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
    to
}
