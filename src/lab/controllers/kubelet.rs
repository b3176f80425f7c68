//! The node: starts pods, probes them, ends them.
//!
//! Times are the real ones unless noted: readiness probes by their `periodSeconds` (10 s by default, at once after
//! the start), restarts with a back-off of 10 s that doubles up to 5 min, as kubelet documents. Starting a container
//! takes no time, and a program of the lab ends at once when its pod is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::events::Recorder;
use super::objects::names;
use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::lab::fabric::{Fabric, NODE, Source};
use crate::lab::images::{Images, Net, Start, Tasks};
use crate::lab::logs::LogBook;
use crate::lab::resource::PODS;
use crate::lab::store::{Change, Object, Part, Preconditions, Store, seconds};
use crate::transport::{Address, Connection, Request, exchange};

/// The name of the lab's only node.
pub(in crate::lab) const NODE_NAME: &str = "lab-control-plane";

/// The first back-off before a restart, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// What the node runs pods with.
#[derive(Clone)]
pub(in crate::lab) struct Machine {
    pub(in crate::lab) fabric: Fabric,
    pub(in crate::lab) clock: Clock,
    pub(in crate::lab) images: Images,
    pub(in crate::lab) log: LogBook,
    pub(in crate::lab) events: Recorder,
}

pub(super) struct Kubelet {
    store: Store,
    machine: Machine,
    running: BTreeMap<String, Running>,
    addresses: BTreeSet<u32>,
}

struct Running {
    ip: Ipv4Addr,
    tasks: Tasks,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        for pod in self.running.values() {
            pod.tasks.end();
        }
    }
}

impl Kubelet {
    pub(super) fn new(store: Store, machine: Machine) -> Self {
        // The first addresses are the node's bridge and the lab's Prometheus.
        let addresses = BTreeSet::from([0, 1, 2]);
        Self { store, machine, running: BTreeMap::new(), addresses }
    }

    fn reconcile_all(&mut self) {
        let (pods, _) = self.store.list(&PODS, None);
        let known: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str()).collect();
        let gone: Vec<String> = self.running.keys().filter(|uid| !known.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            self.end(&uid);
        }
        for pod in &pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let going = !pod["metadata"]["deletionTimestamp"].is_null();
            match (going, self.running.contains_key(uid)) {
                (true, _) => {
                    self.end(uid);
                    let (namespace, name) = names(pod);
                    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
                    // A finalizer may hold it; then the next change asks again.
                    let _ = self.store.delete(&PODS, namespace, name, &preconditions, Some(0), false);
                }
                (false, false) => self.start(pod, uid),
                (false, true) => {}
            }
        }
    }

    fn end(&mut self, uid: &str) {
        if let Some(pod) = self.running.remove(uid) {
            pod.tasks.end();
            self.machine.log.close(uid);
            self.addresses.remove(&(pod.ip.to_bits() & 0xffff));
        }
    }

    fn start(&mut self, pod: &Object, uid: &str) {
        let (namespace, name) = names(pod);
        let container = &pod["spec"]["containers"][0];
        let image = container["image"].as_str().unwrap_or_default();
        let Some(program) = self.machine.images.find(image) else {
            let message = format!(
                "Container image {image:?} is not present: the lab runs images that were registered with `lab.image(..)`"
            );
            let waiting = json!({"waiting": {"reason": "ErrImageNeverPull", "message": message}});
            let status =
                json!({"phase": "Pending", "containerStatuses": [container_status(container, &waiting, false, 0)]});
            set_status(&self.store, pod, &status);
            return;
        };
        let Some(free) = (0..0xffff).find(|n| !self.addresses.contains(n)) else { return };
        self.addresses.insert(free);
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 244, 0, 0).to_bits() | free);
        let bind = |before: &Value| {
            let mut after = before.clone();
            after["spec"]["nodeName"] = json!(NODE_NAME);
            Ok(after)
        };
        if self.store.modify(&PODS, namespace, name, Part::Main, false, bind).is_err() {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let ports = list(&container["ports"]);
        let ports = ports.iter().filter(|p| p["protocol"].as_str().is_none_or(|p| p == "TCP"));
        let start = Start {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ip,
            args: list(&container["command"]).iter().chain(&list(&container["args"])).map(text).collect(),
            env: list(&container["env"]).iter().map(|e| (text(&e["name"]), text(&e["value"]))).collect(),
            ports: ports.filter_map(|p| u16::try_from(p["containerPort"].as_u64()?).ok()).collect(),
        };
        let tasks = Tasks::default();
        let log = self.machine.log.open(uid, container["name"].as_str().unwrap_or_default());
        let Machine { fabric, clock, .. } = &self.machine;
        let net = Net::new(fabric.clone(), clock.clone(), log, tasks.clone(), start);
        self.running.insert(uid.to_owned(), Running { ip, tasks: tasks.clone() });
        let life = Life {
            store: self.store.clone(),
            machine: self.machine.clone(),
            pod: pod.clone(),
            ip,
            tasks: tasks.clone(),
        };
        tasks.spawn(async move { life.run(net, &*program).await });
    }
}

impl Controller for Kubelet {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&PODS) {
            into.insert(Key { namespace: String::new(), name: String::new() });
        }
    }

    fn reconcile(&mut self, _: &Store, _: &Key) -> Option<Timestamp> {
        self.reconcile_all();
        None
    }
}

