//! Preparation of the kernel before it sees a disk: its own file systems, and modules.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use kcl_node_spec::guest::MODULES;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

use crate::error::{Doing, Result};
use crate::files;

/// Mounts the file systems that the initrd itself needs.
pub(super) fn file_systems() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        files::create_dir(Path::new(target))?;
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .doing(|| format!("mount {kind} at {target}"))?;
    }
    Ok(())
}

/// Loads the modules of the initrd, in the order of their names, and deletes their files, which are in memory.
pub(super) fn modules() -> Result<()> {
    let read = || fs::read_dir(MODULES).doing(|| format!("read {MODULES}"));
    let mut paths: Vec<_> = read()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let what = || format!("load {}", path.display());
        let file = File::open(&path).doing(what)?;
        let none: &CStr = c"";
        match finit_module(&file, none, ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).doing(what),
        }
        fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Returns true if a word is on the kernel's command line.
pub(super) fn was_told(word: &str) -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.split_whitespace().any(|found| found == word))
}
