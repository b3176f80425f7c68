//! Jobs run pods to their end.
//!
//! As kube-controller-manager's: `parallelism` and `completions` (NonIndexed and Indexed), suspending, `backoffLimit`
//! with 10 s before a failed pod is replaced, doubled each time up to 10 min, `activeDeadlineSeconds` counted from the
//! start (or the last resumption) to the instant and postponed by a patch, `ttlSecondsAfterFinished` counted from the
//! final condition, and deletion in the foreground then. Pods are held by `batch.kubernetes.io/job-tracking` until
//! they are counted. A final condition waits for the last pod to be gone or at its end; until then the Job has
//! `FailureTarget` or `SuccessCriteriaMet`. Not here: `podFailurePolicy`, `successPolicy`, `backoffLimitPerIndex`.

mod pods;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use self::pods::{Backoff, ended_at, index_of, tracked, untrack};
use self::status::{Indexes, Outcome};
use super::events::{Event, Recorder};
use super::objects::{
    Retries, active, claim, condition, controlled, controller_of, count, deleting, edit, finished, is_ready, names,
    owners_of, remove, selector, set_counts, set_status, stamp, uid,
};
use super::{Controller, Key};
use crate::clock::{Timestamp, later};
use crate::lab::resource::{JOBS, PODS};
use crate::lab::store::{Change, Deletion, Object, Preconditions, Propagation, Store, seconds};

const SOURCE: &str = "job-controller";

/// The finalizer of pods that are not counted yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

pub(super) struct Jobs {
    events: Recorder,
    retries: Retries,
    /// What is known beyond the status, by uid.
    known: BTreeMap<String, Known>,
    /// The uid that a key had.
    uids: BTreeMap<Key, String>,
}

/// Memory of one Job.
#[derive(Debug, Default)]
struct Known {
    /// The start to the instant; the status has whole seconds.
    start: Option<(String, Timestamp)>,
    backoff: Backoff,
}

impl Jobs {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, retries: Retries::default(), known: BTreeMap::new(), uids: BTreeMap::new() }
    }
}

impl Controller for Jobs {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&JOBS) {
            into.insert(Key::of(&change.object));
        } else if change.resource.is(&PODS) {
            owners_of(store, change, &JOBS, into);
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let job = store.find(&JOBS, &key.namespace, &key.name);
        let of_another = |pod: &Object| {
            let owner = controller_of(pod).filter(|owner| owner["kind"] == JOBS.kind && owner["name"] == *key.name);
            owner.is_some_and(|owner| job.as_ref().is_none_or(|job| owner["uid"] != uid(job)))
        };
        for pod in store.list(&PODS, Some(&key.namespace)).0.iter().filter(|pod| tracked(pod) && of_another(pod)) {
            untrack(store, pod);
        }
        if let Some(uid) = self.uids.get(key)
            && job.as_ref().is_none_or(|job| job["metadata"]["uid"] != uid.as_str())
        {
            self.known.remove(uid);
            self.uids.remove(key);
            self.retries.succeeded(key);
        }
        let job = job?;
        self.uids.insert(key.clone(), uid(&job).to_owned());
        if let Some(end) = status::finished(&job) {
            for pod in controlled(store, &PODS, &job).iter().filter(|pod| tracked(pod)) {
                untrack(store, pod);
            }
            return self.expire(store, &job, end);
        }
        let known = self.known.entry(uid(&job).to_owned()).or_default();
        let mut look = Look { store, events: &self.events, now: self.events.now(), job, known, refused: false };
        let again = look.run();
        if look.refused {
            return Some(self.retries.failed(key, self.events.now()));
        }
        self.retries.succeeded(key);
        again
    }
}

impl Jobs {
    /// Deletes a finished Job when its time has come.
    fn expire(&self, store: &Store, job: &Object, end: Timestamp) -> Option<Timestamp> {
        let ttl = job["spec"]["ttlSecondsAfterFinished"].as_u64()?;
        let at = later(end, Duration::from_secs(ttl));
        if deleting(job) {
            return None;
        }
        if at > self.events.now() {
            return Some(at);
        }
        let (namespace, name) = names(job);
        let preconditions = Preconditions { uid: Some(uid(job).to_owned()), resource_version: None };
        let how = Deletion { preconditions, propagation: Some(Propagation::Foreground), ..Deletion::default() };
        // Somebody else may have been faster.
        let _ = store.remove(&JOBS, namespace, name, &how);
        None
    }
}

/// One look at one unfinished Job.
struct Look<'a> {
    store: &'a Store,
    events: &'a Recorder,
    now: Timestamp,
    job: Object,
    known: &'a mut Known,
    refused: bool,
}

