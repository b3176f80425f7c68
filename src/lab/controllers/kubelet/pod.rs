//! One pod, from its start to its end.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::container;
use super::status::{Container, Facts, Kind, status};
use super::{Machine, NODE_NAME, remove};
use crate::clock::from_now;
use crate::lab::controllers::Key;
use crate::lab::controllers::events::Event;
use crate::lab::fabric::{NODE, Owner};
use crate::lab::images::Tasks;
use crate::lab::resource::PODS;
use crate::lab::store::{Object, Part, Store, seconds};

/// What holds on to a running pod.
pub(super) struct Handle {
    pod: Arc<Pod>,
    told: watch::Sender<Object>,
}

/// When a pod has to be at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    By(Instant),
}

/// A pod that runs.
pub(super) struct Pod {
    pub(super) store: Store,
    pub(super) machine: Machine,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) ip: Ipv4Addr,
    start_time: String,
    /// The object as it was last seen.
    pub(super) latest: watch::Receiver<Object>,
    stop: watch::Sender<Stop>,
    /// What ends with the pod's regular containers.
    beside: watch::Sender<Stop>,
    state: Mutex<State>,
    /// The programs that run now.
    owners: Mutex<Vec<(Owner, Tasks)>>,
    /// Its own work, and that of its sidecars.
    tasks: Tasks,
}

