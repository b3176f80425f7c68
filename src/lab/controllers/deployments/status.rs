//! What a Deployment says of its rollout.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::objects::set_counts;
use super::{Rollout, condition, count, names, replicas, stamp};
use crate::clock::{Timestamp, later};
use crate::lab::store::seconds;

impl Rollout<'_> {
    pub(super) fn condition(&self, kind: &str, status: &str, reason: &str, message: &str) -> Value {
        let now = seconds(self.now);
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": now, "lastTransitionTime": now,
        })
    }

    pub(super) fn has_deadline(&self) -> bool {
        // The largest number says that there is none.
        self.deadline_seconds() != u64::from(i32::MAX.unsigned_abs())
    }

    fn deadline_seconds(&self) -> u64 {
        self.deployment["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(600)
    }

    /// The counts, and whether enough are available; other conditions as they are.
    fn counted(&self) -> Value {
        let of = |set: &Value, field: &str| count(&set["status"][field]);
        let sum = |field: &str| self.all().map(|set| of(set, field)).sum::<i64>();
        let total: i64 = self.all().map(|set| replicas(set)).sum();
        let available = sum("availableReplicas");
        let mut status = json!({"observedGeneration": self.deployment["metadata"]["generation"]});
        set_counts(
            &mut status,
            &[
                ("replicas", sum("replicas")),
                ("updatedReplicas", self.new.as_ref().map_or(0, |set| of(set, "replicas"))),
                ("readyReplicas", sum("readyReplicas")),
                ("availableReplicas", available),
                ("unavailableReplicas", (total - available).max(0)),
            ],
        );
        for kept in ["collisionCount", "conditions"] {
            let before = &self.deployment["status"][kept];
            if !before.is_null() {
                status[kept] = before.clone();
            }
        }
        let enough = available >= replicas(&self.deployment) - self.max_unavailable();
        set_condition(
            &mut status,
            match enough {
                true => self.condition(
                    "Available",
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                ),
                false => self.condition(
                    "Available",
                    "False",
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                ),
            },
        );
        status
    }

    /// Writes the counts alone: a scaling or a paused Deployment makes no progress.
    pub(super) fn write_counts(&mut self) {
        let status = self.counted();
        self.write(status);
    }

    /// Writes the counts and how the rollout goes.
    pub(super) fn write_progress(&mut self) {
        let mut status = self.counted();
        let before = &self.deployment["status"];
        if !self.has_deadline() {
            remove_condition(&mut status, "Progressing");
        }
        let progressing = condition(before, "Progressing").cloned();
        let settled = count(&status["replicas"]) == count(&status["updatedReplicas"])
            && progressing.as_ref().is_some_and(|c| c["reason"] == "NewReplicaSetAvailable");
        if self.has_deadline() && !settled {
            let set = match &self.new {
                Some(set) => format!("ReplicaSet {:?}", names(set).1),
                None => format!("Deployment {:?}", names(&self.deployment).1),
            };
            if self.completes(&status) {
                let message = format!("{set} has successfully progressed.");
                let done = self.condition("Progressing", "True", "NewReplicaSetAvailable", &message);
                set_condition(&mut status, done);
            } else if progresses(before, &status) {
                let message = format!("{set} is progressing.");
                let mut moves = self.condition("Progressing", "True", "ReplicaSetUpdated", &message);
                if let Some(before) = progressing.filter(|c| c["status"] == "True") {
                    moves["lastTransitionTime"] = before["lastTransitionTime"].clone();
                }
                // Replaced even where only its time differs: the deadline counts from there.
                remove_condition(&mut status, "Progressing");
                set_condition(&mut status, moves);
            } else if self.timed_out(&status) {
                let message = format!("{set} has timed out progressing.");
                let late = self.condition("Progressing", "False", "ProgressDeadlineExceeded", &message);
                set_condition(&mut status, late);
            }
        }
        let failures = self.new.iter().chain(&self.old);
        match failures.filter_map(|set| condition(&set["status"], "ReplicaFailure")).next() {
            Some(failure) => {
                let mut failure = failure.clone();
                failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
                set_condition(&mut status, failure);
            }
            None => remove_condition(&mut status, "ReplicaFailure"),
        }
        self.write(status);
    }

    /// Whether the whole Deployment is what it should be, as last written.
    pub(super) fn is_complete(&self) -> bool {
        self.completes(&self.deployment["status"])
    }

    fn completes(&self, status: &Value) -> bool {
        let wanted = replicas(&self.deployment);
        ["updatedReplicas", "replicas", "availableReplicas"].iter().all(|field| count(&status[*field]) == wanted)
            && count(&status["observedGeneration"]) >= count(&self.deployment["metadata"]["generation"])
    }

    fn timed_out(&self, status: &Value) -> bool {
        match condition(status, "Progressing") {
            Some(progressing) if progressing["reason"] == "NewReplicaSetAvailable" => false,
            Some(progressing) if progressing["reason"] == "ProgressDeadlineExceeded" => true,
            Some(progressing) => self.deadline(progressing).is_some_and(|deadline| deadline < self.now),
            None => false,
        }
    }

    fn deadline(&self, progressing: &Value) -> Option<Timestamp> {
        Some(later(stamp(&progressing["lastUpdateTime"])?, Duration::from_secs(self.deadline_seconds())))
    }

    /// When to look again whether it is too late.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let progressing = condition(&self.deployment["status"], "Progressing")?;
        let settled = progressing["reason"] == "ProgressDeadlineExceeded" || self.is_complete();
        let paused = self.deployment["spec"]["paused"] == true;
        if settled || paused || !self.has_deadline() || progressing["reason"] == "NewReplicaSetAvailable" {
            return None;
        }
        Some(self.deadline(progressing)? + Duration::from_secs(1))
    }

    /// Tells of pausing and resuming, so that the deadline does not count meanwhile.
    pub(super) fn note_pausing(&mut self) {
        if !self.has_deadline() {
            return;
        }
        let paused = self.deployment["spec"]["paused"] == true;
        let reason = condition(&self.deployment["status"], "Progressing").map(|c| c["reason"].clone());
        let reason = reason.as_ref().and_then(Value::as_str).unwrap_or_default();
        let news = match (paused, reason) {
            (_, "ProgressDeadlineExceeded") | (true, "DeploymentPaused") => return,
            (true, _) => self.condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"),
            (false, "DeploymentPaused") => {
                self.condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
            }
            (false, _) => return,
        };
        let mut status = self.deployment["status"].clone();
        set_condition(&mut status, news);
        self.write(status);
    }
}

