//! Where addons are from: built into kcl, or a user's own, of which a cluster keeps a copy.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use walkdir::WalkDir;

use super::definition::{Addon, CHART, DESCRIPTION};
use super::registry::{self, SCHEME};
use super::selection::AddonConfig;
use crate::artifacts::embedded;
use crate::config::is_dns_label;
use crate::error::{Error, Family, Result};

/// Where kcl's own addons are from.
pub const BUILT_IN: &str = "built-in";

/// The texts of an addon, by the names of their files.
pub(super) type Files = BTreeMap<String, String>;

/// The file of a copy that says where it is from.
const ORIGIN: &str = "origin";

/// All addons that a cluster can have: those of kcl, the user's own of which copies lie in `copies`, and those that `said`
/// names the source of.
pub fn known(copies: &Path, said: &BTreeMap<String, AddonConfig>) -> Result<BTreeMap<String, Addon>> {
    let mut addons = BTreeMap::new();
    for (name, files) in embedded::ADDONS {
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        addons.insert((*name).to_owned(), Addon::parse(name, BUILT_IN, files)?);
    }
    for path in directories(copies).map_err(|error| unreadable(copies, &error))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = folder(&path)?;
        let origin = files.remove(ORIGIN).unwrap_or_default();
        addons.insert(name.clone(), Addon::parse(&name, &origin, files)?);
    }
    for (name, source) in said.iter().filter_map(|(name, config)| Some((name, config.source.as_ref()?))) {
        addons.insert(name.clone(), Addon::parse(name, &source.display().to_string(), read(source)?)?);
    }
    Ok(addons)
}

/// The name and the place of a user's own addon, where `word` is one and not the name of an addon: a path has a slash in
/// it, or the ending of an archive, and what a registry has begins with `oci://`.
///
/// # Errors
/// `Usage` for a path that is not there, or makes no name, or the name of an addon of kcl's.
pub fn own(word: &str, base: &Path) -> Result<Option<(String, PathBuf)>> {
    if word.starts_with(SCHEME) {
        let word = word.trim_end_matches('/');
        let name = registry::name(word)?;
        return Ok(Some((checked(word, &name)?, PathBuf::from(word))));
    }
    let archive = ["tar", "tar.gz", "tgz"].iter().any(|ending| word.ends_with(&format!(".{ending}")));
    if !word.contains('/') && !archive {
        return Ok(None);
    }
    let path = base.join(word);
    let path = fs::canonicalize(&path).map_err(|error| unreadable(&path, &error))?;
    let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = stem.split_once('.').map_or(stem.as_str(), |(name, _)| name);
    Ok(Some((checked(word, name)?, path)))
}

/// A name that a user's own addon may have.
fn checked(word: &str, name: &str) -> Result<String> {
    if !is_dns_label(name) {
        let message = format!("{word}: \"{name}\" is not a name for an addon: use lower-case letters, digits and '-'");
        return Err(Error::new(Family::Usage, message).hint("rename its folder or archive"));
    }
    if embedded::ADDONS.iter().any(|(known, _)| *known == name) {
        let message = format!("{word}: kcl itself has an addon called {name}");
        return Err(Error::new(Family::Usage, message).hint("give yours another name: rename its folder or archive"));
    }
    Ok(name.to_owned())
}

/// Keeps a copy of a user's own addon in `copies`, in place of an earlier one.
pub fn take(copies: &Path, name: &str, source: &Path) -> Result<()> {
    let files = read(source)?;
    let (place, fresh) = (copies.join(name), copies.join(format!(".{name}")));
    let write = || {
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir_all(&fresh)?;
        for (file, text) in &files {
            let path = fresh.join(file);
            fs::create_dir_all(path.parent().expect("it is in a folder"))?;
            fs::write(path, text)?;
        }
        fs::write(fresh.join(ORIGIN), source.display().to_string())?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(&fresh, &place)
    };
    write().map_err(|error| {
        Error::new(Family::State, format!("{} cannot be written: {error}", place.display())).source(error)
    })
}

fn read(source: &Path) -> Result<Files> {
    if registry::is_reference(source) {
        return registry::pulled(source);
    }
    if source.is_dir() {
        return folder(source);
    }
    let mut files = BTreeMap::new();
    let failed = |error: std::io::Error| unreadable(source, &error);
    unpack(fs::File::open(source).map_err(failed)?, &mut files).map_err(failed)?;
    Ok(files)
}

/// Removes the copy of a user's own addon, where there is one.
pub fn forget(own: &Path, name: &str) -> Result<()> {
    let place = own.join(name);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Family::State, format!("{} cannot be removed: {error}", place.display())).source(error))
        }
        _ => Ok(()),
    }
}

fn directories(own: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !own.is_dir() {
        return Ok(Vec::new());
    }
    let paths: std::io::Result<Vec<_>> = fs::read_dir(own)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    Ok(paths?.into_iter().filter(|path| path.is_dir() && !hidden(path)).collect())
}

/// The texts of a folder's own files, and of its chart's.
fn folder(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(path.join(CHART)).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let text = fs::read_to_string(entry.path()).map_err(|error| unreadable(entry.path(), &error))?;
        let name = entry.path().strip_prefix(path).expect("it is below").to_string_lossy().into_owned();
        files.insert(name, text);
    }
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let entry = entry.map_err(|error| unreadable(path, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && wanted(&name) {
            let text = fs::read_to_string(entry.path()).map_err(|error| unreadable(&entry.path(), &error))?;
            files.insert(name, text);
        }
    }
    Ok(files)
}

/// The texts of an archive, compressed by gzip or not: the folder's files, with or without the folder.
pub(super) fn unpack(archive: impl Read, files: &mut Files) -> std::io::Result<()> {
    let mut archive = BufReader::new(archive);
    let compressed = archive.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(archive)) } else { Box::new(archive) };
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let inner = entry.path()?.into_owned();
        if !inner.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(std::io::Error::other(format!("{} leads out of the archive", inner.display())));
        }
        let text = inner.to_string_lossy();
        let own = inner.file_name().unwrap_or_default().to_string_lossy();
        // With or without a ./ and the folder's name before it.
        let chart = text.starts_with(CHART).then_some(0).or_else(|| text.find(&format!("/{CHART}")).map(|at| at + 1));
        let name = chart.map_or_else(|| own.into_owned(), |at| text[at..].to_owned());
        let is_file = entry.header().entry_type().is_file();
        if is_file && (chart.is_some() || inner.components().count() <= 3 && wanted(&name)) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            files.insert(name, text);
        }
    }
    Ok(())
}

/// Whether a file is one of an addon's.
pub(super) fn wanted(name: &str) -> bool {
    name == DESCRIPTION || name == ORIGIN || (name.ends_with(".yaml") && !name.starts_with('.'))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Family::Usage, format!("{} cannot be read: {error}", path.display()))
        .hint("an addon is a folder with addon.toml and manifests, a tar archive of one, or oci://HOST/NAME:TAG")
}
