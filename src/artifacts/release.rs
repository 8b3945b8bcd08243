//! The source `release`: files that the projects publish, from them or from a mirror, checked by digest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::cache::trouble;
use super::catalog::{Artifact, Release, Takes};
use super::http::{Failure, Http};
use super::job::Job;
use super::pins::{PINS, Pins};
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::task::blocking;

/// Returns the release of an artifact and its base address: the mirror, or else the project.
pub(super) fn source<'a>(artifact: &'a Artifact, mirror: Option<&'a str>) -> Option<(&'a Release, &'a str)> {
    let release = artifact.definition.release.as_ref()?;
    Some((release, mirror.or(release.base.as_deref())?))
}

/// Returns the paths of an artifact's released files.
pub(super) fn paths(artifact: &Artifact) -> Vec<String> {
    let release = artifact.definition.release.as_ref();
    release.map(|release| release.files.keys().map(|path| artifact.fill(path)).collect()).unwrap_or_default()
}

/// Returns the files of an artifact that its release has as they are: the path of each there, and in the entry.
fn whole(artifact: &Artifact) -> Vec<(String, String)> {
    let files = artifact.definition.release.iter().flat_map(|release| &release.files);
    let whole = files.filter_map(|(path, takes)| match takes {
        Takes::Whole(to) => Some((artifact.fill(path), to.clone())),
        Takes::Members(_) => None,
    });
    whole.collect()
}

/// Returns the file of an artifact's entry that differs from its pin, and the pin. Only files that a release has as they are
/// can be compared, not those that come from archives.
pub(super) fn contradiction<'a>(
    artifact: &Artifact,
    pins: &'a Pins,
    digest_of: impl Fn(&str) -> Option<String>,
) -> Option<(String, &'a str)> {
    whole(artifact).into_iter().find_map(|(path, file)| {
        let pinned = pins.of(&path)?;
        digest_of(&file).is_some_and(|digest| digest != pinned).then_some((file, pinned))
    })
}

/// A released artifact.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The addresses of its files.
    pub origin: Vec<String>,
    /// True if all of them are pinned.
    pub pinned: bool,
}

/// Downloads an artifact into `partial`. Incomplete files stay in `downloads`.
///
/// # Errors
/// A digest that is not the expected one is `Failure::Error`: no other source must hide it.
pub(super) async fn fetch(
    artifact: &Artifact,
    (release, base): (&Release, &str),
    http: &Http,
    partial: &Path,
    downloads: &Path,
    job: &Job<'_>,
) -> std::result::Result<Fetched, Failure> {
    let mut fetched = Fetched { origin: Vec::new(), pinned: true };
    let entry = artifact.entry_name()?;
    for (index, (template, takes)) in release.files.iter().enumerate() {
        let path = artifact.fill(template);
        let url = join(base, &path);
        let name = file_name(&path);
        let expected = match PINS.of(&path) {
            Some(pinned) => pinned.to_owned(),
            None => {
                fetched.pinned = false;
                checksum(artifact, (release, base), template, http).await?
            }
        };
        let part = downloads.join(format!("{entry}-{name}.part"));
        let count = release.files.len();
        let label = if count > 1 { format!("{name} ({} of {count})", index + 1) } else { name.to_owned() };
        verified(http, &url, &part, &expected, |there, total| {
            job.say(&progress(&label, there, total), total.map(|total| (there, total)));
        })
        .await?;
        let (takes, partial, artifact) = (takes.clone(), partial.to_owned(), artifact.clone());
        blocking(move || take(&artifact, &takes, &part, &partial)).await?;
        fetched.origin.push(url);
    }
    Ok(fetched)
}

/// Returns the digests of an artifact's files by path. Those that `known` lacks are downloaded and compared with what is
/// published.
pub(super) async fn digests(
    artifact: &Artifact,
    (release, base): (&Release, &str),
    known: &Pins,
    http: &Http,
    downloads: &Path,
    job: &Job<'_>,
) -> std::result::Result<BTreeMap<String, String>, Failure> {
    let mut digests = BTreeMap::new();
    for template in release.files.keys() {
        let path = artifact.fill(template);
        if let Some(pinned) = known.of(&path) {
            digests.insert(path, pinned.to_owned());
            continue;
        }
        let name = file_name(&path);
        let expected = checksum(artifact, (release, base), template, http).await?;
        let part = downloads.join(format!("pin-{}-{name}.part", artifact.arch));
        verified(http, &join(base, &path), &part, &expected, |there, total| {
            job.say(&progress(name, there, total), total.map(|total| (there, total)));
        })
        .await?;
        fs::remove_file(&part).map_err(|error| trouble("remove", &part, error))?;
        digests.insert(path, expected);
    }
    Ok(digests)
}

