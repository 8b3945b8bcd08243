//! The archive that a node sends, which may be less trusted than this host: only what was asked for comes out of it, and
//! nothing leads out of the directory that it is unpacked in. kubectl learned it by CVE-2019-1002101 and CVE-2019-11246.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// The bits of a mode that are kept: a node makes no program here that runs with another user's rights.
const MODE: u32 = 0o777;

/// The result of unpacking.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// The path of the file or directory that was asked for; none if the archive does not have it.
    pub root: Option<PathBuf>,
    /// Warnings about what could not be copied as it is.
    pub warnings: Vec<String>,
    /// The directories and their modes, which are set last, as a directory may not let its user write.
    directories: Vec<(PathBuf, u32)>,
}

/// Unpacks an archive of one file or directory called `name` (`.`: the contents of a directory) in the empty directory
/// `aside`. Reads the archive to its end, including the zeros that fill its last record: otherwise a process that still
/// writes would fail.
///
/// # Errors
/// `InvalidData` for entries that were not asked for.
pub(super) fn unpack(mut archive: impl Read, name: &str, aside: &Path) -> io::Result<Unpacked> {
    let unpacked = entries(&mut archive, name, aside)?;
    io::copy(&mut archive, &mut io::sink())?;
    Ok(unpacked)
}

fn entries(archive: impl Read, name: &str, aside: &Path) -> io::Result<Unpacked> {
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_mask(!MODE);
    let mut unpacked = Unpacked::default();
    let root = if name == "." { aside.to_owned() } else { aside.join(name) };
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let to = inside(&path, name, aside)?;
        unpacked.root = Some(root.clone());
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            if to != aside && !to.symlink_metadata().is_ok_and(|there| there.is_dir()) {
                make(&to, fs::create_dir(&to))?;
            }
            unpacked.directories.push((to, entry.header().mode()? & MODE));
            continue;
        }
        if to == aside {
            return Err(refused(&path, "it was to be a directory"));
        }
        // What comes later replaces what came first, as for any tar.
        if to.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(&to)?;
        }
        if kind.is_hard_link() {
            let target = entry.link_name()?.ok_or_else(|| refused(&path, "it is a link to nothing"))?;
            let target = inside(&target, name, aside)?;
            make(&to, fs::hard_link(target, &to))?;
        } else if kind.is_symlink() || kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            make(&to, entry.unpack(&to).map(drop))?;
        } else {
            unpacked.warnings.push(format!("{}: it is a pipe or a device, and is left out", path.display()));
        }
    }
    Ok(unpacked)
}

/// Returns the place of an entry, whose parents exist and are directories.
fn inside(path: &Path, name: &str, aside: &Path) -> io::Result<PathBuf> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            _ => return Err(refused(path, "it leads out of the directory")),
        }
    }
    let is_asked_for = name == "." || parts.first().is_some_and(|first| *first == name);
    if !is_asked_for {
        return Err(refused(path, "it was not asked for"));
    }
    let mut to = aside.to_owned();
    let Some((last, parents)) = parts.split_last() else { return Ok(to) };
    for parent in parents {
        to.push(parent);
        match to.symlink_metadata() {
            Ok(there) if there.is_dir() => {}
            Ok(_) => return Err(refused(path, "it leads through a link")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&to, fs::DirBuilder::new().mode(0o700).create(&to))?;
            }
            Err(error) => return make(&to, Err(error)),
        }
    }
    to.push(last);
    Ok(to)
}

