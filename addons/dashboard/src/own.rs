//! The console's own API: information about the cluster, sign-in as another user, and addons.

use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::guard;
use crate::identity::Identity;
use crate::shared::Shared;

/// The limit for the body of a sign-in. A token of a service account has some 1,200 bytes; others may have more.
const LARGEST: usize = 64 * 1024;

/// Responds to a request below `console/`.
pub(crate) async fn answer(shared: &Shared, identity: &Identity, path: &str, request: Request<Incoming>) -> Answer {
    match (request.method(), path) {
        (&Method::GET, "info") => info(shared, identity),
        (&Method::POST, "sign-in") => sign_in(shared, request).await,
        (&Method::POST, "sign-out") => sign_out(shared, &request),
        (&Method::GET, "addons") => addons(shared, identity).await,
        (&Method::POST, path) => match path.strip_prefix("addons/").and_then(|rest| rest.split_once('/')) {
            Some((name, verb)) => switch(shared, identity, name, verb).await,
            None => nothing(),
        },
        _ => nothing(),
    }
}

fn nothing() -> Answer {
    answer::failure(StatusCode::NOT_FOUND, "the console has no such path")
}

fn info(shared: &Shared, identity: &Identity) -> Answer {
    let cluster = &shared.cluster;
    let document = json!({
        "cluster": cluster.name,
        "server": cluster.server,
        "version": cluster.kcl_version,
        "own": *identity == Identity::Own,
        "addons": shared.addons_for(identity).is_some(),
    });
    answer::json(StatusCode::OK, &document)
}

/// Replaces this session with one of the token's bearer, so that there is no way back to more rights.
async fn sign_in(shared: &Shared, request: Request<Incoming>) -> Answer {
    #[derive(Deserialize)]
    struct Asked {
        token: String,
    }
    let before = guard::session(request.headers()).map(str::to_owned);
    let body = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return answer::failure(StatusCode::BAD_REQUEST, format!("the token cannot be read: {error}")),
    };
    let token = match serde_json::from_slice::<Asked>(&body) {
        Ok(asked) if !asked.token.trim().is_empty() => asked.token.trim().to_owned(),
        _ => return answer::failure(StatusCode::BAD_REQUEST, "the token is missing"),
    };
    if let Some(before) = before {
        shared.sessions.close(&before);
    }
    let secret = shared.sessions.open(Identity::Token(token));
    let mut answer = answer::json(StatusCode::OK, &json!({}));
    set_cookie(&mut answer, &shared.cookie(&secret));
    answer
}

fn sign_out(shared: &Shared, request: &Request<Incoming>) -> Answer {
    if let Some(secret) = guard::session(request.headers()) {
        shared.sessions.close(secret);
    }
    let mut answer = answer::json(StatusCode::OK, &json!({}));
    set_cookie(&mut answer, &format!("{}; Max-Age=0", shared.cookie("")));
    answer
}

/// Sets a cookie in a response.
pub(crate) fn set_cookie(answer: &mut Answer, cookie: &str) {
    // The cookie consists of a hexadecimal number and the console's own names, so it is valid as a header.
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(SET_COOKIE, value);
    }
}

async fn addons(shared: &Shared, identity: &Identity) -> Answer {
    let Some(addons) = shared.addons_for(identity) else { return nothing() };
    match addons.list().await {
        Ok(list) => answer::json(StatusCode::OK, &json!({ "items": list })),
        Err(error) => answer::failure(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

async fn switch(shared: &Shared, identity: &Identity, name: &str, verb: &str) -> Answer {
    let Some(addons) = shared.addons_for(identity) else { return nothing() };
    // A change runs to its end even if the page is closed, as half a change would be worse.
    let (name, verb) = (name.to_owned(), verb.to_owned());
    let done = tokio::spawn(async move {
        match verb.as_str() {
            "enable" => addons.enable(&name).await,
            "disable" => addons.disable(&name).await,
            other => Err(format!("an addon can be enabled or disabled, not {other:?}")),
        }
    });
    match done.await {
        Ok(Ok(())) => answer::json(StatusCode::OK, &json!({})),
        Ok(Err(error)) => answer::failure(StatusCode::UNPROCESSABLE_ENTITY, error),
        Err(error) => answer::failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
