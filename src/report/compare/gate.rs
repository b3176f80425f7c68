//! Whether a comparison lets a new run pass.

use std::str::FromStr;

use super::{Comparison, Figure, Meaning, Row};

/// By how much a figure may become worse, as a share of what it was: 0.1 is a tenth. By default by nothing.
///
/// `"10%,success=0.5%".parse()` is the same as `Limits::all(0.1).of_kind(Kind::Success, 0.005)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    all: f64,
    own: Vec<(Kind, f64)>,
}

/// A kind of figure, as limits name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Latencies of all percentiles.
    Latency,
    /// Success ratios.
    Success,
    /// Throughput.
    Throughput,
    /// The time to recover.
    Recovery,
    /// Growths and ratios of checks.
    Growth,
    /// Medians of gauges.
    Gauge,
}

impl Kind {
    /// All, by their words.
    pub(crate) const WORDS: [(&'static str, Self); 6] = [
        ("latency", Self::Latency),
        ("success", Self::Success),
        ("throughput", Self::Throughput),
        ("recovery", Self::Recovery),
        ("growth", Self::Growth),
        ("gauge", Self::Gauge),
    ];

    fn of(figure: Figure) -> Option<Self> {
        match figure {
            Figure::P50 | Figure::P95 | Figure::P99 => Some(Self::Latency),
            Figure::Success => Some(Self::Success),
            Figure::Throughput => Some(Self::Throughput),
            Figure::RecoveryTime => Some(Self::Recovery),
            Figure::Growth | Figure::Ratio => Some(Self::Growth),
            Figure::Gauge => Some(Self::Gauge),
            // Words have no share: any that is worse counts.
            Figure::Verdict | Figure::Recovered | Figure::Rollback | Figure::Check | Figure::Load => None,
        }
    }
}

/// A limit that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no limit; give a percentage such as 10%, for one kind as latency=20%, several with commas; kinds are latency, success, throughput, recovery, growth, gauge"
)]
pub struct BadLimit(String);

impl FromStr for Limits {
    type Err = BadLimit;

    /// `10%`, `10%,success=0.5%`: what has no limit of its own has the first one's, or 0.
    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let bad = || BadLimit(text.to_owned());
        let mut limits = Self::default();
        for word in text.split(',').map(str::trim) {
            let (kind, percent) = match word.split_once('=') {
                None => (None, word),
                Some((kind, percent)) => {
                    let known = Kind::WORDS.iter().find(|(name, _)| *name == kind.trim());
                    (Some(known.ok_or_else(bad)?.1), percent.trim())
                }
            };
            let number = percent.strip_suffix('%').ok_or_else(bad)?.trim_end();
            let share: f64 = number.parse::<f64>().map_err(|_| bad())? / 100.0;
            if !share.is_finite() || share < 0.0 {
                return Err(bad());
            }
            match kind {
                None => limits.all = share,
                Some(kind) => limits.own.push((kind, share)),
            }
        }
        Ok(limits)
    }
}

impl Limits {
    /// One for all figures, a share of at least 0; what is no such share lets nothing become worse.
    #[must_use]
    pub fn all(share: f64) -> Self {
        Self { all: limit(share), own: Vec::new() }
    }

    /// Another one for a kind of figure.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind, share: f64) -> Self {
        self.own.push((kind, limit(share)));
        self
    }

    fn of(&self, figure: Figure) -> f64 {
        let own = Kind::of(figure).and_then(|kind| self.own.iter().rfind(|(known, _)| *known == kind));
        own.map_or(self.all, |(_, share)| *share)
    }
}

fn limit(share: f64) -> f64 {
    if share.is_finite() { share.max(0.0) } else { 0.0 }
}

/// What a gate makes of a comparison.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is worse by more than its limit and its noise.
    NoRegression,
    /// Something is.
    Regression,
    /// Nothing is known to be, and something that has to be known is not.
    Undecided,
}

impl Comparison {
    /// What is worse by more than its limit.
    #[must_use]
    pub fn regressions(&self, limits: &Limits) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.is_regression(limits)).collect()
    }

    /// What keeps a gate from being decided.
    #[must_use]
    pub fn undecided(&self) -> Vec<&Row> {
        let decides = |row: &&Row| matches!(row.meaning, Meaning::Unknown { decides: true, .. });
        self.rows.iter().filter(decides).collect()
    }

    /// Whether the new run may pass.
    #[must_use]
    pub fn decision(&self, limits: &Limits) -> Decision {
        if !self.regressions(limits).is_empty() {
            Decision::Regression
        } else if !self.undecided().is_empty() {
            Decision::Undecided
        } else {
            Decision::NoRegression
        }
    }
}

impl Row {
    /// Whether it is worse, by more than its noise and its limit. From 0 any change is more than any share.
    #[must_use]
    pub fn is_regression(&self, limits: &Limits) -> bool {
        self.meaning == Meaning::Worse && self.change.is_none_or(|change| change.abs() > limits.of(self.figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_percentages_of_all_or_of_one_kind() {
        let limits: Limits = "10%, success=0.5%".parse().unwrap();
        assert_eq!((limits.of(Figure::P99), limits.of(Figure::Success)), (0.1, 0.005));
        assert_eq!(limits, Limits::all(0.1).of_kind(Kind::Success, 0.005));
        assert_eq!(Limits::all(f64::NAN), Limits::default());
        let own: Limits = "latency=20%".parse().unwrap();
        assert_eq!((own.of(Figure::P50), own.of(Figure::Growth)), (0.2, 0.0));
        for bad in ["", "10", "-1%", "x%", "inf%", "NaN%", "tail=1%", "latency=", "10%,"] {
            let why = bad.parse::<Limits>().unwrap_err().to_string();
            assert!(why.contains("such as 10%") && why.contains(&format!("{bad:?}")), "{bad}: {why}");
        }
    }
}
