//! One object to the API server: by server-side apply, or as it is where that does not take what the API itself takes.

use http::HeaderMap;
use http::header::WARNING;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::FIELD_MANAGER;
use super::resources::{Resources, api_of, title};
use super::unknown;
use crate::error::{Error, Id};

/// The reason why an object is not applied.
pub(super) enum Failure {
    /// Something that it needs is not there yet.
    Late(String),
    /// The object will never be applied as it is.
    Refused(Error),
}

/// Applies an object. Returns the API server's warnings, each with the object's name.
pub(super) async fn patch(
    client: &Client,
    resources: &Resources,
    object: &DynamicObject,
) -> Result<Vec<String>, Failure> {
    let types = object.types.clone().unwrap_or_default();
    let title = title(object);
    let Some((resource, scope)) = resources.of(&types.api_version, &types.kind) else {
        let reason = format!("{title}: this cluster serves no {} {}", types.api_version, types.kind);
        return Err(match is_built_in(client, resources, &types.api_version).await {
            true => Failure::Refused(refused(&reason)),
            false => Failure::Late(reason),
        });
    };
    let api = api_of(client, &resource, &scope, object.namespace().as_deref());
    match send_object(client, &api, &without_server_fields(object)).await {
        Ok(warnings) => Ok(warnings.into_iter().map(|warning| format!("{title}: {warning}")).collect()),
        Err(error) => {
            let reason = format!("{title}: {}", message(&error));
            Err(if is_late(&error) { Failure::Late(reason) } else { Failure::Refused(refused(&reason).source(error)) })
        }
    }
}

pub(super) fn refused(reason: &str) -> Error {
    Error::new(Id::ManifestRefused, format!("applying {reason}"))
}

pub(super) fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

/// Leaves out what the API server itself writes: manifests that were saved from a cluster have it, and server-side apply
/// refuses it.
fn without_server_fields(object: &DynamicObject) -> DynamicObject {
    let mut object = object.clone();
    let metadata = &mut object.metadata;
    (metadata.managed_fields, metadata.resource_version, metadata.uid) = (None, None, None);
    (metadata.creation_timestamp, metadata.generation, metadata.self_link) = (None, None, None);
    object
}

/// Sends an object by server-side apply. That refuses what the API itself takes with a warning: fields without a schema,
/// which are left out, and lists with two entries of one key, such as a port with two names.
async fn send_object(client: &Client, api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<Vec<String>> {
    let name = object.name_any();
    let mut content = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    if name.contains(|c: char| !c.is_ascii_graphic() || "/?#%".contains(c)) {
        // No object has such a name, and no path can: the API server says what is wrong with it.
        return create(client, api, &content).await;
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let mut warnings = Vec::new();
    loop {
        let request = Request::new(api.resource_url()).patch(&name, &parameters, &Patch::Apply(&content));
        match send(client, request).await {
            Ok(said) => {
                warnings.extend(said);
                return Ok(warnings);
            }
            Err(error) => {
                let unknown = unknown::remove(&mut content, &message(&error));
                let is_known = unknown.is_empty();
                warnings.extend(unknown);
                if message(&error).contains("duplicate entries for key") {
                    warnings.extend(send_as_it_is(client, api, &name, &content).await?);
                    return Ok(warnings);
                }
                if is_known {
                    return Err(error);
                }
            }
        }
    }
}

/// Creates an object, or merges it into the one that exists. One that has everything already stays as it is: pods can
/// hardly be changed.
async fn send_as_it_is(
    client: &Client,
    api: &Api<DynamicObject>,
    name: &str,
    content: &Value,
) -> kube::Result<Vec<String>> {
    let Some(found) = api.get_opt(name).await? else { return create(client, api, content).await };
    let found = serde_json::to_value(found).map_err(kube::Error::SerdeError)?;
    if covers(&found, content) {
        return Ok(Vec::new());
    }
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    send(client, Request::new(api.resource_url()).patch(name, &parameters, &Patch::Merge(content))).await
}

async fn create(client: &Client, api: &Api<DynamicObject>, content: &Value) -> kube::Result<Vec<String>> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let content = serde_json::to_vec(content).map_err(kube::Error::SerdeError)?;
    send(client, Request::new(api.resource_url()).create(&parameters, content)).await
}

/// Returns true if what exists has all that is wanted.
fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| wanted.is_null() || found.get(key).is_some_and(|found| covers(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            // The API server adds the volume with the token of the account to each pod.
            let added = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
            found.len() >= wanted.len()
                && found[wanted.len()..].iter().all(added)
                && found.iter().zip(wanted).all(|(found, wanted)| covers(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

/// Sends a request, and returns the warnings of the answer.
async fn send(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<Vec<String>> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    let response = client.send(request.map(Body::from)).await?;
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(warnings(&head.headers));
    }
    let content = body.collect_bytes().await?;
    let status = serde_json::from_slice(&content).unwrap_or_else(|_| Status {
        code: head.status.as_u16(),
        message: String::from_utf8_lossy(&content).trim().to_owned(),
        ..Status::default()
    });
    Err(kube::Error::Api(Box::new(status)))
}

/// Returns the texts of warnings, each of which is `299 - "TEXT"` (RFC 7234, section 5.5).
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &http::HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let quoted = value.splitn(3, ' ').nth(2).unwrap_or(&value);
        let mut text = String::new();
        let mut characters = quoted.strip_prefix('"').unwrap_or(quoted).chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => text.extend(characters.next()),
                character => text.push(character),
            }
        }
        text
    };
    headers.get_all(WARNING).iter().map(text).collect()
}

