//! Probes the nodes.
//!
//! Kubernetes takes 40 seconds to notice that a node is gone, as long as a kubelet may be silent. This takes three: a
//! connection to an unused port of each node is attempted once a second, and the node's kernel refuses it. The kernel
//! answers for addresses and forwards, so no process of the node is probed: a restart of the kubelet or the speaker
//! does not matter, and nothing is logged there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use futures::future::join_all;
use kcl_node_spec::Addresses;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The probed port: tcpmux (RFC 1078), which is practically unused. An accepted connection is a response too.
const PORT: u16 = 1;

/// The interval between probes, which is also their timeout.
const PERIOD: Duration = Duration::from_secs(1);

/// The number of failed probes in a row after which a node is gone.
const MISSES: u32 = 2;

/// The same number for a node that has never responded: it may still be starting, as the nodes of a cluster come up one
/// by one.
const MISSES_AT_FIRST: u32 = 20;

/// The name and address of a node.
pub(crate) type Target = (String, Addresses);

/// Probes nodes as long as there are any.
#[derive(Debug)]
pub(crate) struct Prober {
    targets: watch::Sender<Vec<Target>>,
    /// The names of the nodes that do not respond.
    pub unreachable: watch::Receiver<BTreeSet<String>>,
}

impl Prober {
    /// Starts without nodes. Must run within a Tokio runtime.
    pub(crate) fn start() -> Self {
        let (targets, wanted) = watch::channel(Vec::new());
        let (said, unreachable) = watch::channel(BTreeSet::new());
        tokio::spawn(run(wanted, said));
        Prober { targets, unreachable }
    }

    /// Sets the nodes to probe from now on.
    pub(crate) fn ask(&self, targets: Vec<Target>) {
        self.targets.send_if_modified(|before| {
            let news = *before != targets;
            *before = targets;
            news
        });
    }
}

async fn run(mut targets: watch::Receiver<Vec<Target>>, said: watch::Sender<BTreeSet<String>>) {
    let mut record = Record::default();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // An error means that the controller has ended.
        let Ok(now) = targets.wait_for(|targets| !targets.is_empty()).await.map(|targets| targets.clone()) else {
            return;
        };
        ticks.tick().await;
        let answers = join_all(now.iter().map(|(_, address)| answers(*address))).await;
        let gone = record.note(now.into_iter().map(|(name, _)| name).zip(answers));
        said.send_if_modified(|before| {
            let news = *before != gone;
            *before = gone;
            news
        });
    }
}

/// The results of the probes: the nodes that have responded, and the failures in a row.
#[derive(Debug, Default)]
struct Record {
    misses: BTreeMap<String, u32>,
    seen: BTreeSet<String>,
}

impl Record {
    /// Records the result for each probed node. Returns the nodes that are gone.
    fn note(&mut self, answers: impl Iterator<Item = (String, bool)>) -> BTreeSet<String> {
        let before = std::mem::take(self);
        for (name, answered) in answers {
            if answered || before.seen.contains(&name) {
                self.seen.insert(name.clone());
            }
            if !answered {
                let misses = before.misses.get(&name).copied().unwrap_or_default() + 1;
                self.misses.insert(name, misses);
            }
        }
        let limit = |name: &String| if self.seen.contains(name) { MISSES } else { MISSES_AT_FIRST };
        let gone = self.misses.iter().filter(|(name, misses)| **misses >= limit(name));
        gone.map(|(name, _)| name.clone()).collect()
    }
}

async fn answers(address: Addresses) -> bool {
    match timeout(PERIOD, TcpStream::connect((address.primary(), PORT))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
        Err(_) => false,
    }
}

/// Returns those of `ports` on which a program of one of `nodes` listens.
pub(crate) async fn listening(nodes: &[Addresses], ports: &BTreeSet<u16>) -> BTreeSet<u16> {
    let open = |address: Addresses, port: u16| async move {
        let connected = timeout(PERIOD, TcpStream::connect((address.primary(), port))).await;
        matches!(connected, Ok(Ok(_))).then_some(port)
    };
    let all = nodes.iter().flat_map(|address| ports.iter().map(move |port| open(*address, *port)));
    join_all(all).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn a_refusal_is_an_answer() {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            let port = listener.local_addr().expect("its address").port();
            assert!(answers(Ipv4Addr::LOCALHOST.into()).await);
            assert_eq!(listening(&[Ipv4Addr::LOCALHOST.into()], &[port, PORT].into()).await, [port].into());
        });
    }

    fn note(record: &mut Record, answers: &[(&str, bool)]) -> Vec<String> {
        record.note(answers.iter().map(|&(name, answered)| (name.to_owned(), answered))).into_iter().collect()
    }

    #[test]
    fn who_has_answered_is_gone_soon_and_who_comes_up_gets_time() {
        let mut record = Record::default();
        assert!(note(&mut record, &[("one", true), ("late", false)]).is_empty());
        assert!(note(&mut record, &[("one", false), ("late", false)]).is_empty(), "once may be bad luck");
        assert_eq!(note(&mut record, &[("one", false), ("late", false)]), ["one"]);
        assert!(note(&mut record, &[("one", true), ("late", true)]).is_empty(), "it is back");
        assert!(note(&mut record, &[("one", false)]).is_empty());
        assert!(note(&mut record, &[("one", true), ("late", false)]).is_empty(), "who is not asked is forgotten");
        let gone: Vec<_> = (2..MISSES_AT_FIRST).map(|_| note(&mut record, &[("one", true), ("late", false)])).collect();
        assert!(gone.iter().all(Vec::is_empty));
        assert_eq!(note(&mut record, &[("one", true), ("late", false)]), ["late"], "but not for ever");
    }

    #[test]
    fn who_has_never_answered_gets_time() {
        let mut record = Record::default();
        for _ in 1..MISSES_AT_FIRST {
            assert!(note(&mut record, &[("late", false)]).is_empty());
        }
        assert_eq!(note(&mut record, &[("late", false)]), ["late"]);
    }
}
