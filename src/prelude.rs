//! What an experiment needs: `use steadfast::prelude::*;`.

pub use crate::clock::{millis, secs};
#[cfg(feature = "kubernetes")]
pub use crate::cluster::{Cluster, Namespace};
pub use crate::experiment::{
    Experiment, Fault, FaultGuard, Hypothesis, HypothesisStrategy, Probe, RollbackStrategy, Run, Safeguard, Scene,
};
pub use crate::http;
pub use crate::journal::Journal;
pub use crate::journal::Verdict::{self, Deviated, Inconclusive, Met, NotJudged};
#[cfg(feature = "load")]
pub use crate::load::{self, Schedule};
pub use crate::process;
pub use crate::tolerance::{
    Tolerance, all, any, at_least, at_most, between, contains, equals, json_path, matches, not, one_of, status,
};