impl Look<'_> {
    fn run(&mut self) -> Option<Timestamp> {
        let job = self.job.clone();
        let selector = selector(&job)?;
        let pods = claim(self.store, &PODS, &job, &selector, |_| true);
        for pod in pods.iter().filter(|pod| active(pod) && !tracked(pod)) {
            // Adopted, or made by somebody else.
            pods::track(self.store, pod);
        }
        let suspended = job["spec"]["suspend"] == true;
        let mut status = job["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        if status["startTime"].is_null() && !suspended {
            status["startTime"] = json!(seconds(self.now));
            self.known.start = Some((seconds(self.now), self.now));
        }
        let indexed = job["spec"]["completionMode"] == "Indexed";
        let mut done = Indexes::read(&status);
        let (mut succeeded, mut failed) = (count(&status["succeeded"]), count(&status["failed"]));
        let mut news: Vec<&Object> = pods.iter().filter(|pod| tracked(pod) && self.ended(pod)).collect();
        news.sort_by_key(|pod| ended_at(pod, self.now));
        for pod in &news {
            let well = pod["status"]["phase"] == "Succeeded";
            self.known.backoff.note(well, ended_at(pod, self.now));
            match (well, indexed) {
                (true, true) => done.insert(index_of(pod).filter(|n| *n < count(&job["spec"]["completions"]))),
                (true, false) => succeeded += 1,
                (false, _) => failed += 1,
            }
        }
        if indexed {
            succeeded = done.len();
            if done.len() > 0 {
                status["completedIndexes"] = json!(done.to_string());
            }
        }
        let mut outcome = Outcome::target(&status);
        if outcome.is_none() {
            outcome = self.fails(&status, &pods, failed);
        }
        let mut again = None;
        match &outcome {
            Some(_) => {
                for pod in pods.iter().filter(|pod| active(pod)) {
                    self.end(pod, false);
                }
            }
            None if !deleting(&job) => {
                again = self.manage(&pods, succeeded, suspended, &done);
                if self.is_complete(succeeded) {
                    outcome = Some(Outcome::complete());
                } else {
                    self.note_suspension(&mut status, suspended);
                }
            }
            None => {}
        }
        self.write(status, succeeded, failed, outcome.as_ref(), &news);
        let deadline = if outcome.is_none() && !suspended { self.deadline() } else { None };
        again.into_iter().chain(deadline).min()
    }

    /// Whether a pod is to be counted: it has ended, or is about to without having succeeded.
    fn ended(&self, pod: &Value) -> bool {
        let waits = self.job["spec"]["podReplacementPolicy"] == "Failed";
        finished(pod) || (deleting(pod) && !waits)
    }

    fn fails(&self, status: &Value, pods: &[Object], failed: i64) -> Option<Outcome> {
        let spec = &self.job["spec"];
        let limit = spec["backoffLimit"].as_i64().unwrap_or(6);
        if failed > limit || pods::too_many_restarts(&self.job, pods, limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(Outcome::failed("BackoffLimitExceeded", message));
        }
        let started = !status["startTime"].is_null() && spec["suspend"] != true;
        if started && self.deadline_of(status).is_some_and(|deadline| deadline <= self.now) {
            let message = "Job was active longer than specified deadline";
            return Some(Outcome::failed("DeadlineExceeded", message));
        }
        None
    }

    fn deadline(&self) -> Option<Timestamp> {
        let job = self.store.find(&JOBS, names(&self.job).0, names(&self.job).1)?;
        self.deadline_of(&job["status"])
    }

    fn deadline_of(&self, status: &Value) -> Option<Timestamp> {
        let seconds = self.job["spec"]["activeDeadlineSeconds"].as_u64()?;
        let exact = self.known.start.as_ref().filter(|(text, _)| status["startTime"] == *text).map(|(_, at)| *at);
        Some(later(exact.or_else(|| stamp(&status["startTime"]))?, Duration::from_secs(seconds)))
    }

    fn is_complete(&self, succeeded: i64) -> bool {
        match self.job["spec"]["completions"].as_i64() {
            Some(completions) => succeeded >= completions,
            // A queue is done when one worker says so and the others have ended.
            None => succeeded > 0 && !controlled(self.store, &PODS, &self.job).iter().any(|pod| active(pod)),
        }
    }

    fn note_suspension(&mut self, status: &mut Value, suspended: bool) {
        let before = condition(status, "Suspended").map(|condition| condition["status"] == "True");
        let (value, reason, message) = match (before, suspended) {
            (Some(true), false) => ("False", "JobResumed", "Job resumed"),
            (None | Some(false), true) => ("True", "JobSuspended", "Job suspended"),
            _ => return,
        };
        status::set_condition(status, "Suspended", value, reason, message, self.now);
        let told = if suspended { "Suspended" } else { "Resumed" };
        self.events.record(&self.job, &Event::normal(SOURCE, told, message));
        if !suspended {
            status["startTime"] = json!(seconds(self.now));
            self.known.start = Some((seconds(self.now), self.now));
        }
    }

    /// Ends a pod; one that was not needed is not counted.
    fn end(&self, pod: &Object, uncounted: bool) {
        if uncounted {
            untrack(self.store, pod);
        }
        if remove(self.store, &PODS, pod) {
            let message = format!("Deleted pod: {}", names(pod).1);
            self.events.record(&self.job, &Event::normal(SOURCE, "SuccessfulDelete", message));
        }
    }

    /// Writes the counts, lets the counted pods go, and concludes once no pod is left to wait for.
    fn write(&self, mut status: Value, succeeded: i64, failed: i64, outcome: Option<&Outcome>, counted: &[&Object]) {
        if let Some(outcome) = outcome {
            outcome.aim(&mut status, self.now);
        }
        let there = controlled(self.store, &PODS, &self.job);
        let number = |of: &dyn Fn(&Object) -> bool| {
            i64::try_from(there.iter().filter(|pod| of(pod)).count()).unwrap_or(i64::MAX)
        };
        let running = number(&|pod| active(pod));
        let terminating = number(&|pod| deleting(pod) && !finished(pod));
        set_counts(&mut status, &[("active", running), ("succeeded", succeeded), ("failed", failed)]);
        status["ready"] = json!(number(&|pod| active(pod) && is_ready(pod)));
        status["terminating"] = json!(terminating);
        status["uncountedTerminatedPods"] = json!({});
        let is_counted = |pod: &Object| counted.iter().any(|other| uid(other) == uid(pod));
        let all_counted = there.iter().all(|pod| !tracked(pod) || is_counted(pod));
        if let Some(outcome) = outcome
            && running == 0
            && terminating == 0
            && all_counted
        {
            outcome.conclude(&mut status, self.now);
            self.events.record(&self.job, &outcome.event());
        }
        set_status(self.store, &JOBS, &self.job, status);
        for pod in counted {
            untrack(self.store, pod);
        }
    }
}
