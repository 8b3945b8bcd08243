//! `certs`: the certificates of a cluster. They are renewed and rotated while it runs: nodes take them over without being
//! restarted themselves.
//!
//! A rotation of the CAs is never an interruption. First others sign and both are trusted; those that trust the earlier ones
//! only, such as pods that have read them, believe the new ones by a certificate of the earlier ones that servers send along.
//! Once all certificates are new, the earlier CAs are not trusted any more.

use jiff::Timestamp;
use kcl_driver_api::{Driver, Power};
use serde::Serialize;

use super::addons::{AddonOptions, renew_servers};
use super::background::{dashboard, loopback, renewal};
use super::interrupt::interruptible;
use super::{drivers, kubectl};
use crate::app::App;
use crate::bootstrap::certificates::{check, of, renew};
use crate::error::{Error, Id, Result};
use crate::kubeconfig::{Check, Kubeconfig};
use crate::kubernetes;
use crate::pki::{Certificate, Health, Pki};
use crate::state::{ClusterLock, ClusterState, Phase};

/// The seconds of a day.
const DAY: i64 = 86_400;

/// A row of `kcl certs list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CertificateRow {
    /// The name of the certificate: `apiserver`, `ca`, `servers/traefik`.
    pub name: String,
    /// The node that uses it; empty: no single one.
    pub node: String,
    /// The subject, as in RFC 4514.
    pub subject: String,
    /// The subject of the CA that signed it.
    pub issuer: String,
    /// It is a CA.
    #[serde(rename = "CA")]
    pub authority: bool,
    /// The time from which on it is valid.
    pub begins: String,
    /// The time at which it ends.
    pub ends: String,
    /// The number of whole days until then; negative if it has ended.
    pub days_left: i64,
    /// `Valid`, `Due` (it is renewed next), `NotYetValid` or `Ended`.
    pub status: &'static str,
}

/// Returns the certificates of a cluster.
pub fn certificates(app: &App, cluster: &str) -> Result<Vec<CertificateRow>> {
    let state = app.existing(cluster)?;
    let now = Timestamp::now();
    let row = |found: Certificate| CertificateRow {
        status: match found.health(now) {
            Health::Valid => "Valid",
            Health::Due => "Due",
            Health::NotYetValid => "NotYetValid",
            Health::Ended => "Ended",
        },
        name: found.name,
        node: found.node.unwrap_or_default(),
        subject: found.subject,
        issuer: found.issuer,
        authority: found.authority,
        begins: found.begins.to_string(),
        ends: found.ends.to_string(),
        days_left: (found.ends.as_second() - now.as_second()).div_euclid(DAY),
    };
    Ok(of(&app.pki(cluster)?, &state)?.into_iter().map(row).collect())
}

/// Issues all leaf certificates again, with `cas` also the CAs with other keys. Returns the names of the nodes that took
/// them over; others get them when they are started.
///
/// # Errors
/// A node does not come up with its new certificates. The rotation can be repeated, and goes on.
pub async fn rotate(app: &App, cluster: &str, cas: bool) -> Result<Vec<String>> {
    let (lock, mut state) = app.lock_existing(cluster).await?;
    if state.phase != Phase::Created {
        return Err(Error::new(Id::ClusterIncomplete, format!("cluster \"{cluster}\" is not complete"))
            .hint(format!("complete it with: kcl start -p {cluster}")));
    }
    let driver = drivers::driver_of(app, &state)?;
    // Before anything is changed.
    check(&state)?;
    let nodes = interruptible(async {
        let mut pki = app.pki(cluster)?;
        if cas {
            let step = app.progress.step("certs", "Issuing certificates of new CAs");
            let resumed = pki.is_rotating();
            pki.begin_rotation(Timestamp::now())?;
            spread(app, driver.as_ref(), &pki, &mut state).await?;
            // The nodes that are served by both trust only the new ones from here on.
            pki.end_rotation(Timestamp::now())?;
            let nodes = spread(app, driver.as_ref(), &pki, &mut state).await?;
            step.finish(if resumed { "The earlier rotation is complete" } else { "The CAs are new" });
            Ok(nodes)
        } else {
            let step = app.progress.step("certs", "Issuing new certificates");
            pki.forget_leaves()?;
            let nodes = spread(app, driver.as_ref(), &pki, &mut state).await?;
            step.finish("The certificates are new");
            Ok(nodes)
        }
    })
    .await?;
    follow_up(app, driver.as_ref(), &state, lock, cas).await?;
    Ok(nodes)
}

