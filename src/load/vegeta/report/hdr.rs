//! The table of quantiles.

use super::Metrics;
use super::table::aligned;

/// The halves that remain, down to a millionth: five steps to each.
const HALVES: i32 = 20;

/// What vegeta's table has in place of infinity.
const NO_REST: f64 = 1e7;

/// HdrHistogram's shares in millionths: five steps on each half of the way that is left.
fn shares() -> Vec<u32> {
    let mut shares: Vec<u32> = Vec::new();
    for half in 0..=HALVES {
        let begin = 1.0 - 0.5f64.powi(half);
        let step = 0.5f64.powi(half + 1) / 5.0;
        for place in 0..5 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at most a million")]
            shares.push(((begin + step * f64::from(place)) * 1e6).round() as u32);
        }
    }
    shares.push(1_000_000);
    shares.dedup();
    shares
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is no more than the count"
)]
pub(super) fn text(metrics: &Metrics) -> String {
    let shares: Vec<f64> = shares().into_iter().map(|millionths| f64::from(millionths) / 1e6).collect();
    let values = metrics.quantiles(shares.iter().copied());
    let mut rows = vec![["Value(ms)", "Percentile", "TotalCount", "1/(1-Percentile)"].map(str::to_owned)];
    for (share, value) in shares.into_iter().zip(values) {
        let count = (share * metrics.requests() as f64).round() as u64;
        let rest = if share < 1.0 { 1.0 / (1.0 - share) } else { NO_REST };
        rows.push([
            format!("{:.6}", value as f64 / 1e6),
            format!("{share:.6}"),
            count.to_string(),
            format!("{rest:.6}"),
        ]);
    }
    aligned(&rows)
}
