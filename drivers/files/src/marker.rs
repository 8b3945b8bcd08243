//! The file by which kcl knows a directory as its own, and by which others know its clusters as this directory's: it
//! holds a random number. It is made once, in a directory that is empty or that an older kcl made.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use crate::dir::sync_dir;
use crate::{NewFile, TEMPORARY};

/// The name of the file.
pub const MARKER: &str = ".kcl";

/// The mode of the file: the number is no secret, but only its owner changes it.
const MODE: u32 = 0o644;

/// The entry of a new file system.
const LOST_AND_FOUND: &str = "lost+found";

const TITLE: &str = "# kcl made this directory and changes only directories with this file. Do not copy it to others.";

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// A random number: 32 hexadecimal digits.
    pub id: String,
    /// The clusters that an older kcl made, which named them elsewhere by the path of the directory.
    pub by_path: BTreeSet<String>,
}

/// The relation of kcl to a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// The directory has a marker.
    Marked(Marker),
    /// The directory is missing, empty, or has an empty marker, which a user made.
    Free,
    /// The directory has no marker, but this entry.
    Unmarked(String),
}

impl Owned {
    /// Looks at a directory.
    ///
    /// # Errors
    /// The directory cannot be read, or its marker is damaged.
    pub fn of(directory: &Path) -> io::Result<Owned> {
        match std::fs::read_to_string(directory.join(MARKER)) {
            Ok(text) if text.trim().is_empty() => return Ok(Owned::Free),
            Ok(text) => return Marker::parse(&text).map(Owned::Marked).ok_or_else(damaged),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(damaged()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Owned::Free),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_others = name != LOST_AND_FOUND && !name.starts_with(TEMPORARY);
            // Another directory of kcl's may be in this one, such as the cache in the home.
            if is_others && !entry.path().join(MARKER).is_file() {
                // Another kcl may have marked the directory and filled it since this one looked for the marker.
                return if directory.join(MARKER).exists() { Owned::of(directory) } else { Ok(Owned::Unmarked(name)) };
            }
        }
        Ok(Owned::Free)
    }
}

impl Marker {
    /// Marks an existing directory as kcl's, unless it is marked. `by_path` are the clusters that are there already.
    ///
    /// # Errors
    /// The file cannot be written, or there is a damaged one.
    pub fn ensure(directory: &Path, by_path: BTreeSet<String>) -> io::Result<Marker> {
        if let Owned::Marked(marker) = Owned::of(directory)? {
            return Ok(marker);
        }
        let marker = Marker { id: random()?, by_path };
        let path = directory.join(MARKER);
        let mut file = NewFile::create(&path)?;
        file.write_all(marker.text().as_bytes())?;
        file.set_mode(MODE)?;
        file.file().sync_all()?;
        crate::hand_over(file.temporary())?;
        match std::fs::hard_link(file.temporary(), &path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match Owned::of(directory)? {
                // Another kcl was first.
                Owned::Marked(marker) => return Ok(marker),
                _ => file.place()?,
            },
            // Not all file systems have links.
            Err(_) => file.place()?,
        }
        sync_dir(directory)?;
        Ok(marker)
    }

    /// Takes a deleted cluster from those that are named by the path: a new one of its name gets another name.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn forget(directory: &Path, cluster: &str) -> io::Result<()> {
        let lock = File::open(directory)?;
        lock.lock()?;
        let Owned::Marked(mut marker) = Owned::of(directory)? else { return Ok(()) };
        if marker.by_path.remove(cluster) {
            crate::write(&directory.join(MARKER), marker.text().as_bytes(), MODE)?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let clusters: String = self.by_path.iter().map(|cluster| format!("by-path {cluster}\n")).collect();
        format!("{TITLE}\nid {}\n{clusters}", self.id)
    }

    fn parse(text: &str) -> Option<Marker> {
        let mut marker = Marker::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once(' ')? {
                ("id", id) if id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) => marker.id = id.to_owned(),
                ("by-path", cluster) => drop(marker.by_path.insert(cluster.to_owned())),
                _ => return None,
            }
        }
        (!marker.id.is_empty()).then_some(marker)
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("its file {MARKER} is damaged: it has no line \"id\""))
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(base16ct::lower::encode_string(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Owned::of(&dir.path().join("missing")).unwrap(), Owned::Free);
        std::fs::create_dir(dir.path().join(LOST_AND_FOUND)).unwrap();
        assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Free);
        let marker = Marker::ensure(dir.path(), BTreeSet::from(["a".to_owned(), "b".to_owned()])).unwrap();
        assert_eq!(Marker::ensure(dir.path(), BTreeSet::new()).unwrap(), marker);
        Marker::forget(dir.path(), "a").unwrap();
        Marker::forget(dir.path(), "never there").unwrap();
        let Owned::Marked(found) = Owned::of(dir.path()).unwrap() else { panic!("it is marked") };
        assert_eq!((found.id, found.by_path), (marker.id, BTreeSet::from(["b".to_owned()])));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Marker::ensure(other.path(), BTreeSet::new()).unwrap().id, found_id(dir.path()));
    }

    fn found_id(dir: &Path) -> String {
        Marker::ensure(dir, BTreeSet::new()).unwrap().id
    }

    #[test]
    fn what_others_made_has_no_marker_and_a_user_may_make_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("clusters")).unwrap();
        assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Unmarked("clusters".to_owned()));
        std::fs::write(dir.path().join(MARKER), "").unwrap();
        assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Free);
        Marker::ensure(dir.path(), BTreeSet::new()).unwrap();
        assert!(matches!(Owned::of(dir.path()).unwrap(), Owned::Marked(_)));
        std::fs::write(dir.path().join(MARKER), "id of another program").unwrap();
        assert!(Owned::of(dir.path()).is_err());
    }

    #[test]
    fn several_processes_may_mark_a_directory_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(format!("{TEMPORARY}7-0")), "of another process").unwrap();
        assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Free);
        let mark = || {
            let marked = Marker::ensure(dir.path(), BTreeSet::new()).unwrap();
            std::fs::create_dir_all(dir.path().join("clusters")).unwrap();
            assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Marked(marked));
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(mark))));
    }

    #[test]
    fn a_cache_in_a_home_is_no_foreign_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("cache")).unwrap();
        Marker::ensure(&dir.path().join("cache"), BTreeSet::new()).unwrap();
        assert_eq!(Owned::of(dir.path()).unwrap(), Owned::Free);
    }
}
