//! The watches of what policies are about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt, select};
use k8s_openapi::api::core::v1;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kcl_policy::compile::Compiler;
use kcl_policy::{ApiPod, Key, Pod, Policy};
use kube::api::{Api, ListParams, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};

/// The pauses before the API is asked again whether the engine may read policies: a tenth of the time that has passed, as
/// the first pods of a cluster wait for the answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An event of one of the watches.
pub(crate) enum Change {
    /// One of a namespace, of which only names and labels count.
    Namespace(Event<PartialObjectMeta<v1::Namespace>>),
    /// One of a pod.
    Pod(Event<ApiPod>),
    /// One of a policy.
    Policy(Event<NetworkPolicy>),
}

/// Returns once the engine may read policies. In the first start of a cluster its rights come after the API, and a watch
/// that is refused waits longer and longer.
pub(crate) async fn permitted(client: &Client) {
    let policies: Api<NetworkPolicy> = Api::all(client.clone());
    let mut refused: Option<Instant> = None;
    while let Err(error) = policies.list_metadata(&ListParams::default().limit(1)).await {
        let since = *refused.get_or_insert_with(|| {
            println!("waiting for the API: {}", reason(&error));
            Instant::now()
        });
        tokio::time::sleep((since.elapsed() / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Returns the message of an error, which says all of it in a refusal.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Returns the events of all watches.
pub(crate) fn changes(client: &Client) -> BoxStream<'static, watcher::Result<Change>> {
    // The server sends the list as events, so that it never is in memory as a whole.
    let config = || watcher::Config::default().streaming_lists();
    let namespaces = watcher(Api::<PartialObjectMeta<v1::Namespace>>::all(client.clone()), config()).default_backoff();
    let pods = watcher(Api::<ApiPod>::all(client.clone()), config()).default_backoff();
    let policies = watcher(Api::<NetworkPolicy>::all(client.clone()), config()).default_backoff();
    let namespaces = namespaces.map(|event| event.map(Change::Namespace));
    let pods = pods.map(|event| event.map(Change::Pod));
    let policies = policies.map(|event| event.map(Change::Policy));
    select(select(namespaces, pods), policies).boxed()
}

/// The progress of the lists with which watches begin, and begin again.
#[derive(Default)]
pub(crate) struct Watches {
    namespaces: List<String>,
    pods: List<Key>,
    policies: List<Key>,
}

struct List<K> {
    listed: BTreeSet<K>,
    complete: bool,
}

impl<K> Default for List<K> {
    fn default() -> Self {
        List { listed: BTreeSet::new(), complete: false }
    }
}

impl<K: Ord + Clone> List<K> {
    /// Follows an event: calls `set` for each object, and `gone` for those that a new list no longer has.
    fn follow<O>(&mut self, event: Event<O>, key: impl Fn(&O) -> K, known: Vec<K>, mut set: impl FnMut(K, Option<O>)) {
        match event {
            Event::Apply(object) => set(key(&object), Some(object)),
            Event::Delete(object) => set(key(&object), None),
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(key(&object));
                set(key(&object), Some(object));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                known.into_iter().filter(|key| !listed.contains(key)).for_each(|key| set(key, None));
                self.complete = true;
            }
        }
    }
}

impl Watches {
    /// Returns true once all objects are known.
    pub(crate) fn complete(&self) -> bool {
        self.namespaces.complete && self.pods.complete && self.policies.complete
    }

    /// Hands an event to the compiler.
    pub(crate) fn follow(&mut self, change: Change, compiler: &mut Compiler) {
        match change {
            Change::Namespace(event) => {
                let known = known(&event, &compiler.world().namespaces);
                self.namespaces.follow(event, ResourceExt::name_any, known, |name, object| {
                    compiler.set_namespace(&name, object.map(|object| object.metadata.labels.unwrap_or_default()));
                });
            }
            Change::Pod(event) => {
                let known = known(&event, &compiler.world().pods);
                self.pods.follow(event, Key::of, known, |key, pod| {
                    compiler.set_pod(&key, pod.map(Pod::from));
                });
            }
            Change::Policy(event) => {
                let known = known(&event, &compiler.world().policies);
                self.policies.follow(event, Key::of, known, |key, policy| {
                    compiler.set_policy(&key, policy.as_ref().map(Policy::from));
                });
            }
        }
    }
}

/// Returns the names of all objects that are known, which only the end of a list is compared with.
fn known<O, K: Clone, V>(event: &Event<O>, map: &BTreeMap<K, V>) -> Vec<K> {
    match event {
        Event::InitDone => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
