//! The speaker: makes its node answer for the addresses that the controller assigned to it. One process on each node.
//!
//! The addresses are in the kernel and stay when the speaker ends, so a restart interrupts nothing. The speaker removes
//! stale addresses once it knows all Services, and all addresses when the addon is removed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt, StreamExt, pin_mut};
use k8s_openapi::api::apps::v1::DaemonSet;
use kcl_announce::Held;
use kcl_node_spec::Addresses;
use kube::Client;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::cache::Cache;
use crate::error::{Doing, Result};
use crate::objects::Service;
use crate::settings::Speaker;
use crate::withdrawal::withdrawn;

/// The number of announcements: a frame may be lost, and RFC 5227 requires two.
const REPEATS: u32 = 2;

/// The interval between announcements (RFC 5227 has 2 s; at a failover every second counts).
const INTERVAL: Duration = Duration::from_secs(1);

/// The label of the addresses of Services.
const LABEL: &str = "lo:kcl";

/// Runs until SIGTERM.
pub(crate) async fn run(client: Client, settings: Speaker) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).doing(|| "wait for SIGTERM".to_owned())?;
    let gone = withdrawn::<DaemonSet>(client.clone(), &settings.namespace, &settings.workload);
    let config = watcher::Config::default().fields("spec.type=LoadBalancer");
    let events = watcher(Api::<Service>::all(client), config).default_backoff();
    pin_mut!(gone, events);
    let mut services = Cache::default();
    let node = Node { held: Held::connect(LABEL)?, address: settings.address };
    let mut again: Option<(Instant, u32)> = None;
    loop {
        let later = async {
            match again {
                Some((at, _)) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut next = tokio::select! {
            event = events.next() => event,
            () = later => None,
            Some(()) = gone.next() => {
                node.hold(&BTreeSet::new()).await?;
                // A process that ends before its pod is deleted would be restarted.
                terminate.recv().await;
                return Ok(());
            }
            _ = terminate.recv() => return Ok(()),
        };
        let timer = next.is_none();
        while let Some(event) = next {
            match event {
                Ok(event) => drop(services.take(event)),
                Err(error) => eprintln!("the watch of Services is restarted: {error}"),
            }
            next = events.next().now_or_never().flatten();
        }
        if timer {
            node.held.announce(node.address, &node.held.own().await?).await?;
            again = again.filter(|(_, left)| *left > 1).map(|(_, left)| (Instant::now() + INTERVAL, left - 1));
        } else if services.synced() && node.hold(&given(&services, &settings.node)).await? {
            again = Some((Instant::now() + INTERVAL, REPEATS));
        }
    }
}

/// The addresses that this node answers for.
fn given(services: &Cache<Service>, node: &str) -> BTreeSet<IpAddr> {
    let ours = services.iter().filter(|(_, service)| service.announced_by() == Some(node));
    ours.flat_map(|(_, service)| service.addresses()).collect()
}

struct Node {
    held: Held,
    address: Addresses,
}

impl Node {
    /// Makes the node answer for these addresses and no others. Returns true if some are new.
    async fn hold(&self, wanted: &BTreeSet<IpAddr>) -> Result<bool> {
        let own = self.held.own().await?;
        for address in own.difference(wanted) {
            self.held.remove(*address).await?;
            println!("no longer answering for {address}");
        }
        let fresh: BTreeSet<IpAddr> = wanted.difference(&own).copied().collect();
        for address in &fresh {
            self.held.add(*address).await?;
            println!("answering for {address}");
        }
        self.held.announce(self.address, &fresh).await?;
        Ok(!fresh.is_empty())
    }
}
