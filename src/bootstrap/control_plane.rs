//! The control plane: waits until its API answers, and says early why it does not.

use kcl_driver_api::{Exec, Stdout};
use kcl_node_spec::paths;
use kube::Client;

use super::{Bootstrap, ready};
use crate::error::Result;
use crate::kubernetes;

/// Waits for the API server's `/readyz` by asking the agent, which knows first and also knows what went wrong.
pub(super) async fn wait(bootstrap: &Bootstrap<'_>, client: &Client) -> Result<()> {
    let version = &bootstrap.state.spec.kubernetes_version;
    let step = bootstrap.progress.step("control-plane", format!("Starting Kubernetes {version}"));
    if !kubernetes::ready(client).await {
        // Those that join wait for the others.
        for node in bootstrap.state.control_planes().filter(|node| !bootstrap.joins(&node.name)) {
            let machine = bootstrap.driver.machine(&bootstrap.state.spec.name, &node.machine).await?;
            let wait = Exec { stdout: Stdout::Capture, ..Exec::new([paths::AGENT, "wait", "api"]) };
            let output = machine.exec(wait).await?;
            if output.code != 0 {
                let subject = format!("the control plane on {}", node.name);
                return Err(ready::does_not_come_up(bootstrap, &node.machine, &subject, &output.stderr));
            }
        }
    }
    step.finish(format!("Kubernetes {version} answers"));
    Ok(())
}
