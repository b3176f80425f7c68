//! The table for people.

use std::time::Duration;

use super::Report;
use super::table::aligned;
use crate::load::vegeta::duration_text;

pub(super) fn text(report: &Report) -> String {
    let row = |name: &str, what: &str, figures: String| [name.to_owned(), what.to_owned(), figures];
    let latencies = &report.latencies;
    let times = |times: &[u64]| times.iter().map(|time| rounded(*time)).collect::<Vec<_>>().join(", ");
    let codes: String = report.status_codes.iter().map(|(code, count)| format!("{code}:{count}  ")).collect();
    let rows = [
        row(
            "Requests",
            "[total, rate, throughput]",
            format!("{}, {:.2}, {:.2}", report.requests, report.rate, report.throughput),
        ),
        row(
            "Duration",
            "[total, attack, wait]",
            times(&[report.duration.saturating_add(report.wait), report.duration, report.wait]),
        ),
        row(
            "Latencies",
            "[min, mean, 50, 90, 95, 99, max]",
            times(&[
                latencies.min,
                latencies.mean,
                latencies.p50,
                latencies.p90,
                latencies.p95,
                latencies.p99,
                latencies.max,
            ]),
        ),
        row("Bytes In", "[total, mean]", format!("{}, {:.2}", report.bytes_in.total, report.bytes_in.mean)),
        row("Bytes Out", "[total, mean]", format!("{}, {:.2}", report.bytes_out.total, report.bytes_out.mean)),
        row("Success", "[ratio]", format!("{:.2}%", report.success * 100.0)),
        row("Status Codes", "[code:count]", codes),
    ];
    let mut text = aligned(&rows);
    text.push_str("Error Set:\n");
    for error in &report.errors {
        text.push_str(error);
        text.push('\n');
    }
    text
}

/// To a thousandth of the unit that it is written in; nanoseconds.
fn rounded(time: u64) -> String {
    let unit = match time {
        1_000_000_000.. => 1_000_000,
        1_000_000.. => 1_000,
        _ => 1,
    };
    duration_text(Duration::from_nanos(time.saturating_add(unit / 2) / unit * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_a_thousandth_of_their_unit() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (999, "999ns"),
            (380_240, "380.24µs"),
            (19_541_279, "19.541ms"),
            (44_674_666, "44.675ms"),
            (1_003_499_999, "1.003s"),
            (61_000_600_000, "1m1.001s"),
        ] {
            assert_eq!(rounded(nanoseconds), text);
        }
    }
}
