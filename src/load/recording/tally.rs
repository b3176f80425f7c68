//! What a load has counted so far, to be read while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::experiment::Counted;

/// The counts of one thread, which alone writes them. On a cache line of its own: who reads must not slow down who
/// writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(in crate::load) struct Tally {
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    /// Counts one request. Only ever called by one thread at a time, so that no addition has to be atomic.
    pub(super) fn count(&self, success: bool) {
        let add = |counter: &AtomicU64| counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        add(&self.ended);
        if !success {
            add(&self.failed);
        }
    }
}

/// Those of all threads of a load.
#[derive(Clone, Debug, Default)]
pub(in crate::load) struct Tallies(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Tallies {
    /// One more, for a thread that is about to begin.
    pub(in crate::load) fn another(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(tally.clone());
        tally
    }

    /// Their sums, whenever they are read.
    pub(in crate::load) fn counted(&self) -> Counted {
        let tallies = self.0.clone();
        Box::new(move || {
            let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
            let read = |counter: fn(&Tally) -> &AtomicU64| -> u64 {
                tallies.iter().map(|tally| counter(tally).load(Ordering::Relaxed)).sum()
            };
            (read(|tally| &tally.ended), read(|tally| &tally.failed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_all_threads_are_read_while_they_count() {
        let tallies = Tallies::default();
        let counted = tallies.counted();
        let (one, two) = (tallies.another(), tallies.another());
        one.count(true);
        two.count(false);
        assert_eq!(counted(), (2, 1));
        two.count(true);
        assert_eq!(counted(), (3, 1));
    }
}
