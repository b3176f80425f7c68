//! How exact a number of one run is, by what the run itself shows.

use serde::Serialize;

use super::{Figure, Meaning, Row, Shown};

/// Within so many standard errors 95 of 100 samples lie.
const Z: f64 = 1.96;

/// The fewest stretches of time whose spread says something.
pub(super) const STRETCHES: usize = 4;

/// The fewest requests beyond a percentile: 10 for the median, 100 for the 95th, 500 for the 99th.
pub(super) const BEYOND: f64 = 5.0;

/// A number, and between which bounds it may lie as far as its run shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// The number.
    pub value: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most that it may be.
    pub high: f64,
    /// How many requests or events it was made of, where it is made of such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// In which direction a number is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worse {
    Greater,
    Less,
    /// Nobody said.
    Unsaid,
}

impl Reading {
    pub(super) fn exact(value: f64) -> Self {
        Self { value, low: value, high: value, of: None }
    }

    /// May lie so far off, on either side.
    pub(super) fn within(self, off: f64) -> Self {
        self.reaching(self.value - off, self.value + off)
    }

    /// May reach to there too.
    pub(super) fn reaching(self, low: f64, high: f64) -> Self {
        // `min` and `max` pass over what is no number.
        Self { low: self.low.min(low), high: self.high.max(high), ..self }
    }

    /// As far as the middle half of its stretches reaches from their median.
    pub(super) fn spread(self, mut stretches: Vec<f64>) -> Self {
        stretches.retain(|value| value.is_finite());
        stretches.sort_unstable_by(f64::total_cmp);
        if stretches.len() < STRETCHES {
            return self;
        }
        let [first, median, third] = [0.25, 0.5, 0.75].map(|part| quantile(&stretches, part));
        self.reaching(self.value - (median - first), self.value + (third - median))
    }

    fn is_number(self) -> bool {
        self.value.is_finite() && self.low.is_finite() && self.high.is_finite()
    }
}

/// The middle one of so many, of which four at least are needed.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    (sorted.len() >= STRETCHES).then(|| quantile(&sorted, 0.5))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank lies between 0 and the count"
)]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

/// A percentile of so many requests, by what chance leaves open: the ranks that 95 of 100 samples of this size have it
/// between. `known` is (part, value) of the percentiles that were kept, ascending; between two of them a line is drawn.
pub(super) fn percentile(part: f64, requests: u64, known: &[(f64, f64)]) -> Option<Reading> {
    let value = known.iter().find(|(known, _)| (known - part).abs() < 1e-9)?.1;
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    let off = Z * (part * (1.0 - part) / requests.max(1) as f64).sqrt();
    let at = |wanted: f64| {
        let (below, above) = (known.iter().rfind(|(p, _)| *p <= wanted), known.iter().find(|(p, _)| *p >= wanted));
        match (below, above) {
            (Some((p, low)), Some((q, high))) if q > p => Some(low + (high - low) * (wanted - p) / (q - p)),
            (Some((_, only)), Some(_)) => Some(*only),
            _ => None,
        }
    };
    let high = at((part + off).min(1.0)).unwrap_or(value);
    // Below the least that was kept nothing is known: it is taken to reach as far down as up.
    let low = at(part - off).unwrap_or(value - (high - value)).max(0.0);
    Some(Reading { of: Some(requests), ..Reading::exact(value).reaching(low, high) })
}

/// A share of so many, by Wilson's interval.
pub(super) fn share(good: f64, all: f64) -> Reading {
    let (share, z2) = (good / all, Z * Z);
    let centre = (share + z2 / (2.0 * all)) / (1.0 + z2 / all);
    let off = Z / (1.0 + z2 / all) * (share * (1.0 - share) / all + z2 / (4.0 * all * all)).sqrt();
    Reading::exact(share).reaching((centre - off).max(0.0), (centre + off).min(1.0))
}

/// A count of events that come by chance, by the score interval of Poisson's distribution.
pub(super) fn count(events: f64) -> Reading {
    let off = Z * (events + Z * Z / 4.0).max(0.0).sqrt();
    let centre = events + Z * Z / 2.0;
    Reading::exact(events).reaching((centre - off).max(0.0), centre + off)
}

/// Compares two readings of one figure.
pub(super) fn row(figure: Figure, subject: &str, old: Reading, new: Reading, worse: Worse) -> Row {
    let shown = (Some(Shown::Number(old)), Some(Shown::Number(new)));
    let difference = new.value - old.value;
    let (up, down) = ((old.high - old.value) + (new.value - new.low), (old.value - old.low) + (new.high - new.value));
    let noise = match difference {
        up_to if up_to > 0.0 => up,
        down_to if down_to < 0.0 => down,
        _ => up.max(down),
    };
    if !old.is_number() || !new.is_number() || !(difference + noise).is_finite() {
        let which = if old.is_number() { "new" } else { "old" };
        return Row::unknown(figure, subject, shown, format!("what the {which} run shows is not a number"));
    }
    let change = (old.value != 0.0).then(|| difference / old.value.abs()).filter(|change| change.is_finite());
    let meaning = match worse {
        _ if difference == 0.0 => Meaning::Same,
        _ if difference.abs() <= noise => Meaning::WithinNoise,
        Worse::Unsaid => Meaning::Changed,
        Worse::Greater if difference > 0.0 => Meaning::Worse,
        Worse::Less if difference < 0.0 => Meaning::Worse,
        Worse::Greater | Worse::Less => Meaning::Better,
    };
    let change = if difference == 0.0 { Some(0.0) } else { change };
    Row { figure, subject: subject.to_owned(), old: shown.0, new: shown.1, change, noise: Some(noise), meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(reading: Reading) -> [f64; 2] {
        [reading.low, reading.high].map(|bound| (bound * 1000.0).round() / 1000.0)
    }

    #[test]
    fn intervals_are_those_of_the_books() {
        // Wilson's for 9 of 10, and for all of 50; Poisson's for none and for 100.
        assert_eq!(bounds(share(9.0, 10.0)), [0.596, 0.982]);
        assert_eq!(bounds(share(50.0, 50.0)), [0.929, 1.0]);
        assert_eq!(bounds(count(0.0)), [0.0, 3.842]);
        assert_eq!(bounds(count(100.0)), [82.227, 121.615]);
    }

    #[test]
    fn a_percentile_reaches_as_far_as_its_ranks() {
        let known = [(0.5, 10.0), (0.95, 100.0), (0.99, 140.0), (1.0, 240.0)];
        // 1000 requests: ranks 0.9838 to 0.9962.
        assert_eq!(bounds(percentile(0.99, 1000, &known).unwrap()), [133.833, 201.67]);
        // 100 requests: 0.402 to 0.598, of which the lower part is not kept.
        assert_eq!(bounds(percentile(0.5, 100, &known).unwrap()), [0.0, 29.6]);
        assert_eq!(percentile(0.9, 100, &known), None);
    }

    #[test]
    fn the_middle_half_of_the_stretches_is_the_spread_and_an_outlier_is_none() {
        let reading = Reading::exact(10.0);
        assert_eq!(bounds(reading.spread(vec![9.0, 10.0, 11.0, 12.0, 1e9])), [9.0, 11.0]);
        assert_eq!(bounds(reading.spread(vec![1.0, 99.0, f64::NAN])), [10.0, 10.0], "three are too few");
    }
}
