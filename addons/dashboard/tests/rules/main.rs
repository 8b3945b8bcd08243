//! Access to a console and the user of its requests, against an API server that records them.

mod api;
mod browser;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_console::{Addon, Addons, Cluster, Config, Console, Identity, Reply, Request, Running};

use api::FakeApi;
use browser::{Answer, Browser};

/// A console that is served until it is dropped.
struct Fixture {
    api: FakeApi,
    link: String,
    socket: std::path::PathBuf,
    served: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

struct OneAddon;

#[async_trait]
impl Addons for OneAddon {
    async fn list(&self) -> Result<Vec<Addon>, String> {
        let own = str::to_owned;
        Ok(vec![Addon { name: own("registry"), title: own("t"), version: own("1"), enabled: false, needs: vec![] }])
    }

    async fn enable(&self, name: &str) -> Result<(), String> {
        if name == "registry" { Ok(()) } else { Err(format!("there is no addon {name:?}")) }
    }

    async fn disable(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

async fn fixture(identity: Identity) -> Fixture {
    let api = FakeApi::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("socket");
    let cluster = Cluster {
        name: "test".to_owned(),
        server: api.url(),
        ca_pem: api.ca_pem.clone(),
        cert_pem: api.client_pem.clone(),
        key_pem: api.client_key_pem.clone(),
        kcl_version: "1".to_owned(),
    };
    let addons: Option<Arc<dyn Addons>> = Some(Arc::new(OneAddon));
    let config = Config { cluster, port: 0, socket: &socket, addons, idle: Duration::from_secs(3600) };
    let console = Console::bind(config).await.expect("it listens");
    let link = console.link(identity);
    let served = tokio::spawn(console.serve(|| true));
    Fixture { api, link, socket, served, _dir: dir }
}

impl Fixture {
    /// Returns a browser that has followed the link.
    async fn signed_in(&self) -> Browser {
        let mut browser = Browser::new(&self.link);
        let answer = browser.open(&self.link).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser
    }
}

#[tokio::test]
async fn a_link_signs_in_once_and_leaves_no_token_behind() {
    let fixture = fixture(Identity::Own).await;
    let mut browser = Browser::new(&fixture.link);
    let answer = browser.open(&fixture.link).await;
    assert_eq!(answer.status, 303);
    let place = answer.header("location").expect("a redirect");
    assert!(!place.contains("token"), "{place}");
    let cookie = answer.header("set-cookie").expect("a cookie");
    for word in ["HttpOnly", "SameSite=Strict", &format!("Path={place}")] {
        assert!(cookie.contains(word), "{cookie}: {word}");
    }
    let page = browser.get("").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<title>"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");

    // The link does not work a second time, so it is useless to anyone who sees it.
    let mut other = Browser::new(&fixture.link);
    let again = other.open(&fixture.link).await;
    assert_eq!(again.status, 403, "{again:?}");
    assert!(again.body.contains("kcl dashboard -p test") && again.header("set-cookie").is_none(), "{again:?}");
    assert_eq!(other.get("").await.status, 401);
    assert_eq!(other.get("api/v1/pods").await.status, 401);
    assert_eq!(other.get("page/app.js").await.status, 401);
    assert!(fixture.api.asked().is_empty(), "{:?}", fixture.api.asked());
}

#[tokio::test]
async fn requests_are_passed_on_as_the_user_and_nothing_else_of_the_page_is() {
    let fixture = fixture(Identity::Own).await;
    let browser = fixture.signed_in().await;
    let headers = [
        ("authorization", "Bearer stolen"),
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "admin"),
        ("accept", "application/json"),
        ("x-omit", "items.spec"),
    ];
    let answer = browser.ask("GET", "api/v1/pods?limit=1", &headers, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, "asked: GET /api/v1/pods?limit=1");
    // A passed-on response is data, and never a document with the page's rights.
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")), "{answer:?}");
    assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(answer.header("set-cookie"), None, "the API server sets none here");
    let asked = fixture.api.asked().remove(0);
    assert!(asked.certificate, "it is asked by the user's certificate");
    assert_eq!(asked.header("accept"), Some("application/json"));
    for name in
        ["authorization", "impersonate-user", "impersonate-group", "x-remote-user", "x-omit", "cookie", "origin"]
    {
        assert_eq!(asked.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_bearer_is_not_taken_for_the_certificates_owner() {
    let fixture = fixture(Identity::Token("abc".to_owned())).await;
    let browser = fixture.signed_in().await;
    assert_eq!(browser.get("api/v1/pods").await.status, 200);
    let asked = fixture.api.asked().remove(0);
    assert!(!asked.certificate);
    assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    // Addons are changed with kcl's own rights.
    assert_eq!(browser.get("console/addons").await.status, 404);
    assert!(browser.get("console/info").await.body.contains("\"addons\":false"));
}

#[tokio::test]
async fn another_user_is_impersonated_with_the_groups_that_were_named() {
    let identity = Identity::As { user: "jane".to_owned(), groups: vec!["dev".to_owned(), "ops".to_owned()] };
    let fixture = fixture(identity).await;
    let browser = fixture.signed_in().await;
    let headers = [("impersonate-user", "system:admin")];
    assert_eq!(browser.ask("GET", "api/v1/pods", &headers, "").await.status, 200);
    let asked = fixture.api.asked().remove(0);
    assert_eq!(asked.all("impersonate-user"), ["jane"]);
    assert_eq!(asked.all("impersonate-group"), ["dev", "ops"]);
}

#[tokio::test]
async fn signing_in_by_a_token_gives_up_the_rights_before() {
    let fixture = fixture(Identity::Own).await;
    let mut browser = fixture.signed_in().await;
    let before = browser.clone();
    let answer = browser.post("console/sign-in", r#"{"token": " abc\n"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(browser.get("api/v1/pods").await.status, 200);
    assert_eq!(fixture.api.asked().remove(0).header("authorization"), Some("Bearer abc"));
    assert_eq!(before.get("api/v1/pods").await.status, 401, "the old session is closed");
    assert_eq!(browser.post("console/sign-out", "{}").await.status, 200);
    assert_eq!(browser.get("api/v1/pods").await.status, 401);
}

#[tokio::test]
async fn other_sites_and_names_get_nothing() {
    let fixture = fixture(Identity::Own).await;
    let browser = fixture.signed_in().await;
    let refused = async |method: &str, headers: &[(&'static str, &str)]| -> Answer {
        browser.ask(method, "api/v1/pods", headers, "").await
    };
    // The name of another site resolves to loopback.
    assert_eq!(refused("GET", &[("host", "evil.example:80")]).await.status, 421);
    // Another origin, also one on this host, is refused; so is a missing one where it is required.
    assert_eq!(refused("POST", &[("origin", "http://evil.example")]).await.status, 403);
    assert_eq!(refused("POST", &[("origin", "http://127.0.0.1:1")]).await.status, 403);
    assert_eq!(refused("DELETE", &[]).await.status, 403);
    assert_eq!(refused("GET", &[("sec-fetch-site", "same-site"), ("sec-fetch-dest", "empty")]).await.status, 403);
    assert_eq!(refused("GET", &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "document")]).await.status, 403);
    let channel = [("upgrade", "websocket"), ("connection", "upgrade, close"), ("origin", "http://evil.example")];
    assert_eq!(refused("GET", &channel).await.status, 403);
    assert_eq!(refused("GET", &channel[..2]).await.status, 403);
    // Content of pods, and paths that are not the API's, are refused.
    for path in ["api/v1/namespaces/a/services/b/proxy/x", "api/v1/nodes/n/proxy/", "metrics", "logs/", "debug/pprof"] {
        let status = browser.get(path).await.status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
    // Paths outside of the one that only this browser knows are refused.
    assert_eq!(browser.at("/api/v1/pods").await.status, 404);
    assert_eq!(browser.at("/").await.status, 404);
    assert!(fixture.api.asked().is_empty(), "{:?}", fixture.api.asked());
}

#[tokio::test]
async fn a_channel_is_joined_at_both_ends() {
    let fixture = fixture(Identity::Own).await;
    let browser = fixture.signed_in().await;
    let said = browser.channel("api/v1/namespaces/a/pods/b/exec?command=sh", "v5.channel.k8s.io", b"hello").await;
    assert_eq!(said, b"hello", "what is sent comes back, as the other end echoes");
    let asked = fixture.api.asked().remove(0);
    assert_eq!(asked.header("sec-websocket-protocol"), Some("v5.channel.k8s.io"));
    assert_eq!(asked.header("cookie"), None);
}

#[tokio::test]
async fn addons_are_listed_and_switched_for_the_owner() {
    let fixture = fixture(Identity::Own).await;
    let mut browser = fixture.signed_in().await;
    assert!(browser.get("console/info").await.body.contains("\"addons\":true"));
    assert!(browser.get("console/addons").await.body.contains("registry"));
    assert_eq!(browser.post("console/addons/registry/enable", "{}").await.status, 200);
    let failed = browser.post("console/addons/bogus/enable", "{}").await;
    assert!(failed.status == 422 && failed.body.contains("bogus"), "{failed:?}");
    let no_origin = browser.ask("POST", "console/addons/registry/disable", &[], "{}").await;
    assert_eq!(no_origin.status, 403);
}

#[tokio::test]
async fn the_socket_gives_links_for_this_cluster_and_ends_the_server() {
    let fixture = fixture(Identity::Own).await;
    let ask = async |request: Request| Running::find(&fixture.socket).await.expect("a socket").ask(&request).await;
    let link = |server: &str, port| Request::Link {
        identity: Identity::Own,
        server: server.to_owned(),
        version: "1".to_owned(),
        port,
    };
    let Ok(Reply::Link(url)) = ask(link(&fixture.api.url(), None)).await else { panic!("no link") };
    let mut browser = Browser::new(&url);
    assert_eq!(browser.open(&url).await.status, 303);
    assert_eq!(ask(link("https://10.0.0.1:6443", None)).await.expect("an answer"), Reply::Outdated);
    assert_eq!(ask(link(&fixture.api.url(), Some(1))).await.expect("an answer"), Reply::Outdated);
    let running = Running::find(&fixture.socket).await.expect("a socket");
    assert_eq!(running.process().expect("a process"), Some(std::process::id() as i32));
    assert_eq!(running.ask(&Request::End).await.expect("an answer"), Reply::Ending);
    fixture.served.await.expect("it ends");
}
