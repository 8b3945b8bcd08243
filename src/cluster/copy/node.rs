//! The part of a copy that runs in a node: tar, and a look at paths.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use kcl_driver_api::{Exec, ExecOutput, Machine, Stdin, Stdout};

use super::place::{Part, own_name};
use crate::error::{Error, Id, Result};

/// The exit code of GNU tar for files that changed while they were read, which is no failure.
const CHANGED: i32 = 1;

/// The kinds of what a path in a node leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory, or a link to one.
    Directory,
    /// A plain file.
    File,
    /// A device, a pipe or a socket.
    Other,
    /// Nothing, in a directory that exists.
    Absent,
    /// Nothing, and its directory does not exist either.
    Nowhere,
}

/// Looks at a path in a node. Returns the path without links, and its kind.
pub(super) async fn look(machine: &dyn Machine, path: &str) -> Result<(String, Kind)> {
    const LINE: &str = r#"readlink -f -- "$1" || printf '%s\n' "$1"
        if [ -d "$1" ]; then echo directory; elif [ -f "$1" ]; then echo file; elif [ -e "$1" ]; then echo other
        elif [ -d "$(dirname -- "$1")" ]; then echo absent; else echo nowhere; fi"#;
    let output = machine.exec(Exec::new(["sh", "-c", LINE, "sh", path])).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (real, kind) = said.trim_end_matches('\n').rsplit_once('\n').unwrap_or((path, ""));
    let kind = match kind {
        "directory" => Kind::Directory,
        "file" => Kind::File,
        "other" => Kind::Other,
        "absent" => Kind::Absent,
        _ => Kind::Nowhere,
    };
    Ok((real.to_owned(), kind))
}

/// A file or directory in a node, as tar is to send it.
#[derive(Debug)]
pub(super) struct Source {
    directory: String,
    /// The name in the directory, and in the archive; `.` for the directory's contents.
    pub entry: String,
    /// The name for the copy.
    pub name: Option<String>,
}

impl Source {
    /// Finds the source at a path. With `follow`, a link is followed.
    pub(super) async fn find(machine: &dyn Machine, path: &str, follow: bool) -> Result<Self> {
        let whole = |path: &str, name: Option<String>| {
            let (parent, entry) = (Path::new(path).parent()?, own_name(path)?);
            Some(Source { directory: parent.to_string_lossy().into_owned(), entry, name })
        };
        let contents = |path: &str, name| Source { directory: path.to_owned(), entry: ".".to_owned(), name };
        match (Part::of(path), own_name(path)) {
            (Part::Contents, _) => Ok(contents(path, None)),
            (Part::Whole, Some(name)) if !follow => Ok(whole(path, Some(name)).expect("it has a name")),
            (_, name) => {
                let (real, kind) = look(machine, path).await?;
                let name = name.or_else(|| own_name(&real));
                match kind {
                    Kind::Directory => Ok(contents(&real, name)),
                    Kind::File | Kind::Other if !path.ends_with('/') => {
                        Ok(whole(&real, name).unwrap_or_else(|| contents(&real, None)))
                    }
                    Kind::File | Kind::Other => Err(not_copied(machine, path, "it is no directory")),
                    Kind::Absent | Kind::Nowhere => {
                        Err(not_copied(machine, path, "there is no such file or directory"))
                    }
                }
            }
        }
    }

    /// Returns the command that sends the archive.
    pub(super) fn command(&self) -> Exec {
        let mut argv = vec!["tar", "--create", "--file", "-", "--directory", &self.directory];
        if self.directory.trim_matches('/').is_empty() && self.entry == "." {
            // Not the files of the kernel.
            argv.push("--one-file-system");
        }
        argv.extend(["--", self.entry.as_str()]);
        Exec::new(argv)
    }
}

/// Returns the command that unpacks an archive in a directory of a node. A link to a directory stays one: in place of a
/// node's `/lib` no directory is made.
pub(super) fn extract(directory: &str, archive: OwnedFd) -> Exec {
    let argv =
        ["tar", "--extract", "--no-same-owner", "--keep-directory-symlink", "--file", "-", "--directory", directory];
    Exec { stdin: Stdin::From(Arc::new(archive)), ..Exec::new(argv) }
}

/// Returns a command that writes to the returned file.
pub(super) fn piped(command: Exec) -> io::Result<(Exec, File)> {
    let (read, write) = io::pipe()?;
    let command = Exec { stdout: Stdout::To(Arc::new(OwnedFd::from(write))), ..command };
    Ok((command, File::from(OwnedFd::from(read))))
}

/// Returns tar's warnings about files that it has sent.
///
/// # Errors
/// `Usage` if tar failed.
pub(super) fn sent(machine: &dyn Machine, output: &ExecOutput, path: &str) -> Result<Vec<String>> {
    match output.code {
        0 | CHANGED => Ok(lines(output)),
        _ => Err(received(machine, output, path).expect_err("it failed")),
    }
}

/// Checks that tar has unpacked an archive.
pub(super) fn received(machine: &dyn Machine, output: &ExecOutput, path: &str) -> Result<()> {
    if output.code == 0 {
        return Ok(());
    }
    // tar goes on after an error; the last lines only say that there was one.
    let lines = lines(output);
    let why = lines.iter().find(|line| !line.contains("socket ignored") && !line.contains("changed as we read it"));
    Err(not_copied(machine, path, why.map_or("tar failed", String::as_str)))
}

fn lines(output: &ExecOutput) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().map(|line| line.trim_start_matches("tar: ").to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Returns the error for a path of a node.
pub(super) fn not_copied(machine: &dyn Machine, path: &str, why: &str) -> Error {
    Error::new(Id::FileUnusable, format!("{path} in node {} cannot be copied: {why}", machine.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_sent_without_the_files_of_the_kernel() {
        let source = |directory: &str, entry: &str| Source {
            directory: directory.to_owned(),
            entry: entry.to_owned(),
            name: None,
        };
        let argv = |source: Source| source.command().argv.join(" ");
        assert!(argv(source("/", ".")).contains("--one-file-system"));
        assert!(!argv(source("/", "etc")).contains("--one-file-system"));
        assert!(argv(source("/etc", "-x")).ends_with("--directory /etc -- -x"));
    }
}
