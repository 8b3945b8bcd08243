//! The files of the page, embedded.

use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

use crate::answer::{self, Answer};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/page");

/// The script that is inlined into the page.
const EARLY: &str = include_str!("../page/early.js");

/// The page: `index.html` with its early script inlined.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("../page/index.html").replace(r#"<script src="page/early.js">"#, &format!("<script>{EARLY}"))
});

/// The hash by which the policy allows the early script (CSP 3, "hash-source").
static EARLY_HASH: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(EARLY))));

/// Returns the file of the page at a path below the session's; the empty path is the page itself.
pub(crate) fn file(path: &str) -> Option<Answer> {
    if path.is_empty() {
        return Some(answer::bytes(StatusCode::OK, media_type("index.html"), PAGE.as_str()));
    }
    let path = path.strip_prefix("page/")?;
    let mut answer = answer::bytes(StatusCode::OK, media_type(path), FILES.get_file(path)?.contents());
    // Each process has another path, so a cached file never outlives it.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400"));
    Some(answer)
}

/// Returns the content security policy: a page may load and request only files below `scope` from its own host.
pub(crate) fn policy(host: &str, scope: &str) -> Option<HeaderValue> {
    let own = format!("http://{host}/{scope}/");
    let early = EARLY_HASH.as_str();
    let policy = format!(
        "default-src 'none'; script-src {own}page/ {early}; style-src {own}page/; img-src {own}page/; \
         connect-src {own} ws://{host}/{scope}/; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    );
    HeaderValue::from_str(&policy).ok()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_the_page_are_found_and_nothing_else() {
        assert!(file("").is_some());
        let mut names = Vec::new();
        let mut open = vec![&FILES];
        while let Some(directory) = open.pop() {
            open.extend(directory.dirs());
            names.extend(directory.files().map(|file| file.path().to_string_lossy().into_owned()));
        }
        for name in &names {
            assert!(file(&format!("page/{name}")).is_some(), "{name}");
            assert_ne!(media_type(name), "application/octet-stream", "{name}");
        }
        assert!(file("index.html").is_none() && file("page/../Cargo.toml").is_none() && file("page/").is_none());
    }

    /// Scripts and styles of the page are files, or named by the policy: it refuses all else.
    #[test]
    fn the_page_has_no_other_inline_scripts_no_inline_styles_and_no_foreign_addresses() {
        let page = PAGE.as_str();
        let scripts: Vec<&str> = page.split("<script").skip(1).collect();
        let (inline, files): (Vec<&str>, Vec<&str>) = scripts.iter().partition(|script| script.starts_with('>'));
        assert_eq!(inline.len(), 1);
        assert!(inline[0].starts_with(&format!(">{EARLY}</script>")), "{}", inline[0]);
        assert!(!files.is_empty() && files.iter().all(|script| script.contains("src=")), "{files:?}");
        let policy = policy("127.0.0.1:4000", "console-0").expect("a policy");
        assert!(policy.to_str().expect("text").contains(EARLY_HASH.as_str()));
        let page = page.replace(EARLY, "");
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "inline");
        assert!(!page.contains("http:") && !page.contains("https:"), "an address of another host");
    }
}
