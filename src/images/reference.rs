//! Names of images, as users of Docker and containerd write them.

use oci_spec::distribution::Reference;

use crate::error::{Error, Id, Result};

/// Returns the full name of an image, as the kubelet requests it: `app` is `docker.io/library/app:latest`.
///
/// # Errors
/// `Usage` for an invalid name.
pub fn normalize(name: &str) -> Result<String> {
    let wrong = |why: String| {
        Error::new(Id::ImageNameInvalid, format!("{name:?} is not a valid name of an image: {why}"))
            .hint("a name looks like: app:1, team/app:1 or registry.example.com/team/app:1")
    };
    name.parse::<Reference>().map(|reference| reference.whole()).map_err(|error| wrong(error.to_string()))
}

/// Returns the name by which a node finds an image: an id stays as it is, and a name gets its full form.
///
/// # Errors
/// `Usage` for an invalid name.
pub fn in_node(name: &str) -> Result<String> {
    if is_id(name) { Ok(name.to_owned()) } else { normalize(name) }
}

/// Returns true for the id of an image, which is what one without a name is called.
pub fn is_id(name: &str) -> bool {
    name.starts_with("sha256:")
}

/// Returns true for a name with a digest, which needs no tag.
pub fn is_digest(name: &str) -> bool {
    name.contains('@') || is_id(name)
}

/// Returns a name as users write it: without `docker.io/library/`.
pub fn familiar(name: &str) -> &str {
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    short.strip_prefix("library/").filter(|_| short.len() < name.len()).unwrap_or(short)
}

/// Splits a name into the repository and the tag.
pub fn split_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_what_the_kubelet_asks_for() {
        let cases = [
            ("app", "docker.io/library/app:latest"),
            ("app:1", "docker.io/library/app:1"),
            ("team/app:1", "docker.io/team/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("kcl.local/busybox:1.37", "kcl.local/busybox:1.37"),
        ];
        for (given, whole) in cases {
            assert_eq!(normalize(given).expect(given), whole);
        }
        assert!(normalize("App:1").is_err());
        assert!(normalize("").is_err());
    }

    #[test]
    fn ids_are_no_names() {
        let id = format!("sha256:{}", "a".repeat(64));
        assert!(is_id(&id) && is_digest(&id) && !is_id("app:1") && is_digest("app@sha256:a"));
        assert_eq!(in_node(&id).expect("an id"), id);
        assert_eq!(in_node("app:1").expect("a name"), "docker.io/library/app:1");
    }

    #[test]
    fn people_see_short_names() {
        assert_eq!(familiar("docker.io/library/app:1"), "app:1");
        assert_eq!(familiar("docker.io/team/app:1"), "team/app:1");
        assert_eq!(familiar("kcl.local/busybox:1.37"), "kcl.local/busybox:1.37");
        assert_eq!(split_tag("localhost:5000/app"), ("localhost:5000/app", ""));
        assert_eq!(split_tag("localhost:5000/app:2"), ("localhost:5000/app", "2"));
    }
}
