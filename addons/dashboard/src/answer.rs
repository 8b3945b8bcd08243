//! Answers of the server's own, and the headers that all have.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serde::Serialize;

/// What is sent: of the server's own, or passed on as it comes.
pub(crate) type Body = Either<Full<Bytes>, Incoming>;

/// An answer.
pub(crate) type Answer = Response<Body>;

/// What no answer is without: nothing is guessed, framed, told to others or kept.
const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Bytes of a media type.
pub(crate) fn bytes(status: StatusCode, media_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(content.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// A text for people.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    bytes(status, "text/plain; charset=utf-8", text.into() + "\n")
}

/// A document for the page.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    match serde_json::to_vec(document) {
        Ok(content) => bytes(status, "application/json", content),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A refusal or failure in the form of Kubernetes' own (`Status`), as the page reads either in the same way.
pub(crate) fn failure(status: StatusCode, message: impl Into<String>) -> Answer {
    let message: String = message.into();
    json(
        status,
        &serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "message": message,
        }),
    )
}

/// Sets the headers that all answers have. What is no page of the console's own is nothing that a browser shows or runs.
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
