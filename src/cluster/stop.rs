//! `stop`: powers a cluster's machines off and keeps everything on them.

use std::time::Duration;

use futures::future::join_all;
use kcl_driver_api::{Driver, Power};
use kcl_node_spec::Role;

use super::background::{dashboard, loopback, renewal};
use super::interrupt::interruptible;
use super::{drivers, nodes};
use crate::app::App;
use crate::error::Result;
use crate::plan::POWER_OFF_GRACE;
use crate::state::ClusterState;

/// Powers the machines off. Returns true if any of them ran.
pub async fn stop(app: &App, cluster: &str) -> Result<bool> {
    let (lock, state) = app.lock_existing(cluster).await?;
    dashboard::end(app, cluster).await;
    loopback::end(app, cluster).await;
    renewal::end(app, cluster).await;
    let driver = drivers::driver_of(app, &state)?;
    let running = running(driver.as_ref(), &state).await?;
    if !running.is_empty() {
        interruptible(async {
            let step = app.progress.step("stop", format!("Stopping \"{cluster}\""));
            power_off(driver.as_ref(), cluster, &running).await?;
            step.finish(format!("\"{cluster}\" is stopped; its data, addresses and certificates are kept"));
            Ok(())
        })
        .await?;
    }
    drop(lock);
    Ok(!running.is_empty())
}

/// Powers one node off: in an orderly way, or with `now` as if its power were cut. Returns true if it ran.
pub async fn stop_node(app: &App, cluster: &str, node: &str, now: bool) -> Result<bool> {
    let (lock, state) = app.lock_existing(cluster).await?;
    let machine = &nodes::known(&state, node)?.machine;
    let driver = drivers::driver_of(app, &state)?;
    let ran = running(driver.as_ref(), &state).await?.iter().any(|name| name == machine);
    if ran {
        let step = app.progress.step("stop", format!("Stopping the node \"{node}\""));
        let grace = if now { Duration::ZERO } else { POWER_OFF_GRACE };
        interruptible(async { Ok(driver.machine(cluster, machine).await?.power_off(grace).await?) }).await?;
        step.finish(format!("\"{node}\" is stopped; it is started by: kcl node start -p {cluster} {node}"));
    }
    drop(lock);
    Ok(ran)
}

/// Returns the machines that run, workers before control planes.
async fn running(driver: &dyn Driver, state: &ClusterState) -> Result<Vec<String>> {
    let machines = driver.list(Some(&state.spec.name)).await?;
    let role = |name: &str| state.nodes.iter().find(|node| node.machine == name).map(|node| node.role);
    let runs = |power| matches!(power, Power::Running | Power::Stopping);
    let mut names: Vec<String> =
        machines.into_iter().filter(|machine| runs(machine.power)).map(|machine| machine.name).collect();
    names.sort_by_key(|name| role(name) == Some(Role::ControlPlane));
    Ok(names)
}

/// Powers machines off, all at once: every node stops its own pods and needs no other for it. Continues after a
/// failure.
async fn power_off(driver: &dyn Driver, cluster: &str, names: &[String]) -> Result<()> {
    let results = join_all(
        names.iter().map(|name| async move { driver.machine(cluster, name).await?.power_off(POWER_OFF_GRACE).await }),
    )
    .await;
    for result in results {
        result?;
    }
    Ok(())
}
