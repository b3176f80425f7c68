//! The node: starts the containers of pods that are bound to it, probes them, starts them again, ends them.
//!
//! Times are kubelet's, unless noted: a container that ends is started again at once for the first time, then after
//! 10 s, doubling up to 5 min, forgotten after 10 min (`--max-restart-backoff` and its default back-off); an absent
//! image is asked for with the same back-off; a missing ConfigMap or Secret is looked for every 10 s. Modelled
//! otherwise: starting a container and pulling an image take no time; what a kubelet finds out by listing the runtime
//! each second is known at once; what is removed by force is killed at once. A pod that ends keeps running for its
//! grace period unless its program cares: see [`Net::terminated`](crate::lab::Net::terminated). Commands cannot be
//! executed in containers, so `exec` probes and hooks have no result; `postStart` is not carried out.

mod container;
mod env;
mod pod;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use self::pod::{Handle, start};
use super::events::Recorder;
use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::lab::fabric::{Fabric, NODE};
use crate::lab::images::Images;
use crate::lab::logs::LogBook;
use crate::lab::resource::{NODES, PODS};
use crate::lab::store::{Change, Object, Preconditions, Store, seconds};

/// The name of the lab's only node.
pub(in crate::lab) const NODE_NAME: &str = "lab-control-plane";

/// The addresses of the pods: `podCIDR` of the node.
const POD_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 0);

/// The first of them that pods get; those before are the network's, the bridge's, the lab's Prometheus and its DNS.
const FIRST_ADDRESS: u32 = 4;

/// What the node runs pods with.
#[derive(Clone)]
pub(in crate::lab) struct Machine {
    pub(in crate::lab) fabric: Fabric,
    pub(in crate::lab) clock: Clock,
    pub(in crate::lab) images: Images,
    pub(in crate::lab) log: LogBook,
    pub(in crate::lab) events: Recorder,
    /// Where the numbers of containers come from.
    pub(in crate::lab) ids: Arc<Mutex<fastrand::Rng>>,
}

/// The object of the node that a [`Kubelet`] keeps.
pub(in crate::lab) fn node(clock: &Clock) -> Value {
    let now = seconds(clock.now());
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let room = json!({
        "cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        "pods": "10000",
    });
    json!({
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/control-plane": "",
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {
            "podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"],
            "providerID": format!("steadfast://{NODE_NAME}"),
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": NODE.to_string()}, {"type": "Hostname", "address": NODE_NAME},
            ],
            "capacity": room, "allocatable": room,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": concat!("steadfast://", env!("CARGO_PKG_VERSION")),
                "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.34.4", "machineID": "",
                "operatingSystem": "linux", "osImage": "the embedded lab", "systemUUID": "",
            },
        },
    })
}

pub(super) struct Kubelet {
    store: Store,
    machine: Machine,
    running: BTreeMap<Key, Running>,
    taken: BTreeSet<u32>,
    next: u32,
}

struct Running {
    /// `None` on the host's network.
    number: Option<u32>,
    handle: Handle,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        for pod in self.running.values() {
            pod.handle.kill();
        }
    }
}

impl Kubelet {
    pub(super) fn new(store: Store, machine: Machine) -> Self {
        Self { store, machine, running: BTreeMap::new(), taken: BTreeSet::new(), next: FIRST_ADDRESS }
    }

    fn start(&mut self, key: &Key, pod: Object) {
        let number = if pod["spec"]["hostNetwork"] == true {
            None
        } else {
            let Some(number) = self.address() else { return };
            Some(number)
        };
        let ip = number.map_or(NODE, |number| Ipv4Addr::from_bits(POD_NETWORK.to_bits() | number));
        let handle = start(&self.store, &self.machine, pod, ip);
        self.running.insert(key.clone(), Running { number, handle });
    }

    /// The next free address, in turn: one that was just given back is not given out again at once.
    fn address(&mut self) -> Option<u32> {
        let room = FIRST_ADDRESS..0xfffe;
        let from = room.clone().skip(usize::try_from(self.next.saturating_sub(FIRST_ADDRESS)).unwrap_or(0));
        let number = from.chain(room).find(|number| !self.taken.contains(number))?;
        self.next = number + 1;
        self.taken.insert(number);
        Some(number)
    }

    /// A pod that no kubelet ends, as the pod garbage collector does it: at once, not after its 40 s.
    fn collect(&self, pod: &Object, key: &Key) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !pod["metadata"]["deletionTimestamp"].is_null() && self.store.find(&NODES, "", node).is_none() {
            remove(&self.store, pod, key);
        }
    }
}

/// Removes a pod for good; a finalizer may still hold it.
fn remove(store: &Store, pod: &Value, key: &Key) {
    let uid = pod["metadata"]["uid"].as_str().map(str::to_owned);
    let preconditions = Preconditions { uid, resource_version: None };
    // Somebody else may have been faster.
    let _ = store.delete(&PODS, &key.namespace, &key.name, &preconditions, Some(0), false);
}

impl Controller for Kubelet {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&PODS) {
            into.insert(Key::of(&change.object));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let pod = store.find(&PODS, &key.namespace, &key.name);
        if let Some(running) = self.running.get(key) {
            match &pod {
                Some(pod) if pod["metadata"]["uid"] == running.handle.uid() => {
                    running.handle.update(pod);
                    return None;
                }
                _ => {
                    running.handle.kill();
                    self.machine.log.close(running.handle.uid());
                    if let Some(number) = running.number {
                        self.taken.remove(&number);
                    }
                    self.running.remove(key);
                }
            }
        }
        let pod = pod?;
        match pod["spec"]["nodeName"].as_str() {
            Some(NODE_NAME) => self.start(key, pod),
            Some(_) => self.collect(&pod, key),
            None => {}
        }
        None
    }
}
