//! Decides which requests are served, by headers that the browser sets and a page cannot change.

use http::header::{COOKIE, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, Method};

/// The cookie of a session.
pub(crate) const COOKIE_NAME: &str = "kcl-console";

/// The header that tells the origin of a request: `same-origin`, `same-site`, `cross-site`, `none` (Fetch Metadata,
/// <https://www.w3.org/TR/fetch-metadata/>).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The header that tells the use of the response: `document`, `script`, `empty` for fetch(), …
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Returns true if the `Host` header names this server. Any other name belongs to a site that has its own name resolve
/// to this host (DNS rebinding).
pub(crate) fn host_is_ours(headers: &HeaderMap, port: u16) -> bool {
    let host = text(headers, &HOST);
    host.is_some_and(|host| names(port).iter().any(|name| name == host))
}

fn names(port: u16) -> [String; 2] {
    [format!("127.0.0.1:{port}"), format!("localhost:{port}")]
}

/// Returns true if a request for data comes from the page itself. A request that changes something or opens a channel
/// (a shell's, too, which is a GET) must name the page as its origin. Any other must not name a different origin, and
/// its response must not become a document, a script or a picture: a pod's output would have the page's rights.
pub(crate) fn data_is_ours(method: &Method, headers: &HeaderMap, port: u16) -> bool {
    let origins = names(port).map(|name| format!("http://{name}"));
    let own = |origin: &str| origins.iter().any(|one| one == origin);
    let origin = match text(headers, &ORIGIN) {
        Some(origin) => own(origin),
        // A header that is not text cannot be the page's.
        None if headers.contains_key(ORIGIN) => false,
        None => matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(UPGRADE),
    };
    let site = text(headers, &FETCH_SITE).is_none_or(|site| site == "same-origin");
    let dest = text(headers, &FETCH_DEST).is_none_or(|dest| matches!(dest, "empty" | "websocket"));
    origin && site && dest
}

/// Returns the secret of the session that a request names.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, secret)| secret)
}

/// Returns true if a path of the API server leads to a pod or a node, whose responses are not Kubernetes' own. The only
/// exception is the history that the page reads from Prometheus.
pub(crate) fn leads_on(path: &str) -> bool {
    const HISTORY: [&str; 2] = [
        "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/api/v1/query",
        "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/api/v1/query_range",
    ];
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let on = match segments.as_slice() {
        ["api", _, "nodes", _, sub, ..] | ["api", _, "namespaces", _, _, _, sub, ..] => *sub == "proxy",
        _ => false,
    };
    // No name in Kubernetes needs these, and the API server may decode them differently.
    let odd = path.contains(['%', '\\']) || segments.iter().any(|segment| matches!(*segment, "." | ".."));
    odd || on && !HISTORY.contains(&path)
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_names_of_loopback_are_ours() {
        let ours = |host: &str| host_is_ours(&headers(&[("host", host)]), 4000);
        assert!(ours("127.0.0.1:4000") && ours("localhost:4000"));
        for host in ["127.0.0.1", "127.0.0.1:4001", "evil.example:4000", "127.0.0.1.evil.example:4000", ""] {
            assert!(!ours(host), "{host}");
        }
        assert!(!host_is_ours(&HeaderMap::new(), 4000));
    }

    #[test]
    fn who_changes_something_or_opens_a_channel_names_its_origin() {
        let ours = |method: Method, pairs: &[(&'static str, &str)]| data_is_ours(&method, &headers(pairs), 4000);
        let own = ("origin", "http://127.0.0.1:4000");
        assert!(ours(Method::GET, &[]) && ours(Method::POST, &[own]));
        assert!(ours(Method::GET, &[own, ("upgrade", "websocket"), ("sec-fetch-dest", "websocket")]));
        assert!(!ours(Method::POST, &[]) && !ours(Method::DELETE, &[]));
        assert!(!ours(Method::GET, &[("upgrade", "websocket")]));
        for origin in ["null", "http://127.0.0.1:4001", "https://127.0.0.1:4000", "http://evil.example"] {
            assert!(!ours(Method::PATCH, &[("origin", origin)]), "{origin}");
            assert!(!ours(Method::GET, &[("origin", origin), ("upgrade", "websocket")]), "{origin}");
        }
        assert!(!ours(Method::GET, &[("sec-fetch-site", "same-site")]));
        for dest in ["document", "iframe", "script", "image"] {
            assert!(!ours(Method::GET, &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", dest)]), "{dest}");
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        assert_eq!(session(&headers(&[("cookie", "a=b; kcl-console=abc; c=d")])), Some("abc"));
        assert_eq!(session(&headers(&[("cookie", "xkcl-console=abc")])), None);
        assert_eq!(session(&HeaderMap::new()), None);
    }

    #[test]
    fn what_pods_serve_is_out_of_reach() {
        for path in [
            "/api/v1/namespaces/a/services/b/proxy/x.js",
            "/api/v1/namespaces/a/pods/b:80/proxy",
            "/api/v1/nodes/n/proxy/logs/",
            "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/graph",
            "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/api/v1/query/../../graph",
            "/api/v1/namespaces/a/services/b/%70roxy/x",
        ] {
            assert!(leads_on(path), "{path}");
        }
        for path in [
            "/api/v1/namespaces/a/pods/proxy",
            "/apis/apps/v1/deployments",
            "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/api/v1/query_range",
        ] {
            assert!(!leads_on(path), "{path}");
        }
    }
}