/// Returns true if an object may be accepted later as it is: the API server, a webhook, a namespace or an account that it
/// needs is not there yet, or the old one is still being deleted.
pub(super) fn is_late(error: &kube::Error) -> bool {
    let status = match error {
        kube::Error::Api(status) => status,
        kube::Error::Service(_) | kube::Error::HyperError(_) => return true,
        _ => return false,
    };
    let says = |texts: &[&str]| texts.iter().any(|text| status.message.contains(text));
    match status.code {
        404 | 409 | 429 | 502..=504 => true,
        403 => says(&["being terminated", "error looking up service account"]),
        500 => says(&["webhook", "etcdserver", "context deadline exceeded", "connection refused"]),
        _ => false,
    }
}

/// Returns true if the API server itself defines the kinds of an API version, so that no definition will add one.
async fn is_built_in(client: &Client, resources: &Resources, api_version: &str) -> bool {
    let Some((group, version)) = api_version.split_once('/') else { return true };
    if !group.contains('.') {
        return true;
    }
    // The label tells the API server's own services from those that it makes for definitions.
    let Some((services, scope)) = resources.of("apiregistration.k8s.io/v1", "APIService") else { return false };
    let service = api_of(client, &services, &scope, None).get_metadata(&format!("{version}.{group}")).await;
    service.is_ok_and(|service| {
        service.labels().get("kube-aggregator.kubernetes.io/automanaged").is_some_and(|value| value == "onstart")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::default() }))
    }

    #[test]
    fn warnings_are_unquoted() {
        let mut headers = HeaderMap::new();
        headers.append(WARNING, r#"299 - "unknown field \"spec.a\"""#.parse().unwrap());
        headers.append(WARNING, r#"299 - "a is deprecated" "Mon, 01 Jan 2026 00:00:00 GMT""#.parse().unwrap());
        headers.append(WARNING, "odd".parse().unwrap());
        assert_eq!(warnings(&headers), ["unknown field \"spec.a\"", "a is deprecated", "odd"]);
    }

    #[test]
    fn objects_wait_for_what_may_come() {
        for (code, message) in [
            (500, "Internal error occurred: failed calling webhook \"a.b\": connection refused"),
            (404, "namespaces \"a\" not found"),
            (404, "the server could not find the requested resource"),
            (403, "pods \"a\" is forbidden: error looking up service account a/b: serviceaccount \"b\" not found"),
            (403, "unable to create new content in namespace a because it is being terminated"),
            (409, "object is being deleted: namespaces \"a\" already exists"),
            (429, "too many requests"),
            (503, "the server is currently unable to handle the request"),
        ] {
            assert!(is_late(&status(code, message)), "{message}");
        }
        for (code, message) in [
            (403, "admission webhook \"a.b\" denied the request: no"),
            (422, "ConfigMap \"A\" is invalid: metadata.name"),
            (400, "strict decoding error"),
            (403, "configmaps is forbidden: User \"x\" cannot patch"),
        ] {
            assert!(!is_late(&status(code, message)), "{message}");
        }
    }

    #[test]
    fn what_exists_covers_what_is_wanted() {
        let found =
            json!({"a": 1, "b": [{"x": 1, "y": 2}, {"name": "kube-api-access-12345"}], "c": {"d": "e", "f": "g"}});
        for wanted in [json!({}), json!({"a": 1, "z": null}), json!({"b": [{"x": 1}]}), json!({"c": {"d": "e"}})] {
            assert!(covers(&found, &wanted), "{wanted}");
        }
        for wanted in [json!({"a": 2}), json!({"b": []}), json!({"b": [{"x": 1}, {}, {}]}), json!({"c": {"d": 1}})] {
            assert!(!covers(&found, &wanted), "{wanted}");
        }
    }

    #[test]
    fn server_fields_are_left_out() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "managedFields": [], "labels": {"b": "c"},
                "creationTimestamp": "2026-01-01T00:00:00Z"},
        }))
        .unwrap();
        let left = serde_json::to_value(without_server_fields(&object)).unwrap();
        assert_eq!(left["metadata"], json!({"name": "a", "labels": {"b": "c"}}));
    }
}
