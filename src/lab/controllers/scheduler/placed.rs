//! The pods that take room on nodes, kept up with the store change by change: who fits where is asked for each pod
//! that waits, and must not read all the others each time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Key, finished, host_ports, requests, terms};
use crate::lab::resource::PODS;
use crate::lab::store::{ChangeKind, Object, Store};

/// The pods by their node.
#[derive(Default)]
pub(super) struct Placed {
    /// The version of the store that it shows.
    version: u64,
    nodes: BTreeMap<String, Here>,
}

/// The pods of one node, in the order of lists.
#[derive(Default)]
pub(super) struct Here {
    pub(super) pods: BTreeMap<Key, Object>,
    /// Those that ask for resources, with what they ask for.
    requests: BTreeMap<Key, BTreeMap<String, i128>>,
    /// Those that take ports of the node.
    ports: BTreeMap<Key, BTreeSet<(u64, String)>>,
    /// Those that avoid others.
    avoiding: BTreeSet<Key>,
}

impl Placed {
    /// Brings it up to the store.
    pub(super) fn follow(&mut self, store: &Store) {
        let Ok((changes, version)) = store.changes_of(&PODS, self.version) else {
            *self = Self::default();
            let (pods, version) = store.list(&PODS, None);
            pods.iter().for_each(|pod| self.put(pod));
            self.version = version;
            return;
        };
        self.version = version;
        for change in changes {
            self.remove(change.before.as_ref().unwrap_or(&change.object));
            if change.kind != ChangeKind::Deleted {
                self.put(&change.object);
            }
        }
    }

    /// The pods of a node, unless there are none.
    pub(super) fn on(&self, node: &str) -> Option<&Here> {
        self.nodes.get(node)
    }

    pub(super) fn put(&mut self, pod: &Object) {
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|_| !finished(pod)) else { return };
        let here = self.nodes.entry(node.to_owned()).or_default();
        let key = Key::of(pod);
        let (requests, ports) = (requests(pod), host_ports(pod));
        if !requests.is_empty() {
            here.requests.insert(key.clone(), requests);
        }
        if !ports.is_empty() {
            here.ports.insert(key.clone(), ports);
        }
        if !terms(pod).is_empty() {
            here.avoiding.insert(key.clone());
        }
        here.pods.insert(key, pod.clone());
    }

    fn remove(&mut self, pod: &Value) {
        let Some(node) = pod["spec"]["nodeName"].as_str() else { return };
        let Some(here) = self.nodes.get_mut(node) else { return };
        let key = Key::of(pod);
        here.pods.remove(&key);
        here.requests.remove(&key);
        here.ports.remove(&key);
        here.avoiding.remove(&key);
        if here.pods.is_empty() {
            self.nodes.remove(node);
        }
    }
}

impl Here {
    /// How much of a resource is asked for.
    pub(super) fn used(&self, resource: &str) -> i128 {
        self.requests.values().filter_map(|requests| requests.get(resource).copied()).sum()
    }

    /// Whether all of these ports are free.
    pub(super) fn leaves(&self, ports: &BTreeSet<(u64, String)>) -> bool {
        ports.is_empty() || self.ports.values().all(|taken| taken.is_disjoint(ports))
    }

    /// The pods that avoid others.
    pub(super) fn avoiding(&self) -> impl Iterator<Item = &Object> {
        self.avoiding.iter().filter_map(|key| self.pods.get(key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::{Clock, Seed};
    use crate::lab::resource::NAMESPACES;
    use crate::lab::store::{Part, Preconditions};

    #[tokio::test(start_paused = true)]
    async fn it_shows_who_is_on_a_node_and_what_they_take() {
        let store = Store::new(Clock::virtual_time(), Seed(0));
        let namespace = json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}});
        store.create(&NAMESPACES, "", namespace, false).unwrap();
        let mut placed = Placed::default();
        let mut seen = |store: &Store| {
            placed.follow(store);
            placed.on("n").map(|here| {
                let free = here.leaves(&BTreeSet::from([(80, "TCP".to_owned())]));
                (here.pods.len(), here.used("cpu"), free)
            })
        };
        assert_eq!(seen(&store), None);
        for (name, node) in [("x", json!("n")), ("y", json!("n")), ("z", json!(null))] {
            let container = json!({"resources": {"requests": {"cpu": "500m"}}, "ports": [{"hostPort": 80}]});
            let spec = json!({"nodeName": node, "containers": [container]});
            store.create(&PODS, "a", json!({"metadata": {"name": name}, "spec": spec}), false).unwrap();
        }
        assert_eq!(seen(&store), Some((2, 1_000_000_000, false)));
        let finish = |before: &Value| {
            let mut after = before.clone();
            after["status"] = json!({"phase": "Succeeded"});
            Ok(after)
        };
        store.modify(&PODS, "a", "x", Part::Status, false, finish).unwrap();
        assert_eq!(seen(&store), Some((1, 500_000_000, false)), "a pod that has finished takes nothing");
        store.delete(&PODS, "a", "y", &Preconditions::default(), Some(0), false).unwrap();
        assert_eq!(seen(&store), None);
    }
}
