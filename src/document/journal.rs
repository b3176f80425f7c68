//! The journal in the form that Chaos Toolkit's own tools read, with the evidence of this crate under `x-steadfast`.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::controls::merge;
use super::redact::Redactor;
use super::run::record::instant;
use super::run::settings::Dry;
use super::run::status::Status;
use crate::clock::Timestamp;
use crate::journal::{
    Ended, Event, EventKind, FaultEnd, FaultRecord, FaultWindow, FinallyRecord, Journal, Sighting, Trace, UndoRecord,
};
use crate::rollback::UndoOutcome;

/// The version of chaostoolkit-lib whose journals these equal: readers choose their templates by it.
const LIB_VERSION: &str = "1.44.0";

/// What a journal tells.
pub(super) struct Told<'a> {
    pub(super) document: Value,
    pub(super) dry: Option<Dry>,
    pub(super) started: Timestamp,
    pub(super) status: Status,
    pub(super) deviated: bool,
    pub(super) before: Option<&'a Value>,
    pub(super) after: Option<&'a Value>,
    pub(super) during: &'a [Value],
    pub(super) run: Value,
    pub(super) rollbacks: Value,
    pub(super) ended: Timestamp,
    /// The exit code, once it is known.
    pub(super) exit: Option<u8>,
    /// What the safeguards saw; null without any.
    pub(super) safeguards: &'a Value,
    pub(super) evidence: &'a Journal,
}

/// A journal, with the keys in the original's order.
pub(super) struct Form(Vec<(String, Value)>);

/// Where the evidence of this crate is.
const OURS: &str = "x-steadfast";

impl Form {
    /// With what controls made of it. What it came to is not theirs to say, nor what it rests on.
    pub(super) fn changed(mut self, before: &Value, after: &Value) -> Self {
        let Some(all) = after.as_object() else { return self };
        for (key, after) in all {
            match self.0.iter_mut().find(|(own, _)| own == key) {
                Some(_) if ["status", "deviated", OURS].contains(&key.as_str()) => {}
                Some((_, now)) => merge(&before[key], after, now),
                None => self.0.push((key.clone(), after.clone())),
            }
        }
        self
    }

