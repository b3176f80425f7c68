//! Whether a workload has what it should have.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Answer, Failed};
use super::objects::{name_of, told};
use super::{Call, Of, Stage};

/// How often a workload is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a workload is waited for unless the call says it.
const WITHIN: u64 = 30;

/// How many replicas a workload has of those that it should have, as its controller has last seen it.
pub(super) struct Counts {
    pub(super) wanted: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    /// Those of the newest template, where that is counted.
    updated: Option<i64>,
    /// Whether its controller has seen it as it is now.
    seen: bool,
}

impl Counts {
    /// Of a Deployment, a StatefulSet or a DaemonSet; what is not counted is none.
    pub(super) fn of(found: &Value) -> Self {
        let (spec, status) = (&found["spec"], &found["status"]);
        let many = |key: &str| status[key].as_i64().unwrap_or(0);
        let seen = many("observedGeneration") >= found["metadata"]["generation"].as_i64().unwrap_or(0);
        match found["kind"].as_str() {
            Some("DaemonSet") => Self {
                wanted: many("desiredNumberScheduled"),
                ready: many("numberReady"),
                available: many("numberAvailable"),
                updated: None,
                seen,
            },
            kind => Self {
                wanted: spec["replicas"].as_i64().unwrap_or(1),
                ready: many("readyReplicas"),
                available: many("availableReplicas"),
                updated: (kind == Some("Deployment")).then(|| many("updatedReplicas")),
                seen,
            },
        }
    }

    /// At least one is ready, as its controller says of it as it is now.
    pub(super) fn has_ready(&self) -> bool {
        self.seen && self.ready >= 1
    }

    /// At least one is available, likewise.
    pub(super) fn has_available(&self) -> bool {
        self.seen && self.available >= 1
    }

    /// All that it should have are available. None of none is all.
    pub(super) fn is_available(&self) -> bool {
        self.seen && self.available == self.wanted
    }

    /// All that it should have are ready, and new.
    pub(super) fn is_full(&self) -> bool {
        self.seen && self.ready == self.wanted && self.updated.is_none_or(|updated| updated == self.wanted)
    }

    /// In words.
    pub(super) fn told(&self) -> String {
        let seen = if self.seen { "" } else { ", and its controller has not seen its last change" };
        format!("{} of {} are ready, {} available{seen}", self.ready, self.wanted, self.available)
    }
}

/// False where the call says so, an error otherwise.
pub(super) fn unless(raise: bool, why: String) -> Answer {
    if raise { Err(Failed(why)) } else { Ok(json!(false)) }
}

/// Waits until the workloads that a call selects are full, or until one is not: at most as long as it says, in all.
///
/// What is not there is never full; it is not waited for.
pub(super) async fn wait(call: &Call<'_>, stage: &Stage<'_>, of: Of, full: bool, raise: bool) -> Answer {
    let namespace = call.namespace()?;
    let (within, clock) = (call.seconds("timeout", WITHIN)?, &stage.scene.clock);
    let deadline = clock.elapsed() + within;
    loop {
        let found = stage.matching(call, of, &namespace).await?;
        if found.is_empty() {
            let why = format!("no {} in namespace {namespace} matches {}", of.1.to_lowercase(), told(call));
            return if full { unless(raise, why) } else { Ok(json!(true)) };
        }
        let is_full = found.iter().all(|found| Counts::of(found).is_full());
        if is_full == full {
            return Ok(json!(true));
        }
        if clock.elapsed() >= deadline {
            let each = found.iter().map(|found| format!("{}: {}", name_of(found), Counts::of(found).told()));
            let each: Vec<_> = each.collect();
            let what = if full { "not fully available" } else { "still fully available" };
            return unless(raise, format!("{what} after {within:?}: {}", each.join("; ")));
        }
        clock.sleep(LOOK_EVERY.min(deadline - clock.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_controller_has_not_seen_is_not_so() {
        let of = |kind: &str, spec: Value, status: Value| {
            let found = json!({"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status});
            let counts = Counts::of(&found);
            (counts.is_available(), counts.is_full())
        };
        let stale = |kind: &str, seen: u64| {
            let status =
                json!({"observedGeneration": seen, "availableReplicas": 2, "readyReplicas": 2, "numberReady": 2});
            let found = json!({"kind": kind, "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
            let counts = Counts::of(&found);
            (counts.has_available(), counts.has_ready())
        };
        assert_eq!((stale("Deployment", 2).0, stale("DaemonSet", 2).1), (true, true));
        assert_eq!((stale("Deployment", 1).0, stale("DaemonSet", 1).1), (false, false), "of what it was before");
        let full = |seen: u64, updated: u64| json!({"observedGeneration": seen, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": updated});
        assert_eq!(of("Deployment", json!({"replicas": 2}), full(2, 2)), (true, true));
        assert_eq!(of("Deployment", json!({"replicas": 2}), full(1, 2)), (false, false));
        assert_eq!(of("Deployment", json!({"replicas": 2}), full(2, 1)), (true, false), "old ones are left");
        assert_eq!(of("StatefulSet", json!({"replicas": 2}), full(2, 1)), (true, true));
        assert_eq!(of("Deployment", json!({"replicas": 0}), json!({"observedGeneration": 2})), (true, true));
        assert_eq!(of("Deployment", json!({}), json!({"observedGeneration": 2})), (false, false), "one is wanted");
        let on_nodes = json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "numberReady": 2});
        assert_eq!(of("DaemonSet", json!({}), on_nodes), (false, false));
    }
}
