//! The server: authenticates requests and routes them.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;

use crate::addons::Addons;
use crate::answer::{self, Answer};
use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::session::{Sessions, secret};
use crate::shared::{Activity, PAUSE, Shared};
use crate::upstream::Upstream;
use crate::{control, guard, own, page, proxy};

/// The interval at which the server checks whether it is still needed.
const LOOK: Duration = Duration::from_secs(10);

/// The configuration of a console.
pub struct Config<'a> {
    /// The cluster to show.
    pub cluster: Cluster,
    /// The port on loopback; 0 for any free port.
    pub port: u16,
    /// The Unix socket for requests for links, in a directory that only the user can enter. It must not exist.
    pub socket: &'a Path,
    /// The cluster's addons, if the page may change them.
    pub addons: Option<Arc<dyn Addons>>,
    /// The time without a request or an open page after which the server ends.
    pub idle: Duration,
}

/// A console that is ready to serve.
pub struct Console {
    shared: Arc<Shared>,
    tcp: TcpListener,
    unix: UnixListener,
    idle: Duration,
}

impl Console {
    /// Listens on loopback and on the socket. Requests wait until [`Self::serve`].
    pub async fn bind(config: Config<'_>) -> io::Result<Console> {
        let upstream = Upstream::new(&config.cluster).map_err(io::Error::other)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        let unix = UnixListener::bind(config.socket)?;
        let shared = Shared {
            port: tcp.local_addr()?.port(),
            cluster: config.cluster,
            upstream,
            sessions: Sessions::default(),
            activity: Arc::new(Activity::new()),
            end: Notify::new(),
            addons: config.addons,
            scope: format!("console-{}", &secret()[..16]),
        };
        Ok(Console { shared: Arc::new(shared), tcp, unix, idle: config.idle })
    }

    /// Returns a link that works once.
    pub fn link(&self, identity: Identity) -> String {
        self.shared.link(identity)
    }

    /// Serves until a request ends it, it has been idle for long, or `wanted` returns false.
    pub async fn serve(self, wanted: impl Fn() -> bool) {
        let Console { shared, tcp, unix, idle } = self;
        let pages = tokio::spawn(pages(shared.clone(), tcp));
        let links = tokio::spawn(control::serve(shared.clone(), unix));
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = shared.end.notified() => break,
                _ = look.tick() => if !wanted() || shared.activity.idle() > idle { break },
            }
        }
        pages.abort();
        links.abort();
    }
}

async fn pages(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(shared.clone(), stream))),
            Err(error) => {
                // Too many files are open; wait until some are closed.
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Responds to a request, with the headers that every response has.
async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let (mut answer, own_page) = route(shared, request).await;
    let policy = own_page.then(|| page::policy(&host, &shared.scope)).flatten();
    answer::seal(answer.headers_mut(), policy);
    answer
}

/// Routes a request. The boolean is true for a file of the page.
async fn route(shared: &Arc<Shared>, request: Request<Incoming>) -> (Answer, bool) {
    if !guard::host_is_ours(request.headers(), shared.port) {
        let text = format!("this server is reached as 127.0.0.1:{} only", shared.port);
        return (answer::text(StatusCode::MISDIRECTED_REQUEST, text), false);
    }
    let path = request.uri().path().to_owned();
    let scope = path.strip_prefix('/').and_then(|path| path.strip_prefix(&shared.scope));
    let Some(inner) = scope.and_then(|path| path.strip_prefix('/')) else {
        return (answer::text(StatusCode::NOT_FOUND, "Not found."), false);
    };
    if inner == "open" && request.method() == Method::GET {
        return (open(shared, request.uri().query().unwrap_or_default()), false);
    }
    let identity = guard::session(request.headers()).and_then(|secret| shared.sessions.find(secret));
    let Some(identity) = identity else {
        if inner.is_empty() {
            return (signed_out(shared), false);
        }
        return (answer::failure(StatusCode::UNAUTHORIZED, "the session has expired"), false);
    };
    // Only a user keeps the console from ending, and no other program of this computer.
    shared.activity.touch();
    if request.method() == Method::GET
        && let Some(file) = page::file(inner)
    {
        return (file, true);
    }
    if !guard::data_is_ours(request.method(), request.headers(), shared.port) {
        let refused = answer::failure(StatusCode::FORBIDDEN, "only the console's own page may request this");
        return (refused, false);
    }
    let api = format!("/{inner}");
    let answer = match inner.strip_prefix("console/") {
        Some(rest) => own::answer(shared, &identity, rest, request).await,
        None if proxy::covers(&api) => proxy::pass(shared, &identity, &api, request).await,
        None => answer::failure(StatusCode::NOT_FOUND, "the console has no such path"),
    };
    (answer, false)
}

/// Exchanges a link's token for a session; the redirect keeps the token out of the browser's history.
fn open(shared: &Shared, query: &str) -> Answer {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
    let Some(secret) = shared.sessions.redeem(token) else {
        let text = format!(
            "This link has been used or has expired: it works once. For a new one run:\n\n  {}",
            shared.command()
        );
        return answer::text(StatusCode::FORBIDDEN, text);
    };
    let mut answer = answer::text(StatusCode::SEE_OTHER, "");
    own::set_cookie(&mut answer, &shared.cookie(&secret));
    if let Ok(place) = HeaderValue::from_str(&format!("/{}/", shared.scope)) {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

fn signed_out(shared: &Shared) -> Answer {
    let text =
        format!("You are not signed in to this console. For a link that signs you in run:\n\n  {}", shared.command());
    answer::text(StatusCode::UNAUTHORIZED, text)
}
