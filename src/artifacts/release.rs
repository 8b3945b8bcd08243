//! The source `release`: files that the projects publish, from them or from a mirror, checked by digest.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::cache::trouble;
use super::catalog::{Artifact, Release, Takes};
use super::digest;
use super::http::{Failure, Http};
use super::job::{Job, blocking};
use crate::error::{Error, Family, Result};

/// Returns the release of an artifact and its base address: the mirror, or else the project.
pub fn source<'a>(artifact: &'a Artifact, mirror: Option<&'a str>) -> Option<(&'a Release, &'a str)> {
    let release = artifact.definition.release.as_ref()?;
    Some((release, mirror.or(release.base.as_deref())?))
}

/// Downloads an artifact into `partial`. Incomplete files stay in `downloads`. Returns the addresses.
///
/// # Errors
/// A digest that is not the published one is `Failure::Error`: no other source must hide it.
pub async fn fetch(
    artifact: &Artifact,
    (release, base): (&Release, &str),
    http: &Http,
    partial: &Path,
    downloads: &Path,
    job: &Job<'_>,
) -> std::result::Result<Vec<String>, Failure> {
    let mut origin = Vec::new();
    let entry = artifact.entry_name()?;
    for (index, (template, takes)) in release.files.iter().enumerate() {
        let path = artifact.fill(template);
        let url = join(base, &path);
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let expected = match release.pinned(template, artifact.arch) {
            Some(pinned) => pinned.to_owned(),
            None => {
                let checksum = join(base, &artifact.fill(&release.checksum.replace("{path}", template)));
                let text = http.text(&checksum).await?;
                published(&text, &name).ok_or_else(|| {
                    Error::new(Family::Artifact, format!("{checksum} has no SHA-256 digest for {name}"))
                })?
            }
        };
        let part = downloads.join(format!("{entry}-{name}.part"));
        let count = release.files.len();
        let label = if count > 1 { format!("{name} ({} of {count})", index + 1) } else { name.clone() };
        verified(http, &url, &part, &expected, |there, total| {
            job.say(&progress(&label, there, total), total.map(|total| (there, total)));
        })
        .await?;
        let (takes, partial, artifact) = (takes.clone(), partial.to_owned(), artifact.clone());
        blocking(move || take(&artifact, &takes, &part, &partial)).await?;
        origin.push(url);
    }
    Ok(origin)
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
            return Err(Error::new(Family::Artifact, message)
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
                return Err(Error::new(Family::Artifact, format!("{} has no {inner}", part.display())));
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
    use super::*;

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