fn refused(path: &Path, why: &str) -> io::Error {
    let message = format!("the node sent {}: {why}, and nothing of it was kept", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn make<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Unpacked {
    /// Moves what was unpacked to `to`. A directory that exists is added to, and keeps its mode; of it a link
    /// is not followed, as a node may have sent that.
    pub(super) fn place(&self, to: &Path) -> io::Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut merged = Vec::new();
        place(root, to, &mut merged)?;
        // The deepest first: a parent may not let its user look into it.
        let mut directories: Vec<_> = self.directories.iter().collect();
        directories.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (directory, mode) in directories {
            let Ok(below) = directory.strip_prefix(root) else { continue };
            let at = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            if !merged.contains(&at) {
                make(&at, fs::set_permissions(&at, fs::Permissions::from_mode(*mode)))?;
            }
        }
        Ok(())
    }
}

fn place(from: &Path, to: &Path, merged: &mut Vec<PathBuf>) -> io::Result<()> {
    let new = from.symlink_metadata()?;
    let old = match to.symlink_metadata() {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return moved(from, to),
        Err(error) => return make(to, Err(error)),
    };
    match (new.is_dir(), old.is_dir()) {
        (true, true) => {
            merged.push(to.to_owned());
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                place(&entry.path(), &to.join(entry.file_name()), merged)?;
            }
            Ok(())
        }
        (true, false) => make(to, Err(io::Error::other("it exists, and is no directory"))),
        (false, true) => make(to, Err(io::Error::other("it exists, and is a directory"))),
        (false, false) => moved(from, to),
    }
}

