//! Axes: from values to places on the page, and the marks between.

use std::time::Duration;

/// Steps between marks of time, in seconds; below and above them powers of ten go on.
const TIME_STEPS: [f64; 19] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0,
];

/// A step of time of which at most `most` fit into `seconds`.
pub(crate) fn time_step(seconds: f64, most: f64) -> f64 {
    let least = seconds / most;
    TIME_STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| (least / 3600.0).ceil() * 3600.0)
}

/// `0.5 s`, `90 s`, `2:30`, `1:00:00`: seconds up to two minutes, a clock after.
pub(crate) fn time_label(seconds: f64, end: f64) -> String {
    if end <= 120.0 {
        return format!("{} s", round(seconds));
    }
    let whole = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::MAX).as_secs();
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    let before = if seconds < 0.0 && whole > 0 { "−" } else { "" };
    if hours > 0 { format!("{before}{hours}:{minutes:02}:{rest:02}") } else { format!("{before}{minutes}:{rest:02}") }
}

/// A latency with three digits and the unit that fits: `1.25 ms`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn latency_label(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0 => return "0 ms".to_owned(),
        1..1_000 => (nanos as f64, "ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

/// A number without the digits that binary fractions add.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A logarithmic axis of latencies, upwards, from and to a round number.
pub(crate) struct Latencies {
    low: f64,
    high: f64,
    top: f64,
    height: f64,
}

impl Latencies {
    /// An axis that holds `least` to `most` nanoseconds, drawn from `top + height` up to `top`.
    #[expect(clippy::cast_precision_loss, reason = "a place on the page")]
    pub(crate) fn new(least: u64, most: u64, top: f64, height: f64) -> Self {
        let low = Self::round_numbers().rev().find(|round| *round <= least.max(1)).unwrap_or(1);
        let high = Self::round_numbers().find(|round| *round >= most).unwrap_or(u64::MAX).max(low.saturating_mul(2));
        Self { low: (low as f64).log10(), high: (high as f64).log10(), top, height }
    }

    /// The height of a latency; what lies below the axis is drawn on its lowest line.
    #[expect(clippy::cast_precision_loss, reason = "a place on the page")]
    pub(crate) fn y(&self, nanos: u64) -> f64 {
        let part = ((nanos.max(1) as f64).log10() - self.low) / (self.high - self.low);
        self.top + self.height * (1.0 - part.clamp(0.0, 1.0))
    }

    /// Round numbers with their heights: powers of ten, and those between where there is room.
    #[expect(clippy::cast_precision_loss, reason = "a place on the page")]
    pub(crate) fn marks(&self) -> impl Iterator<Item = (u64, f64)> {
        let roomy = self.height / (self.high - self.low) >= 80.0;
        Self::round_numbers()
            .filter(|round| {
                ((*round as f64).log10() - self.low) > -1e-9 && ((*round as f64).log10() - self.high) < 1e-9
            })
            .filter(move |round| roomy || round.to_string().starts_with('1'))
            .map(|round| (round, self.y(round)))
    }

    /// 1, 2, 5, 10, 20 … up to the powers of ten of 64 bits.
    fn round_numbers() -> impl DoubleEndedIterator<Item = u64> {
        (0..19).flat_map(|power| {
            [1, 2, 5].map(|factor| factor * 10_u64.pow(power)).into_iter().take(if power == 18 { 2 } else { 3 })
        })
    }
}

/// The next of 1, 2, 4, 5, 10, 20, 40 …: round, and round in halves.
pub(crate) fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|next| *next >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_time_are_round_and_few() {
        assert_eq!([time_step(0.03, 10.0), time_step(26.0, 10.0), time_step(600.0, 10.0)], [0.005, 5.0, 60.0]);
        assert_eq!(time_step(864_000.0, 10.0), 86_400.0);
        assert_eq!(
            [time_label(0.30000000000000004, 1.0), time_label(90.0, 100.0), time_label(150.0, 600.0)],
            ["0.3 s", "90 s", "2:30"]
        );
        assert_eq!(time_label(3661.0, 7200.0), "1:01:01");
        let before = [-3661.0, -90.0, -30.0, -0.2, 0.0].map(|seconds| time_label(seconds, 600.0));
        assert_eq!(before, ["−1:01:01", "−1:30", "−0:30", "0:00", "0:00"]);
    }

    #[test]
    fn latencies_have_three_digits_and_a_unit() {
        let labels = [0, 999, 1_000, 1_250_000, 10_000_000, 123_456_789, 1_000_000_000, 100_000_000_000];
        let expected = ["0 ms", "999 ns", "1 µs", "1.25 ms", "10 ms", "123 ms", "1 s", "100 s"];
        assert_eq!(labels.map(latency_label), expected);
    }

    #[test]
    fn an_axis_holds_what_it_is_made_for() {
        let axis = Latencies::new(1_200_000, 990_000_000, 0.0, 300.0);
        assert_eq!([axis.y(1_000_000), axis.y(1_000_000_000)], [300.0, 0.0]);
        assert_eq!(axis.y(0), 300.0, "what is too small is drawn at the foot");
        let marks: Vec<u64> = axis.marks().map(|(nanos, _)| nanos / 1_000_000).collect();
        assert_eq!(marks, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
        assert_eq!(
            Latencies::new(1_200_000, 990_000_000, 0.0, 100.0).marks().count(),
            4,
            "powers of ten, without room"
        );
        assert_eq!(Latencies::new(5, 5, 0.0, 100.0).marks().count(), 2, "equal values have an axis too");
        assert!(Latencies::new(1, u64::MAX, 0.0, 100.0).marks().count() > 10, "the longest of all has one");
    }

    #[test]
    fn counts_end_at_round_numbers() {
        assert_eq!([nice(0.7), nice(1.0), nice(3.0), nice(1002.0)], [1.0, 1.0, 4.0, 2000.0]);
    }
}
