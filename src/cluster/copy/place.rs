//! The two ends of a copy, as users write them.

use std::path::{Path, PathBuf};

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path on this host.
    Host(PathBuf),
    /// A path on a node; without a name, on the first one.
    Node(Option<String>, String),
    /// A tar archive on standard input or output.
    Stream,
}

impl Place {
    /// Reads `NODE:PATH`, `:PATH`, `PATH` or `-`. A path in a node is absolute with or without its first slash, as for
    /// `docker cp`.
    pub fn parse(word: &str) -> Self {
        match word.split_once(':') {
            _ if word == "-" => Place::Stream,
            Some((node, path)) if !node.contains('/') && !path.is_empty() => {
                let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
                Place::Node((!node.is_empty()).then(|| node.to_owned()), path)
            }
            _ => Place::Host(PathBuf::from(word)),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Host(path) => write!(to, "{}", path.display()),
            Place::Node(node, path) => write!(to, "{}:{path}", node.as_deref().unwrap_or_default()),
            Place::Stream => write!(to, "-"),
        }
    }
}

/// The part of a source that is copied (`docker cp`: `SRC_PATH/.`, `SRC_PATH/` and `SRC_PATH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A directory's contents: the path is `.`, ends in `/.`, or is the root.
    Contents,
    /// A directory that a link may lead to: the path ends in a slash.
    Directory,
    /// A file, a link or a directory, under its own name.
    Whole,
}

impl Part {
    /// Returns the part that a path names.
    pub(super) fn of(path: &str) -> Self {
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() || trimmed == "." || trimmed.ends_with("/.") {
            return Part::Contents;
        }
        if trimmed.len() < path.len() { Part::Directory } else { Part::Whole }
    }
}

/// Returns the name of what a path leads to, unless only the file system knows it (`..`).
pub(super) fn own_name(path: &str) -> Option<String> {
    if path.trim_end_matches('/').ends_with("..") && Path::new(path).file_name().is_none() {
        return None;
    }
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let node = |name: Option<&str>, path: &str| Place::Node(name.map(str::to_owned), path.to_owned());
        assert_eq!(Place::parse("kcl-m02:/etc/hosts"), node(Some("kcl-m02"), "/etc/hosts"));
        assert_eq!(Place::parse(":/etc/hosts"), node(None, "/etc/hosts"));
        assert_eq!(Place::parse(":etc/hosts"), node(None, "/etc/hosts"));
        assert_eq!(Place::parse("./a:b"), Place::Host("./a:b".into()));
        assert_eq!(Place::parse("/etc/hosts"), Place::Host("/etc/hosts".into()));
        assert_eq!(Place::parse("-"), Place::Stream);
        for word in ["kcl:/etc/hosts", ":/etc/.", "./a:b", "-", "a/"] {
            assert_eq!(Place::parse(word).to_string(), word);
        }
    }

    #[test]
    fn dots_and_slashes_at_the_end_mean_what_docker_means() {
        for path in [".", "./", "/", "a/.", "/a/./", "./."] {
            assert_eq!(Part::of(path), Part::Contents, "{path}");
        }
        assert_eq!(Part::of("a/"), Part::Directory);
        for path in ["a", "a/..", "..", "/a/.b", "a."] {
            assert_eq!(Part::of(path), Part::Whole, "{path}");
        }
        assert_eq!(own_name("/a/b/"), Some("b".to_owned()));
        assert_eq!((own_name("a/.."), own_name(".."), own_name("/")), (None, None, None));
    }
}
