//! A small file system of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Output;

/// A tmpfs that is there as long as this.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of this size at a directory that is made.
    pub(crate) fn new(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&path).expect("a directory to mount at");
        let options = format!("size={size},mode=755");
        Output::of(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "kcl-test"]).arg(&path)).ok();
        Tmpfs(path)
    }

    /// Nothing can be written to it any more.
    pub(crate) fn read_only(&self) {
        Output::of(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0)).ok();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let output = Output::of(Command::new("umount").arg(&self.0));
        if !output.succeeded() {
            eprintln!("{output}");
        }
    }
}
