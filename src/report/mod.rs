//! Reports: a stored run, told to people and to CI.
//!
//! A report reads a [`Journal`](crate::journal::Journal) and nothing else: no cluster, no clock, no network. Called by
//! tests, by the command and by CI's steps. It promises: equal bytes for equal journals; a sentence that never says
//! "met" without evidence and never hides what is left; whatever the system under test said is data, never markup.
#![cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "without clusters no run ends by itself"))]

mod assertions;
mod cases;
#[cfg(feature = "cli")]
mod chaostoolkit;
pub mod compare;
mod escape;
mod github;
#[cfg(feature = "report")]
mod html;
mod index;
mod junit;
#[cfg(feature = "cli")]
mod last;
#[cfg(feature = "report")]
mod listing;
mod markdown;
mod numbers;
mod publish;
#[cfg(feature = "cli")]
mod read;
mod sentence;
mod session;
mod settings;
mod summary;
mod text;

pub use numbers::{FaultTimes, LoadNumbers, Numbers, PartNumbers};
#[cfg(feature = "kubernetes")]
pub(crate) use publish::{began, ended};
pub use sentence::{Rollback, RollbackState};

/// What the command makes of journals.
#[cfg(feature = "cli")]
pub(crate) mod command {
    pub(crate) use super::github::annotations;
    pub(crate) use super::index::Index;
    pub(crate) use super::junit::file as junit;
    pub(crate) use super::last::Last;
    pub(crate) use super::markdown::reports as markdown;
    pub(crate) use super::read::{Told, read};
    pub(crate) use super::summary::Summary;
}

/// A run of lab4 with all that can be measured beside it, for tests.
#[cfg(test)]
pub(crate) fn sample() -> crate::journal::Journal {
    serde_json::from_str(include_str!("sample.json")).expect("it is a journal")
}
