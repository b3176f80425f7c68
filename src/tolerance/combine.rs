//! Tolerances made of tolerances.

use super::{Judgement, Outcome, Tolerance};
use crate::journal::Reason;

/// Expects the opposite. See [`not`].
#[derive(Clone, Copy, Debug)]
pub struct Not<A>(A);

/// Expects that `tolerance` is not met. What is unknown stays unknown.
#[must_use]
pub fn not<A>(tolerance: A) -> Not<A> {
    Not(tolerance)
}

impl<A> Not<A> {
    fn opposite<T>(&self, inner: Judgement) -> Judgement
    where
        A: Tolerance<T>,
    {
        let outcome = match inner.outcome {
            Outcome::Met => Outcome::NotMet,
            Outcome::NotMet => Outcome::Met,
            unknown => return Judgement { outcome: unknown, expected: Tolerance::<T>::expected(self), ..inner },
        };
        let relation = format!("not {}", inner.relation);
        Judgement { outcome, seen: inner.seen, expected: Tolerance::<T>::expected(self), relation }
    }
}

impl<T, A: Tolerance<T>> Tolerance<T> for Not<A> {
    fn judge(&self, observed: &T) -> Judgement {
        self.opposite(self.0.judge(observed))
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        self.opposite(self.0.judge_partial(observed, why))
    }

    fn expected(&self) -> String {
        format!("not {}", self.0.expected())
    }
}

/// Several tolerances of one kind of observation: a tuple of up to six, or a `Vec` of boxes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no list of tolerances for `{T}`",
    note = "give a tuple: `all((at_least(1.0), at_most(2.0)))`"
)]
pub trait Tolerances<T: ?Sized>: Send + Sync {
    /// All of them, in order.
    fn list(&self) -> Vec<&dyn Tolerance<T>>;
}

impl<T: ?Sized> Tolerances<T> for Vec<Box<dyn Tolerance<T>>> {
    fn list(&self) -> Vec<&dyn Tolerance<T>> {
        self.iter().map(|part| &**part).collect()
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))*) => {$(
        impl<Seen: ?Sized, $($part: Tolerance<Seen>),*> Tolerances<Seen> for ($($part,)*) {
            #[expect(non_snake_case, reason = "the type parameters name the parts")]
            fn list(&self) -> Vec<&dyn Tolerance<Seen>> {
                let ($($part,)*) = self;
                vec![$($part as &dyn Tolerance<Seen>),*]
            }
        }
    )*};
}
tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// Expects several things at once. See [`all`].
#[derive(Clone, Copy, Debug)]
pub struct All<L>(L);

/// Expects all of `tolerances`. One that is out decides, then one that is unknown.
///
/// ```
/// use steadfast::prelude::*;
///
/// let narrow = all((at_least(1.0), not(equals(3.0))));
/// assert_eq!(narrow.judge(&3.0).phrase(), "was 3.0, expected not 3.0");
/// ```
#[must_use]
pub fn all<L>(tolerances: L) -> All<L> {
    All(tolerances)
}

/// Expects one of several things. See [`any`].
#[derive(Clone, Copy, Debug)]
pub struct Any<L>(L);

/// Expects at least one of `tolerances`. One that is met decides, then one that is unknown.
#[must_use]
pub fn any<L>(tolerances: L) -> Any<L> {
    Any(tolerances)
}

impl<T, L: Tolerances<T>> Tolerance<T> for All<L> {
    fn judge(&self, observed: &T) -> Judgement {
        decide(&self.0.list(), |part| part.judge(observed), [is_out, is_unknown])
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        decide(&self.0.list(), |part| part.judge_partial(observed, why), [is_out, is_unknown])
    }

    fn expected(&self) -> String {
        joined(&self.0.list(), " and ")
    }
}

impl<T, L: Tolerances<T>> Tolerance<T> for Any<L> {
    fn judge(&self, observed: &T) -> Judgement {
        decide(&self.0.list(), |part| part.judge(observed), [is_met, is_unknown])
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        decide(&self.0.list(), |part| part.judge_partial(observed, why), [is_met, is_unknown])
    }

    fn expected(&self) -> String {
        joined(&self.0.list(), " or ")
    }
}

fn is_out(outcome: &Outcome) -> bool {
    *outcome == Outcome::NotMet
}

fn is_met(outcome: &Outcome) -> bool {
    *outcome == Outcome::Met
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Inconclusive(_))
}

/// The first judgement that the first rule picks, else the second rule, else the last; nothing to judge is out.
fn decide<T>(
    parts: &[&dyn Tolerance<T>],
    judge: impl Fn(&dyn Tolerance<T>) -> Judgement,
    rules: [fn(&Outcome) -> bool; 2],
) -> Judgement {
    let judged: Vec<_> = parts.iter().map(|part| judge(*part)).collect();
    let picked = rules.iter().find_map(|rule| judged.iter().find(|j| rule(&j.outcome)));
    picked
        .or(judged.last())
        .cloned()
        .unwrap_or_else(|| Judgement::of(false, "not judged", "at least one tolerance", ("", "nothing to judge")))
}

fn joined<T>(parts: &[&dyn Tolerance<T>], word: &str) -> String {
    parts.iter().map(|part| part.expected()).collect::<Vec<_>>().join(word)
}

#[cfg(test)]
mod tests {
    use super::super::{at_least, at_most};
    use super::*;

    #[test]
    fn all_and_any_decide_by_the_strongest_part() {
        let narrow = all((at_least(1.0), at_most(2.0)));
        assert_eq!(narrow.judge(&1.5).outcome, Outcome::Met);
        assert_eq!(narrow.judge(&3.0).phrase(), "was 3, expected at most 2");
        let outside = any((at_most(1.0), at_least(2.0)));
        assert_eq!(outside.judge(&0.5).outcome, Outcome::Met);
        assert_eq!(outside.judge(&1.5).outcome, Outcome::NotMet);
        assert_eq!(Tolerance::<f64>::expected(&outside), "at most 1 or at least 2");
    }

    #[test]
    fn unknown_is_never_turned_into_met() {
        assert!(is_unknown(&not(at_most(1.0)).judge(&f64::NAN).outcome));
        let mixed = any((at_most(1.0), |_: &f64| false));
        assert!(is_unknown(&mixed.judge(&f64::NAN).outcome));
        assert_eq!(all(Vec::<Box<dyn Tolerance<f64>>>::new()).judge(&1.0).outcome, Outcome::NotMet);
        assert_eq!(any(Vec::<Box<dyn Tolerance<f64>>>::new()).judge(&1.0).outcome, Outcome::NotMet);
    }
}
