//! Events: what a person reads when asking why.
//!
//! Controllers and the kubelet record here, through clones of one [`Recorder`]. What is told again (same source,
//! object, type, reason and message) is counted in the event that is there, as client-go does. An event goes an hour
//! after its last write: `--event-ttl` of kube-apiserver. Names are the object's and the time in hexadecimal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::lab::resource::EVENTS;
use crate::lab::store::{Change, Part, Preconditions, Store, seconds};

/// How long an event is kept after its last write.
const TTL: Duration = Duration::from_secs(3_600);

/// What happened, and who says so.
#[derive(Clone, Debug)]
pub(in crate::lab) struct Event<'a> {
    severity: &'static str,
    reason: &'a str,
    message: String,
    source: &'a str,
    host: Option<&'a str>,
    field: Option<String>,
}

impl<'a> Event<'a> {
    /// Something went as it should. `source` is the component: `deployment-controller`, `kubelet`.
    pub(in crate::lab) fn normal(source: &'a str, reason: &'a str, message: impl Into<String>) -> Self {
        Self { severity: "Normal", reason, message: message.into(), source, host: None, field: None }
    }

    /// Something did not.
    pub(in crate::lab) fn warning(source: &'a str, reason: &'a str, message: impl Into<String>) -> Self {
        Self { severity: "Warning", ..Self::normal(source, reason, message) }
    }

    /// Told by a component of this node.
    pub(in crate::lab) fn on(mut self, host: &'a str) -> Self {
        self.host = Some(host);
        self
    }

    /// About one init container of a pod: `spec.initContainers{NAME}`.
    pub(in crate::lab) fn init_container(mut self, name: &str) -> Self {
        self.field = Some(format!("spec.initContainers{{{name}}}"));
        self
    }

    /// About one container of a pod: `spec.containers{NAME}`.
    pub(in crate::lab) fn container(mut self, name: &str) -> Self {
        self.field = Some(format!("spec.containers{{{name}}}"));
        self
    }
}

/// Writes events. Clones write the same ones.
#[derive(Clone)]
pub(in crate::lab) struct Recorder {
    store: Store,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

/// Which event tells what, both ways.
#[derive(Default)]
struct Known {
    by_content: BTreeMap<String, Key>,
    by_name: BTreeMap<Key, String>,
}

impl Recorder {
    pub(in crate::lab) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, known: Arc::default() }
    }

    pub(in crate::lab) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells what happened to `about`. Where the namespace takes no more objects nothing is told.
    pub(in crate::lab) fn record(&self, about: &Value, event: &Event<'_>) {
        let now = self.clock.now();
        let content = content(about, event);
        let known = self.known().by_content.get(&content).cloned();
        if let Some(key) = known
            && self.count(&key, now)
        {
            return;
        }
        let metadata = &about["metadata"];
        // Objects of no namespace have their events in `default`.
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let name = metadata["name"].as_str().unwrap_or_default();
        let mut number = now.as_nanosecond();
        let key = loop {
            let key = Key { namespace: namespace.to_owned(), name: format!("{name}.{number:x}") };
            if self.store.find(&EVENTS, namespace, &key.name).is_none() {
                break key;
            }
            number += 1;
        };
        let mut object = json!({
            "metadata": {"name": key.name},
            "involvedObject": {
                "kind": about["kind"], "namespace": metadata["namespace"], "name": name, "uid": metadata["uid"],
                "apiVersion": about["apiVersion"], "resourceVersion": metadata["resourceVersion"],
            },
            "reason": event.reason, "message": event.message, "source": {"component": event.source},
            "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1, "type": event.severity,
            "eventTime": null, "reportingComponent": event.source, "reportingInstance": event.host.unwrap_or_default(),
        });
        if metadata["namespace"].is_null()
            && let Some(involved) = object["involvedObject"].as_object_mut()
        {
            involved.remove("namespace");
        }
        if let Some(host) = event.host {
            object["source"]["host"] = json!(host);
        }
        if let Some(field) = &event.field {
            object["involvedObject"]["fieldPath"] = json!(field);
        }
        if self.store.create(&EVENTS, namespace, object, false).is_ok() {
            let mut known = self.known();
            known.by_content.insert(content.clone(), key.clone());
            known.by_name.insert(key, content);
        }
    }

    /// Counts an event once more; `false` if it has gone.
    fn count(&self, key: &Key, now: Timestamp) -> bool {
        let again = |before: &Value| {
            let mut after = before.clone();
            after["count"] = json!(before["count"].as_u64().unwrap_or(1) + 1);
            after["lastTimestamp"] = json!(seconds(now));
            Ok(after)
        };
        self.store.modify(&EVENTS, &key.namespace, &key.name, Part::Main, false, again).is_ok()
    }

    fn forget(&self, key: &Key) {
        let mut known = self.known();
        if let Some(content) = known.by_name.remove(key) {
            known.by_content.remove(&content);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes two events the same one.
fn content(about: &Value, event: &Event<'_>) -> String {
    let Event { severity, reason, message, source, host, field } = event;
    let uid = about["metadata"]["uid"].as_str().unwrap_or_default();
    let name = about["metadata"]["name"].as_str().unwrap_or_default();
    let (host, field) = (host.unwrap_or_default(), field.as_deref().unwrap_or_default());
    [uid, name, severity, reason, message, source, host, field].join("\n")
}

/// Ends events in their time, those of clients as well.
pub(super) struct Expiry {
    events: Recorder,
    /// The version that was seen of each event, and when.
    written: BTreeMap<Key, (u64, Timestamp)>,
}

impl Expiry {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, written: BTreeMap::new() }
    }
}

