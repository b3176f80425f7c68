//! The pods of a Job: how many there should be, what they are made like, when one may follow another.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::objects::{annotation, create, pod_of};
use super::{
    Event, Indexes, JOBS, Look, PODS, SOURCE, TRACKING, active, count, deleting, edit, finished, is_ready, names,
    stamp, uid,
};
use crate::clock::Timestamp;
use crate::lab::store::{Object, Store};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The wait after the first failure, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Failures since the last success.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<Timestamp>,
}

impl Backoff {
    pub(super) fn note(&mut self, well: bool, at: Timestamp) {
        if well {
            *self = Self::default();
        } else {
            self.failures += 1;
            self.last = Some(self.last.map_or(at, |last| last.max(at)));
        }
    }

    /// When the next pod may be made.
    fn until(&self) -> Option<Timestamp> {
        let doublings = self.failures.checked_sub(1)?.min(16);
        Some(self.last? + (BACK_OFF.0 * 2_u32.pow(doublings)).min(BACK_OFF.1))
    }
}

impl Look<'_> {
    /// Makes and ends pods. Returns when more may be made.
    pub(super) fn manage(
        &mut self,
        pods: &[Object],
        succeeded: i64,
        suspended: bool,
        done: &Indexes,
    ) -> Option<Timestamp> {
        let spec = self.job["spec"].clone();
        let mut running: Vec<&Object> = pods.iter().filter(|pod| active(pod)).collect();
        let there = i64::try_from(running.len()).unwrap_or(i64::MAX);
        let parallelism = spec["parallelism"].as_i64().unwrap_or(1);
        let wanted = match spec["completions"].as_i64() {
            _ if suspended => 0,
            Some(completions) => parallelism.min(completions - succeeded).max(0),
            // Once a worker of a queue is done, no more are made.
            None if succeeded > 0 => there.min(parallelism),
            None => parallelism,
        };
        let indexed = spec["completionMode"] == "Indexed";
        if indexed {
            // Second pods of an index, and those of indexes that are done, go in any case.
            let mut taken = BTreeSet::new();
            let (kept, surplus): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|pod| index_of(pod).is_some_and(|index| !done.contains(index) && taken.insert(index)));
            for pod in surplus {
                self.end(pod, true);
            }
            running = kept;
        }
        let surplus = usize::try_from(there - wanted).unwrap_or(0).min(running.len());
        if surplus > 0 {
            running.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(uid(pod).to_owned())));
            for pod in &running[..surplus] {
                self.end(pod, true);
            }
            return None;
        }
        let mut missing = wanted - i64::try_from(running.len()).unwrap_or(i64::MAX);
        if spec["podReplacementPolicy"] == "Failed" {
            let going = pods.iter().filter(|pod| deleting(pod) && !finished(pod)).count();
            missing -= i64::try_from(going).unwrap_or(i64::MAX);
        }
        if missing <= 0 {
            return None;
        }
        if let Some(until) = self.known.backoff.until().filter(|until| *until > self.now) {
            return Some(until);
        }
        let taken: BTreeSet<i64> = running.iter().filter_map(|pod| index_of(pod)).collect();
        let free = (0..count(&spec["completions"])).filter(|index| !taken.contains(index) && !done.contains(*index));
        let mut free: Box<dyn Iterator<Item = Option<i64>>> =
            if indexed { Box::new(free.map(Some)) } else { Box::new(std::iter::repeat(None)) };
        for _ in 0..missing {
            let Some(index) = free.next() else { break };
            if !self.make(index) {
                self.refused = true;
                break;
            }
        }
        None
    }

    fn make(&self, index: Option<i64>) -> bool {
        let (namespace, name) = names(&self.job);
        let mut pod = pod_of(&self.job["spec"]["template"], &self.job);
        let prefix = index.map_or_else(|| format!("{name}-"), |index| format!("{name}-{index}-"));
        pod["metadata"]["generateName"] = json!(prefix);
        let mut finalizers = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        finalizers.push(json!(TRACKING));
        pod["metadata"]["finalizers"] = json!(finalizers);
        if let Some(index) = index {
            pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
            pod["metadata"]["labels"][INDEX] = json!(index.to_string());
            pod["spec"]["hostname"] = json!(format!("{name}-{index}"));
            for containers in ["initContainers", "containers"] {
                for container in pod["spec"][containers].as_array_mut().into_iter().flatten() {
                    tell_index(container);
                }
            }
            if pod["spec"]["initContainers"].is_null()
                && let Some(spec) = pod["spec"].as_object_mut()
            {
                spec.remove("initContainers");
            }
        }
        match create(self.store, &PODS, namespace, pod) {
            Ok(pod) => {
                let message = format!("Created pod: {}", names(&pod).1);
                self.events.record(&self.job, &Event::normal(SOURCE, "SuccessfulCreate", message));
                true
            }
            Err(refused) => {
                debug_assert_eq!(self.job["kind"], JOBS.kind);
                let message = format!("Error creating: {}", refused.message);
                self.events.record(&self.job, &Event::warning(SOURCE, "FailedCreate", message));
                false
            }
        }
    }
}

