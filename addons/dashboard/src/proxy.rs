//! Passes the page's requests on to the API server, and the responses back: documents, streams and channels.

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, WARNING,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Either};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use crate::answer::{self, Answer, Body};
use crate::guard;
use crate::identity::Identity;
use crate::omit::Omitted;
use crate::shared::Shared;

/// The request headers that are passed on. All others stay here, above all those that name the session or a user.
const ASKED: [HeaderName; 3] = [ACCEPT, CONTENT_TYPE, CONTENT_LENGTH];

/// The request headers that open a channel (RFC 6455). Extensions are left out, as they would be of this hop only.
const CHANNEL: [HeaderName; 5] =
    [UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_PROTOCOL];

/// The response headers that are passed back.
const SAID: [HeaderName; 2] = [CONTENT_TYPE, WARNING];

/// The response headers that open a channel.
const OPENED: [HeaderName; 4] = [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL];

/// The media type of objects as rows of a table, as kubectl prints them.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Returns true if a path is one of the API server's that the page uses.
pub(crate) fn covers(path: &str) -> bool {
    ["/api/", "/apis/"].iter().any(|prefix| path.starts_with(prefix)) || matches!(path, "/api" | "/apis" | "/version")
}

/// Passes a request on as `identity`.
pub(crate) async fn pass(shared: &Shared, identity: &Identity, path: &str, request: Request<Incoming>) -> Answer {
    if guard::leads_on(path) {
        return answer::failure(StatusCode::FORBIDDEN, "the console does not pass on what pods and nodes serve");
    }
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if request.headers().contains_key(UPGRADE) {
        return channel(shared, identity, &path_and_query, request).await;
    }
    let (parts, body) = request.into_parts();
    let mut onward = Request::new(Either::Right(body));
    *onward.method_mut() = parts.method;
    keep(&ASKED, &parts.headers, onward.headers_mut());
    // A watch has no end, and its events are small.
    let omitted = Omitted::of(&parts.headers).filter(|_| !watches(&path_and_query));
    match shared.upstream.send(identity, &path_and_query, onward).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let body = match omitted {
                Some(omitted) => match lean(body, &omitted).await {
                    Ok(body) => body,
                    Err(error) => return answer::failure(StatusCode::BAD_GATEWAY, error),
                },
                None => Either::Right(body),
            };
            let mut back = Answer::new(body);
            *back.status_mut() = parts.status;
            // The framing of the body belongs to this hop.
            keep(&SAID, &parts.headers, back.headers_mut());
            back
        }
        Err(error) => answer::failure(StatusCode::BAD_GATEWAY, error),
    }
}

/// Returns true if a request is for a stream of events or lines rather than for a document.
fn watches(path_and_query: &str) -> bool {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| matches!(pair.split('=').next(), Some("watch" | "follow")))
}

/// Returns a document without the members that the page does not need.
async fn lean(body: Incoming, omitted: &Omitted) -> Result<Body, String> {
    let whole = body.collect().await.map_err(|error| format!("the API server's answer was cut off: {error}"))?;
    let whole = whole.to_bytes();
    Ok(Either::Left(omitted.leave_out(&whole).map_or(whole, Into::into).into()))
}

/// Opens a channel and connects both ends of it.
async fn channel(shared: &Shared, identity: &Identity, path: &str, mut request: Request<Incoming>) -> Answer {
    let mut onward: Request<Body> = Request::new(Either::Left(Default::default()));
    keep(&CHANNEL, request.headers(), onward.headers_mut());
    // A page cannot set `Accept` when it opens a channel, so it uses the query.
    if path.split(['?', '&']).any(|pair| pair == "as=Table") {
        onward.headers_mut().insert(ACCEPT, HeaderValue::from_static(TABLE));
    }
    // The API server requires an origin, and only its own is of use to it.
    if let Ok(origin) = HeaderValue::from_str(shared.upstream.server()) {
        onward.headers_mut().insert(ORIGIN, origin);
    }
    onward.headers_mut().remove(HOST);
    let mut response = match shared.upstream.send(identity, path, onward).await {
        Ok(response) => response,
        Err(error) => return answer::failure(StatusCode::BAD_GATEWAY, error),
    };
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = response.into_parts();
        let mut back = Answer::new(Either::Right(body));
        *back.status_mut() = status;
        keep(&SAID, &parts.headers, back.headers_mut());
        return back;
    }
    let mut back = Answer::new(Either::Left(Default::default()));
    *back.status_mut() = status;
    keep(&OPENED, response.headers(), back.headers_mut());
    let used = shared.activity.channel();
    tokio::spawn(async move {
        // The guard is held until the channel is closed.
        let _used = used;
        let joined = tokio::try_join!(hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut response));
        match joined {
            Ok((page, server)) => {
                let (mut page, mut server) = (TokioIo::new(page), TokioIo::new(server));
                // Both ends may close the channel at any time.
                let _ = tokio::io::copy_bidirectional(&mut page, &mut server).await;
            }
            Err(error) => tracing::debug!("a channel was not opened: {error}"),
        }
    });
    back
}

/// Copies the headers of these names.
fn keep(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
