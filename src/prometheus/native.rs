//! Native histograms, as the server writes them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// One native histogram: how many observations, and its buckets in the order of their bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Native {
    pub(super) count: f64,
    pub(super) buckets: Vec<Bucket>,
}

/// The observations between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether the lower bound itself is not in it.
    pub(super) open: bool,
    pub(super) count: f64,
}

/// The part of a count by which the sum of its buckets, all of them fractions, may miss it.
const SUMMED: f64 = 1e-6;

impl Native {
    /// The bucket that a quantile lies in; `None` where the buckets do not hold all that was counted.
    pub(super) fn bucket(&self, quantile: f64) -> Option<Bucket> {
        let all: f64 = self.buckets.iter().map(|bucket| bucket.count).sum();
        if (all - self.count).abs() > self.count * SUMMED {
            return None;
        }
        let rank = quantile * self.count;
        let mut counted = 0.0;
        let bucket = self.buckets.iter().find(|bucket| {
            counted += bucket.count;
            counted >= rank && bucket.count > 0.0
        });
        // Sums of fractions may miss the last by a hair.
        bucket.or(self.buckets.iter().rfind(|bucket| bucket.count > 0.0)).copied()
    }
}

/// The answer to an instant query whose value is one native histogram; `None` where it has no value.
pub(super) struct Answered(pub(super) Option<Native>);

impl<'de> Deserialize<'de> for Answered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Data {
            result: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            histogram: Option<(f64, Written)>,
        }
        #[derive(Deserialize)]
        struct Written {
            count: String,
            #[serde(default)]
            buckets: Vec<(u8, String, String, String)>,
        }
        let Data { result } = Data::deserialize(deserializer)?;
        let Some(one) = result.into_iter().next() else { return Ok(Self(None)) };
        let (_, written) = one.histogram.ok_or_else(|| D::Error::custom("the series is no native histogram"))?;
        let number = |text: &str, what: &dyn fmt::Display| match text.parse::<f64>() {
            Ok(number) if !number.is_nan() => Ok(number),
            _ => Err(D::Error::custom(format!("{what} of a native histogram is {text:?}"))),
        };
        let mut buckets = Vec::new();
        for (boundaries, low, high, count) in &written.buckets {
            let bucket = Bucket {
                low: number(low, &"a bound")?,
                high: number(high, &"a bound")?,
                count: number(count, &"a count")?,
                // 0 is open to the left, 1 to the right, 2 on both sides, 3 on none.
                open: matches!(boundaries, 0 | 2),
            };
            if bucket.low > bucket.high || bucket.count < 0.0 {
                return Err(D::Error::custom(format!(
                    "a bucket from {low} to {high} of a native histogram has {count}"
                )));
            }
            buckets.push(bucket);
        }
        buckets.sort_by(|a, b| a.high.total_cmp(&b.high));
        Ok(Self(Some(Native { count: number(&written.count, &"the count")?, buckets })))
    }
}
