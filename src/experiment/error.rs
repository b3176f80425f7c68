//! What can go wrong with an experiment, as opposed to what it finds out.

use super::Place;
use crate::BoxError;
use crate::journal::{Journal, JournalError, Reason};
use crate::rollback::LedgerError;

/// An experiment that could not be run to its end, or not be undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// Something is wrong before anything was touched.
    #[error("{what} ({location}): {source}")]
    Invalid {
        /// The step or check.
        what: String,
        /// Where it stands in the source.
        location: String,
        /// What is wrong.
        source: BoxError,
    },
    /// The user lacks rights on the cluster.
    #[error("the user of this cluster may not {}; bind a Role that has them, as docs/rbac.yaml, or leave the faults out that need them", .lacking.join(", "))]
    LacksRights {
        /// The rights.
        lacking: Vec<String>,
    },
    /// Somebody else has a place by now: this run was not heard of for too long.
    #[error("{place} is not this run's any more, so that nothing more is injected there: {why}")]
    PlaceLost {
        /// The place.
        place: Place,
        /// How that is known.
        why: String,
    },
    /// A safeguard stopped the run; everything was undone.
    #[error("stopped: {by}")]
    Stopped {
        /// Which, since when, and what it saw.
        by: Reason,
    },
    /// A step or a check could not be carried out.
    #[error("{what} ({location}) failed: {source}")]
    Failed {
        /// The step or check.
        what: String,
        /// Where it stands in the source.
        location: String,
        /// Why.
        source: BoxError,
    },
    /// Something was not undone. This wins over every verdict.
    #[error("rollback failed, a fault may be left: {}\n{}", .journal.not_undone().join("; "), .journal.summary())]
    NotUndone {
        /// The journal of the run.
        journal: Box<Journal>,
    },
    /// Everything was undone, but its effect was still seen when the time for that was up.
    #[error(
        "everything is undone, but not back as it was: {}; it may only need longer, for which a scaling has `.ready_within(..)`\n{}",
        .journal.not_back().join("; "), .journal.summary()
    )]
    NotBack {
        /// The journal of the run.
        journal: Box<Journal>,
    },
    /// Everything was undone, but the hypothesis did not hold again, or nothing shows that it did.
    #[error(
        "the system was to recover: the hypothesis is {} after the rollback; if it needs longer, say `.recovery_within(..)`\n{}",
        .journal.recovered, .journal.summary()
    )]
    NotRecovered {
        /// The journal of the run.
        journal: Box<Journal>,
    },
    /// The system was to recover, and there was nothing to recover from: the hypothesis did not hold before the method, or a
    /// safeguard stopped the run there.
    #[error(
        "the system was to recover, but the method was not begun: {}; a hypothesis that needs longer to hold has `.baseline_within(..)`\n{}",
        .journal.reason.as_ref().map_or_else(|| "no reason is known".to_owned(), ToString::to_string), .journal.summary()
    )]
    NothingToRecover {
        /// The journal of the run.
        journal: Box<Journal>,
    },
    /// The ledger cannot be written, so nothing was injected.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The journal cannot be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cluster does not answer what the engine must know.
    #[error("failed to {doing} on {cluster}: {source}")]
    Cluster {
        /// What was asked.
        doing: &'static str,
        /// The cluster, in words.
        cluster: String,
        /// Why.
        source: BoxError,
    },
}
