//! The gate: this node's one way to the API.
//!
//! Everything in the node talks to 127.0.0.1:6443, and the gate passes connections on to an API server that is ready,
//! preferably the node's own. While none is ready, connections are accepted and held: a component that starts early
//! waits instead of failing and backing off. An API server is ready when its `/readyz` succeeds for the kubelet's
//! certificate; it is probed until it does, and again after a connection to it failed.

mod client;
mod forward;
pub(crate) mod http;
mod upstream;

pub(crate) use client::Client;
pub(crate) use forward::open;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use kcl_node_spec::{NodeSpec, Role};
use tokio::sync::watch;

use crate::state::State;
use upstream::Upstream;

/// The listener on loopback that balances connections over the API servers.
pub(crate) struct Gate {
    client: Arc<Client>,
    /// The API servers, the node's own first.
    upstreams: RefCell<Vec<Rc<Upstream>>>,
    /// The number of changes of readiness.
    changes: watch::Sender<u64>,
    state: Rc<State>,
}

impl Gate {
    /// Begins to watch the API servers of a node spec.
    fn new(spec: &NodeSpec, client: Client, state: Rc<State>) -> Rc<Gate> {
        let gate = Rc::new(Gate {
            client: Arc::new(client),
            upstreams: RefCell::default(),
            changes: watch::Sender::new(0),
            state,
        });
        gate.set_servers(spec);
        gate
    }

    /// Applies a changed list of API servers; existing connections stay.
    pub(crate) fn set_servers(self: &Rc<Gate>, spec: &NodeSpec) {
        let own = |address: &SocketAddr| spec.role == Role::ControlPlane && address.ip() == spec.address.primary();
        let mut wanted: Vec<SocketAddr> = spec.kubernetes.api_servers.clone();
        wanted.sort_by_key(|address| !own(address));
        let mut upstreams = self.upstreams.borrow_mut();
        let mut kept = std::mem::take(&mut *upstreams);
        for address in wanted {
            let found = kept.iter().position(|upstream| upstream.address == address);
            upstreams.push(match found {
                Some(index) => kept.swap_remove(index),
                None => {
                    let gate = Rc::downgrade(self);
                    let changed = move || drop(gate.upgrade().inspect(|gate| gate.changed()));
                    Upstream::watch(address, own(&address), self.client(), changed)
                }
            });
        }
        drop(upstreams);
        kept.iter().for_each(|upstream| upstream.forget());
        self.changed();
    }

    /// Returns the client with the kubelet's certificate.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Returns once the node's own API server is ready.
    pub(crate) async fn until_local_ready(&self) {
        self.until(|gate| gate.upstreams.borrow().iter().any(|upstream| upstream.local && upstream.is_ready())).await;
    }

    /// Notes that the node's own API server ended.
    pub(crate) fn local_ended(&self) {
        self.upstreams.borrow().iter().filter(|upstream| upstream.local).for_each(|upstream| upstream.failed());
    }

    /// Returns the ready API servers, in the order in which to try them.
    async fn until_some_ready(&self) -> Vec<Rc<Upstream>> {
        let ready =
            || -> Vec<_> { self.upstreams.borrow().iter().filter(|upstream| upstream.is_ready()).cloned().collect() };
        self.until(|_| !ready().is_empty()).await;
        ready()
    }

    async fn until(&self, condition: impl Fn(&Gate) -> bool) {
        // The gate holds the sender, so this ends only when the condition is true.
        let _ = self.changes.subscribe().wait_for(|_| condition(self)).await;
    }

    /// Notifies all waiters that the readiness of an upstream changed.
    fn changed(&self) {
        let ready = self.upstreams.borrow().iter().any(|upstream| upstream.is_ready());
        self.state.api_ready(ready);
        self.changes.send_modify(|count| *count += 1);
    }
}
