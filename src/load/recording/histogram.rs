//! Durations counted: an HDR histogram of three digits, with its extremes and its sum exact.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Durations, to three significant digits of their nanoseconds. Its size follows the longest, not the number.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: hdrhistogram::Histogram<u64>,
    least: u64,
    most: u64,
    sum: u128,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = hdrhistogram::Histogram::new(3).expect("three digits are within its bounds");
        Self { counts, least: u64::MAX, most: 0, sum: 0 }
    }
}

impl Histogram {
    pub(in crate::load) fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX).min(LONGEST);
        // It grows to any value up to the bound.
        let _ = self.counts.record(nanos);
        self.least = self.least.min(nanos);
        self.most = self.most.max(nanos);
        self.sum += u128::from(nanos);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        // Both grow to any value, so that the addition cannot fail.
        let _ = self.counts.add(&other.counts);
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.sum += other.sum;
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// What a part of all, from 0 to 1, stay within, to three digits; 0 if there are none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.counts.value_at_quantile(quantile).min(self.most))
    }

    /// The shortest, exactly; 0 if there are none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(if self.count() == 0 { 0 } else { self.least })
    }

    /// The longest, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.most)
    }

    /// The mean, exactly; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count())).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// Each recorded value and its count, from the shortest.
    pub fn recorded(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.counts.iter_recorded().map(|step| (Duration::from_nanos(step.value_iterated_to()), step.count_at_value()))
    }
}

/// A longer one is counted as an hour and a half: memory stays bounded.
const LONGEST: u64 = 5_400_000_000_000;

/// The stored form: only what was recorded.
#[derive(Serialize, Deserialize)]
struct Stored {
    least: u64,
    most: u64,
    sum: u128,
    counts: Vec<(u64, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts =
            self.counts.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        Stored { least: self.least, most: self.most, sum: self.sum, counts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let mut histogram = Self { least: stored.least, most: stored.most, sum: stored.sum, ..Self::default() };
        for (value, count) in stored.counts {
            histogram.counts.record_n(value.min(LONGEST), count).map_err(serde::de::Error::custom)?;
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(Duration::from_nanos(*value)));
        histogram
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thousandth(mut values in proptest::collection::vec(0_u64..100_000_000_000, 1..300), q in 0.01..1.0_f64) {
            let seen = of(&values).quantile(q).as_nanos();
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
            let rank = ((q * values.len() as f64).ceil() as usize).max(1) - 1;
            let exact = u128::from(values[rank]);
            prop_assert!(seen >= exact && seen - exact <= exact / 1000 + 1, "{seen} for {exact}");
        }

        #[test]
        fn parts_add_up_to_the_whole_and_store_without_loss(values in proptest::collection::vec(0_u64..100_000_000_000, 0..300), at in 0_usize..300) {
            let (one, two) = values.split_at(at.min(values.len()));
            let mut merged = of(one);
            merged.merge(&of(two));
            prop_assert_eq!(&merged, &of(&values));
            let text = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), merged);
        }
    }

    #[test]
    fn none_is_nothing_and_the_longest_is_bounded() {
        let none = Histogram::default();
        assert_eq!(
            (none.count(), none.min(), none.max(), none.mean()),
            (0, Duration::ZERO, Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(none.quantile(0.5), Duration::ZERO);
        let mut far = none.clone();
        far.record(Duration::MAX);
        assert_eq!(far.max(), Duration::from_nanos(LONGEST));
    }
}
