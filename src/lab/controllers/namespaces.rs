//! Namespaces: what each has from its beginning, and how it ends.
//!
//! Each gets the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt` (no certificate: the lab speaks no TLS), again
//! if somebody deletes them. A deleted one is emptied 5 s later, as kube-controller-manager's namespace controller
//! waits for so long after every change of a namespace; while something is left it looks again, 5 s after its own
//! note of that, then by half of what the longest grace period leaves, or of 15 s if finalizers hold. Pods go first:
//! nothing else is touched before the last of them has gone, and until then its conditions tell of nothing left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::events::Recorder;
use super::objects::{count, deleting, finished, names, set_status, stamp, write};
use super::{Controller, Key};
use crate::clock::{Timestamp, later};
use crate::lab::resource::{CONFIG_MAPS, NAMESPACES, PODS, Resource, SERVICE_ACCOUNTS};
use crate::lab::store::{Change, ChangeKind, Deletion, Object, Part, Propagation, Store, seconds};

/// How long after a change of a namespace that ends it is looked at.
const DELAY: Duration = Duration::from_secs(5);

/// How long finalizers are thought to hold.
const FINALIZER_ESTIMATE: i64 = 15;

const ROOT_CA: &str = "kube-root-ca.crt";

/// PEM takes text around certificates; here there is nothing else.
const NO_CERTIFICATE: &str = "# The API server of the lab speaks no TLS.\n";

pub(super) struct Namespaces {
    events: Recorder,
    /// When a namespace that ends is to be looked at.
    ending: BTreeMap<String, Timestamp>,
}

impl Namespaces {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, ending: BTreeMap::new() }
    }

    /// Deletes all that is in the namespace; lets it go once nothing is left.
    fn empty(&self, store: &Store, namespace: &Object) -> Timestamp {
        let name = names(namespace).1;
        let now = self.events.now();
        let mut left = delete_all(store, &PODS, name);
        let only_pods = !left.is_empty();
        let mut seen = BTreeSet::new();
        for resource in store.kinds() {
            // A kind of several versions is emptied once.
            if !only_pods && resource.namespaced && seen.insert((resource.group, resource.plural)) {
                left.extend(delete_all(store, resource, name));
            }
        }
        let told = if only_pods { &[][..] } else { &left[..] };
        let status = ended_status(namespace, told, now);
        let news = status != namespace["status"];
        set_status(store, &NAMESPACES, namespace, status);
        if left.is_empty() {
            write(store, &NAMESPACES, namespace, Part::Finalizers, |namespace| {
                let finalizers = namespace["spec"]["finalizers"].as_array().into_iter().flatten();
                let others: Vec<Value> = finalizers.filter(|finalizer| *finalizer != "kubernetes").cloned().collect();
                namespace["spec"]["finalizers"] = json!(others);
            });
        }
        let ended = stamp(&namespace["metadata"]["deletionTimestamp"]).unwrap_or(now);
        let estimate = u64::try_from(estimate(&left, now.duration_since(ended).as_secs())).unwrap_or(0);
        let again = Duration::from_secs(estimate / 2 + 1);
        later(now, if news { again.min(DELAY) } else { again })
    }
}

impl Controller for Namespaces {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        let (namespace, name) = names(&change.object);
        if change.resource.is(&NAMESPACES) {
            into.insert(Key::of(&change.object));
        } else if (change.resource.is(&SERVICE_ACCOUNTS) && name == "default" && change.kind == ChangeKind::Deleted)
            || (change.resource.is(&CONFIG_MAPS) && name == ROOT_CA)
        {
            into.insert(Key { namespace: String::new(), name: namespace.to_owned() });
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(namespace) = store.find(&NAMESPACES, "", &key.name) else {
            self.ending.remove(&key.name);
            return None;
        };
        if !deleting(&namespace) {
            furnish(store, &key.name);
            return None;
        }
        let now = self.events.now();
        let due = *self.ending.entry(key.name.clone()).or_insert(now + DELAY);
        if due > now {
            return Some(due);
        }
        let again = self.empty(store, &namespace);
        if store.find(&NAMESPACES, "", &key.name).is_none() {
            self.ending.remove(&key.name);
            return None;
        }
        self.ending.insert(key.name.clone(), again);
        Some(again)
    }
}

