//! What a run is doing now, for whoever looks on. Nothing waits for it, and no verdict rests on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::experiment::{Faults, LoadNow, RunningLoads};
use crate::journal::FaultWindow;

/// The parts of a run, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Before,
    Method,
    After,
    Rollbacks,
    Undoing,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "hypothesis before the method",
            Self::Method => "method",
            Self::After => "hypothesis after the method",
            Self::Rollbacks => "rollbacks",
            Self::Undoing => "undoing what is on",
        }
    }
}

/// Something that is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doing {
    pub(crate) what: String,
    pub(crate) since: Timestamp,
    /// When it ends, where that is known.
    pub(crate) until: Option<Timestamp>,
}

/// The last look at a safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) at: Timestamp,
    pub(crate) held: bool,
}

/// What can be seen of a run at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// The part, and since when; `None` before the first and after the last.
    pub(crate) part: Option<(Part, Timestamp)>,
    pub(crate) doing: Vec<Doing>,
    /// Those whose change was sent and whose undo is not verified.
    pub(crate) faults: Vec<FaultWindow>,
    pub(crate) loads: Vec<LoadNow>,
    pub(crate) safeguards: BTreeMap<String, Looked>,
}

/// What a run tells as it goes. Clones tell and see the same.
#[derive(Clone, Default)]
pub(crate) struct Now(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    ended: bool,
    part: Option<(Part, Timestamp)>,
    doing: BTreeMap<u64, Doing>,
    begun: u64,
    safeguards: BTreeMap<String, Looked>,
    seen: Option<(Faults, RunningLoads)>,
}

impl Now {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where faults and loads can be seen from here on.
    pub(crate) fn sees(&self, faults: Faults, loads: RunningLoads) {
        self.inner().seen = Some((faults, loads));
    }

    pub(crate) fn enter(&self, part: Part, at: Timestamp) {
        self.inner().part = Some((part, at));
    }

    /// Nobody is to look on any more.
    pub(crate) fn end(&self) {
        self.inner().ended = true;
    }

    /// Something is being done until what is returned is dropped.
    pub(crate) fn doing(&self, what: String, since: Timestamp, until: Option<Timestamp>) -> Done {
        let mut inner = self.inner();
        inner.begun += 1;
        let number = inner.begun;
        inner.doing.insert(number, Doing { what, since, until });
        Done { now: self.clone(), number }
    }

    pub(crate) fn looked(&self, safeguard: &str, at: Timestamp, held: bool) {
        self.inner().safeguards.insert(safeguard.to_owned(), Looked { at, held });
    }

    /// Whether there is something to be seen.
    pub(crate) fn is_on(&self) -> bool {
        let inner = self.inner();
        inner.part.is_some() && !inner.ended
    }

    pub(crate) fn sight(&self) -> Sight {
        let inner = self.inner();
        let (Some(part), false) = (inner.part, inner.ended) else { return Sight::default() };
        let (faults, loads) = inner.seen.clone().unwrap_or_default();
        let doing = inner.doing.values().cloned().collect();
        let safeguards = inner.safeguards.clone();
        drop(inner);
        let mut faults = faults.windows().1;
        faults.retain(|fault| fault.undone.is_none());
        Sight { part: Some(part), doing, faults, loads: loads.now(), safeguards }
    }
}

/// Ends what was being done when it is dropped.
#[must_use = "what is being done ends when this is dropped: bind it"]
pub(crate) struct Done {
    now: Now,
    number: u64,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.now.inner().doing.remove(&self.number);
    }
}
