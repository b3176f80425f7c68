//! What happened, with the evidence.
//!
//! A [`Journal`] is written by the engine while an experiment runs, stored as JSON on every path, and read by
//! people, reports and tests. It promises: no verdict without its evidence; a `version` from the first day, so
//! that stored journals stay readable; a [stable form](Journal::stable) without any measured quantity, equal on
//! the lab and on a real cluster.

mod event;
mod record;
mod stable;
mod store;
mod summary;
mod telemetry;
pub(crate) mod text;
mod trace;
mod verdict;
mod window;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{Seed, Time, Timestamp};

pub use event::{Event, EventKind};
pub use record::{
    Breach, CheckRecord, Ended, Evaluation, FaultEnd, FaultRecord, FinallyRecord, MOST_LOOKS, SafeguardLook,
    SafeguardRecord, Sighting, SightingTime, StepRecord, StepStatus, UndoRecord,
};
pub(crate) use record::{UNDER_FAULT, WATCHED};
pub use store::{JournalError, write_atomically};
pub(crate) use summary::capital;
#[cfg(feature = "kubernetes")]
pub(crate) use summary::enumerated;
pub use telemetry::{
    Bound, ClusterEvent, LoadOutcome, LoadRow, LoadSeries, LogExcerpt, LogLine, MOST_SAMPLES, MOST_SERIES,
    MetricSeries, Telemetry,
};
#[cfg(feature = "load")]
pub(crate) use trace::mixed;
pub use trace::{BAGGAGE, SpanId, Spans, TRACEPARENT, Trace};
pub use verdict::{Reason, Verdict};
pub use window::FaultWindow;

/// The version of the journal format that this crate writes.
pub const JOURNAL_VERSION: u32 = 1;

/// Who made a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// An experiment in Rust.
    #[default]
    Steadfast,
    /// `steadfast run`, of a Chaos Toolkit document.
    Document,
    /// Chaos Toolkit itself, whose journal this was made of. Nobody has looked at its faults, so there is none in it, and
    /// it knows of no run's name and no seed.
    ChaosToolkit,
}

impl Source {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_usual(&self) -> bool {
        *self == Self::Steadfast
    }
}

/// The record of one run of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[must_use = "a journal that nobody reads gates nothing: call `journal.assert_verdict(..)`"]
pub struct Journal {
    /// The version of this format.
    pub version: u32,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Source::is_usual")]
    pub source: Source,
    /// The experiment's title.
    pub experiment: String,
    /// The test that ran it, as its folder is called, with what tells its journal from others there: `it.lab4.front`,
    /// `it.lab4.front/journal-2`. `None` for a document, and in a journal of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The hypothesis' title, if there is one.
    pub hypothesis: Option<String>,
    /// The run's name, as on everything that it created.
    pub run: String,
    /// What its random choices derive from.
    pub seed: Seed,
    /// The cluster, in words.
    pub cluster: String,
    /// The command with which a person sweeps what this run may leave there, as a shell takes it. Absent where everything
    /// goes with the process, and in a journal of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<String>,
    /// The kubeconfig that its context is from, where that is not the one that kubectl takes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Virtual or real time.
    pub time: Time,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub ended: Ended,
    /// What was found about the hypothesis while the faults were on.
    pub verdict: Verdict,
    /// Why, where the verdict is inconclusive.
    pub reason: Option<Reason>,
    /// Whether the hypothesis held again after the rollback; never changes the verdict. See [`Journal::assert_recovered`].
    pub recovered: Verdict,
    /// Each time the hypothesis was judged. Attempts of a gate that was given time are one evaluation, the last.
    pub evaluations: Vec<Evaluation>,
    /// The steps of the method, with background activities in the place where they were started.
    pub steps: Vec<StepRecord>,
    /// The faults, in the order of their injection.
    pub faults: Vec<FaultRecord>,
    /// The safeguards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safeguards: Vec<SafeguardRecord>,
    /// What `finally` did.
    pub finally: Vec<FinallyRecord>,
    /// Everything in its order.
    pub events: Vec<Event>,
    /// What was measured beside it, for reports.
    #[serde(default, skip_serializing_if = "Telemetry::is_empty")]
    pub telemetry: Telemetry,
    /// The trace that it is part of, where it is told to a tracing system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Where it was stored.
    #[serde(skip)]
    pub(crate) path: Option<PathBuf>,
}

impl Journal {
    /// A journal of a run in which nothing has happened yet.
    pub(crate) fn begun(experiment: &str, cluster: String, time: Time, started: Timestamp) -> Self {
        Self {
            version: JOURNAL_VERSION,
            source: Source::Steadfast,
            experiment: experiment.to_owned(),
            test: None,
            hypothesis: None,
            run: String::new(),
            seed: Seed(0),
            cluster,
            sweep: None,
            kubeconfig: None,
            time,
            started,
            finished: started,
            ended: Ended::Running,
            verdict: Verdict::NotJudged,
            reason: None,
            recovered: Verdict::NotJudged,
            evaluations: Vec::new(),
            steps: Vec::new(),
            faults: Vec::new(),
            safeguards: Vec::new(),
            finally: Vec::new(),
            events: Vec::new(),
            telemetry: Telemetry::default(),
            trace: None,
            path: None,
        }
    }

    /// When the method began, and when its last step had ended or it was cut short; the latter `None` where nothing says so.
    #[cfg(any(feature = "otel", feature = "report"))]
    pub(crate) fn method_window(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        use EventKind::{Interrupted, MethodEnded, MethodStarted, SafeguardBroken};
        let mut events = self.events.iter().skip_while(|event| event.kind != MethodStarted);
        let from = events.next()?.at;
        let end = events.find(|event| matches!(event.kind, MethodEnded | Interrupted | SafeguardBroken));
        Some((from, end.map(|end| end.at)))
    }

    /// The file that holds this journal, if it was stored.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The undos and `finally` steps that did not end clean, in words; empty in a green test.
    #[must_use]
    pub fn not_undone(&self) -> Vec<String> {
        let undos = self.faults.iter().flat_map(|fault| &fault.undo);
        let undos = undos.filter(|u| !u.outcome.is_clean()).map(|u| format!("{}: {}", u.undo, u.outcome));
        let steps = self.finally.iter().filter_map(|f| f.error.as_ref().map(|e| format!("{}: {e}", f.name)));
        let on = self.faults.iter().filter(|fault| self.ended != Ended::Running && fault.end == FaultEnd::None);
        let on = on.map(|fault| format!("{}: still on when the run ended", fault.window.fault));
        undos.chain(steps).chain(on).collect()
    }

    /// The faults that were made and are undone, in words.
    #[cfg(feature = "cli")]
    pub(crate) fn undone(&self) -> Vec<String> {
        let undone = self.faults.iter().filter(|fault| !fault.undo.is_empty() && fault.end != FaultEnd::Left);
        undone.filter(|fault| fault.is_undone()).map(|fault| fault.window.fault.clone()).collect()
    }

    /// The faults that were undone, but whose witness still saw their effect when its time was up, in words.
    #[must_use]
    pub fn not_back(&self) -> Vec<String> {
        let faults = self.faults.iter().filter_map(|fault| Some((fault, fault.lingers()?)));
        faults.map(|(fault, last)| format!("{}: {}", fault.window.fault, last.saw)).collect()
    }
}

/// Says on standard error what has no other way to the user.
pub(crate) fn complain(what: &(impl std::fmt::Display + ?Sized)) {
    eprintln!("steadfast: {}", text::printed_lines(&what.to_string()));
}
