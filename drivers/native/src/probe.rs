//! Trying what the kernel can do, in namespaces that are thrown away: no list of modules tells it as surely.

use std::fs;
use std::path::Path;

use kcl_driver_api::{Error, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::doing::{Doing, in_own_thread};
use crate::firewall;
use crate::mounts;
use crate::netlink::Netlink;

/// What failed, with why.
pub(crate) type Problem = Option<String>;

/// How the names of directories begin in which an overlay is tried.
const PREFIX: &str = ".kcl-probe-";

/// Removes what is left in `dir` of a probe that was cut off. One at a time tries and removes: the lock (flock(2)) is given back
/// with the file.
pub(crate) fn sweep(dir: &Path) -> std::io::Result<fs::File> {
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

/// Mounts an overlay on the file system of `$KCL_HOME`.
pub(crate) fn overlay(home: &Path) -> Problem {
    problem(mounts::in_private_namespace(|| {
        let existing = home.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let what = || format!("mount an overlay in {}", existing.display());
        let _turn = sweep(existing).doing(what)?;
        let probe = tempfile::Builder::new().prefix(PREFIX).tempdir_in(existing).doing(what)?;
        for name in ["lower", "upper", "work", "root"] {
            fs::create_dir(probe.path().join(name)).doing(what)?;
        }
        let root = probe.path().join("root");
        // Relative, as the home may have characters that overlay's options would need escaped.
        nix::unistd::chdir(probe.path()).doing(what)?;
        let options = "lowerdir=lower,upperdir=upper,workdir=work";
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options)).doing(what)?;
        let result =
            fs::write(root.join("file"), "x").doing(|| format!("write to an overlay in {}", existing.display()));
        nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).doing(what)?;
        nix::unistd::chdir("/").doing(what)?;
        result
    }))
}

/// Makes a bridge with a link in it, and a table that masquerades.
pub(crate) fn network(rootfs: Option<&Path>) -> (Problem, Problem) {
    let tried = in_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "make a network namespace")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let links = runtime.doing(|| "start a runtime")?.block_on(async {
            let netlink = Netlink::connect()?;
            let net = |text: &str| text.parse().map_err(|error| Error::engine(format!("{text}: {error}")));
            let bridge = netlink.ensure_bridge("kcl-probe", [2, 0, 0, 0, 0, 1], net("192.0.2.1/24")?, 1500).await?;
            netlink.make_pair(&bridge, "kv-probe", "kp-probe", [2, 0, 0, 0, 0, 2], net("192.0.2.2/24")?).await
        });
        let script = "table ip kcl_probe {\n chain postrouting {\n type nat hook postrouting priority 100;\n \
            ip saddr 192.0.2.0/24 oifname != \"kcl-probe\" masquerade\n }\n}\n";
        // Without a tree there may be no nft yet; then it cannot be tried.
        let filter = rootfs.map_or(Ok(()), |tree| firewall::nft(Some(tree), script));
        Ok((problem(links), problem(filter)))
    });
    tried.unwrap_or_else(|error| (Some(error.to_string()), None))
}

fn problem(result: Result<()>) -> Problem {
    result.err().map(|error| error.to_string())
}
