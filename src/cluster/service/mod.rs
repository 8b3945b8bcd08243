//! `service`: the URLs by which this host reaches Services, or the reason why it does not reach them.

mod reachable;

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;
use serde::Serialize;
use tokio::time::timeout;

use super::background::loopback;
use super::{drivers, machine};
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::text::nearest;
use crate::urls::{self, Host, Url, ways};

/// The time that a Service has to appear on loopback: the process in the background sees it at once.
const SOON: Duration = Duration::from_secs(5);

/// A row of `kcl service list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceRow {
    /// The namespace of the Service.
    pub namespace: String,
    /// The name of the Service.
    pub name: String,
    /// The type of the Service: `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub r#type: String,
    /// The URLs by which this host reaches the Service; empty if it does not.
    #[serde(rename = "URLs")]
    pub urls: Vec<String>,
    /// The ports of the Service, such as `http/80`.
    pub port_names: Vec<String>,
}

/// Returns the Services of a cluster, or of one namespace if it is named.
pub async fn services(app: &App, cluster: &str, namespace: Option<&str>) -> Result<Vec<ServiceRow>> {
    let (client, host) = open(app, cluster).await?;
    let api: Api<Service> =
        namespace.map_or_else(|| Api::all(client.clone()), |name| Api::namespaced(client.clone(), name));
    let list = api.list(&ListParams::default()).await.map_err(|error| unanswered(cluster, error))?;
    Ok(list.items.iter().map(|service| row(service, &ways(service, &host, false))).collect())
}

/// Returns a Service that this host reaches; with `https`, all of its URLs have that scheme.
///
/// # Errors
/// `NotFound` if no Service has this name, `Cluster` if this host does not reach it: the message says why, the hints
/// what to do. If pods are ready but it accepts no connections, that is only a warning.
pub async fn service(app: &App, cluster: &str, namespace: &str, name: &str, https: bool) -> Result<ServiceRow> {
    let (client, host) = open(app, cluster).await?;
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| unanswered(cluster, error))?;
    let Some(mut service) = found else { return Err(missing(&client, cluster, namespace, name).await?) };
    if let Some(error) = urls::hidden(&service) {
        return Err(error);
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client, namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let slices = slices.list(&of_service).await.map_err(|error| unanswered(cluster, error))?;
    if !slices.items.iter().any(is_served) {
        return Err(without_endpoints(&service));
    }
    let mut urls = ways(&service, &host, https);
    if urls.is_empty() && !host.is_near() {
        // A new Service may not be on loopback yet.
        let given = |service: Option<&Service>| service.is_some_and(|service| !urls::given(service).is_empty());
        if let Ok(Ok(Some(given))) = timeout(SOON, await_condition(api, name, given)).await {
            urls = ways(&given, &host, https);
            service = given;
        }
    }
    if urls.is_empty() {
        return Err(urls::unreached(&service, &host));
    }
    for (url, error) in reachable::wait(&urls).await {
        app.progress.warn(format!(
            "{url} takes no connections: {error}. Do the pods of {namespace}/{name} listen on its targetPort?"
        ));
    }
    Ok(row(&service, &urls))
}

fn row(service: &Service, urls: &[Url]) -> ServiceRow {
    ServiceRow {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
        r#type: urls::kind(service).to_owned(),
        urls: urls.iter().map(Url::to_string).collect(),
        port_names: urls::ports(service).map(urls::port_name).collect(),
    }
}

/// Connects to the API of a running cluster, and returns how its nodes are reached.
async fn open(app: &App, cluster: &str) -> Result<(kube::Client, Host)> {
    let state = app.existing(cluster)?;
    // If the cluster does not run, this fails at once; a request to the API would time out.
    machine(app, cluster, None).await?;
    let driver = drivers::driver_of(app, &state)?;
    // The process that forwards ports may have been killed.
    if let Err(error) = loopback::follow(app, &state, driver.as_ref(), &app.addons(&state.spec)?).await {
        app.progress.warn(error.to_string());
    }
    let client = kubernetes::connect(&app.access(&state)?)?;
    Ok((client, urls::host(&state, driver.as_ref()).await?))
}

fn is_served(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(urls::is_ready)
}

fn without_endpoints(service: &Service) -> Error {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let error = Error::new(
        Id::ServiceUnreachable,
        format!("no pod answers for the service {namespace}/{name}: it has no ready endpoint"),
    );
    let selector =
        service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    match selector {
        Some(selector) => {
            let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            error.hint(format!("see its pods with: kcl kubectl -- get pods -n {namespace} -l {}", labels.join(",")))
        }
        None => error.hint("it selects no pods, so its endpoints have to be made by hand"),
    }
}

/// Returns the error that no Service has that name; hints at one with a similar name, or in another namespace.
async fn missing(client: &kube::Client, cluster: &str, namespace: &str, name: &str) -> Result<Error> {
    let all: Api<Service> = Api::all(client.clone());
    let all = all.list_metadata(&ListParams::default()).await.map_err(|error| unanswered(cluster, error))?;
    let place = |object: &kube::core::PartialObjectMeta<Service>| object.namespace().unwrap_or_default();
    let error = Error::new(Id::ServiceNotFound, format!("there is no service \"{name}\" in the namespace {namespace}"));
    let elsewhere: Vec<_> = all.items.iter().filter(|object| object.name_any() == name).map(place).collect();
    let here: Vec<_> =
        all.items.iter().filter(|object| place(object) == namespace).map(|object| object.name_any()).collect();
    Ok(match (elsewhere.first(), nearest(name, here.iter().map(String::as_str))) {
        (Some(other), _) => error.hint(format!("there is one in the namespace {other}: kcl service {name} -n {other}")),
        (None, Some(near)) => error.hint(format!("did you mean \"{near}\"?")),
        (None, None) => error.hint("see what is there with: kcl service list"),
    })
}

fn unanswered(cluster: &str, error: kube::Error) -> Error {
    Error::new(
        Id::ApiFailed,
        format!("the API of cluster \"{cluster}\" does not say which services there are: {error}"),
    )
    .hint(format!("see how it is with: kcl status -p {cluster}"))
    .source(error)
}
