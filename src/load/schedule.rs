//! When each request is to be sent: a closed form, so that any share of it is known without the rest.
//!
//! A schedule is a list of segments, each with a rate R(t). Its integral H(t) is the number of requests intended up
//! to t. Request `i` (from 0) is intended at the first t with H(t) = i, so the first one at 0, and there are
//! ⌊H(end)⌋ of them: by count, so that none is cut off by a clock. Generator k of n sends those with i ≡ k (mod n).

use std::f64::consts::TAU;
use std::time::Duration;

/// Requests intended over time. Made by [`constant`](Schedule::constant), [`ramp`](Schedule::ramp),
/// [`steps`](Schedule::steps) and [`sine`](Schedule::sine), chained with [`then`](Schedule::then).
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a schedule does nothing until a load follows it"]
pub struct Schedule {
    segments: Vec<Segment>,
    wrong: Option<String>,
}

/// One rate over one stretch of time, placed in its schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    rate: Rate,
    /// Seconds.
    lasting: f64,
    /// Seconds from the schedule's start.
    from: f64,
    /// H at its start and at its end.
    before: f64,
    after: f64,
}

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Constant(f64),
    Ramp {
        from: f64,
        to: f64,
    },
    /// Period in seconds, start in radians.
    Sine {
        mean: f64,
        amplitude: f64,
        period: f64,
        start: f64,
    },
}

impl Schedule {
    /// The same rate all the time, in requests a second; a rate of 0 is a pause.
    pub fn constant(rate: impl Into<f64>, lasting: Duration) -> Self {
        let rate = rate.into();
        Self::of(Rate::Constant(rate), lasting, (!(rate.is_finite() && rate >= 0.0)).then(|| wrong_rate(rate)))
    }

    /// A rate that grows or falls evenly, in requests a second.
    pub fn ramp(from: impl Into<f64>, to: impl Into<f64>, lasting: Duration) -> Self {
        let (from, to) = (from.into(), to.into());
        let bad = [from, to].into_iter().find(|rate| !(rate.is_finite() && *rate >= 0.0));
        Self::of(Rate::Ramp { from, to }, lasting, bad.map(wrong_rate))
    }

    /// `count` constant rates of equal length from one rate to another, both included.
    pub fn steps(from: impl Into<f64>, to: impl Into<f64>, count: u32, lasting: Duration) -> Self {
        let (from, to, count) = (from.into(), to.into(), count.max(1));
        let height = if count == 1 { 0.0 } else { (to - from) / f64::from(count - 1) };
        let step = |number: u32| Self::constant(from + height * f64::from(number), lasting / count);
        (1..count).fold(step(0), |all, number| all.then(step(number)))
    }

    /// A rate that swings around a mean, at first upwards: `mean + amplitude · sin(2πt / period)`.
    pub fn sine(mean: impl Into<f64>, amplitude: impl Into<f64>, period: Duration, lasting: Duration) -> Self {
        Self::sine_from(mean, amplitude, period, 0.0, lasting)
    }

    /// As [`sine`](Self::sine), beginning at an angle in radians: π/2 is the peak, 3π/2 the trough.
    pub fn sine_from(
        mean: impl Into<f64>,
        amplitude: impl Into<f64>,
        period: Duration,
        start: f64,
        lasting: Duration,
    ) -> Self {
        let (mean, amplitude, period) = (mean.into(), amplitude.into(), period.as_secs_f64());
        let fits = mean.is_finite() && start.is_finite() && (0.0..=mean).contains(&amplitude) && period > 0.0;
        let wrong = (!fits).then(|| {
            format!("a swing of {amplitude} around {mean} a second every {period} s is no rate; give an amplitude from 0 to the mean, and a period")
        });
        Self::of(Rate::Sine { mean, amplitude, period, start }, lasting, wrong)
    }

