//! Measures the resources of a host that a node needs, from the kernel's own files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Returns the controllers of all hierarchies; none if no hierarchy is mounted.
pub fn controllers(hierarchies: &[PathBuf], mountinfo: &str) -> Option<Vec<String>> {
    if hierarchies.is_empty() {
        return None;
    }
    // Version 2 lists them; in version 1 they are mount options.
    let listed = hierarchies.iter().filter_map(|root| fs::read_to_string(root.join("cgroup.controllers")).ok());
    let mut all: Vec<String> =
        listed.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    for line in mountinfo.lines().filter(|line| line.contains(" - cgroup ")) {
        all.extend(line.rsplit(' ').next().unwrap_or("").split(',').map(str::to_owned));
    }
    Some(all)
}

/// Counts the inotify instances and watches of root's processes: links to `anon_inode:inotify`, and the lines of
/// proc_pid_fdinfo(5). A process that ends in the meantime is skipped.
pub fn inotify(proc: &Path) -> (u64, u64) {
    let (mut instances, mut watches) = (0, 0);
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in
        processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
    {
        if !process.metadata().is_ok_and(|meta| meta.uid() == 0) {
            continue;
        }
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            if fs::read_link(fd.path()).is_ok_and(|target| target == Path::new("anon_inode:inotify")) {
                instances += 1;
                let info = fs::read_to_string(process.path().join("fdinfo").join(fd.file_name())).unwrap_or_default();
                watches += info.lines().filter(|line| line.starts_with("inotify ")).count() as u64;
            }
        }
    }
    (instances, watches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inotify_instances_of_this_process_are_counted() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root's instances are counted");
            return;
        }
        let tree = tempfile::tempdir().unwrap();
        let mine = tree.path().join(std::process::id().to_string());
        fs::create_dir_all(mine.join("fd")).unwrap();
        fs::create_dir_all(mine.join("fdinfo")).unwrap();
        std::os::unix::fs::symlink("anon_inode:inotify", mine.join("fd/3")).unwrap();
        fs::write(mine.join("fdinfo/3"), "pos:\t0\ninotify wd:1 ino:2\ninotify wd:2 ino:3\n").unwrap();
        assert_eq!(inotify(tree.path()), (1, 2));
    }
}
