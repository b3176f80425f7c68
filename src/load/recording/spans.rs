//! The time of a load, cut where faults began and ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hit::Hit;
use super::stats::Stats;

/// The requests intended from one instant up to the next span's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its begin, from the load's start.
    pub from: Duration,
    /// The first and the last instant at which a request of it was intended.
    pub seen: Option<(Duration, Duration)>,
    /// Its requests.
    pub stats: Stats,
}

impl Span {
    pub(super) fn starting(from: Duration) -> Self {
        Self { from, ..Self::default() }
    }

    pub(super) fn record(&mut self, hit: &Hit) {
        self.stats.record(hit);
        self.see(hit.intended, hit.intended);
    }

    fn see(&mut self, first: Duration, last: Duration) {
        self.seen = Some(match self.seen {
            Some((from, to)) => (from.min(first), to.max(last)),
            None => (first, last),
        });
    }
}

/// Cuts at an instant.
fn cut(spans: &mut Vec<Span>, at: Duration) -> Result<(), String> {
    let Some(place) = spans.iter().rposition(|span| span.from <= at) else { return Ok(()) };
    if spans[place].from == at {
        return Ok(());
    }
    match spans[place].seen {
        Some((first, last)) if first < at && last >= at => {
            Err(format!("one of them does not know the fault's begin or end {at:?} after the start"))
        }
        Some((first, _)) if first >= at => {
            let from = spans[place].from;
            spans[place].from = at;
            spans.insert(place, Span::starting(from));
            Ok(())
        }
        _ => {
            spans.insert(place + 1, Span::starting(at));
            Ok(())
        }
    }
}

/// Adds spans of another share; what only one of them knows is cut in the other too, if nothing lies across.
pub(super) fn merge(spans: &mut Vec<Span>, others: &[Span]) -> Result<(), String> {
    let (mut ours, mut theirs) = (spans.clone(), others.to_vec());
    for other in others {
        cut(&mut ours, other.from)?;
    }
    for span in spans.iter() {
        cut(&mut theirs, span.from)?;
    }
    for (ours, theirs) in ours.iter_mut().zip(&theirs) {
        ours.stats.merge(&theirs.stats);
        if let Some((first, last)) = theirs.seen {
            ours.see(first, last);
        }
    }
    *spans = ours;
    Ok(())
}