/// The index in the container's environment, unless it has one of its own.
fn tell_index(container: &mut Value) {
    let name = "JOB_COMPLETION_INDEX";
    let path = format!("metadata.labels['{INDEX}']");
    let variable = json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    match container["env"].as_array_mut() {
        Some(env) if env.iter().any(|variable| variable["name"] == name) => {}
        Some(env) => env.push(variable),
        None => container["env"] = json!([variable]),
    }
}

/// The completion index of a pod.
pub(super) fn index_of(pod: &Value) -> Option<i64> {
    annotation(pod, INDEX)?.parse().ok()
}

/// Whether a pod is not counted yet.
pub(super) fn tracked(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|finalizer| finalizer == TRACKING))
}

pub(super) fn track(store: &Store, pod: &Object) {
    edit(store, &PODS, pod, |pod| match pod["metadata"]["finalizers"].as_array_mut() {
        Some(finalizers) => finalizers.push(json!(TRACKING)),
        None => pod["metadata"]["finalizers"] = json!([TRACKING]),
    });
}

/// Lets a pod go that is counted, or not to be.
pub(super) fn untrack(store: &Store, pod: &Object) {
    edit(store, &PODS, pod, |pod| {
        let Some(finalizers) = pod["metadata"]["finalizers"].as_array_mut() else { return };
        finalizers.retain(|finalizer| finalizer != TRACKING);
        if finalizers.is_empty()
            && let Some(metadata) = pod["metadata"].as_object_mut()
        {
            metadata.remove("finalizers");
        }
    });
}

/// When a pod came to its end: when its last container did.
pub(super) fn ended_at(pod: &Value, now: Timestamp) -> Timestamp {
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ends = containers.filter_map(|container| stamp(&container["state"]["terminated"]["finishedAt"]));
    ends.max().unwrap_or(now)
}

/// Whether pods that restart their containers themselves have done so too often.
pub(super) fn too_many_restarts(job: &Value, pods: &[Object], limit: i64) -> bool {
    if job["spec"]["template"]["spec"]["restartPolicy"] != "OnFailure" {
        return false;
    }
    let restarts = |pod: &Object| {
        let of = |field: &str| pod["status"][field].as_array().into_iter().flatten();
        of("initContainerStatuses").chain(of("containerStatuses")).map(|c| count(&c["restartCount"])).sum::<i64>()
    };
    let all: i64 = pods.iter().filter(|pod| !finished(pod)).map(restarts).sum();
    if limit == 0 { all > 0 } else { all >= limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_a_success_ends_them() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(), None);
        let at = Timestamp::UNIX_EPOCH;
        let waits: Vec<_> = (0..8)
            .map(|_| {
                backoff.note(false, at);
                backoff.until().map_or(0, |until| until.as_second())
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
        backoff.note(true, at);
        assert_eq!(backoff.until(), None);
    }
}