/// Deletes the objects of a kind in a namespace; returns those that are still there.
fn delete_all(store: &Store, resource: &'static Resource, namespace: &str) -> Vec<(&'static Resource, Object)> {
    for object in store.list(resource, Some(namespace)).0 {
        let how = Deletion { propagation: Some(Propagation::Background), ..Deletion::default() };
        // Somebody else may have been faster.
        let _ = store.remove(resource, namespace, names(&object).1, &how);
    }
    store.list(resource, Some(namespace)).0.into_iter().map(|object| (resource, object)).collect()
}

/// What every namespace has.
fn furnish(store: &Store, namespace: &str) {
    if store.find(&SERVICE_ACCOUNTS, namespace, "default").is_none() {
        // Refused only where the namespace has gone.
        let _ = store.create(&SERVICE_ACCOUNTS, namespace, json!({"metadata": {"name": "default"}}), false);
    }
    let data = json!({"ca.crt": NO_CERTIFICATE});
    match store.find(&CONFIG_MAPS, namespace, ROOT_CA) {
        None => {
            let about = "The certificates that the cluster's own API server is verified with. The lab has none.";
            let metadata = json!({"name": ROOT_CA, "annotations": {"kubernetes.io/description": about}});
            let _ = store.create(&CONFIG_MAPS, namespace, json!({"metadata": metadata, "data": data}), false);
        }
        Some(map) if map["data"] != data => {
            write(store, &CONFIG_MAPS, &map, Part::Main, |map| map["data"] = data);
        }
        Some(_) => {}
    }
}

/// How many seconds what is left may still take.
fn estimate(left: &[(&'static Resource, Object)], since: i64) -> i64 {
    let mut estimate = 0;
    for (resource, object) in left {
        let needs = if resource.is(&PODS) && !finished(object) {
            count(&object["spec"]["terminationGracePeriodSeconds"]).saturating_sub(since).max(0)
        } else {
            0
        };
        estimate = estimate.max(if needs == 0 { FINALIZER_ESTIMATE } else { needs });
    }
    estimate
}

/// The conditions of a namespace that ends.
fn ended_status(namespace: &Value, left: &[(&'static Resource, Object)], now: Timestamp) -> Value {
    let mut instances: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (resource, object) in left {
        *instances.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
        for finalizer in object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let instances: Vec<_> = instances.iter().map(|(kind, n)| format!("{kind} has {n} resource instances")).collect();
    let held: Vec<_> = finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
    let mut conditions = Vec::new();
    let mut set = |kind: &str, holds: bool, reason: &str, message: String| {
        let status = if holds { "True" } else { "False" };
        let before = super::objects::condition(&namespace["status"], kind).filter(|c| c["status"] == status);
        let since = before.map_or_else(|| json!(seconds(now)), |before| before["lastTransitionTime"].clone());
        conditions.push(json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
        }));
    };
    set(
        "NamespaceDeletionDiscoveryFailure",
        false,
        "ResourcesDiscovered",
        "All resources successfully discovered".into(),
    );
    set(
        "NamespaceDeletionGroupVersionParsingFailure",
        false,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed".into(),
    );
    set(
        "NamespaceDeletionContentFailure",
        false,
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization".into(),
    );
    match left.is_empty() {
        true => set("NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed".into()),
        false => {
            let message = format!("Some resources are remaining: {}", instances.join(", "));
            set("NamespaceContentRemaining", true, "SomeResourcesRemain", message);
        }
    }
    match held.is_empty() {
        true => set(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".into(),
        ),
        false => {
            let message = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
            set("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message);
        }
    }
    json!({"phase": "Terminating", "conditions": conditions})
}
