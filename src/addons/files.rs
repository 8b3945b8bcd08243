//! The files of an addon: a folder or an archive of one, read into memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use walkdir::WalkDir;

use crate::addon_config::unreadable_addon;
use crate::error::Result;
use crate::kubernetes;

/// The contents of an addon's files by their names. A chart may have binary files.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The file that describes an addon.
pub(super) const DESCRIPTION: &str = "addon.toml";

/// The folder of an addon's Helm chart.
pub(super) const CHART: &str = "chart/";

/// The file of a cluster's copy that says where the addon is from.
pub(super) const ORIGIN: &str = "origin";

/// The maximum size in bytes of what an archive unpacks to.
const LARGEST: u64 = 64 << 20;

/// Reads the files of a folder or an archive.
pub(super) fn read(source: &Path) -> Result<Files> {
    if source.is_dir() {
        return folder(source);
    }
    let mut files = Files::new();
    let failed = |error: std::io::Error| unreadable_addon(source, &error);
    unpack(fs::File::open(source).map_err(failed)?, &mut files).map_err(failed)?;
    Ok(files)
}

/// Reads a folder's own files and those of its chart.
pub(super) fn folder(path: &Path) -> Result<Files> {
    let mut files = Files::new();
    for entry in WalkDir::new(path.join(CHART)).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let content = fs::read(entry.path()).map_err(|error| unreadable_addon(entry.path(), &error))?;
        let name = entry.path().strip_prefix(path).expect("it is below").to_string_lossy().into_owned();
        files.insert(name, content);
    }
    for entry in fs::read_dir(path).map_err(|error| unreadable_addon(path, &error))? {
        let entry = entry.map_err(|error| unreadable_addon(path, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && belongs(&name) {
            let content = fs::read(entry.path()).map_err(|error| unreadable_addon(&entry.path(), &error))?;
            let content = decode(&name, content);
            files.insert(name, content);
        }
    }
    Ok(files)
}

/// Adds the files of an archive, compressed by gzip or not, of an addon's folder or its files.
pub(super) fn unpack(archive: impl Read, files: &mut Files) -> std::io::Result<()> {
    let mut archive = BufReader::new(archive);
    let compressed = archive.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(archive)) } else { Box::new(archive) };
    let mut limited = reader.take(LARGEST);
    let unpacked = unpack_entries(&mut limited, files);
    if limited.limit() == 0 {
        let why = format!("it unpacks to {} MiB or more, too much for an addon", LARGEST >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    unpacked
}

fn unpack_entries(archive: impl Read, files: &mut Files) -> std::io::Result<()> {
    for entry in tar::Archive::new(archive).entries()? {
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
        if is_file && (chart.is_some() || inner.components().count() <= 3 && belongs(&name)) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            let content = decode(&name, content);
            files.insert(name, content);
        }
    }
    Ok(())
}

/// Returns the content of a file as UTF-8 if it is a manifest, which may have the encodings that it has for kubectl.
fn decode(name: &str, content: Vec<u8>) -> Vec<u8> {
    match is_manifest(name) && !name.starts_with(CHART) {
        true => kubernetes::text(&content).into_owned().into_bytes(),
        false => content,
    }
}

/// Returns true if a file belongs to an addon by its name.
pub(super) fn belongs(name: &str) -> bool {
    name == DESCRIPTION || name == ORIGIN || is_manifest(name)
}

/// Returns true if a file is a manifest by its name, as for kubectl.
pub(super) fn is_manifest(name: &str) -> bool {
    !name.starts_with('.') && kubernetes::is_manifest(Path::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_fills_the_memory_is_an_error() {
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(&mut compressed);
        let mut header = tar::Header::new_gnu();
        header.set_size(2 * LARGEST);
        header.set_mode(0o644);
        archive.append_data(&mut header, DESCRIPTION, std::io::repeat(b' ').take(2 * LARGEST)).unwrap();
        archive.finish().unwrap();
        drop(archive);
        let compressed = compressed.finish().unwrap();
        let mut files = Files::new();
        let error = unpack(&*compressed, &mut files).unwrap_err();
        assert!(error.to_string().contains("it unpacks to 64 MiB or more"), "{error}");
        assert!(files.values().map(Vec::len).sum::<usize>() <= LARGEST as usize);
    }

    #[test]
    fn manifests_of_folders_and_archives_have_kubectls_names_and_encodings() {
        let folder = tempfile::tempdir().unwrap();
        let text = "a: \u{e4}\n";
        let wide: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in [
            (DESCRIPTION, b"title".as_slice()),
            ("a.yaml", text.as_bytes()),
            ("b.yml", wide.as_slice()),
            ("c.json", b"\xef\xbb\xbf{}".as_slice()),
            ("d.txt", b"\xff".as_slice()),
            (".e.yaml", b"e".as_slice()),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).unwrap();
        }
        let expected = [(DESCRIPTION, "title"), ("a.yaml", text), ("b.yml", text), ("c.json", "{}\n")];
        let expected: Files = expected.map(|(name, text)| (name.to_owned(), text.into())).into();
        assert_eq!(read(folder.path()).unwrap(), expected);
        let mut files = Files::new();
        unpack(&*archive.into_inner().unwrap(), &mut files).unwrap();
        assert_eq!(files, expected);
    }
}
