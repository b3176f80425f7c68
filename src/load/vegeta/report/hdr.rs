//! The table of quantiles.

use super::Metrics;
use super::table::aligned;

/// The halves that remain, down to a millionth: five steps to each.
const HALVES: u32 = 20;

/// What vegeta's table has in place of infinity.
const NO_REST: f64 = 1e7;

/// HdrHistogram's shares to six digits, as texts: five steps on each half of the way that is left.
fn shares() -> Vec<String> {
    let mut shares: Vec<String> = Vec::new();
    for half in 0..=HALVES {
        // 1 - 1/2^half + place/5 of 1/2^(half+1), in one division, as the sixth digit depends on its rounding.
        let parts = 5_u32 << (half + 1);
        shares.extend((0..5).map(|place| format!("{:.6}", f64::from(parts - 10 + place) / f64::from(parts))));
    }
    shares.push("1.000000".to_owned());
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
    let texts = shares();
    let shares: Vec<f64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let values = metrics.quantiles(shares.iter().copied());
    let mut rows = vec![["Value(ms)", "Percentile", "TotalCount", "1/(1-Percentile)"].map(str::to_owned)];
    for ((text, share), value) in texts.into_iter().zip(shares).zip(values) {
        let count = (share * metrics.requests() as f64).round() as u64;
        let rest = if share < 1.0 { 1.0 / (1.0 - share) } else { NO_REST };
        rows.push([format!("{:.6}", value as f64 / 1e6), text, count.to_string(), format!("{rest:.6}")]);
    }
    aligned(&rows)
}
