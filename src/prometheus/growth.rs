//! Exact growth of counters, on raw samples.

use serde::Serialize;

use super::decode::{Labels, Sample, Series};
use super::value::Number;
use crate::journal::Reason;
use crate::tolerance::AsNumber;

/// A window in seconds since 1970 on the server's clock, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// What was read for one judgement.
pub(super) struct Samples {
    /// The counter's series.
    pub(super) counter: Vec<Series>,
    /// The target's `up`; `None` if no target is known.
    pub(super) up: Option<Vec<Series>>,
}

/// By how much a counter grew, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// All series together.
    pub total: Number,
    /// The length of the window, in seconds.
    pub seconds: f64,
    /// Each series.
    pub series: Vec<SeriesGrowth>,
}

/// The growth of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesGrowth {
    /// Its labels.
    pub labels: Labels,
    /// Its growth.
    pub delta: Number,
    /// How many samples were used, the one before the window included.
    pub samples: usize,
    /// Whether it appeared in the window; its first value is growth then.
    pub born: bool,
    /// How often it began again.
    pub resets: usize,
}

impl AsNumber for Growth {
    fn number(&self) -> f64 {
        self.total.0
    }

    fn shown(&self) -> String {
        format!("a growth of {}", self.total.0)
    }

    fn above(&self) -> &'static str {
        "grew"
    }
}

/// The growth of all series in the window. `interval` is the time between two scrapes.
pub(super) fn growth(
    query: &str,
    samples: &Samples,
    window: Window,
    when_absent: Option<f64>,
    interval: f64,
) -> Result<Growth, Reason> {
    let what = query.to_owned();
    let no_data = |why: &str| Reason::NoData { what: what.clone(), why: why.to_owned() };
    // Times of the API have milliseconds; floating point would show more.
    let seconds = ((window.to - window.from) * 1000.0).round() / 1000.0;
    let within = |series: &Series| -> Vec<Sample> {
        series.samples.iter().filter(|(at, _)| *at <= window.to).copied().collect()
    };
    let live: Vec<(&Series, Vec<Sample>)> = samples
        .counter
        .iter()
        .map(|series| (series, within(series)))
        .filter(|(_, samples)| !samples.is_empty())
        // What ended long before the window has nothing to say about it.
        .filter(|(_, samples)| samples.last().is_some_and(|(at, _)| *at >= window.from - 2.0 * interval))
        .collect();
    if live.is_empty() {
        let absent = |total: f64| Growth { total: Number(total), seconds, series: Vec::new() };
        return match (&samples.up, when_absent) {
            (Some(up), _) if scraped_before_and_after(up, window) => Ok(absent(0.0)),
            (Some(_), _) => Err(no_data("the series is absent, and its target was not up before and after the window")),
            (None, Some(growth)) => Ok(absent(growth)),
            (None, None) => Err(no_data(
                "the series is absent, and without a label `job` no target can be asked; name the job, or say `.or_when_absent(0.0)`",
            )),
        };
    }
    let mut series = Vec::new();
    for (one, samples_of_one) in live {
        let first_scrape = samples.up.as_ref().and_then(|up| first_scrape(up, &one.labels));
        series.push(of_series(&one.labels, &samples_of_one, window, first_scrape, &what)?);
    }
    let total = series.iter().map(|one| one.delta.0).sum();
    Ok(Growth { total: Number(total), seconds, series })
}

fn of_series(
    labels: &Labels,
    samples: &[Sample],
    window: Window,
    first_scrape: Option<f64>,
    what: &str,
) -> Result<SeriesGrowth, Reason> {
    let start = samples.partition_point(|(at, _)| *at <= window.from);
    let used = &samples[start.saturating_sub(1)..];
    if used.iter().any(|(_, value)| value.is_nan()) {
        return Err(Reason::NotANumber { what: format!("{what}, a sample in the window") });
    }
    let born = start == 0;
    let (first_at, first) = used[0];
    let mut delta = 0.0;
    if born {
        if first_scrape.is_none_or(|scraped| scraped >= first_at) {
            let why = "the series begins in the window, and its target was not scraped before: what it counted until then is not known";
            return Err(Reason::NoData { what: what.to_owned(), why: why.to_owned() });
        }
        delta = first;
    }
    let mut resets = 0;
    for pair in used.windows(2) {
        let (before, now) = (pair[0].1, pair[1].1);
        if now < before {
            resets += 1;
            delta += now;
        } else {
            delta += now - before;
        }
    }
    if delta.is_nan() {
        return Err(Reason::NotANumber { what: format!("{what}, an infinite counter") });
    }
    Ok(SeriesGrowth { labels: labels.clone(), delta: Number(delta), samples: used.len(), born, resets })
}

fn scraped_before_and_after(up: &[Series], window: Window) -> bool {
    let is_up = |(_, value): &&Sample| *value == 1.0;
    !up.is_empty()
        && up.iter().any(|series| series.samples.iter().any(|s| is_up(&s) && s.0 <= window.from))
        && up.iter().any(|series| series.samples.iter().any(|s| is_up(&s) && s.0 >= window.to))
        // A scrape that failed in between may have missed the birth and the end of a series.
        && up.iter().all(|series| series.samples.iter().filter(|s| (window.from..=window.to).contains(&s.0)).all(|s| is_up(&s)))
}