/// Whether there is more of the new, or less of the old, than before.
fn progresses(before: &Value, after: &Value) -> bool {
    let (b, a) = (|field: &str| count(&before[field]), |field: &str| count(&after[field]));
    a("updatedReplicas") > b("updatedReplicas")
        || a("replicas") - a("updatedReplicas") < b("replicas") - b("updatedReplicas")
        || a("readyReplicas") > b("readyReplicas")
        || a("availableReplicas") > b("availableReplicas")
}

/// Sets a condition; one of the same status and reason stays as it is, with its times.
pub(super) fn set_condition(status: &mut Value, mut new: Value) {
    let kind = new["type"].as_str().unwrap_or_default().to_owned();
    if let Some(before) = condition(status, &kind) {
        if before["status"] == new["status"] && before["reason"] == new["reason"] {
            return;
        }
        if before["status"] == new["status"] {
            new["lastTransitionTime"] = before["lastTransitionTime"].clone();
        }
    }
    remove_condition(status, &kind);
    match status["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(new),
        None => status["conditions"] = json!([new]),
    }
}

fn remove_condition(status: &mut Value, kind: &str) {
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    conditions.retain(|condition| condition["type"] != kind);
    if conditions.is_empty()
        && let Some(status) = status.as_object_mut()
    {
        status.remove("conditions");
    }
}