    pub(super) fn into_value(self) -> Value {
        self.0.into_iter().collect::<serde_json::Map<_, _>>().into()
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

pub(super) fn form(told: Told<'_>, redact: &Redactor) -> Form {
    let mut experiment = told.document;
    if let Some(experiment) = experiment.as_object_mut() {
        experiment.insert("dry".into(), json!(told.dry.map(Dry::name)));
    }
    let system = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    redact.redact_document(&mut experiment);
    let shown = |mut value: Value| {
        redact.redact_value(&mut value);
        value
    };
    let mut ours = json!({"version": 1, "exit": told.exit, "journal": veiled(told.evidence, redact)});
    if !told.safeguards.is_null() {
        ours["safeguards"] = shown(told.safeguards.clone());
    }
    let platform = format!("{}-{}-{}", word(system.sysname()), word(system.release()), word(system.machine()));
    let fields = [
        ("chaoslib-version", json!(LIB_VERSION)),
        ("platform", json!(platform)),
        ("node", json!(word(system.nodename()))),
        ("experiment", experiment),
        ("start", json!(instant(told.started))),
        ("status", json!(told.status.name())),
        ("deviated", json!(told.deviated)),
        ("steady_states", shown(json!({"before": told.before, "after": told.after, "during": told.during}))),
        ("run", shown(told.run)),
        ("rollbacks", shown(told.rollbacks)),
        ("end", json!(instant(told.ended))),
        ("duration", json!(told.ended.duration_since(told.started).as_secs_f64())),
        (OURS, ours),
    ];
    Form(fields.map(|(key, value)| (key.to_owned(), value)).into())
}

/// The evidence without secrets.
pub(super) fn veiled(evidence: &Journal, redact: &Redactor) -> Journal {
    let veiled = serde_json::to_value(evidence).and_then(|mut value| {
        redact.redact_value(&mut value);
        serde_json::from_value(value)
    });
    let path = evidence.path.clone();
    // A word of ours is a secret: better little than half of it.
    Journal { path, ..veiled.unwrap_or_else(|_| bare(evidence, redact)) }
}

/// Why there is so little in a journal.
const BARE: &str =
    "hidden, as a secret of the document is a word or a number of the journal itself; a longer one is not";

/// Of the evidence the times, what came out, and what became of the faults, with few texts, each without secrets.
fn bare(evidence: &Journal, redact: &Redactor) -> Journal {
    let text = |text: &str| redact.redact(text).into_owned();
    let hidden = || BARE.to_owned();
    let outcome = |outcome: &UndoOutcome| match outcome {
        UndoOutcome::Reverted => UndoOutcome::Reverted,
        UndoOutcome::TargetGone { .. } => UndoOutcome::TargetGone { proof: hidden() },
        UndoOutcome::Unverified { .. } => UndoOutcome::Unverified { why: hidden() },
        UndoOutcome::Leaked { .. } => UndoOutcome::Leaked { why: hidden() },
    };
    let undo =
        |undo: &UndoRecord| UndoRecord { undo: text(&undo.undo), outcome: outcome(&undo.outcome), values: Vec::new() };
    let sighting = |look: &Sighting| Sighting {
        saw: hidden(),
        probed: look.probed.as_ref().map(|_| hidden()),
        seen: Value::Null,
        ..*look
    };
    let fault = |fault: &FaultRecord| FaultRecord {
        window: FaultWindow { fault: text(&fault.window.fault), ..fault.window },
        targets: Vec::new(),
        trusted: fault.trusted.as_ref().map(|_| hidden()),
        remedy: String::new(),
        sightings: fault.sightings.iter().map(sighting).collect(),
        end: match &fault.end {
            FaultEnd::Early { .. } => FaultEnd::Early { by: hidden() },
            end => end.clone(),
        },
        undo: fault.undo.iter().map(undo).collect(),
        ..*fault
    };
    let finally = |step: &FinallyRecord| FinallyRecord {
        name: text(&step.name),
        error: step.error.as_ref().map(|_| hidden()),
        ..*step
    };
    let (at, kind) = (evidence.finished, EventKind::RunEnded);
    let told = Event { at, kind, subject: "the rest of this journal".to_owned(), detail: hidden() };
    let started = evidence.started;
    Journal {
        source: evidence.source,
        run: text(&evidence.run),
        seed: evidence.seed,
        sweep: evidence.sweep.as_deref().map(text),
        kubeconfig: evidence.kubeconfig.as_ref().map(|file| text(&file.to_string_lossy()).into()),
        finished: evidence.finished,
        ended: match &evidence.ended {
            Ended::Failed { .. } => Ended::Failed { error: hidden() },
            Ended::Panicked { .. } => Ended::Panicked { message: hidden() },
            Ended::Interrupted { signal } => Ended::Interrupted { signal: text(signal) },
            Ended::Stopped { .. } => Ended::Stopped { by: hidden() },
            ended => ended.clone(),
        },
        verdict: evidence.verdict,
        recovered: evidence.recovered,
        faults: evidence.faults.iter().map(fault).collect(),
        finally: evidence.finally.iter().map(finally).collect(),
        events: vec![told],
        trace: evidence.trace.clone().map(|trace| Trace { baggage: text(&trace.baggage), ..trace }),
        ..Journal::begun(&text(&evidence.experiment), text(&evidence.cluster), evidence.time, started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Reason;
    use crate::rollback::Field;

    fn hiding(secret: &str) -> Redactor {
        let of = [("word".to_owned(), json!(secret))].into_iter().collect();
        Redactor::of(&vec![("till".to_owned(), of)], &[])
    }

    /// A run that left something, with a secret in many a place.
    fn leaking(secret: &str) -> Journal {
        let mut journal = crate::report::sample();
        journal.reason = Some(Reason::EndedBefore { why: secret.to_owned() });
        journal.ended = Ended::Failed { error: format!("no {secret}") };
        let fault = &mut journal.faults[0];
        fault.targets = vec![secret.to_owned()];
        fault.sightings[0].saw = secret.to_owned();
        fault.sightings[0].seen = json!({"answer": secret});
        fault.undo[0].outcome = UndoOutcome::Leaked { why: secret.to_owned() };
        let (set, was) = (Some(json!("wrong")), Some(json!(secret)));
        fault.undo[0].values = vec![Field { pointer: "/data/a".into(), set, was }];
        journal
    }

    #[test]
    fn a_journal_whose_own_words_are_secret_tells_little_and_of_no_secret() {
        let secret = "completed";
        let mut journal = leaking("brass-lantern");
        journal.experiment = "with brass-lantern".into();
        let of = [("a", "brass-lantern"), ("b", secret), ("c", "leaked")];
        let of = of.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
        let told = veiled(&journal, &Redactor::of(&vec![("till".to_owned(), of)], &[]));
        let text = told.to_json();
        assert!(!text.contains("brass-lantern"), "{text}");
        assert_eq!(serde_json::from_str::<Journal>(&text).expect("it is read again"), told);
        assert_eq!((told.started, told.finished, told.verdict), (journal.started, journal.finished, journal.verdict));
        assert_eq!(told.not_undone().len(), journal.not_undone().len(), "what is left is not forgotten");
        assert!(told.evaluations.is_empty() && told.steps.is_empty() && told.telemetry.is_empty());
        assert!(told.events[0].to_string().contains("hidden, as a secret"), "{text}");
    }

    #[test]
    fn a_year_that_is_a_secret_leaves_a_journal_that_is_read() {
        let journal = leaking("brass-lantern");
        let year = journal.started.to_string()[..4].to_owned();
        let told = veiled(&journal, &hiding(&year));
        assert_eq!((told.started, told.evaluations.len()), (journal.started, journal.evaluations.len()));
        assert!(!told.steps.is_empty());
    }

    #[test]
    fn an_old_value_that_is_a_secret_is_not_put_back_as_its_mark() {
        let mut journal = leaking("plum-blossom/17");
        journal.cluster = "context \"kind-it\" (https://127.0.0.1:6443)".into();
        journal.faults[0].undo[0].undo = "restore /data/a of configmap shop/c".into();
        assert!(journal.rollback().remedies[0].contains("plum-blossom"), "{:?}", journal.rollback());
        let told = veiled(&journal, &hiding("plum-blossom/17"));
        assert_eq!(told.rollback().remedies[0], "kubectl edit configmap c -n shop --context kind-it");
    }

    #[test]
    fn controls_add_to_a_journal_and_do_not_say_what_it_came_to() {
        let fields = [("status", json!("failed")), ("run", json!([{"name": "a"}])), (OURS, json!({"exit": 3}))];
        let form = || Form(fields.clone().map(|(key, value)| (key.to_owned(), value)).into());
        let before = form().into_value();
        let mut after = before.clone();
        after["status"] = json!("completed");
        after["run"][0]["seen"] = json!(true);
        after[OURS] = json!({"exit": 0});
        after["extra"] = json!(1);
        let expected = json!({
            "status": "failed", "run": [{"name": "a", "seen": true}], "x-steadfast": {"exit": 3}, "extra": 1,
        });
        assert_eq!(form().changed(&before, &after).into_value(), expected);
    }
}
