//! Powers a machine on and off.

use std::time::Duration;

use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::StopContainerOptionsBuilder;
use kcl_driver_api::{Error, ErrorKind, Result};

use crate::console;
use crate::container;
use crate::engine::{Engine, EngineContext as _};
use crate::names::MachineNames;

/// Starts the machine and returns when its first process runs.
pub(crate) async fn on(engine: &Engine, names: &MachineNames) -> Result<()> {
    let name = names.container();
    let what = || format!("power on machine {}", names.name);
    if running(engine, names).await? {
        return Ok(());
    }
    let before = console::last_mark(engine, &name).await?;
    start_again(engine, &name, true).await?;
    if let Err(error) = engine.docker.start_container(&name, None).await.with_context(what) {
        start_again(engine, &name, false).await?;
        return Err(explained(error));
    }
    console::wait_for_mark(engine, &name, before.as_deref()).await
}

/// Explains an engine's refusal to start a container.
fn explained(mut error: Error) -> Error {
    let said = error.message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["port is already allocated", "address already in use"]) {
        error.kind = ErrorKind::PortTaken;
    } else if any(&["no configured subnet", "invalid endpoint"]) {
        error.kind = ErrorKind::Conflict;
    } else if said.contains("network") && said.contains("not found") {
        error.kind = ErrorKind::State;
    } else if any(&["unable to apply caps", "unable to apply bounding set"]) {
        error = error.hint(
            "the engine grants fewer capabilities than when the node image was made; remove the image, and kcl recreates it: \
             docker image rm $(docker image ls -q kcl.local/node)",
        );
    }
    error
}

/// Asks the machine to end, waits, and kills what is left.
pub(crate) async fn off(engine: &Engine, names: &MachineNames, grace: Duration) -> Result<()> {
    let name = names.container();
    let running = running(engine, names).await?;
    // First, so that after a kcl that is killed here the next does not take the machine for one that stays.
    if !running || can_update_running(engine) {
        start_again(engine, &name, false).await?;
    }
    if !running {
        return Ok(());
    }
    // A fraction of a second counts as a second: zero would be no grace at all.
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let options = StopContainerOptionsBuilder::default().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
    engine
        .docker
        .stop_container(&name, Some(options))
        .await
        .with_context(|| format!("power off machine {}", names.name))?;
    if can_update_running(engine) { Ok(()) } else { start_again(engine, &name, false).await }
}

/// Tells whether the engine can change the restart policy of a running machine. Podman sets all resources of such a
/// container again, whichever is changed. With control groups of version 1 that fails if a machine has made groups
/// below its own: the kernel does not set the devices of such a group (devices.rst of its documentation).
fn can_update_running(engine: &Engine) -> bool {
    engine.facts.name != "Podman" || engine.facts.cgroup_v2
}

/// Tells whether a machine runs, or is about to.
pub(crate) async fn running(engine: &Engine, names: &MachineNames) -> Result<bool> {
    let found = engine.docker.inspect_container(&names.container(), None).await;
    let found = found.if_found(|| format!("inspect the container of {}", names.name))?.ok_or_else(|| broken(names))?;
    let state = found.state.unwrap_or_default();
    Ok(state.running.unwrap_or(false) || state.restarting.unwrap_or(false))
}

/// Returns the error for a machine without a container of its name.
pub(crate) fn broken(names: &MachineNames) -> Error {
    let message = format!("the creation or deletion of machine {} was interrupted", names.name);
    Error::new(ErrorKind::State, message).hint("delete it")
}

async fn start_again(engine: &Engine, container: &str, again: bool) -> Result<()> {
    let update = ContainerUpdateBody { restart_policy: Some(container::restart(again)), ..Default::default() };
    engine
        .docker
        .update_container(container, update)
        .await
        .with_context(|| format!("set the restart policy of {container}"))
}
