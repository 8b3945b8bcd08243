//! The Dockerfile of a build: its place, and the front end that it asks for.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::distribution::Reference;
use serde_json::Value;

use crate::error::{Error, Id, Result};
use crate::images::beneath;

/// The names of a Dockerfile in its context, the usual one first: Docker's, and Podman's.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

/// The images of the front end that is part of BuildKit.
const OWN: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// The flags that only the front end of the channel `labs` has.
const LABS: [&str; 2] = ["--security", "--device"];

/// The maximum size of a Dockerfile in bytes.
const LARGEST: u64 = 16 << 20;

/// A Dockerfile in memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// The name that messages call it by.
    pub name: String,
    /// The content of the file.
    pub text: Vec<u8>,
    /// The content of `NAME.dockerignore` beside it, which counts instead of the context's `.dockerignore`.
    pub ignore: Option<Vec<u8>>,
}

impl Dockerfile {
    /// Reads a Dockerfile from a stream.
    pub(super) fn of_stream(stream: impl Read) -> io::Result<Self> {
        Ok(Dockerfile { name: NAMES[0].to_owned(), text: small(stream)?, ignore: None })
    }

    /// Finds the Dockerfile `file` (none: that of the context). A link may lead anywhere, unless the context is `foreign`,
    /// unpacked from an archive.
    pub(super) fn find(context: &Path, file: Option<&Path>, foreign: bool) -> Result<Self> {
        let open = |path: &Path| match foreign {
            true => beneath::open(context, path),
            false => File::open(path).and_then(|file| match file.metadata()?.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok(file),
            }),
        };
        let inside = |name: &Path| if foreign { name.to_owned() } else { context.join(name) };
        let paths: Vec<PathBuf> = match file {
            None => NAMES.iter().map(|name| inside(Path::new(name))).collect(),
            Some(file) if foreign => vec![file.to_owned()],
            Some(file) => vec![file.to_owned(), context.join(file)],
        };
        for path in &paths {
            let stream = match open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                stream => stream.map_err(|error| unreadable(path, &error))?,
            };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = small(stream).map_err(|error| unreadable(path, &error))?;
            let ignored = path.with_file_name(format!("{name}.dockerignore"));
            let ignore = match open(&ignored) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                stream => Some(stream.and_then(small).map_err(|error| unreadable(&ignored, &error))?),
            };
            return Ok(Dockerfile { name, text, ignore });
        }
        Err(Error::new(Id::FileUnusable, format!("there is no {}", paths[0].display()))
            .hint("name the Dockerfile with: -f FILE, or -f - for standard input"))
    }

    /// Returns true if the file asks for the front end that BuildKit has itself, so that none has to be pulled.
    pub(super) fn is_of_buildkit(&self) -> bool {
        let Some(syntax) = syntax(&self.text) else { return true };
        let Ok(reference) = syntax.parse::<Reference>() else { return false };
        let is_own = reference.registry() == "docker.io" && OWN.contains(&reference.repository());
        let has = |flag: &str| self.text.windows(flag.len()).any(|part| part == flag.as_bytes());
        let is_labs = reference.tag().is_some_and(|tag| tag.contains("labs"));
        is_own && !(is_labs && LABS.iter().any(|flag| has(flag)))
    }
}

fn small(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    stream.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a Dockerfile"));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(Id::FileUnusable, format!("the Dockerfile {} cannot be read: {error}", path.display()))
}

/// Returns the front end that a file names, as BuildKit reads it (`parser/directives.go`): in the comments before anything
/// else, by `#` or `//`, or as a member of a JSON object.
fn syntax(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => rest,
        _ => &text,
    };
    let named = ["#", "//"].iter().find_map(|comment| {
        let mut directives = text.lines().map_while(|line| directive(line, comment));
        directives.find(|(name, _)| name == "syntax").map(|(_, value)| value.to_owned())
    });
    let value = named.or_else(|| {
        let object: Value = serde_json::from_str(text).ok()?;
        Some(object.get("syntax")?.as_str()?.to_owned())
    })?;
    value.split(' ').next().map(str::to_owned)
}

/// Returns the name and the value of a line `# name=value`.
fn directive<'l>(line: &'l str, comment: &str) -> Option<(String, &'l str)> {
    let (name, value) = line.strip_prefix(comment)?.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end().to_lowercase(), value.trim());
    (["syntax", "escape", "check"].contains(&name.as_str()) && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Dockerfile {
        Dockerfile::of_stream(text.as_bytes()).expect("it is small")
    }

    #[test]
    fn a_syntax_that_buildkit_has_itself_needs_no_registry() {
        let pinned = format!("# syntax=docker/dockerfile:1.7@sha256:{}\nFROM x", "a".repeat(64));
        for text in [
            "FROM x",
            "",
            "# syntax=docker/dockerfile:1\nFROM x",
            "#syntax = docker/dockerfile:1.4 \nFROM x",
            "# SYNTAX=docker.io/docker/dockerfile\nFROM x",
            "\u{feff}# syntax=docker/dockerfile:1\r\nFROM x",
            "#!/usr/bin/env build\n# escape=`\n# syntax=docker/dockerfile:1\nFROM x",
            "// syntax=docker/dockerfile:experimental",
            "# syntax=docker/dockerfile-upstream:master\nFROM x",
            "# syntax=docker/dockerfile:1-labs\nFROM x\nCOPY --parents . .",
            pinned.as_str(),
            // Not a directive.
            "# a comment\n# syntax=other/front:1\nFROM x",
            "FROM x\n# syntax=other/front:1",
        ] {
            assert!(file(text).is_of_buildkit(), "{text}");
        }
        for text in [
            "# syntax=other/front:1\nFROM x",
            "# syntax=localhost:5000/docker/dockerfile:1\nFROM x",
            "# check=skip=all\n# syntax=docker/other:1\nFROM x",
            "# syntax=docker/dockerfile:1-labs\nFROM x\nRUN --security=insecure id",
            "{\"syntax\": \"other/front:1\"}",
            "# syntax=Not A Name\nFROM x",
        ] {
            assert!(!file(text).is_of_buildkit(), "{text}");
        }
    }

    #[test]
    fn dockerfiles_are_found_by_all_their_names() {
        let outer = tempfile::tempdir().unwrap();
        let context = outer.path().join("context");
        std::fs::create_dir(&context).unwrap();
        let find = |file: Option<&str>, foreign| Dockerfile::find(&context, file.map(Path::new), foreign);
        let error = find(None, false).unwrap_err();
        assert!(error.message.contains("context/Dockerfile") && error.hints[0].contains("-f -"), "{error}");
        for name in ["Containerfile", "dockerfile", "Dockerfile"] {
            std::fs::write(context.join(name), name).unwrap();
            assert_eq!(find(None, false).unwrap().text, name.as_bytes());
            assert_eq!(find(None, true).unwrap().name, name);
        }
        let other = outer.path().join("Other");
        std::fs::write(&other, "other").unwrap();
        std::fs::write(outer.path().join("Other.dockerignore"), "left").unwrap();
        let found = find(other.to_str(), false).unwrap();
        assert_eq!((found.name.as_str(), found.ignore), ("Other", Some(b"left".to_vec())));
        std::os::unix::fs::symlink("../Other", context.join("linked")).unwrap();
        assert_eq!(find(Some("linked"), false).unwrap().text, b"other");
        assert!(find(context.to_str(), false).is_err());
        // What an archive holds leads to nothing of this host.
        for name in ["linked", "../Other", other.to_str().unwrap()] {
            assert!(find(Some(name), true).is_err(), "{name}");
        }
    }
}
