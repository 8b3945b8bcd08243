//! Makes a machine: its container with its volumes, powered off.

use std::path::Path;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RenameContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use kcl_driver_api::{Error, ErrorKind, File, MachineSpec, Result, Tree, TreeUse};
use kcl_driver_local::task::blocking;

use crate::archive::{self, Which};
use crate::container;
use crate::context::Context;
use crate::delete;
use crate::engine::{Engine, EngineContext as _};
use crate::files;
use crate::image;
use crate::list;
use crate::names::{MachineNames, SPEC};

/// The file with the current specification of a machine whose specification has changed, as the label of its container
/// cannot be changed.
const CHANGED: &str = "/.kcl-machine.json";

/// Makes the machine, or updates the specification of one that exists.
pub(crate) async fn create(context: &Context, spec: &MachineSpec) -> Result<()> {
    spec.check()?;
    let engine = context.engine().await?;
    let names = context.names().await?.machine(&spec.cluster, &spec.name)?;
    if let Some(there) = specification(engine, &names).await? {
        return if there == *spec { Ok(()) } else { change(engine, &names, &there, spec).await };
    }
    if list::exists(engine, &names).await? {
        // An earlier creation was interrupted, so parts may be missing.
        delete::delete(context, &names).await?;
    }
    let image = image::ensure(context, spec).await?;
    let made = make(engine, &names, spec, &image).await;
    if made.is_err() {
        let cleaned = delete::delete(context, &names).await;
        cleaned.unwrap_or_else(|error| tracing::warn!("after a failed creation: {error}"));
    }
    made
}

async fn make(engine: &Engine, names: &MachineNames, spec: &MachineSpec, image: &image::Image) -> Result<()> {
    let apart = trees_with_marks(spec).await?;
    // The name says whether the container is whole.
    let name = if apart.is_empty() { names.container() } else { names.half_made() };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let config = container::config(names, spec, image, &engine.facts);
    engine
        .docker
        .create_container(Some(options), config)
        .await
        .with_context(|| format!("make the container {name}"))?;
    for tree in &apart {
        upload(engine, &name, tree, Which::Overlay).await?;
    }
    if !apart.is_empty() {
        let options = RenameContainerOptionsBuilder::default().name(&names.container()).build();
        engine.docker.rename_container(&name, options).await.with_context(|| format!("rename the container {name}"))?;
    }
    Ok(())
}

/// Returns the seeds with entries that a layer of an image may not hold.
async fn trees_with_marks(spec: &MachineSpec) -> Result<Vec<Tree>> {
    let seeds = spec.trees.iter().filter(|tree| matches!(tree.usage, TreeUse::Seed { .. })).cloned();
    let seeds: Vec<Tree> = seeds.collect();
    blocking(move || {
        let mut found = Vec::new();
        for tree in seeds {
            if archive::has_marks(&tree.source)? {
                found.push(tree);
            }
        }
        Ok(found)
    })
    .await
}

async fn upload(engine: &Engine, container: &str, tree: &Tree, which: Which) -> Result<()> {
    let (source, target) = (tree.source.clone(), tree.target.clone());
    let body = archive::pieces(move |out| archive::write_tree(out, &source, &target, which));
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let what = || format!("copy {} into the container {container}", tree.target.display());
    engine.docker.upload_to_container(container, Some(options), bollard::body_try_stream(body)).await.with_context(what)
}

/// Returns the specification of the machine; none if there is no whole machine.
pub(crate) async fn specification(engine: &Engine, names: &MachineNames) -> Result<Option<MachineSpec>> {
    let name = names.container();
    let found = engine.docker.inspect_container(&name, None).await.if_found(|| format!("inspect {name}"))?;
    let Some(found) = found else { return Ok(None) };
    let text = found.config.and_then(|config| config.labels).and_then(|mut labels| labels.remove(SPEC));
    let made = text.and_then(|text| serde_json::from_str(&text).ok());
    let running = found.state.and_then(|state| state.running).unwrap_or(false);
    if running {
        // The files are not read at every look at the machine; the current specification was set before it was powered
        // on.
        return Ok(made);
    }
    match files::get_stopped(engine, &name, Path::new(CHANGED)).await {
        Ok(text) => Ok(serde_json::from_slice(&text).ok().or(made)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(made),
        Err(error) => Err(error),
    }
}

/// Updates what may change: limits and trees. The machine keeps its root file system.
async fn change(engine: &Engine, names: &MachineNames, there: &MachineSpec, spec: &MachineSpec) -> Result<()> {
    let name = names.container();
    let fixed = |what: &str| {
        let message = format!("the {what} of the container {name} cannot change once it is made");
        Err(Error::new(ErrorKind::State, message)
            .hint(format!("delete and recreate the cluster; delete it with: kcl delete -p {}", names.cluster.cluster)))
    };
    match () {
        () if there.address != spec.address => return fixed("address"),
        () if there.ports != spec.ports => return fixed("published ports"),
        () if there.mounts != spec.mounts => return fixed("mounts"),
        () if there.volumes != spec.volumes => return fixed("volumes"),
        () if there.init != spec.init => return fixed("first process"),
        () => {}
    }
    let limits = container::limits(spec, engine.facts.limits.2);
    if limits != container::limits(there, engine.facts.limits.2) {
        engine.docker.update_container(&name, limits).await.with_context(|| format!("set the limits of {name}"))?;
    }
    for tree in spec.trees.iter().filter(|tree| !there.trees.contains(tree)) {
        // A seed belongs to the machine once it is made.
        if tree.usage == TreeUse::ReadOnly {
            upload(engine, &name, tree, Which::Plain).await?;
        }
    }
    let content = serde_json::to_vec(spec).expect("a specification is JSON");
    files::put_stopped(engine, &name, &[File { path: CHANGED.into(), mode: 0o600, content }]).await
}