    fn of(rate: Rate, lasting: Duration, wrong: Option<String>) -> Self {
        let lasting = lasting.as_secs_f64();
        let after = if wrong.is_some() { 0.0 } else { rate.until(lasting) };
        Self { segments: vec![Segment { rate, lasting, from: 0.0, before: 0.0, after }], wrong }
    }

    /// This, and then the other.
    pub fn then(mut self, next: Self) -> Self {
        let (mut from, mut before) = self.end();
        for segment in next.segments {
            let after = before + (segment.after - segment.before);
            self.segments.push(Segment { from, before, after, ..segment });
            (from, before) = (from + segment.lasting, after);
        }
        self.wrong = self.wrong.or(next.wrong);
        self
    }

    /// Its end in seconds, and H there.
    fn end(&self) -> (f64, f64) {
        self.segments.last().map_or((0.0, 0.0), |last| (last.from + last.lasting, last.after))
    }

    /// What is wrong with it, if it is no schedule.
    ///
    /// # Errors
    /// A rate below 0 or not finite, or a swing that would go below 0.
    pub fn checked(&self) -> Result<(), String> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    /// How long requests are intended.
    #[must_use]
    pub fn lasting(&self) -> Duration {
        Duration::try_from_secs_f64(self.end().0).unwrap_or(Duration::MAX)
    }

    /// The number of requests.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is beyond a u64 never ends")]
    pub fn count(&self) -> u64 {
        let all = self.end().1;
        (all + slack(all)).floor() as u64
    }

    /// The mean rate, in requests a second.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        let (end, all) = self.end();
        if end > 0.0 { all / end } else { 0.0 }
    }

    /// The rate after some time, in requests a second.
    #[must_use]
    pub fn rate_at(&self, after: Duration) -> f64 {
        let t = after.as_secs_f64();
        let here = self.segments.iter().find(|segment| t < segment.from + segment.lasting);
        here.map_or(0.0, |segment| segment.rate.at(t - segment.from, segment.lasting))
    }

    /// When a request is intended, from the start. Only for numbers below [`count`](Self::count).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    pub fn instant(&self, number: u64) -> Duration {
        let number = number as f64;
        let which = self.segments.partition_point(|segment| segment.after - slack(segment.after) <= number);
        let Some(segment) = self.segments.get(which).or(self.segments.last()) else { return Duration::ZERO };
        let ahead = number - segment.before;
        let within = if ahead <= slack(number) { 0.0 } else { segment.rate.reached(ahead, segment.lasting) };
        Duration::try_from_secs_f64(segment.from + within.clamp(0.0, segment.lasting)).unwrap_or(Duration::MAX)
    }

    /// The numbers and instants that generator `k` of `n` sends.
    pub fn share(&self, k: u64, n: u64) -> impl Iterator<Item = (u64, Duration)> + '_ {
        let step = usize::try_from(n.max(1)).unwrap_or(usize::MAX);
        (k..self.count()).step_by(step).map(|number| (number, self.instant(number)))
    }

    /// In words: `10/s for 10s, then 10/s to 50/s for 5s`.
    #[must_use]
    pub fn described(&self) -> String {
        let told = self.segments.iter().map(|segment| {
            let rate = match segment.rate {
                Rate::Constant(rate) => format!("{rate}/s"),
                Rate::Ramp { from, to } => format!("{from}/s to {to}/s"),
                Rate::Sine { mean, amplitude, .. } => format!("{mean}/s ± {amplitude}/s"),
            };
            match Duration::try_from_secs_f64(segment.lasting) {
                Ok(lasting) if lasting < Duration::MAX / 2 => format!("{rate} for {lasting:?}"),
                _ => rate,
            }
        });
        told.collect::<Vec<_>>().join(", then ")
    }
}

impl Rate {
    /// The rate at `t`.
    fn at(self, t: f64, lasting: f64) -> f64 {
        match self {
            Self::Constant(rate) => rate,
            Self::Ramp { from, to } => from + (to - from) * t / lasting,
            Self::Sine { mean, amplitude, period, start } => mean + amplitude * (start + TAU * t / period).sin(),
        }
    }