/// Renews the certificates that have to be, if the cluster runs. Returns false if it does not.
pub(super) async fn renew_due(app: &App, cluster: &str) -> Result<bool> {
    let lock = app.lock(cluster).await?;
    let Some(mut state) = app.store.load(cluster)?.filter(|state| state.phase == Phase::Created) else {
        return Ok(false);
    };
    let driver = drivers::driver_of(app, &state)?;
    if !driver.list(Some(cluster)).await?.iter().any(|machine| machine.power == Power::Running) {
        return Ok(false);
    }
    let pki = app.pki(cluster)?;
    spread(app, driver.as_ref(), &pki, &mut state).await?;
    follow_up(app, driver.as_ref(), &state, lock, false).await?;
    Ok(true)
}

async fn spread(app: &App, driver: &dyn Driver, pki: &Pki, state: &mut ClusterState) -> Result<Vec<String>> {
    let result = renew(driver, pki, state).await;
    // Also after a failure: nodes that have the new ones already are not given them again.
    app.store.save(state)?;
    result
}

/// Gives what is outside of nodes the new certificates: the user's kubeconfig, processes in the background, and servers of
/// addons. Failures are warnings, as the cluster runs.
async fn follow_up(app: &App, driver: &dyn Driver, state: &ClusterState, lock: ClusterLock, cas: bool) -> Result<()> {
    let cluster = &state.spec.name;
    let access = app.access(state)?;
    let known = || Kubeconfig::from_env()?.check(cluster, &access.server);
    match known() {
        // Whoever removed it does not want it back.
        Ok(Check::Configured) => match kubectl::point_kubectl(app, cluster, &access, true) {
            Ok(_) => {}
            Err(error) => app.progress.trouble(&error),
        },
        Ok(_) => {}
        Err(error) => app.progress.trouble(&error),
    }
    loopback::end(app, cluster).await;
    if cas {
        dashboard::end(app, cluster).await;
    }
    drop(lock);
    let client = kubernetes::connect(&access)?;
    if !kubernetes::serves(&client).await {
        return Ok(());
    }
    for node in state.control_planes() {
        kubernetes::reach_kubelet(&client, &node.name).await;
    }
    let wait_timeout = std::time::Duration::from_secs(300);
    let options = AddonOptions { artifacts: Default::default(), way: Default::default(), wait_timeout };
    if let Err(error) = renew_servers(app, cluster, &options).await {
        app.progress.trouble(&error);
    }
    if let Err(error) = loopback::follow(app, state, driver, &app.addons(&state.spec)?).await {
        app.progress.trouble(&error);
    }
    Ok(())
}

/// Warns of certificates that nobody believes, and returns true if nodes have some.
pub(super) fn look_after(app: &App, state: &ClusterState) -> Result<bool> {
    let cluster = &state.spec.name;
    let now = Timestamp::now();
    let mut found = of(&app.pki(cluster)?, state)?;
    found.retain(|one| !one.is_previous() && matches!(one.health(now), Health::Ended | Health::NotYetValid));
    let name = |health: Health| {
        let of_these = found.iter().filter(|one| one.health(now) == health);
        of_these.map(Certificate::full_name).collect::<Vec<_>>().join(", ")
    };
    for (names, what) in
        [(name(Health::Ended), "have ended"), (name(Health::NotYetValid), "are not valid yet: the clock was ahead")]
    {
        if !names.is_empty() {
            app.progress.warn(format!(
                "certificates {what}: {names}; issue new ones with: kcl start -p {cluster}, or kcl certs rotate -p {cluster}"
            ));
        }
    }
    Ok(found.iter().any(|one| one.authority || one.node.is_some()))
}

/// Runs as the process that renews certificates of a cluster, until the cluster does not run. Standard input is the lock
/// under which it was started.
///
/// # Errors
/// The process cannot write its note.
pub async fn keep_certificates(app: &App, cluster: &str) -> Result<()> {
    super::background::detach();
    renewal::stand(app, cluster, async || renew_due(app, cluster).await).await
}
