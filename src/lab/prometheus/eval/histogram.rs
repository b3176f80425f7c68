//! Quantiles of classic histograms.

use std::collections::{BTreeMap, BTreeSet};

use super::select::number;
use super::{Engine, Series};
use crate::lab::prometheus::labels::NAME;
use crate::lab::prometheus::numbers::parse;
use crate::lab::prometheus::tsdb::Labels;

/// The label with a bucket's upper bound.
const BOUND: &str = "le";

impl Engine<'_> {
    pub(super) fn histogram_quantile(&self, ranks: &[f64], series: Vec<Series>) -> Vec<Series> {
        let others = BTreeSet::from([NAME.to_owned(), BOUND.to_owned()]);
        let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
        let mut histograms: Vec<(Labels, Vec<(f64, Series)>)> = Vec::new();
        for bucket in series {
            // A series without a bound is no bucket.
            let Some(bound) = parse(bucket.labels.get(BOUND)) else { continue };
            let labels = bucket.labels.without(&others);
            let place = *places.entry(labels.clone()).or_insert_with(|| {
                histograms.push((labels, Vec::new()));
                histograms.len() - 1
            });
            histograms[place].1.push((bound, bucket));
        }
        let of_histogram = |(labels, buckets): (Labels, Vec<(f64, Series)>)| {
            let mut next = vec![0; buckets.len()];
            let mut points = Vec::new();
            for (step, rank) in ranks.iter().enumerate() {
                let step = number(step);
                let mut counts = Vec::with_capacity(buckets.len());
                for ((bound, series), next) in buckets.iter().zip(&mut next) {
                    if let Some((_, count)) = series.points.get(*next).filter(|(at, _)| *at == step) {
                        counts.push((*bound, *count));
                        *next += 1;
                    }
                }
                if !counts.is_empty() {
                    points.push((step, quantile(*rank, counts)));
                }
            }
            Series { labels, points }
        };
        histograms.into_iter().map(of_histogram).filter(|series| !series.points.is_empty()).collect()
    }
}

/// The quantile of a histogram from its buckets' upper bounds and their counts, each with all below it.
fn quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    // Two of one bound are one; a count below the one before is a race between scrapes.
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut buckets {
        most = if *count > most || most == f64::NEG_INFINITY { *count } else { most };
        *count = most;
    }
    let [.., (highest, _), (_, observations)] = buckets[..] else { return f64::NAN };
    if observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let last = buckets.len() - 1;
    let b = buckets[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
    if b == last {
        return highest;
    }
    let (bound, count) = buckets[b];
    if b == 0 {
        return if bound <= 0.0 { bound } else { bound * (rank / count) };
    }
    let (start, below) = buckets[b - 1];
    start + (bound - start) * ((rank - below) / (count - below))
}

#[cfg(test)]
mod tests {
    use super::quantile;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_are_interpolated_within_a_bucket() {
        let buckets = || vec![(INF, 4.0), (0.1, 1.0), (0.2, 3.0)];
        // Half of 4 observations: one lies below 0.1, so the second of two in 0.1 to 0.2 is half way.
        assert_eq!(quantile(0.5, buckets()), 0.15000000000000002);
        assert_eq!(quantile(0.25, buckets()), 0.1);
        assert_eq!(quantile(0.125, buckets()), 0.05);
        assert_eq!(quantile(0.0, buckets()), 0.0);
        assert_eq!(quantile(1.0, buckets()), 0.2, "beyond the last bound its bound is all that is known");
        assert_eq!((quantile(-0.1, buckets()), quantile(1.1, buckets())), (-INF, INF));
    }

    #[test]
    fn what_is_no_histogram_has_no_quantile() {
        assert!(quantile(0.5, vec![(0.1, 1.0), (0.2, 3.0)]).is_nan(), "no bucket of everything");
        assert!(quantile(0.5, vec![(INF, 3.0)]).is_nan(), "one bucket");
        assert!(quantile(0.5, vec![(0.1, 0.0), (INF, 0.0)]).is_nan(), "no observations");
        assert!(quantile(f64::NAN, vec![(0.1, 1.0), (INF, 1.0)]).is_nan());
        assert_eq!(quantile(0.5, vec![(-1.0, 2.0), (INF, 2.0)]), -1.0);
        // 0.1 twice is one bucket of 2; 0.2 fell behind and is raised.
        assert_eq!(quantile(0.5, vec![(0.1, 1.0), (0.1, 1.0), (0.2, 1.0), (INF, 2.0)]), 0.05);
    }
}
