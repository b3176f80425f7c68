//! The loads that are running, for whoever looks on while a run goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// A load that is running, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadNow {
    /// Its name.
    pub load: String,
    /// When it started.
    pub started: Timestamp,
    /// For how long it sends requests.
    pub lasting: Duration,
    /// How many requests have ended.
    pub ended: u64,
    /// How many of them without a good answer.
    pub failed: u64,
}

/// Reads how many requests have ended so far, and how many of them without a good answer.
pub type Counted = Box<dyn Fn() -> (u64, u64) + Send + Sync>;

/// The loads of a run that are running. Clones see the same.
#[derive(Clone, Default)]
pub struct RunningLoads(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    begun: u64,
    loads: BTreeMap<u64, (LoadNow, Counted)>,
}

impl RunningLoads {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A load runs until what is returned is dropped. `counted` is asked whenever somebody looks, so it should be cheap.
    pub fn begin(&self, load: String, started: Timestamp, lasting: Duration, counted: Counted) -> RunningLoad {
        let mut running = self.running();
        running.begun += 1;
        let number = running.begun;
        let now = LoadNow { load, started, lasting, ended: 0, failed: 0 };
        running.loads.insert(number, (now, counted));
        RunningLoad { loads: self.clone(), number }
    }

    /// Those that are running, in the order of their start.
    #[must_use]
    pub fn now(&self) -> Vec<LoadNow> {
        let running = self.running();
        let now = running.loads.values().map(|(load, counted)| {
            let (ended, failed) = counted();
            LoadNow { ended, failed, ..load.clone() }
        });
        now.collect()
    }
}

impl fmt::Debug for RunningLoads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.now()).finish()
    }
}

/// A load that runs as long as this lives.
#[must_use = "the load counts as ended when this is dropped: bind it"]
pub struct RunningLoad {
    loads: RunningLoads,
    number: u64,
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.loads.running().loads.remove(&self.number);
    }
}
