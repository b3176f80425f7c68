//! One container: its image, its environment, its runs.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pod::{Pod, Stop};
use super::status::Kind;
use super::{Machine, env};
use crate::clock::{Seed, Timestamp, from_now};
use crate::lab::controllers::events::Event;
use crate::lab::controllers::probes::{Probe, Role};
use crate::lab::images::{Image, Net, Reference, Start, Tasks};
use crate::lab::store::seconds;

/// The first back-off, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How long an absent image is shown as `ErrImagePull` before `ImagePullBackOff`: a modelled value, about the time
/// until the kubelet looks at the pod again.
const PULL_SHOWN: Duration = Duration::from_secs(1);

/// How often a missing ConfigMap or Secret is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a killed program exits with: 128 + SIGKILL.
const KILLED: i32 = 137;

/// What a program that panics exits with, as Rust's do.
const PANICKED: i32 = 101;

/// kubelet's back-off: each restart doubles it, 10 min of peace forget it.
#[derive(Default)]
struct BackOff(Option<(Duration, Timestamp)>);

impl BackOff {
    /// How long to wait after something that ended at `finished`, and the length of the whole back-off.
    fn wait(&mut self, finished: Timestamp, now: Timestamp) -> Option<(Duration, Duration)> {
        let since = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
        let fresh = self.0.filter(|(_, updated)| since(*updated, finished) <= 2 * BACK_OFF.1);
        let wait = fresh.map(|(length, _)| (length.saturating_sub(since(finished, now)), length));
        let next = fresh.map_or(BACK_OFF.0, |(length, _)| (length * 2).min(BACK_OFF.1));
        let starts = now + wait.map_or(Duration::ZERO, |(wait, _)| wait);
        self.0 = Some((next, starts));
        wait.filter(|(wait, _)| !wait.is_zero())
    }
}

struct Life {
    pod: Arc<Pod>,
    index: usize,
    name: String,
    kind: Kind,
    stop: watch::Receiver<Stop>,
    /// Tells that it has started, as its startup probe sees it.
    started: watch::Sender<bool>,
}

/// Runs a container until it need not run any more. Returns the exit code of its last run.
pub(super) async fn run(
    pod: Arc<Pod>,
    index: usize,
    stop: watch::Receiver<Stop>,
    started: watch::Sender<bool>,
) -> Option<i32> {
    let (name, kind) = pod.change(index, |container| (container.name.clone(), container.kind));
    let mut life = Life { pod, index, name, kind, stop, started };
    life.run().await
}

/// Why a run has to end.
enum Cause {
    Stopped,
    Unhealthy { told: String, grace: Duration },
    Changed,
}

