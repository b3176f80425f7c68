//! What a run tells to the systems that watch the system under test: traces over OTLP, annotations in Grafana.
//!
//! Called by what a run is on, a cluster or this machine alone. It promises that nothing of it changes a run: what cannot
//! be told is said on standard error, once; every wait is bounded; nothing is sent unless a variable of the environment
//! says where to; no credential is ever shown. docs/observability.md has the variables and what is told.

mod grafana;
#[cfg(feature = "otel")]
mod otel;

use crate::clock::{Seed, Timestamp};
use crate::journal::{FaultWindow, Journal, Trace};

/// The trace of a run that starts now; `place` tells apart what has the same seed and experiment, as tests have.
pub(crate) fn trace(seed: Seed, place: &str, run: &str, experiment: &str, now: Timestamp) -> Option<Trace> {
    #[cfg(feature = "otel")]
    return otel::trace(seed, run, &format!("trace of {run}, {experiment}, {place}, {}", now.as_nanosecond()));
    #[cfg(not(feature = "otel"))]
    {
        let _ = (seed, place, run, experiment, now);
        None
    }
}

/// The window of a fault of a run has changed, in real time.
pub(crate) fn fault_changed(run: &str, experiment: &str, number: usize, window: &FaultWindow) {
    grafana::fault_changed(run, experiment, number, window);
}

/// A run has ended. Blocks until that is told, at most for the time-outs that are set.
pub(crate) fn ended(journal: &Journal) {
    #[cfg(feature = "otel")]
    otel::export(journal);
    grafana::drain(&journal.run);
}
