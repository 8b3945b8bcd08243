//! The files of the page, embedded.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use include_dir::{Dir, include_dir};

use crate::answer::{self, Answer};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/page");

/// What of the page a path below the session's leads to; the empty one to the page itself.
pub(crate) fn file(path: &str) -> Option<Answer> {
    let path = if path.is_empty() { "index.html" } else { path.strip_prefix("page/")? };
    let file = FILES.get_file(path)?;
    let mut answer = answer::bytes(StatusCode::OK, media_type(path), file.contents());
    // Of this process: its path is another in the next.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400"));
    if path == "index.html" {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Some(answer)
}

/// What a page may load and ask: its own files below `scope`, from the host that it came from.
pub(crate) fn policy(host: &str, scope: &str) -> Option<HeaderValue> {
    let own = format!("http://{host}/{scope}/");
    let policy = format!(
        "default-src 'none'; script-src {own}page/; style-src {own}page/; img-src {own}page/; \
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

    /// Scripts and styles of the page itself are files: the policy refuses all else.
    #[test]
    fn the_page_has_no_inline_scripts_styles_or_foreign_addresses() {
        let page = FILES.get_file("index.html").and_then(|file| file.contents_utf8()).expect("the page");
        for tag in page.split('<').filter(|tag| tag.starts_with("script")) {
            assert!(tag.contains("src="), "{tag}");
        }
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "inline");
        assert!(!page.contains("http:") && !page.contains("https:"), "an address of another host");
    }
}
