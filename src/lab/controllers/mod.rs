//! The controllers: what makes the world as the objects want it.
//!
//! One task runs all of them, in a fixed order: a change in the store names the objects that it concerns, each is
//! reconciled, and so on until nothing changes any more. Then it waits for the next change, or until the first
//! object that asked to be looked at again is due. Nothing is polled, so that an idle lab costs nothing, and the
//! same seed gives the same order.

mod aggregation;
pub(super) mod chaos;
mod daemon_sets;
mod deployments;
mod disruption;
mod endpoints;
pub(super) mod events;
mod garbage;
mod jobs;
mod kubelet;
mod namespaces;
mod objects;
mod probes;
mod replica_sets;
mod revisions;
mod scheduler;
mod stateful_sets;
mod taints;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use self::aggregation::Aggregation;
use self::chaos::NetworkChaos;
use self::daemon_sets::DaemonSets;
use self::deployments::Deployments;
use self::disruption::Disruption;
use self::endpoints::Endpoints;
use self::events::Expiry;
use self::garbage::Garbage;
use self::jobs::Jobs;
use self::kubelet::Kubelet;
use self::namespaces::Namespaces;
use self::replica_sets::ReplicaSets;
use self::scheduler::Scheduler;
use self::stateful_sets::StatefulSets;
use self::taints::Taints;
use super::store::{Change, ChangeKind, Store};
use crate::clock::{Clock, Timestamp};

pub(super) use kubelet::{Machine, node};

/// An object of a controller's own kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    /// The object's own.
    pub(super) fn of(object: &Value) -> Self {
        let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Self { namespace: part("namespace"), name: part("name") }
    }
}

/// What brings objects of one kind to what they want.
pub(super) trait Controller: Send {
    /// Adds the objects that a change concerns. After a gap in the log every object comes as added once more.
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>);

    /// Brings one object nearer to what it wants; it may be gone. Returns when to look again, should nothing change.
    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp>;
}

/// How many objects a controller works through before others get their turn.
const BATCH: usize = 100;

/// A controller and the objects that wait for it.
struct Worker {
    controller: Box<dyn Controller>,
    waiting: BTreeSet<Key>,
    due: BTreeSet<(Timestamp, Key)>,
    /// The same by object.
    due_at: BTreeMap<Key, Timestamp>,
}

impl Worker {
    fn new(controller: impl Controller + 'static) -> Self {
        Self {
            controller: Box::new(controller),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            due_at: BTreeMap::new(),
        }
    }

    fn work(&mut self, store: &Store, clock: &Clock) {
        while let Some((_, key)) = self.due.first().filter(|(at, _)| *at <= clock.now()).cloned() {
            self.forget(&key);
            self.waiting.insert(key);
        }
        for _ in 0..BATCH {
            let Some(key) = self.waiting.pop_first() else { return };
            self.forget(&key);
            if let Some(at) = self.controller.reconcile(store, &key) {
                self.due_at.insert(key.clone(), at);
                self.due.insert((at, key));
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some((key, at)) = self.due_at.remove_entry(key) {
            self.due.remove(&(at, key));
        }
    }
}

/// Reconciles until the task is aborted.
pub(super) async fn run(store: Store, clock: Clock, machine: Machine) {
    let mut changed = store.subscribe();
    let events = machine.events.clone();
    let fabric = machine.fabric.clone();
    let mut workers = [
        Worker::new(Deployments::new(events.clone())),
        Worker::new(ReplicaSets::new(events.clone())),
        Worker::new(StatefulSets::new(events.clone())),
        Worker::new(DaemonSets::new(events.clone())),
        Worker::new(Jobs::new(events.clone())),
        Worker::new(Taints::new(clock.clone())),
        Worker::new(Scheduler::new(clock.clone(), events.clone())),
        Worker::new(Kubelet::new(store.clone(), machine)),
        Worker::new(Endpoints::new(clock.clone())),
        Worker::new(Disruption::new(events.clone())),
        Worker::new(NetworkChaos::new(fabric)),
        Worker::new(Garbage),
        Worker::new(Aggregation),
        Worker::new(Namespaces::new(events.clone())),
        Worker::new(Expiry::new(events)),
    ];
    let mut seen = 0;
    loop {
        changed.borrow_and_update();
        let changes = store.changes_since(seen).unwrap_or_else(|_| everything(&store));
        for change in &changes {
            seen = seen.max(change.version);
            for worker in &mut workers {
                worker.controller.affected(&store, change, &mut worker.waiting);
            }
        }
        for worker in &mut workers {
            worker.work(&store, &clock);
        }
        // Requests get their turn between two rounds.
        tokio::task::yield_now().await;
        if store.version() > seen || workers.iter().any(|worker| !worker.waiting.is_empty()) {
            continue;
        }
        let due = workers.iter().filter_map(|worker| worker.due.first()).map(|(at, _)| *at).min();
        let look_again = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = changed.changed() => if change.is_err() { return },
            () = look_again => {}
        }
    }
}

/// Every object as if it had just been added, at the newest version.
fn everything(store: &Store) -> Vec<Arc<Change>> {
    let version = store.version();
    let added = |(resource, object)| Arc::new(Change::new(version, ChangeKind::Added, resource, object, None));
    store.everything().into_iter().map(added).collect()
}
