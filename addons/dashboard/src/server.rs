//! The server: who may come in, and which room a request is for.

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
use crate::shared::{Activity, Shared};
use crate::upstream::Upstream;
use crate::{control, guard, own, page, proxy};

/// How often it is looked whether anybody still needs the server.
const LOOK: Duration = Duration::from_secs(10);

/// What a console needs to know.
pub struct Config<'a> {
    /// What is shown.
    pub cluster: Cluster,
    /// The port on loopback; 0: any that is free.
    pub port: u16,
    /// Where links are asked for: a Unix socket in a directory that only the user can enter. It must not exist.
    pub socket: &'a Path,
    /// Who switches addons.
    pub addons: Option<Arc<dyn Addons>>,
    /// How long it lives without a request or an open page.
    pub idle: Duration,
}

/// A console that is ready.
pub struct Console {
    shared: Arc<Shared>,
    tcp: TcpListener,
    unix: UnixListener,
    idle: Duration,
}

impl Console {
    /// Listens. Nothing is answered before [`Self::serve`].
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

    /// A link that works once.
    pub fn link(&self, identity: Identity) -> String {
        self.shared.link(identity)
    }

    /// Serves until it is told to end, is not needed for long, or `wanted` is no longer true.
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
                // Too many open files; some close.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
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

/// Answers a request, with the headers that all answers have.
async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    shared.activity.touch();
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let (mut answer, own_page) = route(shared, request).await;
    let policy = own_page.then(|| page::policy(&host, &shared.scope)).flatten();
    answer::seal(answer.headers_mut(), policy);
    answer
}

/// Finds who answers. The word says whether it is a file of the page.
async fn route(shared: &Arc<Shared>, request: Request<Incoming>) -> (Answer, bool) {
    if !guard::host_is_ours(request.headers(), shared.port) {
        let text = format!("this server goes by the name 127.0.0.1:{} only", shared.port);
        return (answer::text(StatusCode::MISDIRECTED_REQUEST, text), false);
    }
    let path = request.uri().path().to_owned();
    let scope = path.strip_prefix('/').and_then(|path| path.strip_prefix(&shared.scope));
    let Some(inner) = scope.and_then(|path| path.strip_prefix('/')) else {
        return (answer::text(StatusCode::NOT_FOUND, "There is nothing here."), false);
    };
    if inner == "open" && request.method() == Method::GET {
        return (open(shared, request.uri().query().unwrap_or_default()), false);
    }
    let identity = guard::session(request.headers()).and_then(|secret| shared.sessions.find(secret));
    let Some(identity) = identity else {
        if inner.is_empty() {
            return (signed_out(shared), false);
        }
        return (answer::failure(StatusCode::UNAUTHORIZED, "this page has no session (any more)"), false);
    };
    if request.method() == Method::GET
        && let Some(file) = page::file(inner)
    {
        return (file, true);
    }
    if !guard::data_is_ours(request.method(), request.headers(), shared.port) {
        let refused = answer::failure(StatusCode::FORBIDDEN, "only the console's own page may ask for this");
        return (refused, false);
    }
    let api = format!("/{inner}");
    let answer = match inner.strip_prefix("console/") {
        Some(rest) => own::answer(shared, &identity, rest, request).await,
        None if proxy::covers(&api) => proxy::pass(shared, &identity, &api, request).await,
        None => answer::failure(StatusCode::NOT_FOUND, "the console has no such thing"),
    };
    (answer, false)
}

/// Exchanges a link's token for a session; the redirect keeps it out of the page's history.
fn open(shared: &Shared, query: &str) -> Answer {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
    let Some(secret) = shared.sessions.redeem(token) else {
        let text = format!(
            "This link was used before, or is too old: it works once. For another one run:\n\n  {}",
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
