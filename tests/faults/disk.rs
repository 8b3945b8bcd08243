//! The disk that a cluster lives on is full: kcl says so before it changes anything, and what is there is kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::{Home, Output};

/// A small file system of the test's own. Unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, mib: u32) -> Self {
        fs::create_dir(&at).expect("a mount point");
        let options = format!("size={mib}m");
        mount(Some("kcl-test"), &at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("a tmpfs");
        Small(at)
    }

    /// Fills it to the last page.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("a file");
        let page = vec![1; 1 << 16];
        while file.write_all(&page).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).expect("it was mounted");
    }
}

#[test]
fn a_disk_that_is_too_small() {
    let home = Home::new("small-disk");
    let disk = Small::mount(home.scratch().join("small"), 16);
    let said = Output::of(home.command(["start", "--nameservers", "none"]).env("KCL_HOME", &disk.0));
    assert!(said.fails_with(69).contains(&disk.0.display().to_string()), "it names the place: {said}");
    assert_eq!(files(&disk.0), Vec::<PathBuf>::new(), "nothing is left half-made");
}

#[test]
fn a_disk_that_fills_up() {
    let home = Home::new("full-disk");
    let disk = Small::mount(home.scratch().join("disk"), 1400);
    let kcl = |arguments: &[&str]| Output::of(home.command(arguments).env("KCL_HOME", &disk.0));
    let start = ["start", "--nameservers", "none"];
    kcl(&start).ok();
    kcl(&["kubectl", "--", "create", "configmap", "kept", "--from-literal=is=kept"]).ok();

    home.step("it fills up while the cluster runs");
    disk.fill();
    kcl(&["stop"]).ok();
    // What ran has given some back.
    let filler = disk.fill();
    let said = kcl(&start);
    assert!(said.fails().contains("disk") || said.stderr.contains("space"), "{said}");

    home.step("when there is room again, all is as it was");
    fs::remove_file(filler).expect("the filler");
    kcl(&start).ok();
    assert_eq!(kcl(&["kubectl", "--", "get", "configmap", "kept", "-o", "jsonpath={.data.is}"]).ok(), "kept");

    home.step("a full disk keeps nobody from deleting");
    disk.fill();
    kcl(&["delete"]).ok();
    fs::remove_file(disk.0.join("filler")).expect("the filler");
    assert_eq!(files(&disk.0), Vec::<PathBuf>::new());
}

/// The files below a directory; lock files of clusters that were never made are none.
fn files(dir: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(dir).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    all.map(walkdir::DirEntry::into_path).filter(|path| path.parent() != Some(&*dir.join("locks"))).collect()
}
