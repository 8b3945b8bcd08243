//! The engine: follows the API and the container network, and keeps the kernel's rules up to date.
//!
//! The rules are in the kernel and stay when the engine ends, so a restart interrupts nothing: once all objects are known
//! again, the first transaction replaces the table as a whole.

use std::path::Path;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kcl_node_spec::paths::POLICY_CLAIMS;
use kcl_policy::Key;
use kcl_policy::compile::Compiler;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::claims::Claims;
use crate::error::{Doing, Result};
use crate::nft;
use crate::protocol::{Answer, Request};
use crate::server::Order;
use crate::watch::{self, Watches};

/// The pause before a transaction is tried again that the kernel refused.
const PAUSE: Duration = Duration::from_secs(1);

/// The engine of a node.
struct Engine {
    compiler: Compiler,
    claims: Claims,
    /// The pods whose networks wait for their policies.
    waiting: Vec<(Key, oneshot::Sender<Answer>)>,
    /// True while the kernel's rules may be others than those of the compiler, so that all are replaced.
    stale: bool,
}

/// Runs until SIGTERM.
pub(crate) async fn run(node: &str, client: Client, mut requests: mpsc::Receiver<Order>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).doing(|| "wait for SIGTERM".to_owned())?;
    let claims = Claims::open(Path::new(POLICY_CLAIMS))?;
    let mut engine = Engine { compiler: Compiler::new(node), claims, waiting: Vec::new(), stale: true };
    for (key, claim) in engine.claims.all()? {
        engine.compiler.claim(&key, claim);
    }
    let begin = client.clone();
    let begin = async move { watch::permitted(&begin).await };
    let mut changes = begin.into_stream().flat_map(move |()| watch::changes(&client)).boxed();
    let mut watches = Watches::default();
    let mut complete = false;
    loop {
        let again = engine.stale && complete;
        tokio::select! {
            Some(change) = changes.next() => {
                let mut next = Some(change);
                while let Some(change) = next {
                    match change {
                        Ok(change) => watches.follow(change, &mut engine.compiler),
                        Err(error) => eprintln!("a watch is restarted: {error}"),
                    }
                    // A burst is one transaction.
                    next = changes.next().now_or_never().flatten();
                }
            }
            Some((request, answer)) = requests.recv() => engine.take(request, answer),
            () = sleep(PAUSE), if again => {}
            _ = terminate.recv() => return Ok(()),
        }
        if !watches.complete() {
            continue;
        }
        if !complete {
            complete = true;
            engine.forget_unknown();
            let world = engine.compiler.world();
            println!("{} policies and {} pods are known", world.policies.len(), world.pods.len());
        }
        engine.enforce().await;
    }
}

impl Engine {
    fn take(&mut self, request: Request, answer: oneshot::Sender<Answer>) {
        let mut error = None;
        match request {
            Request::Claim { namespace, name, claim } => {
                let key = Key { namespace, name };
                match self.claims.keep(&key, &claim) {
                    Ok(()) => {
                        // An earlier request for the pod has been given up.
                        self.waiting.retain(|(other, _)| *other != key);
                        self.compiler.claim(&key, claim);
                        self.waiting.push((key, answer));
                        return;
                    }
                    Err(failure) => error = Some(failure.to_string()),
                }
            }
            Request::Release { namespace, name, sandbox } => {
                self.claims.remove(&sandbox);
                self.compiler.release(&Key { namespace, name }, &sandbox);
            }
            Request::Ping => {}
        }
        // The client may have given up.
        let _ = answer.send(Answer { error });
    }

    /// Forgets the claims of pods that ended while the engine did not run. Those that wait are of new pods.
    fn forget_unknown(&mut self) {
        let waiting: Vec<&Key> = self.waiting.iter().map(|(key, _)| key).collect();
        for claim in self.compiler.forget_unknown(&waiting) {
            self.claims.remove(&claim.sandbox);
        }
    }

    /// Brings the kernel's rules up to date, and then answers for the pods whose policies hold.
    async fn enforce(&mut self) {
        let transaction = if self.stale { Some(self.compiler.replace()) } else { self.compiler.update() };
        if let Some(transaction) = transaction
            && let Err(error) = nft::run(&transaction).await
        {
            // Somebody may have removed the table, or a part of it.
            eprintln!("the rules are replaced as a whole: {error}");
            self.stale = true;
            if let Err(error) = nft::run(&self.compiler.replace()).await {
                eprintln!("the rules cannot be set: {error}");
                return;
            }
        }
        self.stale = false;
        for (key, answer) in std::mem::take(&mut self.waiting) {
            if self.compiler.is_known(&key) {
                let _ = answer.send(Answer::default());
            } else if !answer.is_closed() {
                self.waiting.push((key, answer));
            }
        }
    }
}
