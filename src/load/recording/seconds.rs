//! A load over time: one row a second, as long as there are few enough.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hit::{Hit, Outcome};
use super::stats;
use crate::load::recording::pairs;

/// The most rows; beyond, two become one.
const MOST: usize = 3600;

/// What was intended in each stretch of time of equal length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// The length of a row: 1 s, doubled for each hour and its doubles.
    pub width: Duration,
    /// The rows from the load's start on, empty ones too.
    pub rows: Vec<Row>,
}

/// The requests intended in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How many ended in each way.
    #[serde(with = "pairs")]
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The slowest of all.
    pub slowest: Option<Hit>,
    latency: Sketch,
}

/// Durations to about 3 %: (bucket, count), ordered. A second has few different ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sketch(Vec<(u16, u32)>);

impl Default for Rows {
    fn default() -> Self {
        Self { width: Duration::from_secs(1), rows: Vec::new() }
    }
}

impl Rows {
    pub(super) fn record(&mut self, hit: &Hit) {
        let place = self.place(hit.intended);
        if self.rows.len() <= place {
            self.rows.resize_with(place + 1, Row::default);
        }
        self.rows[place].record(hit);
    }

    /// The row of an instant, once the rows are wide enough.
    fn place(&mut self, at: Duration) -> usize {
        loop {
            let place = at.as_nanos() / self.width.as_nanos().max(1);
            match usize::try_from(place) {
                Ok(place) if place < MOST => return place,
                _ => self.widen(),
            }
        }
    }

    /// At most so many rows, each as long as needed for that.
    pub(in crate::load) fn at_most(&self, most: usize) -> Self {
        let mut wide = self.clone();
        while wide.rows.len() > most.max(1) {
            wide.widen();
        }
        wide
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        let mut wide = Vec::with_capacity(self.rows.len() / 2 + 1);
        for pair in self.rows.chunks(2) {
            let mut row = pair[0].clone();
            pair[1..].iter().for_each(|next| row.merge(next));
            wide.push(row);
        }
        self.rows = wide;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        if self.rows.len() < other.rows.len() {
            self.rows.resize_with(other.rows.len(), Row::default);
        }
        self.rows.iter_mut().zip(&other.rows).for_each(|(row, more)| row.merge(more));
    }
}

impl Row {
    fn record(&mut self, hit: &Hit) {
        *self.outcomes.entry(hit.outcome).or_default() += 1;
        self.latency.add(bucket(hit.latency()), 1);
        self.slower(hit);
    }

    fn merge(&mut self, other: &Self) {
        stats::add(&mut self.outcomes, &other.outcomes);
        other.latency.0.iter().for_each(|(bucket, count)| self.latency.add(*bucket, *count));
        if let Some(hit) = &other.slowest {
            self.slower(hit);
        }
    }

    /// Of equally slow ones the first, so that the order of recording does not matter.
    fn slower(&mut self, hit: &Hit) {
        let key = |hit: &Hit| (hit.latency(), std::cmp::Reverse(hit.number));
        if self.slowest.as_ref().is_none_or(|slowest| key(slowest) < key(hit)) {
            self.slowest = Some(*hit);
        }
    }

    /// How many requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        stats::all(&self.outcomes)
    }

    /// How many had good answers.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        stats::good(&self.outcomes)
    }

    /// The latency that a part of all, from 0 to 1, stay within, to about 3 %; 0 if there are none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies between 0 and the count"
    )]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((quantile * self.requests() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.latency.0.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        });
        let longest = self.slowest.map_or(Duration::ZERO, |hit| hit.latency());
        found.map_or(longest, |(bucket, _)| Duration::from_nanos(longest_in(*bucket)).min(longest))
    }
}

impl Sketch {
    fn add(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(count),
            Err(place) => self.0.insert(place, (bucket, count)),
        }
    }
}

/// Nanoseconds in 32 buckets for each doubling.
fn bucket(value: Duration) -> u16 {
    let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
    if nanos < 32 {
        return u16::try_from(nanos).unwrap_or(0);
    }
    let doublings = 63 - nanos.leading_zeros() - 5;
    u16::try_from(u64::from(doublings) * 32 + (nanos >> doublings)).unwrap_or(u16::MAX)
}

/// The longest duration of a bucket, in nanoseconds.
fn longest_in(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 32 {
        return bucket;
    }
    let doublings = bucket / 32 - 1;
    let first = (bucket - doublings * 32).checked_shl(u32::try_from(doublings).unwrap_or(63)).unwrap_or(u64::MAX);
    first.saturating_add((1 << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lie_beside_each_other() {
        for nanos in (0..5000).chain([1_000_000, 999_999_999, 30_000_000_000, u64::MAX / 3]) {
            let here = bucket(Duration::from_nanos(nanos));
            let longest = longest_in(here);
            assert!(nanos <= longest && (longest - nanos) * 32 <= nanos.max(32), "{nanos} {here} {longest}");
            assert_eq!(bucket(Duration::from_nanos(longest)), here);
            assert_eq!(bucket(Duration::from_nanos(longest + 1)), here + 1);
        }
    }

    #[test]
    fn a_long_load_has_wider_rows_and_loses_nothing() {
        let hit = |second: u64| Hit {
            number: second,
            intended: Duration::from_secs(second),
            sent: Duration::from_secs(second),
            first_byte: Duration::from_secs(second),
            done: Duration::from_secs(second) + Duration::from_millis(second % 7),
            outcome: Outcome::Status(200),
            bytes: 0,
            bytes_out: 0,
        };
        let mut rows = Rows::default();
        (0..20_000).for_each(|second| rows.record(&hit(second)));
        assert_eq!((rows.width, rows.rows.len()), (Duration::from_secs(8), 2500));
        assert!(rows.rows.iter().all(|row| row.requests() == 8 && row.quantile(1.0) >= Duration::from_millis(5)));
        let mut late = Rows::default();
        (10..20_000).rev().for_each(|second| late.record(&hit(second)));
        let mut early = Rows::default();
        (0..10).for_each(|second| early.record(&hit(second)));
        early.merge(&late);
        assert_eq!(early, rows);
    }
}
