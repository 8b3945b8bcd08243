//! The gate: this node's one way to the API.
//!
//! Everything in the node talks to 127.0.0.1:6443, and the gate passes connections on to an API server that is ready,
//! preferably the node's own. While none is ready, connections are accepted and held: a component that starts early
//! waits instead of failing and backing off. An API server is ready when its `/readyz` succeeds for the kubelet's
//! certificate; it is probed until it does, and again after a connection to it failed. Where there are several, those that
//! matter are probed all the time: the one that this node uses and, for the address that control planes share ([`shared`]),
//! those before this one.

mod client;
mod forward;
pub(crate) mod http;
mod shared;
mod upstream;

pub(crate) use client::{Client, tls};
pub(crate) use forward::{open, share};

use std::cell::{Cell, RefCell};
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
    /// The API servers in the order in which this node tries them, its own first.
    upstreams: RefCell<Vec<Rc<Upstream>>>,
    /// Their addresses in the order of the cluster's control planes, which is the same on all nodes.
    ranks: RefCell<Vec<SocketAddr>>,
    /// True once the node takes part in the address that control planes share.
    shares: Cell<bool>,
    /// True while the node holds that address.
    holds: watch::Sender<bool>,
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
            ranks: RefCell::default(),
            shares: Cell::new(false),
            holds: watch::Sender::new(false),
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
        self.ranks.replace(wanted.clone());
        // The nodes that have none of their own share them out.
        let begin = spec.address.primary().to_string().bytes().map(usize::from).sum::<usize>() % wanted.len().max(1);
        wanted.rotate_left(begin);
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

    /// Returns the API server that this node uses, if there are several; `None` while none of them is ready, too.
    pub(crate) fn chosen(&self) -> Option<SocketAddr> {
        let upstreams = self.upstreams.borrow();
        let ready = upstreams.iter().find(|upstream| upstream.is_ready());
        ready.filter(|_| upstreams.len() > 1).map(|upstream| upstream.address)
    }

    /// Returns a receiver of the number of changes of readiness.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns true if the node's own API server is the first that is ready, none if no one is.
    fn leads(&self) -> Option<bool> {
        let upstreams = self.upstreams.borrow();
        let of = |address: &SocketAddr| upstreams.iter().find(|upstream| upstream.address == *address);
        self.ranks.borrow().iter().filter_map(of).find(|upstream| upstream.is_ready()).map(|upstream| upstream.local)
    }

    /// Returns true if the node is the first control plane of the cluster.
    fn is_first(&self) -> bool {
        let upstreams = self.upstreams.borrow();
        let own = upstreams.iter().find(|upstream| upstream.local).map(|upstream| upstream.address);
        own.is_some() && self.ranks.borrow().first().copied() == own
    }

    /// Returns once the node no longer holds the address that control planes share.
    async fn until_withdrawn(&self) {
        let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
    }

    /// Returns once a server is not ready and another one is.
    async fn until_replaced(&self, upstream: &Upstream) {
        loop {
            upstream.until_lost().await;
            self.until(|gate| upstream.is_ready() || gate.upstreams.borrow().iter().any(|other| other.is_ready()))
                .await;
            if !upstream.is_ready() {
                return;
            }
        }
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
        let ready = {
            let upstreams = self.upstreams.borrow();
            let first = upstreams.iter().position(|upstream| upstream.is_ready());
            let shares = upstreams.iter().any(|upstream| upstream.local);
            for (index, upstream) in upstreams.iter().enumerate() {
                upstream.watch_over(upstreams.len() > 1 && (shares || first == Some(index)));
            }
            first.is_some()
        };
        self.state.api_ready(ready);
        self.changes.send_modify(|count| *count += 1);
    }
}
