//! A bounded part of the requests, for plots: which ones depends on their numbers alone.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::hit::Hit;
use crate::journal::mixed;

/// The most requests that a recording keeps; of more, an even part.
pub const KEPT: usize = 10_000;

/// The requests whose numbers are first when shuffled: the part of a union is the union's part.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample(BinaryHeap<Kept>);

/// Ordered by the shuffled number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Kept {
    place: u64,
    hit: Hit,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl Sample {
    pub(super) fn record(&mut self, hit: &Hit) {
        let place = mixed(hit.number);
        if self.0.len() < KEPT {
            self.0.push(Kept { place, hit: *hit });
        } else if let Some(mut last) = self.0.peek_mut()
            && place < last.place
        {
            *last = Kept { place, hit: *hit };
        }
    }

    /// The requests in the order of their numbers.
    pub(super) fn hits(self) -> Vec<Hit> {
        let mut hits: Vec<_> = self.0.into_iter().map(|kept| kept.hit).collect();
        hits.sort_by_key(|hit| hit.number);
        hits
    }

    pub(super) fn of(hits: &[Hit]) -> Self {
        let mut sample = Self::default();
        hits.iter().for_each(|hit| sample.record(hit));
        sample
    }
}
