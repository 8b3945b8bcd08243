//! The initrd of a machine: the node agent as `/init`, the modules that it needs to see the disks, the guest's
//! document, and the files that were put while it was off.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, trailer};
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::context::Context as _;
use kcl_node_spec::guest::{CONFIG, FILES, GuestConfig, MODULES};

use crate::spool::Spooled;

/// The modules that a guest needs before its root file system is mounted.
const WANTED: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "overlay"];

/// Writes an initrd, whole or not at all. `modules` is a tree with `lib/modules`; without `config` the guest is a probe.
pub(crate) fn write(
    path: &Path,
    agent: &Path,
    modules: Option<&Path>,
    config: Option<&GuestConfig>,
    files: &[Spooled],
) -> Result<()> {
    let what = || format!("write {}", path.display());
    let partial = path.with_extension("new");
    let mut archive =
        Archive { out: BufWriter::new(File::create(&partial).with_context(what)?), made: BTreeSet::new(), inode: 1 };
    // The kernel's first console (console_on_rootfs in init/main.c).
    archive.add("dev/console", 0o020_600, b"", (5, 1)).with_context(what)?;
    let program = fs::read(agent).with_context(|| format!("read {}", agent.display()))?;
    archive.add("init", 0o100_755, &program, (0, 0)).with_context(what)?;
    for (number, module) in modules.map(wanted_modules).transpose()?.unwrap_or_default().iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let content = fs::read(module).with_context(|| format!("read {}", module.display()))?;
        archive.add(&format!("{MODULES}/{number:03}-{name}"), 0o100_644, &content, (0, 0)).with_context(what)?;
    }
    if let Some(config) = config {
        let text = serde_json::to_vec_pretty(config).with_context(what)?;
        archive.add(CONFIG, 0o100_600, &text, (0, 0)).with_context(what)?;
    }
    for file in files {
        let name = format!("{FILES}{}", file.path.display());
        archive.add(&name, 0o100_000 | (file.mode & 0o7777), &file.content, (0, 0)).with_context(what)?;
    }
    let mut out = trailer(archive.out).with_context(what)?;
    out.flush().with_context(what)?;
    fs::rename(&partial, path).with_context(what)
}

struct Archive {
    out: BufWriter<File>,
    made: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Adds an entry with a full mode (inode(7)), and the directories around it.
    fn add(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            if self.made.insert(path[..at].to_owned()) {
                self.entry(&path[..at], 0o040_755, b"", (0, 0))?;
            }
        }
        self.entry(path, mode, content, device)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.inode += 1;
        let builder = Builder::new(name).ino(self.inode).mode(mode).nlink(1).rdev_major(device.0).rdev_minor(device.1);
        let mut writer = builder.write(&mut self.out, content.len() as u32);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

/// Returns the files of [`WANTED`] and their dependencies, in the order of loading.
fn wanted_modules(tree: &Path) -> Result<Vec<PathBuf>> {
    let all = tree.join("lib/modules");
    let kernels = fs::read_dir(&all).with_context(|| format!("read {}", all.display()))?;
    let directory = kernels.flatten().map(|entry| entry.path()).find(|path| path.join("modules.dep").is_file());
    let directory = directory.ok_or_else(|| {
        let message = format!("{} has no kernel with a modules.dep", all.display());
        Error::new(ErrorKind::NotFound, message).hint("make the kernel's artifact again: kcl artifacts fetch --verify")
    })?;
    let path = directory.join("modules.dep");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(in_order(&text, &WANTED).into_iter().map(|module| directory.join(module)).collect())
}

/// Returns the closure over `modules.dep` (modules.dep(5)). A missing module is built in.
fn in_order<'a>(dependencies: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    fn add<'a>(lines: &[(&'a str, &'a str)], path: &'a str, found: &mut Vec<&'a str>) {
        if found.contains(&path) {
            return;
        }
        let needs = lines.iter().find(|(name, _)| *name == path).map(|(_, needs)| *needs).unwrap_or_default();
        for need in needs.split_whitespace() {
            add(lines, need, found);
        }
        found.push(path);
    }
    let lines: Vec<(&str, &str)> = dependencies.lines().filter_map(|line| line.split_once(':')).collect();
    let mut found = Vec::new();
    for name in wanted {
        let is_it = |path: &str| path.rsplit('/').next().is_some_and(|file| file.split('.').next() == Some(name));
        if let Some((path, _)) = lines.iter().find(|(path, _)| is_it(path)) {
            add(&lines, path, &mut found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let text = "kernel/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko\n\
                    kernel/net/net_failover.ko: kernel/net/failover.ko\n\
                    kernel/net/failover.ko:\n\
                    kernel/fs/overlay.ko:\n";
        let order = in_order(text, &["virtio_net", "built_in", "overlay"]);
        let names: Vec<&str> = order.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["failover.ko", "net_failover.ko", "virtio_net.ko", "overlay.ko"]);
    }
}
