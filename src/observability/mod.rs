//! What a run tells to the systems that watch the system under test: traces over OTLP, annotations in Grafana.
//!
//! Called by the cluster that a run is on. It promises that nothing of it changes a run: what cannot be told is said on
//! standard error, once; every wait is bounded; nothing is sent unless a variable of the environment says where to; no
//! credential is ever shown. docs/observability.md has the variables and what is told.

#[cfg(feature = "otel")]
mod otel;

use crate::clock::{Seed, Timestamp};
use crate::journal::{Journal, Trace};

/// The trace of a run that starts now; `place` tells apart what has the same seed and experiment, as tests have.
pub(crate) fn trace(seed: Seed, place: &str, run: &str, experiment: &str, now: Timestamp) -> Option<Trace> {
    #[cfg(feature = "otel")]
    return otel::trace(seed, &format!("trace of {run}, {experiment}, {place}, {}", now.as_nanosecond()));
    #[cfg(not(feature = "otel"))]
    {
        let _ = (seed, place, run, experiment, now);
        None
    }
}

/// A run has ended. Blocks until that is told, at most for the time-outs that are set.
pub(crate) fn ended(journal: &Journal) {
    #[cfg(feature = "otel")]
    otel::export(journal);
    let _ = journal;
}
