//! Bounds on numbers, and on times.

use std::marker::PhantomData;
use std::time::Duration;

use super::{Judgement, Tolerance};
use crate::journal::{Bound as Line, Reason};

/// What a bound is in.
pub trait Unit: Send + Sync + 'static {
    /// A bound as reports show it.
    fn shown(bound: f64) -> String;
}

/// A number as it is: no bound for a latency, which is judged by `at_most(millis(500))`.
#[derive(Clone, Copy, Debug)]
pub enum Unitless {}

/// A time: given as a `Duration`, so that nobody takes seconds for milliseconds; counted in seconds.
#[derive(Clone, Copy, Debug)]
pub enum Time {}

impl Unit for Unitless {
    fn shown(bound: f64) -> String {
        bound.to_string()
    }
}

impl Unit for Time {
    fn shown(bound: f64) -> String {
        Duration::try_from_secs_f64(bound).map_or_else(|_| format!("{bound} s"), |duration| format!("{duration:?}"))
    }
}

/// Something that is a number, in a unit: what is a [`Time`] is judged by durations alone.
#[diagnostic::on_unimplemented(
    message = "a bound on a number cannot judge what this probe returns (`{Self}`)",
    label = "this probe returns no number",
    note = "a tolerance is picked by the probe's output: `status(..)` for HTTP responses, `at_most(..)`, `at_least(..)` and `between(..)` for numbers, `contains(..)` and `matches(..)` for text, `json_path(..)` for JSON",
    note = "a latency is judged by a duration, `at_most(millis(500))`; what is no time by a number"
)]
pub trait AsNumber<U = Unitless> {
    /// The number. NaN is judged [`Reason::NotANumber`].
    fn number(&self) -> f64;

    /// The least and the most that it can be, where only that is known.
    fn bounds(&self) -> (f64, f64) {
        (self.number(), self.number())
    }

    /// How the report names the number: `0.25 s`, `growth of 7`.
    fn shown(&self) -> String {
        self.number().to_string()
    }

    /// The word for lying above a bound, as in the stable journal.
    fn above(&self) -> &'static str {
        "above"
    }
}

impl AsNumber for f64 {
    fn number(&self) -> f64 {
        *self
    }
}

