//! The objects of one kind, as a watch reports them.

use std::collections::BTreeMap;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use crate::objects::Key;

/// The known objects of one kind.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    objects: BTreeMap<Key, K>,
    /// The objects that the current list has returned so far.
    listed: BTreeMap<Key, K>,
    synced: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Cache { objects: BTreeMap::new(), listed: BTreeMap::new(), synced: false }
    }
}

impl<K: Metadata<Ty = ObjectMeta>> Cache<K> {
    /// Applies an event of the watch. Returns the object if it was deleted.
    pub(crate) fn take(&mut self, event: Event<K>) -> Option<K> {
        match event {
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => return self.objects.remove(&Key::of(&object)).map(|_| object),
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(Key::of(&object), slim(object));
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.objects, std::mem::take(&mut self.listed));
                for (key, object) in before {
                    if self.objects.contains_key(&key) {
                        self.put(object);
                    }
                }
                self.synced = true;
            }
        }
        None
    }

    /// Stores an object, unless a newer version of it is known: a response and an event of the watch may cross.
    pub(crate) fn put(&mut self, object: K) {
        let key = Key::of(&object);
        if self.objects.get(&key).is_none_or(|known| version(known) <= version(&object)) {
            self.objects.insert(key, slim(object));
        }
    }

    /// Returns true once the first list is complete.
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    /// Returns all objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &K)> {
        self.objects.iter()
    }
}

/// Compares resource versions as numbers, which is guaranteed since Kubernetes 1.35 (KEP-5504) and always worked.
fn version(object: &impl Metadata<Ty = ObjectMeta>) -> u64 {
    object.metadata().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Drops the managed fields, which are the largest part of most objects.
fn slim<K: Metadata<Ty = ObjectMeta>>(mut object: K) -> K {
    object.metadata_mut().managed_fields = None;
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Service;

    fn service(name: &str, version: u32, by: &str) -> Service {
        let value = serde_json::json!({"metadata": {
            "name": name, "namespace": "default", "resourceVersion": version.to_string(),
            "annotations": {crate::objects::ANNOUNCED_BY: by},
        }});
        serde_json::from_value(value).expect("a service")
    }

    fn names(cache: &Cache<Service>) -> Vec<String> {
        cache.iter().map(|(key, service)| format!("{}={}", key.name, service.announced_by().unwrap_or(""))).collect()
    }

    #[test]
    fn a_late_event_undoes_nothing() {
        let mut cache = Cache::default();
        cache.take(Event::Init);
        cache.take(Event::InitApply(service("a", 9, "old")));
        assert!(!cache.synced());
        cache.take(Event::InitDone);
        assert!(cache.synced());
        cache.put(service("a", 11, "new"));
        cache.take(Event::Apply(service("a", 10, "old")));
        assert_eq!(names(&cache), ["a=new"]);
        cache.take(Event::Apply(service("a", 12, "newer")));
        assert_eq!(names(&cache), ["a=newer"]);
    }

    #[test]
    fn a_new_list_drops_what_is_gone() {
        let mut cache = Cache::default();
        for name in ["a", "b"] {
            cache.put(service(name, 3, "x"));
        }
        cache.take(Event::Init);
        cache.take(Event::InitApply(service("b", 2, "older")));
        cache.take(Event::InitApply(service("c", 4, "y")));
        assert_eq!(names(&cache), ["a=x", "b=x"], "until the list is whole");
        cache.take(Event::InitDone);
        assert_eq!(names(&cache), ["b=x", "c=y"]);
        assert!(cache.take(Event::Delete(service("c", 5, "y"))).is_some());
        assert!(cache.take(Event::Delete(service("c", 5, "y"))).is_none());
        assert_eq!(names(&cache), ["b=x"]);
    }
}
