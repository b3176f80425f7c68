//! What whoever stores the journal must know of a run, at any time.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::record::Records;
use super::settings::Dry;
use super::status::{End, Status};
use crate::clock::Timestamp;
use crate::document::controls::Living;
use crate::document::journal::{self, Form, Told};
use crate::document::redact::Redactor;
use crate::document::secrets::Secrets;
use crate::journal::{Ended, Evaluation, Journal, JournalError, Reason, write_atomically};

/// How far a run is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) status: Option<Status>,
    /// Why it halted.
    pub(super) why: Option<String>,
    pub(super) deviated: bool,
    pub(super) gate_missed: bool,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    pub(super) during: Vec<Value>,
    /// The looks that the engine has judged while the method was played.
    pub(super) watched: Vec<Evaluation>,
    /// Activities of the method and the hypothesis that were not done, since somebody said dry.
    pub(super) skipped: Vec<String>,
    /// Activities that should have injected a fault and did not.
    pub(super) faults_failed: Vec<Reason>,
    /// Actions of the method that do not show that they did what they were to do.
    pub(super) unproved: Vec<Reason>,
    /// Rollbacks of the document that failed.
    pub(super) rollbacks_failed: Vec<String>,
    /// What the safeguards saw; null without any.
    pub(super) safeguards: Value,
    /// A control asks for an end at once, without the document's rollbacks.
    pub(super) no_rollbacks: bool,
    /// The journal as controls were given it, and what they made of it.
    changed: Option<(Value, Value)>,
    pub(super) end: Option<(End, Timestamp)>,
}

/// The part of a run that outlives its conductor.
pub(super) struct Shared {
    living: Arc<Living>,
    dry: Option<Dry>,
    started: Timestamp,
    veil: Veil,
    pub(super) method: Records,
    pub(super) rollbacks: Records,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(living: Arc<Living>, dry: Option<Dry>, started: Timestamp, veil: Veil) -> Self {
        let (method, rollbacks, state) = (Records::default(), Records::default(), Mutex::default());
        Self { living, dry, started, veil, method, rollbacks, state }
    }

    /// Keeps these secrets too out of whatever is shown.
    pub(super) fn hide(&self, secrets: &Secrets) {
        self.veil.hide(secrets);
    }

    /// A text without secrets.
    pub(super) fn shown(&self, text: &str) -> String {
        self.veil.redactor().redact(text).into_owned()
    }

    /// The journal as it would be stored now.
    pub(super) fn told(&self, evidence: &Journal) -> Value {
        self.form(evidence).into_value()
    }

    /// Takes over what controls made of the journal. A run does not look better by that: only what is worse counts for
    /// how it ended.
    pub(super) fn changed(&self, journal: Value, mut changed: Value) {
        self.veil.redactor().redact_value(&mut changed);
        let mut state = self.state();
        state.deviated |= changed["deviated"] == json!(true);
        let worse = [Status::Failed, Status::Aborted, Status::Interrupted];
        if let Some(status) = worse.into_iter().find(|status| changed["status"] == status.name())
            && changed["status"] != journal["status"]
            && matches!(state.status, None | Some(Status::Completed))
        {
            state.status = Some(status);
        }
        state.changed = Some((journal, changed));
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the journal in Chaos Toolkit's form, whole or not at all, with ours under a key of its own.
    pub(super) fn store(&self, evidence: &mut Journal, path: &Path) -> Result<(), JournalError> {
        let mut text = serde_json::to_string_pretty(&self.form(evidence)).unwrap_or_default();
        text.push('\n');
        write_atomically(path, text.as_bytes())?;
        evidence.stored_at(path);
        // Others are told of one that has ended as it is.
        if evidence.ended != Ended::Running {
            *evidence = journal::veiled(evidence, &self.veil.redactor());
        }
        Ok(())
    }

    fn form(&self, evidence: &Journal) -> Form {
        let document = self.living.document();
        let state = self.state();
        let end = state.end;
        let told = Told {
            document,
            dry: self.dry,
            started: self.started,
            status: end.map_or(Status::Interrupted, |(end, _)| end.journal_status()),
            deviated: state.deviated,
            before: state.before.as_ref(),
            after: state.after.as_ref(),
            during: &state.during,
            run: self.method.to_json(),
            rollbacks: self.rollbacks.to_json(),
            ended: end.map_or(evidence.finished, |(_, at)| at),
            exit: end.map(|(end, _)| end.code()),
            safeguards: &state.safeguards,
            evidence,
        };
        let form = journal::form(told, &self.veil.redactor());
        match &state.changed {
            Some((before, after)) => form.changed(before, after),
            None => form,
        }
    }
}

/// What keeps secrets out of whatever is shown, and is told to others when there are new ones.
pub(crate) struct Veil {
    /// All secrets that there ever were.
    known: Mutex<(Secrets, Arc<Redactor>)>,
    /// What is hidden beside the secrets.
    others: Vec<String>,
    told: Box<dyn Fn(Arc<Redactor>) + Send + Sync>,
}

impl Veil {
    pub(super) fn new(
        secrets: Secrets,
        redact: Arc<Redactor>,
        others: Vec<String>,
        told: Box<dyn Fn(Arc<Redactor>) + Send + Sync>,
    ) -> Self {
        Self { known: Mutex::new((secrets, redact)), others, told }
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn hide(&self, secrets: &Secrets) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Secrets = secrets.iter().filter(|one| !known.0.contains(one)).cloned().collect();
        if new.is_empty() {
            return;
        }
        known.0.extend(new);
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        known.1 = Arc::new(Redactor::of(&known.0, &others));
        (self.told)(known.1.clone());
    }
}