macro_rules! whole_numbers {
    ($($t:ty),*) => {$(
        impl AsNumber for $t {
            fn number(&self) -> f64 {
                f64::from(*self)
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32, i8, i16, i32, f32);

impl AsNumber<Time> for Duration {
    fn number(&self) -> f64 {
        self.as_secs_f64()
    }

    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

/// A bound: a number, or a duration where the probe measures time.
pub trait Bound: Send + Sync + 'static {
    /// What it is in.
    type Unit: Unit;

    /// The number to compare with; seconds for a duration.
    fn bound(self) -> f64;
}

macro_rules! plain_bounds {
    ($($t:ty),*) => {$(
        impl Bound for $t {
            type Unit = Unitless;

            fn bound(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}
plain_bounds!(f64, i32, u32);

impl Bound for Duration {
    type Unit = Time;

    fn bound(self) -> f64 {
        self.as_secs_f64()
    }
}

/// Expects a number of at most a bound. See [`at_most`].
#[derive(Clone, Copy, Debug)]
pub struct AtMost<B = f64>(f64, PhantomData<fn() -> B>);

/// Expects a number of at most `bound`, itself included; a `Duration` where the probe measures time.
#[must_use]
pub fn at_most<B: Bound>(bound: B) -> AtMost<B> {
    AtMost(bound.bound(), PhantomData)
}

/// Expects a number of at least a bound. See [`at_least`].
#[derive(Clone, Copy, Debug)]
pub struct AtLeast<B = f64>(f64, PhantomData<fn() -> B>);

/// Expects a number of at least `bound`, itself included; a `Duration` where the probe measures time.
#[must_use]
pub fn at_least<B: Bound>(bound: B) -> AtLeast<B> {
    AtLeast(bound.bound(), PhantomData)
}

/// Expects a number within two bounds. See [`between`].
#[derive(Clone, Copy, Debug)]
pub struct Between<B = f64>(f64, f64, PhantomData<fn() -> B>);

/// Expects a number from `low` to `high`, both included; two `Duration`s where the probe measures time.
#[must_use]
pub fn between<B: Bound>(low: B, high: impl Bound<Unit = B::Unit>) -> Between<B> {
    Between(low.bound(), high.bound(), PhantomData)
}

fn judge<U, T: AsNumber<U>>(observed: &T, low: f64, high: f64, expected: &str) -> Judgement {
    let number = observed.number();
    if number.is_nan() {
        return Judgement::inconclusive(Reason::NotANumber { what: observed.shown() }, expected);
    }
    let outside = if number > high { observed.above() } else { "below" };
    Judgement::of((low..=high).contains(&number), observed.shown(), expected, ("within", outside))
}

/// By the bounds of the number alone: met if all of them are within, not met if all are outside on one side.
fn judge_partial<U, T: AsNumber<U>>(observed: &T, low: f64, high: f64, why: &Reason, expected: &str) -> Judgement {
    let (least, most) = observed.bounds();
    let within = least >= low && most <= high;
    let outside = if least > high { observed.above() } else { "below" };
    if within || least > high || most < low {
        Judgement::of(within, observed.shown(), expected, ("within", outside))
    } else {
        Judgement::inconclusive(why.clone(), expected)
    }
}

impl<B: Bound, T: AsNumber<B::Unit>> Tolerance<T> for AtMost<B> {
    fn judge(&self, observed: &T) -> Judgement {
        judge::<B::Unit, T>(observed, f64::NEG_INFINITY, self.0, &Tolerance::<T>::expected(self))
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        judge_partial::<B::Unit, T>(observed, f64::NEG_INFINITY, self.0, why, &Tolerance::<T>::expected(self))
    }

    fn bounds(&self) -> Vec<Line> {
        vec![Line { value: self.0, meaning: Tolerance::<T>::expected(self) }]
    }

    fn expected(&self) -> String {
        format!("at most {}", B::Unit::shown(self.0))
    }
}

impl<B: Bound, T: AsNumber<B::Unit>> Tolerance<T> for AtLeast<B> {
    fn judge(&self, observed: &T) -> Judgement {
        judge::<B::Unit, T>(observed, self.0, f64::INFINITY, &Tolerance::<T>::expected(self))
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        judge_partial::<B::Unit, T>(observed, self.0, f64::INFINITY, why, &Tolerance::<T>::expected(self))
    }

    fn bounds(&self) -> Vec<Line> {
        vec![Line { value: self.0, meaning: Tolerance::<T>::expected(self) }]
    }

    fn expected(&self) -> String {
        format!("at least {}", B::Unit::shown(self.0))
    }
}

impl<B: Bound, T: AsNumber<B::Unit>> Tolerance<T> for Between<B> {
    fn judge(&self, observed: &T) -> Judgement {
        judge::<B::Unit, T>(observed, self.0, self.1, &Tolerance::<T>::expected(self))
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        judge_partial::<B::Unit, T>(observed, self.0, self.1, why, &Tolerance::<T>::expected(self))
    }

    fn bounds(&self) -> Vec<Line> {
        let of = |value, word| Line { value, meaning: format!("{word} {}", B::Unit::shown(value)) };
        vec![of(self.0, "at least"), of(self.1, "at most")]
    }

    fn expected(&self) -> String {
        format!("between {} and {}", B::Unit::shown(self.0), B::Unit::shown(self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn bounds_include_themselves() {
        assert_eq!(at_most(2.0).judge(&2.0).outcome, Outcome::Met);
        assert_eq!(at_most(2.0).judge(&2.1).phrase(), "was 2.1, expected at most 2");
        assert_eq!(at_least(2.0).judge(&2.0).outcome, Outcome::Met);
        assert_eq!(at_least(2.0).judge(&1.0).relation, "below");
        assert_eq!(between(1.0, 2.0).judge(&3.0).relation, "above");
    }

    #[test]
    fn not_a_number_is_never_met_and_infinity_is_a_number() {
        for judged in
            [at_most(2.0).judge(&f64::NAN), at_least(2.0).judge(&f64::NAN), between(1.0, 2.0).judge(&f64::NAN)]
        {
            assert!(matches!(judged.outcome, Outcome::Inconclusive(Reason::NotANumber { .. })), "{judged:?}");
        }
        assert_eq!(at_most(2.0).judge(&f64::INFINITY).outcome, Outcome::NotMet);
        assert_eq!(at_least(2.0).judge(&f64::INFINITY).outcome, Outcome::Met);
    }

    /// A number from 3 to 5.
    struct Roughly;

    impl AsNumber for Roughly {
        fn number(&self) -> f64 {
            3.0
        }

        fn bounds(&self) -> (f64, f64) {
            (3.0, 5.0)
        }
    }

    #[test]
    fn what_is_known_in_part_is_decided_by_its_bounds() {
        let why = Reason::NoData { what: "x".into(), why: "gaps".into() };
        let outcome = |tolerance: &dyn Tolerance<Roughly>| tolerance.judge_partial(&Roughly, &why).outcome;
        let unknown = Outcome::Inconclusive(why.clone());
        assert_eq!(
            [outcome(&at_most(5.0)), outcome(&at_most(4.0)), outcome(&at_most(2.0))],
            [Outcome::Met, unknown.clone(), Outcome::NotMet]
        );
        assert_eq!(
            [outcome(&at_least(3.0)), outcome(&at_least(4.0)), outcome(&at_least(6.0))],
            [Outcome::Met, unknown.clone(), Outcome::NotMet]
        );
        assert_eq!([outcome(&between(3.0, 5.0)), outcome(&between(4.0, 9.0))], [Outcome::Met, unknown.clone()]);
        assert_eq!(outcome(&super::super::not(at_most(2.0))), Outcome::Met);
        assert_eq!(outcome(&super::super::any((at_most(4.0), at_least(1.0)))), Outcome::Met);
        assert_eq!(outcome(&super::super::all((at_most(4.0), at_least(1.0)))), unknown);
    }

    #[test]
    fn a_time_is_judged_by_durations() {
        let quick = Duration::from_millis(250);
        assert_eq!(at_most(Duration::from_millis(300)).judge(&quick).outcome, Outcome::Met);
        let judged = between(Duration::ZERO, Duration::from_millis(200)).judge(&quick);
        assert_eq!(judged.phrase(), "was 250ms, expected between 0ns and 200ms");
    }

    #[test]
    fn whole_numbers_are_bounds() {
        assert_eq!(at_most(0).judge(&0.0).phrase(), "was 0, as expected (at most 0)");
        assert_eq!(between(1, 2.5).judge(&3_u32).outcome, Outcome::NotMet);
    }
}