    /// H at the end of a whole segment.
    fn until(self, lasting: f64) -> f64 {
        match self {
            Self::Constant(rate) => rate * lasting,
            Self::Ramp { from, to } => f64::midpoint(from, to) * lasting,
            Self::Sine { .. } => self.swung(lasting),
        }
    }

    /// H of a sine.
    fn swung(self, t: f64) -> f64 {
        let Self::Sine { mean, amplitude, period, start } = self else { return 0.0 };
        mean * t + amplitude * period / TAU * (start.cos() - (start + TAU * t / period).cos())
    }

    /// The first t with H(t) = `ahead`.
    fn reached(self, ahead: f64, lasting: f64) -> f64 {
        match self {
            Self::Constant(rate) => ahead / rate,
            Self::Ramp { from, to } => {
                let half_slope = (to - from) / (2.0 * lasting);
                // The root in the form that neither cancels nor divides by a slope of 0.
                2.0 * ahead / (from + (from * from + 4.0 * half_slope * ahead).max(0.0).sqrt())
            }
            Self::Sine { mean, amplitude, period, .. } => {
                // H never falls and stays near the mean's line: halving finds the root without any start value.
                let off = amplitude * period / TAU * 2.0;
                let (mut low, mut high) = (((ahead - off) / mean).max(0.0), ((ahead + off) / mean).min(lasting));
                for _ in 0..64 {
                    let middle = f64::midpoint(low, high);
                    if self.swung(middle) < ahead { low = middle } else { high = middle }
                }
                high
            }
        }
    }
}

/// What floating point may have lost of a count.
fn slack(count: f64) -> f64 {
    1e-9 + count.abs() * 1e-12
}

