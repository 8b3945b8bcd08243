//! Tries features of the kernel in throw-away namespaces: no list of modules tells as surely.

use std::fs;
use std::path::Path;

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::in_own_thread;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::mounts;
use crate::nft;

/// A feature that failed, with the reason.
pub type Problem = Option<String>;

/// The prefix of directories in which an overlay is tried.
const PREFIX: &str = ".kcl-probe-";

/// Removes what an interrupted probe left in `dir`. One process at a time tries and removes; the lock (flock(2)) is
/// released with the file.
pub fn sweep(dir: &Path) -> std::io::Result<fs::File> {
    let turn = fs::File::open(dir)?;
    turn.lock()?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(turn)
}

/// Mounts an overlay on the file system of a directory, whether the directory exists or not.
pub fn overlay(home: &Path) -> Problem {
    problem(mounts::in_private_namespace(|| {
        let existing = home.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let what = || format!("mount an overlay in {}", existing.display());
        let _turn = sweep(existing).with_context(what)?;
        let probe = tempfile::Builder::new().prefix(PREFIX).tempdir_in(existing).with_context(what)?;
        for name in ["lower", "upper", "work", "root"] {
            fs::create_dir(probe.path().join(name)).with_context(what)?;
        }
        let root = probe.path().join("root");
        // The paths are relative, as the home may have characters that overlay's options would need escaped.
        nix::unistd::chdir(probe.path()).with_context(what)?;
        let options = "lowerdir=lower,upperdir=upper,workdir=work";
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options)).with_context(what)?;
        let result =
            fs::write(root.join("file"), "x").with_context(|| format!("write to an overlay in {}", existing.display()));
        nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).with_context(what)?;
        nix::unistd::chdir("/").with_context(what)?;
        result
    }))
}

/// Makes a table that masquerades; `rootfs` is as for [`nft::nft`].
pub fn masquerading(rootfs: Option<&Path>) -> Problem {
    let script = "table ip kcl_probe {\n chain postrouting {\n type nat hook postrouting priority 100;\n \
        ip saddr 192.0.2.0/24 masquerade\n }\n}\n";
    problem(in_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).with_context(|| "make a network namespace")?;
        nft::nft(rootfs, script)
    }))
}

/// Returns the failure in words.
pub fn problem(result: Result<()>) -> Problem {
    result.err().map(|error| error.to_string())
}
