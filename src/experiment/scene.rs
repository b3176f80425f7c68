//! Where and when a probe looks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Environment, Measured, Remarks, RunningLoads};
#[cfg(any(feature = "load", feature = "prometheus"))]
use crate::BoxError;
use crate::clock::{Clock, Timestamp};
use crate::journal::{FaultWindow, Trace, UNDER_FAULT, WATCHED};
use crate::transport::Transport;

/// The part of a run in which something is observed, with the instants that a window can be anchored to.
///
/// A check decides what it means in each phase: growth of a counter, for instance, runs from the method's
/// start in [`Fault`](Phase::Fault) and between two scrapes in [`Gate`](Phase::Gate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Before the method: does the hypothesis hold at all?
    Gate,
    /// A step of the method.
    Method {
        /// When the method started.
        method_started: Timestamp,
    },
    /// Again and again while the method runs.
    Watch {
        /// When the method started.
        method_started: Timestamp,
    },
    /// After the method, while the faults are on.
    Fault {
        /// When the method started.
        method_started: Timestamp,
        /// When its last step and its background load had ended.
        method_ended: Timestamp,
    },
    /// After the rollback.
    Recovery {
        /// When the last fault was undone.
        undone: Timestamp,
    },
    /// As a [`Safeguard`](super::Safeguard): is it safe to go on, now?
    Safeguard {
        /// When the method started, if it has.
        method_started: Option<Timestamp>,
    },
}

impl Phase {
    /// The phase in words, as in reports and the stable journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gate => "before the method",
            Self::Method { .. } => "in the method",
            Self::Watch { .. } => WATCHED,
            Self::Fault { .. } => UNDER_FAULT,
            Self::Recovery { .. } => "after the rollback",
            Self::Safeguard { .. } => "as a safeguard",
        }
    }

    /// This phase for a check that means nothing of its own as a safeguard: before the method it is then judged as at
    /// the gate, after that as the hypothesis is while the method runs.
    #[must_use]
    pub fn unguarded(self) -> Self {
        match self {
            Self::Safeguard { method_started: None } => Self::Gate,
            Self::Safeguard { method_started: Some(method_started) } => Self::Watch { method_started },
            other => other,
        }
    }
}

/// What surrounds a probe, an action or a load while it works.
#[derive(Clone)]
#[non_exhaustive]
pub struct Scene {
    /// The part of the run.
    pub phase: Phase,
    /// The clock of the run.
    pub clock: Clock,
    /// The way to the system under test.
    pub transport: Arc<dyn Transport>,
    /// The folder for outputs; relative paths are relative to it.
    pub outputs: PathBuf,
    /// The faults, each with the time it was on, as they come and go.
    pub faults: Faults,
    /// What sources of evidence say beside their answers.
    pub remarks: Remarks,
    /// What is measured for reports.
    #[cfg_attr(
        not(any(feature = "kubernetes", feature = "load")),
        expect(dead_code, reason = "what measures is left out")
    )]
    pub(crate) measured: Measured,
    /// The trace that the run is part of: what asks the system under test tells it so.
    pub trace: Option<Trace>,
    /// The loads that are running.
    pub loads: RunningLoads,
}

impl Scene {
    /// Refuses a check that can never be judged as a safeguard, when a plan is made with it as one.
    #[cfg(any(feature = "load", feature = "prometheus"))]
    pub(crate) fn no_safeguard(&self, why: &str) -> Result<(), BoxError> {
        match self.phase {
            Phase::Safeguard { .. } => Err(format!("it can be no safeguard: {why}").into()),
            _ => Ok(()),
        }
    }

    /// Before anything is touched.
    pub(super) fn before(environment: &dyn Environment) -> Self {
        Self {
            phase: Phase::Gate,
            clock: environment.clock(),
            transport: environment.transport(),
            outputs: environment.outputs(),
            faults: Faults::default(),
            remarks: Remarks::default(),
            measured: Measured::default(),
            trace: None,
            loads: RunningLoads::default(),
        }
    }
}

/// The faults of a run while it goes on: those whose change has been sent to the cluster. Clones see the same.
///
/// A stamp is taken while it is published: whoever looks later than an instant sees all faults that began or ended
/// up to it. A load knows so of each request, when it ends, in which phase it was intended.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Published>);

#[derive(Debug, Default)]
struct Published {
    /// Odd while something is being published.
    version: AtomicU64,
    /// By the fault's number in the journal.
    windows: Mutex<BTreeMap<usize, FaultWindow>>,
}

impl Faults {
    /// Faults that do not change.
    #[must_use]
    pub fn of(windows: Vec<FaultWindow>) -> Self {
        let windows = Mutex::new(windows.into_iter().enumerate().collect());
        Self(Arc::new(Published { version: AtomicU64::new(2), windows }))
    }

    /// Changes whenever the faults do. Cheap.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    /// The faults so far, in the order in which they were asked for, with the version that they are of.
    #[must_use]
    pub fn windows(&self) -> (u64, Vec<FaultWindow>) {
        let windows = self.0.windows.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), windows.values().cloned().collect())
    }

    /// The last fault to end, if no fault was on at any moment between two instants although some had been.
    pub(super) fn over(&self, from: Timestamp, to: Timestamp) -> Option<FaultWindow> {
        let (_, mut made) = self.windows();
        made.retain(|fault| fault.effective.is_some());
        if made.iter().any(|fault| fault.is_on_between(from, to)) {
            return None;
        }
        made.into_iter().max_by_key(|fault| fault.undo_requested)
    }

    /// Stamps and publishes a window in one.
    pub(super) fn publish(&self, number: usize, stamp: impl FnOnce() -> FaultWindow) {
        let mut windows = self.0.windows.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.version.fetch_add(1, Ordering::SeqCst);
        windows.insert(number, stamp());
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }
}
