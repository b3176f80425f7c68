//! The taint of cordoned nodes, as kube-controller-manager's node lifecycle controller sets it and takes it away.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::lab::resource::NODES;
use crate::lab::store::{Change, Part, Store, seconds};

const KEY: &str = "node.kubernetes.io/unschedulable";

pub(super) struct Taints {
    clock: Clock,
}

impl Taints {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

fn is_ours(taint: &Value) -> bool {
    taint["key"] == KEY && taint["effect"] == "NoSchedule"
}

impl Controller for Taints {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&NODES) {
            into.insert(Key::of(&change.object));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let now = seconds(self.clock.now());
        let write = |before: &Value| {
            let mut taints = before["spec"]["taints"].as_array().cloned().unwrap_or_default();
            let cordoned = before["spec"]["unschedulable"] == true;
            if taints.iter().any(is_ours) == cordoned {
                return Ok(before.clone());
            }
            if cordoned {
                taints.push(json!({"effect": "NoSchedule", "key": KEY, "timeAdded": now}));
            } else {
                taints.retain(|taint| !is_ours(taint));
            }
            let mut after = before.clone();
            match (taints.is_empty(), after["spec"].as_object_mut()) {
                (true, Some(spec)) => drop(spec.remove("taints")),
                _ => after["spec"]["taints"] = json!(taints),
            }
            Ok(after)
        };
        // It may have been deleted meanwhile.
        let _ = store.modify(&NODES, &key.namespace, &key.name, Part::Main, false, write);
        None
    }
}