impl Life {
    async fn run(&mut self) -> Option<i32> {
        let mut back_off = BackOff::default();
        let mut last = None;
        loop {
            let (image, args, environment) = self.prepare().await?;
            let code = self.once(image, args, environment).await;
            last = code.or(last);
            if self.stopping() || !self.runs_again(code) {
                return last;
            }
            let now = self.pod.machine.clock.now();
            if let Some((wait, length)) = back_off.wait(now, now) {
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(length),
                    self.name,
                    self.pod.shown()
                );
                self.pod.waiting(self.index, "CrashLoopBackOff", Some(&message));
                let told = format!("Back-off restarting failed container {} in pod {}", self.name, self.pod.shown());
                self.tell(&Event::warning("kubelet", "BackOff", told));
                if !self.wait(wait).await {
                    return last;
                }
            }
            self.pod.change(self.index, |container| container.restarts += 1);
        }
    }

    fn runs_again(&self, code: Option<i32>) -> bool {
        let object = self.pod.object();
        match (self.kind, object["spec"]["restartPolicy"].as_str()) {
            (Kind::Sidecar, _) => true,
            (Kind::Init, Some("Never")) => false,
            (Kind::Init, _) | (Kind::Regular, Some("OnFailure")) => code != Some(0),
            (Kind::Regular, Some("Never")) => false,
            (Kind::Regular, _) => true,
        }
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Waits; `false` if the pod ends meanwhile.
    async fn wait(&mut self, duration: Duration) -> bool {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop != Stop::No) => false,
            () = tokio::time::sleep(duration) => true,
        }
    }

    fn tell(&self, event: &Event<'_>) {
        let event = event.clone();
        let event = match self.kind {
            Kind::Regular => event.container(&self.name),
            Kind::Init | Kind::Sidecar => event.init_container(&self.name),
        };
        self.pod.record(&event);
    }

    /// Gets image, arguments and environment; `None` if the pod ends before that.
    async fn prepare(&mut self) -> Option<(Image, Result<Vec<String>, String>, env::Environment)> {
        let mut back_off = BackOff::default();
        loop {
            if self.stopping() {
                return None;
            }
            let spec = self.pod.spec(self.index);
            let name = spec["image"].as_str().unwrap_or_default().to_owned();
            let first = self.pod.change(self.index, |container| container.restarts == 0 && container.id.is_none());
            let creating = first
                && self.pod.change(self.index, |container| {
                    let fresh = container.state["waiting"]["reason"] == "PodInitializing";
                    if fresh && self.kind == Kind::Regular {
                        container.state = json!({"waiting": {"reason": "ContainerCreating"}});
                    }
                    fresh
                });
            if creating {
                self.pod.publish();
            }
            let reference = match Reference::parse(&name) {
                Ok(reference) => reference,
                Err(invalid) => {
                    let why = invalid.to_string();
                    self.pod.waiting(self.index, "InvalidImageName", Some(&why));
                    self.tell(&Event::warning("kubelet", "InspectFailed", why));
                    self.tell(&Event::warning("kubelet", "Failed", "Error: InvalidImageName"));
                    self.until_changed(None).await?;
                    continue;
                }
            };
            let policy = spec["imagePullPolicy"].as_str().unwrap_or(if reference.is_latest() { "Always" } else { "" });
            let Some(image) = self.pod.machine.images.find(&reference) else {
                self.absent(&name, &reference, policy, &mut back_off).await?;
                continue;
            };
            if policy == "Always" {
                self.tell(&Event::normal("kubelet", "Pulling", format!("Pulling image {name:?}")));
                let pulled =
                    format!("Successfully pulled image {name:?} in 0s (0s including waiting). Image size: 0 bytes.");
                self.tell(&Event::normal("kubelet", "Pulled", pulled));
            } else {
                let present = format!("Container image {name:?} already present on machine");
                self.tell(&Event::normal("kubelet", "Pulled", present));
            }
            let environment = match env::resolve(&self.pod.store, &self.pod.object(), &spec, self.pod.ip) {
                Ok(environment) => environment,
                Err(why) => {
                    self.pod.waiting(self.index, "CreateContainerConfigError", Some(&why));
                    self.tell(&Event::warning("kubelet", "Failed", format!("Error: {why}")));
                    self.until_changed(Some(LOOK_AGAIN)).await?;
                    continue;
                }
            };
            let texts = |value: &Value| -> Vec<String> {
                let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                texts.map(|text| env::expand(text, &environment)).collect()
            };
            let (command, args) = (texts(&spec["command"]), texts(&spec["args"]));
            let args = match command.first() {
                Some(file) if !image.takes_commands => Err(no_such_file(file)),
                _ => Ok([command, args].concat()),
            };
            self.pod.change(self.index, |container| {
                container.image = reference.whole();
                container.image_id = format!("sha256:{}", hexadecimal(&mut Seed(0).rng(&reference.whole())));
            });
            return Some((image, args, environment));
        }
    }

    /// What happens to a container whose image is not there.
    async fn absent(&mut self, name: &str, image: &Reference, policy: &str, back_off: &mut BackOff) -> Option<()> {
        if policy == "Never" {
            let why = format!("Container image {name:?} is not present with pull policy of Never");
            self.pod.waiting(self.index, "ErrImageNeverPull", Some(&why));
            self.tell(&Event::warning("kubelet", "ErrImageNeverPull", why));
            self.tell(&Event::warning("kubelet", "Failed", "Error: ErrImageNeverPull"));
            return self.until_changed(Some(LOOK_AGAIN)).await;
        }
        let why = image.pull_failure();
        self.tell(&Event::normal("kubelet", "Pulling", format!("Pulling image {name:?}")));
        self.tell(&Event::warning("kubelet", "Failed", format!("Failed to pull image {name:?}: {why}")));
        self.tell(&Event::warning("kubelet", "Failed", "Error: ErrImagePull"));
        self.pod.waiting(self.index, "ErrImagePull", Some(&why));
        let failed = self.pod.machine.clock.now();
        // The first failure makes the first back-off, other than a container's end.
        if back_off.0.is_none() {
            back_off.0 = Some((BACK_OFF.0, failed));
        }
        let wait = back_off.wait(failed, failed).map_or(BACK_OFF.0, |(wait, _)| wait);
        self.until_changed(Some(PULL_SHOWN)).await?;
        let message = format!("Back-off pulling image {name:?}: ErrImagePull: {why}");
        self.pod.waiting(self.index, "ImagePullBackOff", Some(&message));
        self.tell(&Event::normal("kubelet", "BackOff", format!("Back-off pulling image {name:?}")));
        self.tell(&Event::warning("kubelet", "Failed", "Error: ImagePullBackOff"));
        self.until_changed(Some(wait - PULL_SHOWN)).await
    }

    /// Waits until the container's specification changes, or for so long; `None` if the pod ends.
    async fn until_changed(&mut self, at_most: Option<Duration>) -> Option<()> {
        let changed = changed(&self.pod, self.index);
        let timer = async {
            match at_most {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop != Stop::No) => None,
            () = changed => Some(()),
            () = timer => Some(()),
        }
    }

    /// One run. `None` if it could not start.
    async fn once(
        &mut self,
        image: Image,
        args: Result<Vec<String>, String>,
        environment: env::Environment,
    ) -> Option<i32> {
        let Machine { fabric, clock, log, ids, .. } = self.pod.machine.clone();
        let id = format!("containerd://{}", hexadecimal(&mut ids.lock().unwrap_or_else(PoisonError::into_inner)));
        self.pod.change(self.index, |container| container.id = Some(id.clone()));
        self.tell(&Event::normal("kubelet", "Created", format!("Created container: {}", self.name)));
        let args = match args {
            Ok(args) => args,
            Err(why) => {
                self.tell(&Event::warning("kubelet", "Failed", format!("Error: {why}")));
                let end = json!({
                    "containerID": id, "exitCode": 128, "finishedAt": seconds(clock.now()), "message": why,
                    "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z",
                });
                self.ended(end);
                return Some(128);
            }
        };
        let spec = self.pod.spec(self.index);
        let log = log.open(&self.pod.uid, &self.name);
        let (tasks, owner) = (Tasks::default(), fabric.owner());
        let (terminate, terminated) = watch::channel(false);
        let ports = spec["ports"].as_array().into_iter().flatten();
        let tcp = ports.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"));
        let start = Start {
            namespace: self.pod.key.namespace.clone(),
            pod: self.pod.key.name.clone(),
            ip: self.pod.ip,
            args,
            env: environment,
            ports: tcp.filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok()).collect(),
        };
        let net = Net::new(fabric.clone(), clock.clone(), owner, start, log.clone(), tasks.clone(), terminated);
        self.pod.owners().push((owner, tasks.clone()));
        let began = seconds(clock.now());
        let probe = |role| Probe::read(&spec, role, self.pod.ip);
        let has = |field: &str| !spec[field].is_null();
        self.pod.change(self.index, |container| {
            if container.state["terminated"].is_object() {
                container.last = Some(container.state["terminated"].clone());
            }
            container.state = json!({"running": {"startedAt": began}});
            container.started = !has("startupProbe");
            container.ready = container.started && !has("readinessProbe");
        });
        self.tell(&Event::normal("kubelet", "Started", format!("Started container {}", self.name)));
        self.pod.publish();
        self.started.send_replace(!has("startupProbe"));
        // A task of its own: should it panic, the kubelet does not.
        let (done, code) = tokio::sync::oneshot::channel();
        tasks.spawn(async move {
            // Nobody waits for a program that was killed.
            let _ = done.send((image.program)(net).await);
        });
        let exit = async { code.await.unwrap_or(PANICKED) };
        tokio::pin!(exit);
        let mut stop = self.stop.clone();
        let cause = tokio::select! {
            biased;
            code = &mut exit => Err(code),
            _ = stop.wait_for(|stop| *stop != Stop::No) => Ok(Cause::Stopped),
            cause = self.probe(probe(Role::Startup), probe(Role::Readiness), probe(Role::Liveness)) => Ok(cause),
            () = changed(&self.pod, self.index) => Ok(Cause::Changed),
        };
        let code = match cause {
            Err(code) => code,
            Ok(cause) => self.stopped(cause, &spec, exit, &terminate).await,
        };
        fabric.kill(owner);
        tasks.end();
        self.pod.owners().retain(|(other, _)| *other != owner);
        log.end();
        let reason = if code == 0 { "Completed" } else { "Error" };
        let finished = seconds(clock.now());
        self.ended(json!({
            "containerID": id, "exitCode": code, "finishedAt": finished, "reason": reason, "startedAt": began,
        }));
        Some(code)
    }

    /// Lets a run end that has to: what its program exits with in its grace period, or what SIGKILL makes it exit with.
    async fn stopped(
        &self,
        cause: Cause,
        spec: &Value,
        exit: Pin<&mut impl Future<Output = i32>>,
        terminate: &watch::Sender<bool>,
    ) -> i32 {
        let (told, by) = match cause {
            Cause::Stopped => (format!("Stopping container {}", self.name), None),
            Cause::Unhealthy { told, grace } => (told, Some(from_now(grace))),
            Cause::Changed => {
                let told = format!("Container {} definition changed, will be restarted", self.name);
                (told, Some(from_now(self.pod.grace())))
            }
        };
        self.tell(&Event::normal("kubelet", "Killing", told));
        let hook = spec["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        let ending = async {
            tokio::time::sleep(Duration::from_secs(hook)).await;
            terminate.send_replace(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            code = exit => code,
            () = over(self.stop.clone(), by) => KILLED,
            () = ending => KILLED,
        }
    }

    fn ended(&self, end: Value) {
        self.pod.change(self.index, |container| {
            if container.state["terminated"].is_object() {
                container.last = Some(container.state["terminated"].clone());
            }
            container.state = json!({"terminated": end});
            // An init container that has done its work is ready.
            container.ready = self.kind == Kind::Init && end["exitCode"] == 0;
            container.started = false;
        });
        self.pod.publish();
    }

    /// Follows the probes of a run; comes back when one of them ends it.
    async fn probe(&self, startup: Option<Probe>, readiness: Option<Probe>, liveness: Option<Probe>) -> Cause {
        let fabric = &self.pod.machine.fabric;
        if let Some(probe) = startup {
            let healthy = probe.follow(fabric, |told| self.unhealthy(told), |passed| passed).await;
            if !healthy {
                return self.unhealthy_end(&probe);
            }
            let ready = readiness.is_none();
            self.pod.change(self.index, |container| {
                container.started = true;
                container.ready = ready;
            });
            self.pod.publish();
            self.started.send_replace(true);
        }
        let ready = async {
            if let Some(probe) = readiness {
                let follow = probe.follow(
                    fabric,
                    |told| self.unhealthy(told),
                    |passed| {
                        self.pod.change(self.index, |container| container.ready = passed);
                        self.pod.publish();
                        false
                    },
                );
                follow.await;
            }
            std::future::pending::<()>().await;
        };
        let alive = async {
            match liveness {
                Some(probe) => {
                    let end = probe.follow(fabric, |told| self.unhealthy(told), |passed| !passed);
                    end.await;
                    self.unhealthy_end(&probe)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ready => Cause::Stopped,
            cause = alive => cause,
        }
    }

    fn unhealthy(&self, told: String) {
        self.tell(&Event::warning("kubelet", "Unhealthy", told));
    }

    fn unhealthy_end(&self, probe: &Probe) -> Cause {
        let told = format!("Container {} failed {} probe, will be restarted", self.name, probe.role.word());
        Cause::Unhealthy { told, grace: probe.grace.unwrap_or_else(|| self.pod.grace()) }
    }
}

/// Until the grace is over: that of the pod, or one that ends before.
async fn over(mut stop: watch::Receiver<Stop>, by: Option<Instant>) {
    loop {
        let until = match (*stop.borrow_and_update(), by) {
            (Stop::By(stop), Some(by)) => Some(stop.min(by)),
            (Stop::By(stop), None) => Some(stop),
            (Stop::No, by) => by,
        };
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = stop.changed() => if changed.is_err() { return },
            () = timer => return,
        }
    }
}

/// Until the image of a container is another.
async fn changed(pod: &Pod, index: usize) {
    let image = pod.spec(index)["image"].clone();
    let mut latest = pod.latest.clone();
    while latest.changed().await.is_ok() {
        if pod.spec(index)["image"] != image {
            return;
        }
    }
    std::future::pending().await
}

fn no_such_file(file: &str) -> String {
    let why = if file.contains('/') {
        format!("stat {file}: no such file or directory")
    } else {
        "executable file not found in $PATH".to_owned()
    };
    format!(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: {file:?}: {why}: unknown"
    )
}

/// 64 digits.
fn hexadecimal(rng: &mut fastrand::Rng) -> String {
    (0..4).map(|_| format!("{:016x}", rng.u64(..))).collect()
}

/// `10s`, `2m40s`: as Go prints it.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::secs;

    #[test]
    fn back_off_doubles_up_to_five_minutes_and_is_forgotten_after_ten() {
        let mut back_off = BackOff::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = back_off.wait(now, now).map_or(0, |(wait, _)| wait.as_secs());
            waits.push(wait);
            now += secs(wait);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        now += secs(599);
        assert!(back_off.wait(now, now).is_some());
        now += secs(300 + 601);
        assert!(back_off.wait(now, now).is_none());
    }

    #[test]
    fn durations_are_printed_as_go_does() {
        assert_eq!([10, 60, 160, 300].map(|s| go_duration(secs(s))), ["10s", "1m0s", "2m40s", "5m0s"]);
    }
}