/// Renames, or copies a file or a link to another file system.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let metadata = from.symlink_metadata()?;
            if metadata.is_dir() {
                make(to, fs::create_dir(to))?;
                return place(from, to, &mut Vec::new());
            }
            // A file that exists is replaced, and not written through a link.
            match fs::remove_file(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return make(to, Err(error)),
                _ => {}
            }
            match metadata.is_symlink() {
                true => make(to, std::os::unix::fs::symlink(fs::read_link(from)?, to)),
                false => make(to, fs::copy(from, to).map(drop)),
            }
        }
        result => make(to, result),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Kind = tar::EntryType;

    /// Writes an archive of these paths: a kind, a path, a link's target or a file's text, and a mode. The names are
    /// written as they are, as a hostile node would.
    fn archive(entries: &[(Kind, &str, &str, u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (kind, path, text, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            let is_link = kind.is_symlink() || kind.is_hard_link();
            if is_link {
                header.as_gnu_mut().unwrap().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            let data = if kind.is_file() { text.as_bytes() } else { &[] };
            header.set_size(data.len() as u64);
            header.set_cksum();
            archive.append(&header, data).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_what_was_asked_for_is_unpacked() {
        let outer = tempfile::tempdir().unwrap();
        let secret = outer.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let absolute = secret.to_str().unwrap();
        let outside = outer.path().to_str().unwrap();
        let (file, link, hard, folder) = (Kind::Regular, Kind::Symlink, Kind::Link, Kind::Directory);
        for (hostile, why) in [
            (vec![(file, "pwned", "x", 0o644)], "not asked for"),
            (vec![(file, "name", "x", 0o644), (file, ".bashrc", "x", 0o644)], "not asked for"),
            (vec![(file, "names", "x", 0o644)], "not asked for"),
            (vec![(folder, "./", "", 0o777)], "not asked for"),
            (vec![(file, "../secret", "x", 0o644)], "leads out"),
            (vec![(file, "name/../../secret", "x", 0o644)], "leads out"),
            (vec![(file, absolute, "x", 0o644)], "leads out"),
            (vec![(link, "name", outside, 0o777), (file, "name/secret", "x", 0o644)], "through a link"),
            (vec![(link, "name/a", "../..", 0o777), (folder, "name/a/b", "", 0o777)], "through a link"),
            (vec![(link, "name/a", "..", 0o777), (link, "name/a/b", "..", 0o777)], "through a link"),
            (vec![(hard, "name", "../secret", 0o644)], "leads out"),
            (vec![(hard, "name", absolute, 0o644)], "leads out"),
            (vec![(hard, "name", "other", 0o644)], "not asked for"),
            (vec![(link, "name/a", outside, 0o777), (hard, "name/b", "name/a/secret", 0o644)], "through a link"),
        ] {
            let aside = outer.path().join("aside");
            fs::create_dir(&aside).unwrap();
            let error = unpack(&*archive(&hostile), "name", &aside).unwrap_err();
            assert!(error.to_string().contains(why), "{hostile:?}: {error}");
            fs::remove_dir_all(&aside).unwrap();
            let mut left: Vec<_> =
                fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!((left, fs::read_to_string(&secret).unwrap()), (vec!["secret".into()], "secret".to_owned()));
        }
    }

    #[test]
    fn a_directory_over_a_link_does_not_change_what_the_link_leads_to() {
        let outer = tempfile::tempdir().unwrap();
        let victim = outer.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
        let aside = outer.path().join("aside");
        fs::create_dir(&aside).unwrap();
        let to = victim.to_str().unwrap();
        let hostile = archive(&[(Kind::Symlink, "name", to, 0o777), (Kind::Directory, "name", "", 0o777)]);
        // Either an error, or a directory of its own.
        let _ = unpack(&*hostile, "name", &aside);
        assert_eq!(mode(&victim), 0o700);
    }

    #[test]
    fn modes_lose_the_bits_that_lend_rights_and_devices_are_left_out() {
        let outer = tempfile::tempdir().unwrap();
        let aside = outer.path().join("aside");
        fs::create_dir(&aside).unwrap();
        let sent = archive(&[
            (Kind::Directory, "name/", "", 0o7555),
            (Kind::Regular, "name/program", "x", 0o6755),
            (Kind::Fifo, "name/pipe", "", 0o644),
            (Kind::Block, "name/disk", "", 0o666),
            (Kind::Symlink, "name/link", "/etc/passwd", 0o777),
            (Kind::Link, "name/again", "name/program", 0o644),
        ]);
        let unpacked = unpack(&*sent, "name", &aside).unwrap();
        assert_eq!(unpacked.warnings.len(), 2, "{:?}", unpacked.warnings);
        let to = outer.path().join("to");
        unpacked.place(&to).unwrap();
        assert_eq!((mode(&to), mode(&to.join("program"))), (0o555, 0o755));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_to_string(to.join("again")).unwrap(), "x");
        assert!(!to.join("pipe").exists() && !to.join("disk").exists());
    }

    #[test]
    fn a_directory_that_exists_is_added_to_but_not_through_links() {
        let outer = tempfile::tempdir().unwrap();
        let (aside, to) = (outer.path().join("aside"), outer.path().join("to"));
        fs::create_dir_all(to.join("deep")).unwrap();
        fs::create_dir(&aside).unwrap();
        fs::set_permissions(to.join("deep"), fs::Permissions::from_mode(0o711)).unwrap();
        fs::write(to.join("deep/kept"), "kept").unwrap();
        fs::write(to.join("deep/file"), "old").unwrap();
        fs::create_dir(outer.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", to.join("led")).unwrap();
        let file = |path| (Kind::Regular, path, "new", 0o644);
        let sent = archive(&[(Kind::Directory, "./", "", 0o700), file("./deep/file"), file("./deep/other")]);
        unpack(&*sent, ".", &aside).unwrap().place(&to).unwrap();
        let text = |path: &str| fs::read_to_string(to.join(path)).unwrap();
        assert_eq!(
            (text("deep/kept"), text("deep/file"), text("deep/other")),
            ("kept".into(), "new".into(), "new".into())
        );
        assert_eq!(mode(&to.join("deep")), 0o711);
        for hostile in [file("./led/file"), file("./deep"), (Kind::Directory, "./deep/kept", "", 0o755)] {
            fs::remove_dir_all(&aside).unwrap();
            fs::create_dir(&aside).unwrap();
            let error = unpack(&*archive(&[hostile]), ".", &aside).unwrap().place(&to).unwrap_err();
            assert!(error.to_string().contains("it exists, and is"), "{error}");
        }
        assert_eq!(fs::read_dir(outer.path().join("elsewhere")).unwrap().count(), 0);
    }

    #[test]
    fn archives_are_read_to_their_end_and_need_not_have_anything() {
        // More zeros than a pipe holds.
        let mut sent = archive(&[(Kind::Regular, "there", "hi", 0o644)]);
        sent.resize(1 << 20, 0);
        let outer = tempfile::tempdir().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        let writing = std::thread::spawn(move || io::Write::write_all(&mut write, &sent));
        let unpacked = unpack(read, "there", outer.path()).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(fs::read_to_string(unpacked.root.unwrap()).unwrap(), "hi");
        assert!(unpack(io::empty(), "there", outer.path()).unwrap().root.is_none());
    }
}