struct State {
    containers: Vec<Container>,
    finished: bool,
    ended: Option<(&'static str, String)>,
}

/// Starts a pod with this address.
pub(super) fn start(store: &Store, machine: &Machine, object: Object, ip: Ipv4Addr) -> Handle {
    let init =
        object["spec"]["initContainers"].as_array().into_iter().flatten().map(|spec| {
            Container::new(spec, if spec["restartPolicy"] == "Always" { Kind::Sidecar } else { Kind::Init })
        });
    let regular = object["spec"]["containers"].as_array().into_iter().flatten();
    let containers: Vec<Container> = init.chain(regular.map(|spec| Container::new(spec, Kind::Regular))).collect();
    let (told, latest) = watch::channel(object.clone());
    let pod = Arc::new(Pod {
        store: store.clone(),
        machine: machine.clone(),
        key: Key::of(&object),
        uid: object["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        ip,
        start_time: seconds(machine.clock.now()),
        latest,
        stop: watch::Sender::new(Stop::No),
        beside: watch::Sender::new(Stop::No),
        state: Mutex::new(State { containers, finished: false, ended: None }),
        owners: Mutex::default(),
        tasks: Tasks::default(),
    });
    let life = pod.clone();
    pod.tasks.spawn(async move { life.run().await });
    let handle = Handle { pod, told };
    handle.follow(&object);
    handle
}

impl Handle {
    pub(super) fn uid(&self) -> &str {
        &self.pod.uid
    }

    /// Tells of a change of the object.
    pub(super) fn update(&self, object: &Object) {
        if *self.told.borrow() == *object {
            return;
        }
        self.told.send_replace(object.clone());
        self.follow(object);
        self.pod.publish();
    }

    /// Begins the end of a pod that is being deleted, or brings it nearer.
    fn follow(&self, object: &Object) {
        if object["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let grace = object["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
        self.pod.stop_within(Duration::from_secs(grace));
    }

    /// Ends it now, as SIGKILL does.
    pub(super) fn kill(&self) {
        self.pod.tasks.end();
        for (owner, tasks) in self.pod.owners().drain(..) {
            self.pod.machine.fabric.kill(owner);
            tasks.end();
        }
    }
}

impl Pod {
    async fn run(self: Arc<Self>) {
        if !matches!(self.object()["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            self.publish();
            self.live().await;
            self.state().finished = true;
            self.publish();
        }
        let mut latest = self.latest.clone();
        // The kubelet keeps the other end.
        let _ = latest.wait_for(|object| !object["metadata"]["deletionTimestamp"].is_null()).await;
        remove(&self.store, &self.object(), &self.key);
    }

    async fn live(self: &Arc<Self>) {
        let deadline = self.object()["spec"]["activeDeadlineSeconds"].as_u64().map(Duration::from_secs);
        let timer = async {
            match deadline {
                Some(after) => self.machine.clock.sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let containers = self.containers_in_order();
        tokio::pin!(containers);
        tokio::select! {
            biased;
            () = &mut containers => return,
            () = timer => {}
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.state().ended = Some(("DeadlineExceeded", message.to_owned()));
        self.record(&Event::normal("kubelet", "DeadlineExceeded", message));
        self.stop_within(self.grace());
        containers.await;
    }

    async fn containers_in_order(self: &Arc<Self>) {
        let kinds: Vec<Kind> = self.state().containers.iter().map(|container| container.kind).collect();
        let mut sidecars = Vec::new();
        for (index, kind) in kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::Regular) {
            if *kind == Kind::Sidecar {
                let pod = self.clone();
                let (started, mut told) = watch::channel(false);
                let stop = self.beside.subscribe();
                let (done, end) = oneshot::channel();
                self.tasks.spawn(async move {
                    // Nobody waits where the pod was killed.
                    let _ = done.send(container::run(pod, index, stop, started).await);
                });
                sidecars.push(end);
                let mut stopped = self.stop.subscribe();
                tokio::select! {
                    biased;
                    // It ends without a start only when it is stopped.
                    _ = told.wait_for(|started| *started) => {}
                    _ = stopped.wait_for(|stop| *stop != Stop::No) => {}
                }
            } else {
                let code = container::run(self.clone(), index, self.stop.subscribe(), watch::Sender::new(false)).await;
                if code != Some(0) {
                    self.stop_beside(sidecars).await;
                    return;
                }
            }
            if self.is_stopping() {
                break;
            }
        }
        if !self.is_stopping() {
            let regular = kinds.iter().enumerate().filter(|(_, kind)| **kind == Kind::Regular);
            let lives = regular.map(|(index, _)| {
                container::run(self.clone(), index, self.stop.subscribe(), watch::Sender::new(false))
            });
            join_all(lives).await;
        }
        self.stop_beside(sidecars).await;
    }

    /// Ends the sidecars, within the pod's grace.
    async fn stop_beside(&self, sidecars: Vec<oneshot::Receiver<Option<i32>>>) {
        if sidecars.is_empty() {
            return;
        }
        let by = match *self.stop.borrow() {
            Stop::By(by) => by,
            Stop::No => from_now(self.grace()),
        };
        self.beside.send_replace(Stop::By(by));
        join_all(sidecars).await;
    }

    pub(super) fn object(&self) -> Object {
        self.latest.borrow().clone()
    }

    pub(super) fn spec(&self, index: usize) -> Value {
        let object = self.object();
        let init = object["spec"]["initContainers"].as_array().map_or(0, Vec::len);
        match index.checked_sub(init) {
            None => object["spec"]["initContainers"][index].clone(),
            Some(index) => object["spec"]["containers"][index].clone(),
        }
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.object()["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// An end that is nearer than the one that was set before counts.
    fn stop_within(&self, grace: Duration) {
        let by = from_now(grace);
        self.stop.send_if_modified(|stop| match stop {
            Stop::By(before) if *before <= by => false,
            _ => {
                *stop = Stop::By(by);
                true
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn owners(&self) -> MutexGuard<'_, Vec<(Owner, Tasks)>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a container, without telling yet.
    pub(super) fn change<T>(&self, index: usize, change: impl FnOnce(&mut Container) -> T) -> T {
        change(&mut self.state().containers[index])
    }

    pub(super) fn record(&self, event: &Event<'_>) {
        self.machine.events.record(&self.object(), &event.clone().on(NODE_NAME));
    }

    /// Writes the status, if it has changed.
    pub(super) fn publish(&self) {
        let now = seconds(self.machine.clock.now());
        let state = self.state();
        let write = |before: &Value| {
            let mut after = before.clone();
            // A pod of the same name that came since is not this one.
            if before["metadata"]["uid"] == self.uid.as_str() {
                let facts = Facts {
                    pod: before,
                    containers: &state.containers,
                    ip: self.ip.to_string(),
                    host_ip: NODE.to_string(),
                    start_time: &self.start_time,
                    now: &now,
                    finished: state.finished,
                    ended: state.ended.as_ref().map(|(reason, message)| (*reason, message.as_str())),
                };
                after["status"] = status(&facts);
            }
            Ok(after)
        };
        // It may have been removed meanwhile.
        let _ = self.store.modify(&PODS, &self.key.namespace, &self.key.name, Part::Status, false, write);
    }

    /// `pod=NAME_NAMESPACE(UID)`, as the kubelet's messages have it.
    pub(super) fn shown(&self) -> String {
        format!("{}_{}({})", self.key.name, self.key.namespace, self.uid)
    }

    pub(super) fn waiting(&self, index: usize, reason: &str, message: Option<&str>) {
        let mut waiting = json!({"reason": reason});
        if let Some(message) = message {
            waiting["message"] = json!(message);
        }
        self.change(index, |container| {
            if container.state["terminated"].is_object() {
                container.last = Some(container.state["terminated"].clone());
            }
            container.state = json!({"waiting": waiting});
            container.ready = false;
            container.started = false;
        });
        self.publish();
    }
}
