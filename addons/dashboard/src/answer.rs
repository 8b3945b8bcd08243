//! Responses of the server itself, and the headers that every response has.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serde::Serialize;

/// The body of a response: the server's own, or passed on as it arrives.
pub(crate) type Body = Either<Full<Bytes>, Incoming>;

/// A response to a request.
pub(crate) type Answer = Response<Body>;

/// The headers of every response: browsers must not guess its type, frame it, share it or store it.
const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Returns a response of bytes with a media type.
pub(crate) fn bytes(status: StatusCode, media_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(content.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// Returns a response of plain text for the user.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    bytes(status, "text/plain; charset=utf-8", text.into() + "\n")
}

/// Returns a response of JSON for the page.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    match serde_json::to_vec(document) {
        Ok(content) => bytes(status, "application/json", content),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Returns a failure as a `Status` of Kubernetes, so that the page reads both in the same way.
pub(crate) fn failure(status: StatusCode, message: impl Into<String>) -> Answer {
    let message: String = message.into();
    json(
        status,
        &serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "message": message,
        }),
    )
}

/// Sets the headers that every response has. Without a `policy` the browser neither renders nor runs the content.
pub(crate) fn seal(headers: &mut HeaderMap, policy: Option<HeaderValue>) {
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"));
    headers.insert(HeaderName::from_static("content-security-policy"), policy);
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