fn wrong_rate(rate: f64) -> String {
    format!("its rate is {rate} a second; give a positive number")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule() -> impl Strategy<Value = Schedule> {
        let length = (1_u64..100_000).prop_map(Duration::from_millis);
        let one = prop_oneof![
            (0.0..2000.0_f64, length.clone()).prop_map(|(rate, lasting)| Schedule::constant(rate, lasting)),
            (0.0..2000.0_f64, 0.0..2000.0_f64, length.clone())
                .prop_map(|(a, b, lasting)| Schedule::ramp(a, b, lasting)),
            (0.0..900.0_f64, 0.0..900.0_f64, 1_u32..9, length.clone())
                .prop_map(|(a, b, count, lasting)| Schedule::steps(a, b, count, lasting)),
            (1.0..900.0_f64, 0.0..1.0_f64, 1_u64..20_000, 0.0..TAU, length).prop_map(
                |(mean, part, period, start, lasting)| {
                    Schedule::sine_from(mean, mean * part, Duration::from_millis(period), start, lasting)
                }
            ),
        ];
        proptest::collection::vec(one, 1..4)
            .prop_map(|all| all.into_iter().reduce(Schedule::then).expect("one at least"))
    }

    /// H by adding up small pieces, as nobody would compute it in earnest.
    fn added_up(schedule: &Schedule, until: f64) -> f64 {
        let mut sum = 0.0;
        for segment in &schedule.segments {
            let end = (until - segment.from).clamp(0.0, segment.lasting);
            let pieces = 20_000;
            let wide = end / f64::from(pieces);
            sum += (0..pieces)
                .map(|piece| segment.rate.at((f64::from(piece) + 0.5) * wide, segment.lasting) * wide)
                .sum::<f64>();
        }
        sum
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whole_rates_count_exactly(rate in 0_u32..100_000, to in 0_u32..100_000, millis in 1_u64..10_000_000) {
            let lasting = Duration::from_millis(millis);
            let exact = u128::from(rate) * u128::from(millis) / 1000;
            prop_assert_eq!(u128::from(Schedule::constant(rate, lasting).count()), exact);
            let ramp = (u128::from(rate) + u128::from(to)) * u128::from(millis) / 2000;
            prop_assert_eq!(u128::from(Schedule::ramp(rate, to, lasting).count()), ramp);
        }

        #[test]
        fn a_constant_rate_is_evenly_spaced_to_the_nanosecond(rate in 1_u32..1_000_000, number in 0_u64..10_000_000) {
            let instant = Schedule::constant(rate, Duration::MAX).instant(number).as_nanos();
            let exact = (u128::from(number) * 1_000_000_000 + u128::from(rate) / 2) / u128::from(rate);
            prop_assert!(instant.abs_diff(exact) <= 1, "{instant} {exact}");
        }

        #[test]
        fn each_instant_is_where_the_integral_reaches_the_number(schedule in schedule(), part in 0.0..1.0_f64) {
            let count = schedule.count();
            prop_assume!(count > 0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
            let number = ((count as f64 * part) as u64).min(count - 1);
            let instant = schedule.instant(number);
            let near = added_up(&schedule, instant.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let off = (near - number as f64).abs();
            prop_assert!(off < 0.02 + near * 1e-4, "{number} at {instant:?}: {near}");
        }

        #[test]
        fn instants_rise_and_lie_within(schedule in schedule()) {
            let mut last = Duration::ZERO;
            for (number, instant) in schedule.share(0, 1).take(3000) {
                prop_assert!(instant >= last && instant <= schedule.lasting(), "{number} at {instant:?} after {last:?}");
                last = instant;
            }
        }

        #[test]
        fn shares_are_the_whole(schedule in schedule(), n in 1_u64..7) {
            let mut parts: Vec<_> = (0..n).flat_map(|k| schedule.share(k, n).take(500)).collect();
            parts.sort_by_key(|(number, _)| *number);
            let whole: Vec<_> = schedule.share(0, 1).take(parts.len()).collect();
            prop_assert_eq!(parts, whole);
        }
    }

    #[test]
    fn the_first_request_is_at_once_and_the_last_before_the_end() {
        let ten = Schedule::constant(10, Duration::from_secs(10));
        assert_eq!((ten.count(), ten.instant(0), ten.instant(99)), (100, Duration::ZERO, Duration::from_millis(9900)));
        let after_a_pause = Schedule::constant(0, Duration::from_secs(3)).then(ten.clone());
        assert_eq!((after_a_pause.count(), after_a_pause.instant(0)), (100, Duration::from_secs(3)));
        let paused = ten.clone().then(Schedule::constant(0, Duration::from_secs(5))).then(ten);
        assert_eq!((paused.count(), paused.instant(99)), (200, Duration::from_millis(9900)));
        assert_eq!(paused.instant(100), Duration::from_secs(15), "not before the pause");
    }

    #[test]
    fn steps_include_both_ends() {
        let steps = Schedule::steps(10, 30, 3, Duration::from_secs(30));
        let at = |second| steps.rate_at(Duration::from_secs(second));
        assert_eq!([at(0), at(9), at(10), at(29), at(30)], [10.0, 10.0, 20.0, 30.0, 0.0]);
        assert_eq!(steps.count(), 600);
    }

    #[test]
    fn what_is_no_rate_is_told() {
        for wrong in [
            Schedule::constant(-1, Duration::from_secs(1)),
            Schedule::ramp(f64::NAN, 1.0, Duration::from_secs(1)),
            Schedule::sine(1, 2, Duration::from_secs(1), Duration::from_secs(1)),
            Schedule::constant(1, Duration::from_secs(1)).then(Schedule::constant(f64::INFINITY, Duration::MAX)),
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
            let _ = (wrong.count(), wrong.instant(0));
        }
        assert_eq!(Schedule::constant(1, Duration::MAX).instant(7), Duration::from_secs(7));
    }
}