/// Downloads the digest that is published for a file.
async fn checksum(
    artifact: &Artifact,
    (release, base): (&Release, &str),
    template: &str,
    http: &Http,
) -> std::result::Result<String, Failure> {
    let path = artifact.fill(template);
    let name = file_name(&path);
    let checksum = join(base, &artifact.fill(&release.checksum.replace("{path}", template)));
    let text = http.text(&checksum).await?;
    let missing = || Error::new(Id::ArtifactDigest, format!("{checksum} has no SHA-256 digest for {name}"));
    Ok(published(&text, name).ok_or_else(missing)?)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Downloads a file and checks it. A resumed file with a wrong digest may consist of two versions, so it is downloaded
/// once more.
async fn verified(
    http: &Http,
    url: &str,
    part: &Path,
    expected: &str,
    tell: impl Fn(u64, Option<u64>),
) -> std::result::Result<(), Failure> {
    loop {
        let resumed = fs::metadata(part).is_ok_and(|metadata| metadata.len() > 0);
        if !resumed || digest_of(part).await? != expected {
            http.download(url, part, &tell).await?;
        }
        let found = digest_of(part).await?;
        if found == expected {
            return Ok(());
        }
        fs::remove_file(part).map_err(|error| trouble("remove", part, error))?;
        if !resumed {
            let message = format!("{url} is not what was published: expected sha256:{expected}, found sha256:{found}");
            return Err(Error::new(Id::ArtifactDigest, message)
                .hint("the download was discarded; a proxy changed it, or the mirror is corrupt")
                .into());
        }
    }
}

async fn digest_of(path: &Path) -> Result<String> {
    let path = path.to_owned();
    blocking(move || digest::of_file(&path).map_err(|error| trouble("read", &path, error))).await
}

fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

fn progress(name: &str, there: u64, total: Option<u64>) -> String {
    const MIB: u64 = 1 << 20;
    match total {
        Some(total) => format!("{name}, {} of {} MiB", there / MIB, total.div_ceil(MIB)),
        None => format!("{name}, {} MiB", there / MIB),
    }
}

/// Returns the digest of `name` in a checksum file: lines in the format of `sha256sum`, or a bare digest.
fn published(text: &str, name: &str) -> Option<String> {
    let digest = |word: &str| {
        (word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.to_ascii_lowercase())
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if let (Some(only), None) = (lines.next(), lines.next())
        && let Some(digest) = digest(only)
    {
        return Some(digest);
    }
    text.lines().find_map(|line| {
        let (word, file) = line.trim().split_once(char::is_whitespace)?;
        let file = file.trim_start().trim_start_matches('*');
        (file.rsplit('/').next() == Some(name)).then(|| digest(word)).flatten()
    })
}

/// Moves a downloaded file, or members of it, into the entry.
fn take(artifact: &Artifact, takes: &Takes, part: &Path, partial: &Path) -> Result<()> {
    match takes {
        Takes::Whole(to) => {
            let to = place(partial, to)?;
            fs::rename(part, &to).map_err(|error| trouble("move", part, error))?;
            finish(&to)
        }
        Takes::Members(members) => {
            let mut wanted: Vec<(String, String)> = members
                .iter()
                .filter_map(|member| member.split_once(" -> "))
                .map(|(inner, to)| (artifact.fill(inner), to.to_owned()))
                .collect();
            let failed = |error| trouble("unpack", part, error);
            let file = File::open(part).map_err(failed)?;
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
            for entry in archive.entries().map_err(failed)? {
                let mut entry = entry.map_err(failed)?;
                let path = entry.path().map_err(failed)?.to_string_lossy().into_owned();
                let inner = path.strip_prefix("./").unwrap_or(&path);
                if let Some(index) = wanted.iter().position(|(wanted, _)| wanted == inner) {
                    let to = place(partial, &wanted.swap_remove(index).1)?;
                    let mut file = File::create(&to).map_err(|error| trouble("write", &to, error))?;
                    io::copy(&mut entry, &mut file).map_err(|error| trouble("write", &to, error))?;
                    finish(&to)?;
                }
            }
            if let Some((inner, _)) = wanted.first() {
                return Err(Error::new(Id::ArtifactIncomplete, format!("{} has no {inner}", part.display())));
            }
            fs::remove_file(part).map_err(|error| trouble("remove", part, error))
        }
    }
}

fn place(partial: &Path, to: &str) -> Result<std::path::PathBuf> {
    let path = partial.join(to);
    let parent = path.parent().expect("it is below");
    fs::create_dir_all(parent).map_err(|error| trouble("make", parent, error))?;
    Ok(path)
}

/// Sets the mode of a file: files other than archives and manifests are programs.
fn finish(path: &Path) -> Result<()> {
    let data = path.extension().is_some_and(|extension| ["zst", "yaml"].iter().any(|data| extension == *data));
    let mode = if data { 0o644 } else { 0o755 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| trouble("change", path, error))
}

#[cfg(test)]
mod tests {
    use super::super::catalog::CATALOG;
    use super::*;

    #[test]
    fn a_file_that_is_not_the_pinned_one_is_found() {
        let artifact = CATALOG.artifact("runc").expect("runc");
        let pins = Pins { sha256: [(paths(&artifact).remove(0), "aa".to_owned())].into() };
        assert_eq!(contradiction(&artifact, &pins, |_| Some("aa".into())), None);
        assert_eq!(contradiction(&artifact, &pins, |_| None), None);
        assert_eq!(contradiction(&artifact, &pins, |_| Some("bb".into())), Some(("bin/runc".into(), "aa")));
    }

    #[test]
    fn checksum_files_of_all_projects_are_read() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        assert_eq!(published(&a, "kubelet"), Some(a.clone()));
        assert_eq!(published(&format!("{a}\n"), "kubelet"), Some(a.clone()));
        let sums = format!("{a}  runc.amd64\n{b} *dist/runc.arm64\n");
        assert_eq!(published(&sums, "runc.amd64"), Some(a));
        assert_eq!(published(&sums, "runc.arm64"), Some("b".repeat(64)));
        assert_eq!(published(&sums, "runc.s390x"), None);
        assert_eq!(published("<html>not found</html>", "runc.amd64"), None);
    }
}
