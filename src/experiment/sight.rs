//! Looking at a fault's effect, and writing down what was seen.

use std::time::Duration;

use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{Check, Scene, remarks};
use crate::journal::{EventKind, Sighting, SightingTime};
use crate::rollback::Undo;
use crate::tolerance::Outcome;

/// How long to wait between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a look found.
pub(super) struct Look {
    /// Whether the fault is on, if that can be told.
    pub(super) on: Option<bool>,
    /// In words.
    pub(super) saw: String,
    /// What was looked at; `None` where nobody can look.
    probed: Option<String>,
    /// What was found there, as data.
    seen: Value,
}

/// Whether the check is met, which it is while the fault is off, and what it saw. `blind` is what it may mean that it is
/// met although the fault is on.
pub(super) async fn look(recorder: &Recorder, check: &dyn Check, blind: Option<&str>) -> Look {
    let scene: Scene = recorder.scene(recorder.method_phase());
    let probed = check.describe();
    let (on, saw, seen) = match remarks::look(check, &scene).await {
        Ok((finding, _)) => {
            let on = match finding.judgement.outcome {
                Outcome::Met => Some(false),
                Outcome::NotMet => Some(true),
                Outcome::Inconclusive(_) | Outcome::NotApplicable => None,
            };
            (on, format!("{probed}: {}", finding.judgement.seen), finding.evidence)
        }
        Err(error) => (None, format!("{probed} failed: {error}"), json!({"error": error.to_string()})),
    };
    let saw = match (on, blind) {
        (Some(false), Some(blind)) => format!("{saw}; {blind}"),
        _ => saw,
    };
    Look { on, saw, probed: Some(probed), seen }
}

/// What the cluster says of the fault itself: its objects are as it made them, or not.
pub(super) fn read_back(undos: &[Undo], gone: Result<Option<String>, String>) -> Look {
    let objects: Vec<_> = undos.iter().map(|undo| undo.object().to_string()).collect();
    let probed = format!("{}, read back", objects.join(", "));
    let (on, found) = match gone {
        Ok(None) => (Some(true), "as it was made".to_owned()),
        Ok(Some(by)) => (Some(false), by),
        Err(why) => (None, why),
    };
    Look { on, saw: format!("{probed}: {found}"), seen: json!({"stands": on, "found": found}), probed: Some(probed) }
}

pub(super) fn record(recorder: &Recorder, number: usize, when: SightingTime, as_expected: bool, look: Look) {
    let at = recorder.clock.now();
    let saw = look.saw.clone();
    let fault = {
        let mut journal = recorder.journal();
        let record = &mut journal.faults[number];
        record.sightings.push(Sighting { when, at, as_expected, saw: look.saw, probed: look.probed, seen: look.seen });
        record.window.fault.clone()
    };
    recorder.event(EventKind::FaultSighted, &fault, &format!("{}{saw}", if as_expected { "" } else { "unexpected: " }));
}

/// Nobody could look, and why.
pub(super) fn unseen(recorder: &Recorder, number: usize, when: SightingTime, why: String) {
    record(recorder, number, when, false, Look { on: None, saw: why, probed: None, seen: Value::Null });
}
