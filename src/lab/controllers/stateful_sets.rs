//! StatefulSets: pods with names that stay.
//!
//! As kube-controller-manager's: ordered or Parallel, RollingUpdate with a partition from the highest ordinal down,
//! OnDelete, revisions. A pod of an ordered set waits for the one before to be ready (available, with
//! `minReadySeconds`). No volume claims: `volumeClaimTemplates` make none.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::events::{Event, Recorder};
use super::objects::{
    Retries, available_at, claim, count, create, deleting, finished, is_ready, names, owners_of, pod_of, remove,
    replicas, selector, set_counts, set_status,
};
use super::revisions::{self, BY_STATEFUL_SET, template_of};
use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::lab::resource::{PODS, STATEFUL_SETS};
use crate::lab::store::{Change, Object, Store};

const SOURCE: &str = "statefulset-controller";

/// The label that names a pod's revision.
const REVISION: &str = "controller-revision-hash";

pub(super) struct StatefulSets {
    events: Recorder,
    retries: Retries,
}

impl StatefulSets {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, retries: Retries::default() }
    }
}

impl Controller for StatefulSets {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&STATEFUL_SETS) {
            into.insert(Key::of(&change.object));
        } else if change.resource.is(&PODS) {
            owners_of(store, change, &STATEFUL_SETS, into);
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(set) = store.find(&STATEFUL_SETS, &key.namespace, &key.name) else {
            self.retries.succeeded(key);
            return None;
        };
        let selector = selector(&set)?;
        let pods = claim(store, &PODS, &set, &selector, |pod| ordinal(&set, pod).is_some());
        let revisions = if deleting(&set) { Vec::new() } else { revisions::sync(store, &set, BY_STATEFUL_SET) };
        let now = self.events.now();
        let newest = revisions.last();
        let update = newest.map_or_else(|| text(&set["status"]["updateRevision"]), |r| names(r).1.to_owned());
        let before = set["status"]["currentRevision"].as_str();
        let known = before.filter(|name| revisions.iter().any(|r| names(r).1 == *name));
        let current = known.map_or_else(|| update.clone(), str::to_owned);
        let template = |name: &str| {
            revisions.iter().find(|r| names(r).1 == name).map_or(set["spec"]["template"].clone(), |r| template_of(r))
        };
        let mut look = Look {
            store,
            events: &self.events,
            now,
            set: &set,
            pods: &pods,
            templates: [template(&current), template(&update)],
            current,
            update,
            again: None,
            refused: false,
        };
        if !deleting(&set) {
            look.act();
        }
        look.write_status();
        let (again, refused) = (look.again, look.refused);
        let used = [look.current.clone(), look.update.clone()];
        revisions::clean_up(store, &set, &revisions, |revision| {
            let name = names(revision).1;
            used.iter().any(|used| used == name) || pods.iter().any(|pod| pod["metadata"]["labels"][REVISION] == name)
        });
        if refused {
            return Some(self.retries.failed(key, now));
        }
        self.retries.succeeded(key);
        again
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The number in a pod's name, if it is one of the set's.
fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    names(pod).1.strip_prefix(names(set).1)?.strip_prefix('-')?.parse().ok()
}

/// One look at one set.
struct Look<'a> {
    store: &'a Store,
    events: &'a Recorder,
    now: Timestamp,
    set: &'a Object,
    pods: &'a [Object],
    /// The current template and that of the update.
    templates: [Value; 2],
    current: String,
    update: String,
    again: Option<Timestamp>,
    refused: bool,
}

