//! Before, during and after each fault, by the instant at which a request was intended.

use std::time::Duration;

use super::{Recording, Stats};
use crate::journal::FaultWindow;

/// A part of the time, seen from one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhasePart {
    /// Until its change was sent to the cluster.
    Before,
    /// From then until its undo was verified.
    During,
    /// From then on.
    After,
}

impl PhasePart {
    /// All, in the order of time.
    pub const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];

    /// `before`, `during`, `after`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// A load before, during and after one fault.
#[derive(Clone, Debug)]
pub struct FaultPhases {
    /// The fault, as it describes itself.
    pub fault: String,
    /// The sums of the requests intended in each part.
    pub before: Stats,
    /// While it was on.
    pub during: Stats,
    /// After it was known to be gone.
    pub after: Stats,
}

impl Recording {
    /// The load before, during and after each fault.
    #[must_use]
    pub fn phases(&self) -> Vec<FaultPhases> {
        let phases = self.faults.iter().map(|fault| {
            let of = |part| self.sum(|at| self.part(fault, at) == part);
            FaultPhases {
                fault: fault.fault.clone(),
                before: of(PhasePart::Before),
                during: of(PhasePart::During),
                after: of(PhasePart::After),
            }
        });
        phases.collect()
    }

    /// Where an instant of the load lies, seen from a fault.
    pub(super) fn part(&self, fault: &FaultWindow, at: Duration) -> PhasePart {
        let passed = |stamp| self.offset(stamp) <= at;
        if !passed(fault.requested) {
            PhasePart::Before
        } else if fault.undone.is_some_and(passed) {
            PhasePart::After
        } else {
            PhasePart::During
        }
    }

    /// Where an instant lies, seen from all times that a fault was on; `None` between two of them.
    pub(super) fn part_of_all(&self, fault: &str, at: Duration) -> Option<PhasePart> {
        let parts = || self.faults.iter().filter(|window| window.fault == fault).map(|window| self.part(window, at));
        if parts().any(|part| part == PhasePart::During) {
            return Some(PhasePart::During);
        }
        [PhasePart::Before, PhasePart::After].into_iter().find(|only| parts().all(|part| part == *only))
    }

    /// A wall stamp as time from the load's start; 0 for earlier ones.
    #[must_use]
    pub fn offset(&self, stamp: crate::clock::Timestamp) -> Duration {
        Duration::try_from(stamp.duration_since(self.started)).unwrap_or_default()
    }
}
