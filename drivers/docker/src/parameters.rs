//! Kernel parameters that kubelets in containers set for this host: kept as a label of the clusters' networks, and restored
//! after the last cluster of any home.

use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use futures::TryStreamExt as _;
use kcl_driver_api::Result;
use kcl_driver_local::parameters::{self, PARAMETERS, Values};

use crate::engine::{Engine, EngineContext as _};
use crate::image;

/// The label of a network: the values before the first cluster, as JSON.
pub(crate) const LABEL: &str = "kcl.parameters";

/// Returns the value of the label for a new network; none if the engine is on another host, whose parameters are not
/// readable here.
pub(crate) async fn label(engine: &Engine) -> Result<Option<String>> {
    if !engine.facts.local {
        return Ok(None);
    }
    let now = || serde_json::to_string(&parameters::now(Path::new(PARAMETERS))).ok();
    Ok(labels(engine).await?.pop().or_else(now))
}

/// Restores the parameters that had been recorded in the label of a network, which is gone, if it was the last one. A
/// failure is no reason to keep a cluster.
pub(crate) async fn restore(engine: &Engine, label: Option<String>, home: &str) -> Result<()> {
    let before: Option<Values> = label.and_then(|label| serde_json::from_str(&label).ok());
    let Some(before) = before.filter(|_| engine.facts.local) else { return Ok(()) };
    if !labels(engine).await?.is_empty() {
        return Ok(());
    }
    let root = Path::new(PARAMETERS);
    let left = parameters::restore(parameters::to_restore(&before, root), root);
    if left.is_empty() {
        return Ok(());
    }
    // The user may use the engine, and may not set parameters; the engine's containers may.
    if let Err(error) = in_container(engine, &left, home).await {
        tracing::debug!("{error}");
    }
    for (name, value) in parameters::to_restore(&before, root) {
        tracing::warn!("{}", parameters::warning(&name, &value));
    }
    Ok(())
}

/// Returns the labels of all networks that have one.
async fn labels(engine: &Engine) -> Result<Vec<String>> {
    let filters = [("label".to_owned(), vec![LABEL.to_owned()])].into();
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = engine.docker.list_networks(Some(options)).await.with_context(|| "list networks")?;
    Ok(networks.into_iter().filter_map(|network| network.labels?.remove(LABEL)).collect())
}

/// Sets parameters in a container that sees them writable.
async fn in_container(engine: &Engine, values: &Values, home: &str) -> Result<()> {
    let Some(image) = image::any(engine, home).await? else { return Ok(()) };
    let lines: Vec<String> = values.iter().map(|(name, value)| format!("echo {value} >{PARAMETERS}/{name}")).collect();
    let name = "kcl-parameters";
    let what = || "restore kernel parameters";
    let remove = || async {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        engine.docker.remove_container(name, Some(options)).await.if_found(|| format!("remove {name}")).map(|_| ())
    };
    remove().await?;
    let body = ContainerCreateBody {
        image: Some(image),
        entrypoint: Some(["/bin/sh", "-c", &lines.join("; ")].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            userns_mode: Some("host".to_owned()),
            network_mode: Some("none".to_owned()),
            security_opt: Some(vec!["apparmor=unconfined".to_owned()]),
            readonly_paths: Some(Vec::new()),
            masked_paths: Some(Vec::new()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    engine.docker.create_container(Some(options), body).await.with_context(what)?;
    let done = async {
        engine.docker.start_container(name, None).await.with_context(what)?;
        // Its exit code is not of interest: the values tell.
        let _: std::result::Result<Vec<_>, _> =
            engine.docker.wait_container(name, None::<WaitContainerOptions>).try_collect().await;
        Ok(())
    };
    let done = done.await;
    remove().await?;
    done
}