/// When the target of a series was first scraped, as far as was read.
fn first_scrape(up: &[Series], labels: &Labels) -> Option<f64> {
    let same = |series: &&Series| {
        ["job", "instance", "namespace"].iter().all(|label| {
            let of = |labels: &Labels| labels.get(*label).cloned().unwrap_or_default();
            of(&series.labels) == of(labels)
        })
    };
    let scraped = up.iter().filter(same).flat_map(|series| &series.samples).filter(|(_, value)| *value == 1.0);
    scraped.map(|(at, _)| *at).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { from: 10.0, to: 20.0 };

    fn series(samples: &[(f64, f64)]) -> Series {
        let labels = Labels::from([("job".to_owned(), "front".to_owned()), ("instance".to_owned(), "a".to_owned())]);
        Series { labels, samples: samples.to_vec() }
    }

    fn up() -> Option<Vec<Series>> {
        Some(vec![series(&(0..=12).map(|n| (f64::from(n) * 2.0, 1.0)).collect::<Vec<_>>())])
    }

    fn grown(samples: &[&[(f64, f64)]]) -> Result<Growth, Reason> {
        let counter = samples.iter().map(|samples| series(samples)).collect();
        growth("x", &Samples { counter, up: up() }, WINDOW, None, 2.0)
    }

    fn total(samples: &[&[(f64, f64)]]) -> f64 {
        grown(samples).unwrap().total.0
    }

    #[test]
    fn growth_is_exact() {
        assert_eq!(total(&[&[(9.0, 4.0), (12.0, 4.0), (20.0, 4.0)]]), 0.0, "flat");
        assert_eq!(total(&[&[(10.0, 4.0), (12.0, 9.0), (20.0, 11.0)]]), 7.0, "rising, the window's start included");
        assert_eq!(total(&[&[(8.0, 9.0), (12.0, 0.0), (20.0, 0.0)]]), 0.0, "a reset alone is no growth");
        assert_eq!(total(&[&[(8.0, 9.0), (12.0, 3.0), (20.0, 5.0)]]), 5.0, "a reset and a rise");
        assert_eq!(total(&[&[(8.0, 1.0), (14.0, 1.0)], &[(8.0, 0.0), (14.0, 9.0)]]), 9.0, "all series count");
        assert_eq!(total(&[&[(8.0, 4.0), (20.0, 4.0), (21.0, 9.0)]]), 0.0, "what comes after does not");
        assert_eq!(total(&[&[(14.0, 1.0), (16.0, 1.0)]]), 1.0, "born at 1: that is growth");
    }

    #[test]
    fn what_is_not_known_is_inconclusive() {
        assert!(matches!(grown(&[&[(8.0, 1.0), (12.0, f64::NAN)]]), Err(Reason::NotANumber { .. })));
        assert!(matches!(grown(&[&[(8.0, f64::INFINITY), (12.0, f64::INFINITY)]]), Err(Reason::NotANumber { .. })));
        let counter = vec![series(&[(14.0, 5.0)])];
        let new_target = Samples { counter: counter.clone(), up: Some(vec![series(&[(14.0, 1.0), (20.0, 1.0)])]) };
        assert!(matches!(growth("x", &new_target, WINDOW, None, 2.0), Err(Reason::NoData { .. })));
        let no_target = Samples { counter, up: None };
        assert!(matches!(growth("x", &no_target, WINDOW, Some(0.0), 2.0), Err(Reason::NoData { .. })));
    }

    #[test]
    fn an_absent_series_is_no_growth_only_if_its_target_was_up() {
        assert_eq!(total(&[]), 0.0);
        let judged = |up: Option<Vec<Series>>, when_absent| {
            growth("x", &Samples { counter: vec![], up }, WINDOW, when_absent, 2.0)
        };
        let down: Vec<(f64, f64)> = (0..=12).map(|n| (f64::from(n) * 2.0, if n == 7 { 0.0 } else { 1.0 })).collect();
        for (up, why) in [
            (Some(vec![series(&down)]), "down in between"),
            (Some(vec![series(&[(12.0, 1.0), (22.0, 1.0)])]), "not before"),
            (Some(vec![series(&[(8.0, 1.0), (12.0, 1.0)])]), "not after"),
            (Some(vec![]), "never"),
        ] {
            assert!(matches!(judged(up, Some(0.0)), Err(Reason::NoData { .. })), "{why}");
        }
        assert!(matches!(judged(None, None), Err(Reason::NoData { why, .. }) if why.contains("or_when_absent")));
        assert_eq!(judged(None, Some(0.0)).unwrap().total.0, 0.0);
    }

    proptest! {
        #[test]
        fn growth_equals_the_truth_whatever_the_resets(steps in proptest::collection::vec((0..20_u32, any::<bool>()), 1..30)) {
            let (mut value, mut truth, mut samples) = (3.0, 0.0, vec![(10.0, 3.0)]);
            let apart = 10.0 / 30.0;
            for (number, (step, reset)) in steps.iter().enumerate() {
                // A restart shows only if the new value is below the old one.
                if *reset && f64::from(*step) < value {
                    value = 0.0;
                }
                value += f64::from(*step);
                truth += f64::from(*step);
                samples.push((10.0 + apart * (number + 1) as f64, value));
            }
            prop_assert_eq!(total(&[&samples]), truth);
        }
    }
}
