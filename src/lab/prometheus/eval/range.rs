//! Functions of range vectors.

use super::Engine;
use super::select::{Ranged, Window};
use super::{Series, execution};
use crate::lab::prometheus::promql::Refusal;
use crate::lab::prometheus::tsdb::Sample;

/// A sum with Kahan's compensation, as improved by Neumaier.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of spans are small")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn count(samples: &[Sample]) -> f64 {
    samples.len() as f64
}

/// Whether the result is still the same quantity, so that it keeps its name.
pub(super) fn keeps_name(function: &str) -> bool {
    function == "last_over_time"
}

/// A function that takes a range vector and nothing else.
fn plain(function: &str) -> Option<fn(&Window<'_>) -> Option<f64>> {
    Some(match function {
        "rate" => |w| extrapolated(w, true, true),
        "increase" => |w| extrapolated(w, true, false),
        "delta" => |w| extrapolated(w, false, false),
        "irate" => |w| last_two(w.samples, true),
        "idelta" => |w| last_two(w.samples, false),
        "deriv" => |w| {
            let first = w.samples.first()?.0;
            (w.samples.len() > 1).then(|| regression(w.samples, first).0)
        },
        "changes" => |w| Some(pairs(w.samples, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        "resets" => |w| Some(pairs(w.samples, |a, b| b < a)),
        "count_over_time" => |w| Some(count(w.samples)),
        "present_over_time" => |_| Some(1.0),
        "last_over_time" => |w| Some(w.samples.last()?.1),
        "sum_over_time" => |w| {
            let mut sum = Sum::default();
            w.samples.iter().for_each(|(_, value)| sum.add(*value));
            Some(sum.value())
        },
        "avg_over_time" => |w| Some(average(w.samples)),
        "max_over_time" => |w| extreme(w.samples, |value, most| value > most),
        "min_over_time" => |w| extreme(w.samples, |value, least| value < least),
        "stdvar_over_time" => |w| Some(variance(w.samples)),
        "stddev_over_time" => |w| Some(variance(w.samples).sqrt()),
        _ => return None,
    })
}

impl Engine<'_> {
    /// A function of a range vector, its scalar arguments by step.
    pub(super) fn range_function(
        &self,
        function: &str,
        ranged: Ranged,
        scalars: &[Vec<f64>],
    ) -> Result<Vec<Series>, Refusal> {
        let scalar = |n: usize, step: usize| scalars.get(n).and_then(|s| s.get(step)).copied().unwrap_or(f64::NAN);
        let mut refused = None;
        let mut series = match (function, plain(function)) {
            (_, Some(plain)) => self.over_windows(ranged, plain)?,
            ("quantile_over_time", _) => self.over_windows(ranged, |w| {
                let mut values: Vec<f64> = w.samples.iter().map(|(_, value)| *value).collect();
                Some(quantile(scalar(0, w.step), &mut values))
            })?,
            ("predict_linear", _) => self.over_windows(ranged, |w| {
                let (slope, intercept) = (w.samples.len() > 1).then(|| regression(w.samples, w.at))?;
                Some(slope * scalar(0, w.step) + intercept)
            })?,
            ("double_exponential_smoothing" | "holt_winters", _) => {
                self.over_windows(ranged, |w| match smoothed(w.samples, scalar(0, w.step), scalar(1, w.step)) {
                    Ok(value) => value,
                    Err(why) => {
                        refused.get_or_insert(why);
                        None
                    }
                })?
            }
            (other, _) => return execution(format!("the lab does not evaluate the function \"{other}\"")),
        };
        if let Some(why) = refused {
            return execution(why);
        }
        if !keeps_name(function) {
            for one in &mut series {
                one.labels = one.labels.without_name();
            }
        }
        super::distinct(series)
    }
}

/// The growth between the first and the last sample, extended to the window's ends unless the samples begin or end
/// well inside it.
fn extrapolated(window: &Window<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let samples = window.samples;
    let ((first_at, first), (last_at, last)) = (*samples.first()?, *samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let mut growth = last - first;
    if counter {
        // One by one, for the last digit's sake.
        samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).for_each(|pair| growth += pair[0].1);
    }
    let sampled = seconds(last_at - first_at);
    let average = sampled / (count(samples) - 1.0);
    let mut to_start = seconds(first_at - window.first);
    let to_end = seconds(window.last - last_at);
    if counter && growth > 0.0 && first >= 0.0 {
        // A counter was never below nothing.
        to_start = to_start.min(sampled * (first / growth));
    }
    let extended = |gap: f64| if gap < average * 1.1 { gap } else { average / 2.0 };
    let mut factor = (sampled + extended(to_start) + extended(to_end)) / sampled;
    if per_second {
        factor /= seconds(window.last - window.first);
    }
    Some(growth * factor)
}

fn last_two(samples: &[Sample], rate: bool) -> Option<f64> {
    let [.., (before, previous), (at, last)] = samples else { return None };
    if at == before {
        return None;
    }
    let grown = if rate && last < previous { *last } else { last - previous };
    Some(if rate { grown / seconds(at - before) } else { grown })
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn pairs(samples: &[Sample], differ: impl Fn(f64, f64) -> bool) -> f64 {
    samples.windows(2).filter(|pair| differ(pair[0].1, pair[1].1)).count() as f64
}

fn extreme(samples: &[Sample], better: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let mut best = samples.first()?.1;
    for (_, value) in samples {
        if better(*value, best) || best.is_nan() {
            best = *value;
        }
    }
    Some(best)
}

fn average(samples: &[Sample]) -> f64 {
    let (mut mean, mut n) = (Sum::default(), 0.0);
    for &(_, value) in samples {
        n += 1.0;
        if mean.sum.is_infinite() {
            let same = value.is_infinite() && (mean.sum > 0.0) == (value > 0.0);
            if same || value.is_finite() {
                continue;
            }
        }
        let step = value / n - mean.sum / n;
        mean.add(step);
    }
    mean.value()
}

fn variance(samples: &[Sample]) -> f64 {
    let (mut mean, mut squares, mut n) = (Sum::default(), Sum::default(), 0.0);
    for &(_, value) in samples {
        n += 1.0;
        let delta = value - (mean.sum + mean.lost);
        mean.add(delta / n);
        squares.add(delta * (value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / n
}

/// The slope, per second, and the value at a time, of the line closest to the samples.
fn regression(samples: &[Sample], at: i64) -> (f64, f64) {
    let first = samples[0].1;
    if samples.iter().all(|(_, value)| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for &(time, value) in samples {
        let second = seconds(time - at);
        x.add(second);
        y.add(value);
        xy.add(second * value);
        xx.add(second * second);
    }
    let n = count(samples);
    let [x, y, xy, xx] = [x, y, xy, xx].map(|sum| sum.sum + sum.lost);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

fn smoothed(samples: &[Sample], smoothing: f64, trend: f64) -> Result<Option<f64>, String> {
    for (name, factor, short) in [("smoothing", smoothing, "sf"), ("trend", trend, "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"));
        }
    }
    let [(_, first), (_, second), ..] = samples else { return Ok(None) };
    let (mut before, mut level, mut slope) = (0.0, *first, second - first);
    for (n, (_, value)) in samples.iter().enumerate().skip(1) {
        if n > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    Ok(Some(level))
}

/// The quantile `q` of values, between two of them if need be. They are put in order.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // What is no number comes first.
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rank = q * (values.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the values")]
    let lower = (rank.floor() as usize).min(values.len() - 1);
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}