impl Look<'_> {
    fn start(&self) -> i64 {
        count(&self.set["spec"]["ordinals"]["start"])
    }

    fn partition(&self) -> i64 {
        count(&self.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"])
    }

    fn pod(&self, number: i64) -> Option<&Object> {
        self.pods.iter().find(|pod| ordinal(self.set, pod) == Some(number))
    }

    /// Whether a pod is available; notes when it will be.
    fn is_available(&mut self, pod: &Value) -> bool {
        match available_at(pod, count(&self.set["spec"]["minReadySeconds"])) {
            Some(at) if at > self.now => {
                self.again = Some(self.again.map_or(at, |other| other.min(at)));
                false
            }
            at => at.is_some(),
        }
    }

    fn act(&mut self) {
        let ordered = self.set["spec"]["podManagementPolicy"] != "Parallel";
        let wanted = self.start()..self.start() + replicas(self.set);
        for number in wanted.clone() {
            match self.pod(number).cloned() {
                None => {
                    if !self.make(number) || ordered {
                        return;
                    }
                }
                Some(pod) if finished(&pod) && !deleting(&pod) => {
                    self.end(&pod);
                    if ordered {
                        return;
                    }
                }
                Some(pod) => {
                    let healthy = !deleting(&pod) && is_ready(&pod) && self.is_available(&pod);
                    if ordered && !healthy {
                        return;
                    }
                }
            }
        }
        let mut surplus: Vec<&Object> =
            self.pods.iter().filter(|pod| ordinal(self.set, pod).is_some_and(|n| !wanted.contains(&n))).collect();
        surplus.sort_by_key(|pod| std::cmp::Reverse(ordinal(self.set, pod)));
        for pod in surplus {
            if !deleting(pod) {
                self.end(pod);
            }
            if ordered {
                return;
            }
        }
        if self.set["spec"]["updateStrategy"]["type"] == "OnDelete" {
            return;
        }
        let first = wanted.start + self.partition();
        for number in (first..wanted.end).rev() {
            let Some(pod) = self.pod(number).cloned() else { return };
            if pod["metadata"]["labels"][REVISION] != self.update.as_str() && !deleting(&pod) {
                self.end(&pod);
                return;
            }
            if deleting(&pod) || !is_ready(&pod) || !self.is_available(&pod) {
                return;
            }
        }
    }

    fn make(&mut self, number: i64) -> bool {
        let (namespace, set) = names(self.set);
        let old = self.set["spec"]["updateStrategy"]["type"] != "OnDelete" && number < self.start() + self.partition();
        let revision = if old { &self.current } else { &self.update };
        let mut pod = pod_of(&self.templates[usize::from(!old)], self.set);
        let name = format!("{set}-{number}");
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["generateName"] = json!(format!("{set}-"));
        let labels = &mut pod["metadata"]["labels"];
        labels[REVISION] = json!(revision);
        labels["statefulset.kubernetes.io/pod-name"] = json!(name);
        labels["apps.kubernetes.io/pod-index"] = json!(number.to_string());
        pod["spec"]["hostname"] = json!(name);
        if let Some(service) = self.set["spec"]["serviceName"].as_str().filter(|service| !service.is_empty()) {
            pod["spec"]["subdomain"] = json!(service);
        }
        match create(self.store, &PODS, namespace, pod) {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {set} successful");
                self.events.record(self.set, &Event::normal(SOURCE, "SuccessfulCreate", message));
                true
            }
            Err(refused) => {
                let message = format!("create Pod {name} in StatefulSet {set} failed error: {}", refused.message);
                self.events.record(self.set, &Event::warning(SOURCE, "FailedCreate", message));
                self.refused = true;
                false
            }
        }
    }

    fn end(&self, pod: &Object) {
        if remove(self.store, &PODS, pod) {
            let (set, name) = (names(self.set).1, names(pod).1);
            let message = format!("delete Pod {name} in StatefulSet {set} successful");
            self.events.record(self.set, &Event::normal(SOURCE, "SuccessfulDelete", message));
        }
    }

    fn write_status(&mut self) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let of = |revision: &str| {
            let fits = |pod: &&Object| !deleting(pod) && pod["metadata"]["labels"][REVISION] == revision;
            number(self.pods.iter().filter(fits).count())
        };
        let (mut current, updated) = (of(&self.current), of(&self.update));
        let there = number(self.pods.len());
        let ready = number(self.pods.iter().filter(|pod| is_ready(pod)).count());
        let min_ready = count(&self.set["spec"]["minReadySeconds"]);
        let now = self.now;
        let available =
            number(self.pods.iter().filter(|p| available_at(p, min_ready).is_some_and(|at| at <= now)).count());
        let rolling = self.set["spec"]["updateStrategy"]["type"] != "OnDelete";
        if rolling && updated == there && ready == there && there == replicas(self.set) {
            self.current.clone_from(&self.update);
            current = updated;
        }
        let mut status = json!({
            "observedGeneration": self.set["metadata"]["generation"], "replicas": there,
            "availableReplicas": available, "currentRevision": self.current, "updateRevision": self.update,
            "collisionCount": count(&self.set["status"]["collisionCount"]),
        });
        let counts = [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)];
        set_counts(&mut status, &counts);
        set_status(self.store, &STATEFUL_SETS, self.set, status);
    }
}
