//! The address of the API that the control planes share. One of their agents holds it and serves there as at loopback, so
//! that kubeconfigs and certificates name the same address whoever serves.
//!
//! There is no election: the first control plane in the spec whose API server is ready holds the address. So each agent
//! looks only at those before it. Two holders for a moment do no harm, as both lead to API servers; a lease would be lost
//! together with the etcd that keeps it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use kcl_announce::Held;
use kcl_node_spec::{Addresses, ports};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, sleep_until};

use super::Gate;
use crate::console::say;
use crate::error::{Doing, Result};

/// The label of the address on the loopback interface.
const LABEL: &str = "lo:kcl-api";

/// The interval between announcements after a change, and their number: a frame may be lost, and a host that has just
/// learned of another holder ignores the first for a second (`man 7 arp`, locktime).
const INTERVAL: Duration = Duration::from_millis(1100);
const REPEATS: u32 = 3;

/// Listens at the shared address, whether this node holds it or not.
pub(super) fn listen(address: Addresses) -> Result<TcpListener> {
    let address = SocketAddr::new(address.primary(), ports::API_SERVER);
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    open().doing(|| format!("listen on {address}"))
}

/// Holds the address for as long as it is this node's turn, until the agent ends.
pub(super) async fn hold(node: Addresses, address: Addresses, gate: Rc<Gate>) {
    let held = match Held::connect(LABEL) {
        Ok(held) => held,
        Err(error) => return say(format_args!("the address {address} of the API cannot be held: {error}")),
    };
    let shared: BTreeSet<IpAddr> = address.iter().collect();
    let mut changes = gate.changes.subscribe();
    let mut holds = None;
    let mut again: Option<(Instant, u32)> = None;
    loop {
        changes.mark_unchanged();
        let wanted = gate.leads().unwrap_or_else(|| holds.unwrap_or_else(|| gate.is_first()));
        if holds != Some(wanted) {
            // Clients that only listen would not hear of the change: their connections end while this node can still say so.
            gate.holds.send_replace(wanted);
            match change(&held, &shared, wanted).await {
                Ok(()) => again = wanted.then(|| (Instant::now(), REPEATS)),
                Err(error) => say(format_args!("{error}")),
            }
            holds = Some(wanted);
        }
        let later = async {
            match again {
                Some((at, _)) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = later => {
                if let Err(error) = held.announce(node, &shared).await {
                    say(format_args!("{error}"));
                }
                again = again.filter(|(_, left)| *left > 1).map(|(_, left)| (Instant::now() + INTERVAL, left - 1));
            }
        }
    }
}

async fn change(held: &Held, addresses: &BTreeSet<IpAddr>, wanted: bool) -> std::io::Result<()> {
    let own = held.own().await?;
    for address in addresses {
        match wanted {
            true => held.add(*address).await?,
            false if own.contains(address) => held.remove(*address).await?,
            false => {}
        }
    }
    Ok(())
}
