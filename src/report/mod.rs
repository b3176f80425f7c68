//! Reports: a stored run, told to people and to CI.
//!
//! A report is made of a [`Journal`](crate::journal::Journal) and of nothing else: no cluster, no clock, no network, no
//! variable. Called by tests, by the command and by what publishes it. It promises: equal bytes for equal journals; a sentence that never says
//! "met" without evidence and never hides what is left; whatever the system under test said is data, never markup.

mod cases;
#[cfg(feature = "cli")]
mod chaostoolkit;
pub mod compare;
pub(crate) mod escape;
mod headline;
#[cfg(feature = "report")]
mod html;
pub(crate) mod junit;
pub(crate) mod markdown;
mod numbers;
#[cfg(feature = "cli")]
mod read;
mod sentence;
mod summary;

use crate::journal::text;

pub use headline::Headline;
pub use numbers::{FaultTimes, LoadNumbers, Numbers, PartNumbers};
#[cfg(feature = "cli")]
pub(crate) use read::{Told, read};
pub use sentence::{Rollback, RollbackState};
pub(crate) use summary::{CaseResult, Counts, SCHEMA_VERSION, Summary, to_json};
pub(crate) use text::line;

/// A run of lab4 with all that can be measured beside it, for tests.
#[cfg(test)]
pub(crate) fn sample() -> crate::journal::Journal {
    serde_json::from_str(include_str!("sample.json")).expect("it is a journal")
}
