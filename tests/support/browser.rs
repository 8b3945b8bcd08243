//! The driver of Chromium: Node.js with playwright-core.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Output;

/// A directory with playwright-core and the scripts of `tests/console`, as npm's lock file has it. Kept for the next run.
pub(crate) fn tools() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&place).expect("a directory");
    for entry in std::fs::read_dir(&source).expect("the test's directory").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::copy(entry.path(), place.join(entry.file_name())).expect("a copy");
        }
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&place);
    Output::of(&mut npm).ok();
    place
}
