//! A user who is not root, and has no right but what a test gives.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its number, `nobody`'s.
pub(crate) const USER: u32 = 65_534;

/// Makes a small root file system of the user's own below `dir`, with the busybox of `rootfs`; a file in it only the user
/// can read.
pub(crate) fn own_rootfs(dir: &Path, rootfs: &Path) -> PathBuf {
    let own = dir.join("user/rootfs");
    for directory in ["bin", "etc", "proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir_all(own.join(directory)).unwrap();
    }
    let busybox =
        ["usr/bin/busybox", "bin/busybox"].map(|name| rootfs.join(name)).into_iter().find(|path| path.exists());
    fs::copy(busybox.expect("busybox in the root file system"), own.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "sleep", "dd", "mkdir", "mv", "rm", "chmod", "true"] {
        symlink("busybox", own.join("bin").join(name)).unwrap();
    }
    fs::write(own.join("etc/secret"), "the user's own").unwrap();
    fs::set_permissions(own.join("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let chown = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(dir.join("user")).status();
    assert!(chown.unwrap().success());
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    own
}

/// A test of this program that is switched off otherwise, as the user, to be run. The program is copied to `dir`.
pub(crate) fn as_user(dir: &Path, test: &str) -> Command {
    let user = USER.to_string();
    let mut child = Command::new("setpriv");
    child.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--bounding-set=-all"]);
    // Where the test itself lies may be closed to others. Copied by another process: a child of another test's
    // thread could inherit our descriptor for a moment, and what is open for writing cannot be run (ETXTBSY).
    let program = dir.join("test");
    let mut copy = Command::new("install");
    copy.args(["-m", "755"]).arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success(), "{copy:?}");
    child.arg(&program).args(["--exact", "--ignored", test, "--nocapture"]).current_dir("/");
    child
}