impl Controller for Expiry {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&EVENTS) {
            into.insert(Key::of(&change.object));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(event) = store.find(&EVENTS, &key.namespace, &key.name) else {
            self.written.remove(key);
            self.events.forget(key);
            return None;
        };
        let version = event["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
        let now = self.events.clock.now();
        let written = self.written.entry(key.clone()).or_insert((version, now));
        if written.0 != version {
            *written = (version, now);
        }
        let end = written.1 + TTL;
        if end <= now {
            // A finalizer may hold it.
            let _ = store.delete(&EVENTS, &key.namespace, &key.name, &Preconditions::default(), None, false);
            return None;
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Seed;
    use crate::lab::resource::NAMESPACES;

    fn shop() -> (Store, Recorder, Expiry) {
        let clock = Clock::virtual_time();
        let store = Store::new(clock.clone(), Seed(0));
        store.create(&NAMESPACES, "", json!({"metadata": {"name": "shop"}}), false).expect("an empty store");
        let recorder = Recorder::new(store.clone(), clock);
        (store, recorder.clone(), Expiry::new(recorder))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_again_is_counted() {
        let (store, recorder, _) = shop();
        let pod =
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "shop", "uid": "1"}});
        for message in ["a", "b", "a"] {
            recorder.record(&pod, &Event::warning("kubelet", "Unhealthy", message));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let (events, _) = store.list(&EVENTS, Some("shop"));
        let told: Vec<_> = events.iter().map(|e| (e["message"].as_str(), e["count"].as_u64())).collect();
        assert_eq!(told, [(Some("a"), Some(2)), (Some("b"), Some(1))]);
        assert_eq!(events[0]["firstTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(events[0]["lastTimestamp"], "2026-01-01T00:00:20Z");
        assert_eq!(events[0]["involvedObject"]["uid"], "1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_goes_an_hour_after_its_last_write() {
        let (store, recorder, mut expiry) = shop();
        let pod =
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "shop", "uid": "1"}});
        let event = Event::normal("kubelet", "Pulled", "x");
        recorder.record(&pod, &event);
        let key = Key::of(&store.list(&EVENTS, None).0[0]);
        let first = expiry.reconcile(&store, &key).expect("it is due");
        tokio::time::sleep(Duration::from_secs(1_800)).await;
        recorder.record(&pod, &event);
        let second = expiry.reconcile(&store, &key).expect("it is due");
        assert_eq!(second.duration_since(first).as_secs(), 1_800);
        tokio::time::sleep(TTL).await;
        assert_eq!(expiry.reconcile(&store, &key), None);
        assert!(store.list(&EVENTS, None).0.is_empty());
        expiry.reconcile(&store, &key);
        recorder.record(&pod, &event);
        assert_eq!(store.list(&EVENTS, None).0[0]["count"], 1, "what has gone is told anew");
    }
}
