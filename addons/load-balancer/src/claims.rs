//! Grows the volumes of claims that ask for more. The volumes are directories, which have no size: only the numbers change,
//! as a resizer of a CSI driver changes them once it has made a disk larger.

use futures::{TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Doing, Result};

/// The annotation of a volume: the provisioner that made it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The resource of claims and volumes.
const STORAGE: &str = "storage";

/// Runs until SIGTERM. A claim that could not be changed is looked at again with its next event, of which the watch sends
/// one at the latest when it is renewed.
pub(crate) async fn run(client: Client, provisioner: &str) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).doing(|| "wait for SIGTERM".to_owned())?;
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let changes = watcher(claims, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(changes);
    loop {
        let change = tokio::select! {
            change = changes.try_next() => change,
            _ = terminate.recv() => return Ok(()),
        };
        match change {
            Ok(Some(claim)) => {
                if let Err(error) = grow(&client, provisioner, &claim).await {
                    eprintln!("{}/{}: {error}", claim.namespace().unwrap_or_default(), claim.name_any());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => eprintln!("the watch is restarted: {error}"),
        }
    }
}

/// Makes the volume of a claim, and then the claim, as large as it asks to be.
async fn grow(client: &Client, provisioner: &str, claim: &PersistentVolumeClaim) -> Result<()> {
    let Some((volume, size)) = wanted(claim) else { return Ok(()) };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let made_by = volumes.get_metadata(volume).await?.annotations().get(PROVISIONED_BY).cloned();
    if made_by.as_deref() != Some(provisioner) {
        return Ok(());
    }
    let parameters = PatchParams::default();
    let capacity = json!({"spec": {"capacity": {STORAGE: size}}});
    volumes.patch(volume, &parameters, &Patch::Merge(&capacity)).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    // The conditions tell of a change that is under way.
    let status = json!({"status": {"capacity": {STORAGE: size}, "conditions": null}});
    claims.patch_status(&claim.name_any(), &parameters, &Patch::Merge(&status)).await?;
    println!("{}/{} has {}", claim.namespace().unwrap_or_default(), claim.name_any(), size.0);
    Ok(())
}

/// Returns the volume of a bound claim that asks for another size than it has, and that size. The API server writes sizes in
/// one form, and lets them grow only.
fn wanted(claim: &PersistentVolumeClaim) -> Option<(&str, &Quantity)> {
    let spec = claim.spec.as_ref()?;
    let size = spec.resources.as_ref()?.requests.as_ref()?.get(STORAGE)?;
    let status = claim.status.as_ref().filter(|status| status.phase.as_deref() == Some("Bound"))?;
    let has = status.capacity.as_ref()?.get(STORAGE)?;
    (has != size).then_some((spec.volume_name.as_deref()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(phase: &str, asks: &str, has: &str) -> PersistentVolumeClaim {
        let value = json!({
            "metadata": {"name": "c"},
            "spec": {"volumeName": "pv", "resources": {"requests": {"storage": asks}}},
            "status": {"phase": phase, "capacity": {"storage": has}},
        });
        serde_json::from_value(value).expect("a claim")
    }

    #[test]
    fn a_bound_claim_grows_to_what_it_asks_for() {
        assert_eq!(wanted(&claim("Bound", "2Gi", "1Gi")), Some(("pv", &Quantity("2Gi".to_owned()))));
        assert_eq!(wanted(&claim("Bound", "1Gi", "1Gi")), None);
        assert_eq!(wanted(&claim("Pending", "2Gi", "1Gi")), None);
    }
}