/// One pod from its start to its end.
struct Life {
    store: Store,
    machine: Machine,
    pod: Object,
    ip: Ipv4Addr,
    tasks: Tasks,
}

impl Life {
    async fn run(
        self,
        net: Net,
        program: &(dyn Fn(Net) -> futures_util::future::BoxFuture<'static, i32> + Send + Sync),
    ) {
        let mut back_off = BACK_OFF.0;
        for restarts in 0_u64.. {
            let state = json!({"running": {"startedAt": seconds(self.machine.clock.now())}});
            self.tell("Running", &state, false, restarts);
            let work = program(net.clone());
            let probing = self.probe(restarts, &state);
            let code = tokio::select! {
                biased;
                code = work => code,
                () = probing => 0,
            };
            let reason = if code == 0 { "Completed" } else { "Error" };
            let terminated = json!({"terminated": {"exitCode": code, "reason": reason}});
            let again = match self.pod["spec"]["restartPolicy"].as_str() {
                Some("Never") => false,
                Some("OnFailure") => code != 0,
                _ => true,
            };
            if !again {
                self.tell(if code == 0 { "Succeeded" } else { "Failed" }, &terminated, false, restarts);
                return;
            }
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
            self.tell("Running", &waiting, false, restarts + 1);
            self.machine.clock.sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
    }

    /// Follows the readiness probe for as long as the program runs; without one it is ready at once.
    async fn probe(&self, restarts: u64, state: &Value) {
        let probe = &self.pod["spec"]["containers"][0]["readinessProbe"];
        if probe.is_null() {
            self.tell("Running", state, true, restarts);
            return std::future::pending().await;
        }
        let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
        let delay = Duration::from_secs(number("initialDelaySeconds", 0));
        let (period, threshold) =
            (Duration::from_secs(number("periodSeconds", 10).max(1)), number("failureThreshold", 3));
        let timeout = Duration::from_secs(number("timeoutSeconds", 1));
        self.machine.clock.sleep(delay).await;
        let (mut ready, mut failures) = (false, 0);
        loop {
            let passed = self.look(probe, timeout).await;
            failures = if passed { 0 } else { failures + 1 };
            let now_ready = passed || (ready && failures < threshold);
            if now_ready != ready {
                ready = now_ready;
                self.tell("Running", state, ready, restarts);
            }
            self.machine.clock.sleep(period).await;
        }
    }

    /// The kubelet sits on the node: no policy stops its probes.
    async fn look(&self, probe: &Value, timeout: Duration) -> bool {
        let action = if probe["httpGet"].is_null() { &probe["tcpSocket"] } else { &probe["httpGet"] };
        let Some(port) = self.port(&action["port"]) else { return false };
        let path = action["path"].as_str().unwrap_or("/").to_owned();
        let answered = async {
            let stream = self.machine.fabric.connect(Source::Node, self.ip, port).await?;
            if probe["httpGet"].is_null() {
                return Ok(true);
            }
            let authority = format!("{}:{port}", self.ip);
            let request = Request::new(http::Method::GET, Address::from(format!("http://{authority}{path}")));
            let answer = exchange(Connection { stream: Box::new(stream), authority, path }, &request).await?;
            Ok::<_, crate::transport::Failure>((200..400).contains(&answer.status))
        };
        matches!(tokio::time::timeout(timeout, answered).await, Ok(Ok(true)))
    }

    fn port(&self, port: &Value) -> Option<u16> {
        let number = match port {
            Value::String(name) => {
                let ports = self.pod["spec"]["containers"][0]["ports"].as_array()?;
                ports.iter().find(|p| p["name"] == name.as_str())?["containerPort"].as_u64()
            }
            number => number.as_u64(),
        };
        u16::try_from(number?).ok()
    }

    fn tell(&self, phase: &str, state: &Value, ready: bool, restarts: u64) {
        // Gates are conditions of others, and nobody meets them in the lab.
        let gates = self.pod["spec"]["readinessGates"].as_array().is_some_and(|gates| !gates.is_empty());
        let now = seconds(self.machine.clock.now());
        let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now});
        let container = &self.pod["spec"]["containers"][0];
        let status = json!({
            "phase": phase,
            "hostIP": NODE.to_string(),
            "podIP": self.ip.to_string(),
            "podIPs": [{"ip": self.ip.to_string()}],
            "startTime": self.pod["metadata"]["creationTimestamp"],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready && !gates),
            ],
            "containerStatuses": [container_status(container, state, ready, restarts)],
        });
        set_status(&self.store, &self.pod, &status);
        if phase == "Succeeded" || phase == "Failed" {
            self.tasks.end();
        }
    }
}

fn container_status(container: &Value, state: &Value, ready: bool, restarts: u64) -> Value {
    let started = !state["running"].is_null();
    json!({
        "name": container["name"], "image": container["image"], "state": state, "ready": ready,
        "started": started, "restartCount": restarts,
    })
}

fn set_status(store: &Store, pod: &Object, status: &Value) {
    let (namespace, name) = names(pod);
    let uid = &pod["metadata"]["uid"];
    let change = |before: &Value| {
        let mut after = before.clone();
        // A pod of the same name that came since is not this one.
        if before["metadata"]["uid"] == *uid {
            after["status"] = status.clone();
        }
        Ok(after)
    };
    // It may have been deleted meanwhile.
    let _ = store.modify(&PODS, namespace, name, Part::Status, false, change);
}
