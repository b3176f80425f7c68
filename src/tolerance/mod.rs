//! Three-valued outcomes, and every tolerance.
//!
//! A [`Tolerance`] decides whether what a probe saw is acceptable, and says so in one phrase:
//! `was 503, expected status 200`. A tolerance reads what it needs through a small view
//! ([`AsStatus`], [`AsNumber`], [`AsText`], [`AsJson`]), so one that does not fit its probe does not compile.
//! Used by checks; promises never to turn "no value" into "met".

mod combine;
mod json;
mod number;
mod status;
mod text;

use serde::{Deserialize, Serialize};

use crate::journal::{Bound as Line, Reason};

pub use combine::{All, Any, Not, Tolerances, all, any, not};
pub use json::{AsJson, JsonPath, json_path};
pub use number::{AsNumber, AtLeast, AtMost, Between, Bound, Time, Unit, Unitless, at_least, at_most, between};
pub use status::{AsStatus, Status, status};
pub use text::{AsText, Contains, Equals, Matches, OneOf, contains, equals, matches, one_of};

/// What a tolerance makes of an observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Within tolerance.
    Met,
    /// Out of tolerance.
    NotMet,
    /// Not known, and why.
    Inconclusive(Reason),
    /// The check means nothing in this phase; it counts neither way.
    NotApplicable,
}

/// An outcome and its explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The outcome.
    pub outcome: Outcome,
    /// What was seen: `503`.
    pub seen: String,
    /// What was expected: `status 200`.
    pub expected: String,
    /// How the observation stands to the bound, without any quantity: `within`, `above`, `grew`.
    pub relation: String,
}

impl Judgement {
    /// Within tolerance if `met`, else out of it; `relation` holds the word for either.
    #[must_use]
    pub fn of(met: bool, seen: impl std::fmt::Display, expected: &str, relation: (&str, &str)) -> Self {
        Self {
            outcome: if met { Outcome::Met } else { Outcome::NotMet },
            seen: seen.to_string(),
            expected: expected.to_owned(),
            relation: if met { relation.0 } else { relation.1 }.to_owned(),
        }
    }

    /// Not known, and why.
    #[must_use]
    pub fn inconclusive(reason: Reason, expected: &str) -> Self {
        let seen = reason.to_string();
        Self { outcome: Outcome::Inconclusive(reason), seen, expected: expected.to_owned(), relation: "unknown".into() }
    }

    /// Nothing is meant here.
    #[must_use]
    pub fn not_applicable(expected: &str) -> Self {
        let (seen, relation) = (String::new(), "not applicable".to_owned());
        Self { outcome: Outcome::NotApplicable, seen, expected: expected.to_owned(), relation }
    }

    /// As it is, with why it does not apply.
    #[cfg(feature = "cli")]
    pub(crate) fn because(self, why: String) -> Self {
        Self { seen: why, ..self }
    }

    /// The judgement in one phrase: `was 503, expected status 200`.
    #[must_use]
    pub fn phrase(&self) -> String {
        match &self.outcome {
            Outcome::Met => format!("was {}, as expected ({})", self.seen, self.expected),
            Outcome::NotMet => format!("was {}, expected {}", self.seen, self.expected),
            Outcome::Inconclusive(reason) => format!("{reason}; expected {}", self.expected),
            Outcome::NotApplicable if self.seen.is_empty() => "does not apply here".to_owned(),
            Outcome::NotApplicable => format!("does not apply here: {}", self.seen),
        }
    }
}

/// Decides whether what a probe saw is acceptable.
///
/// Closures `Fn(&T) -> bool` are tolerances too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot judge what this probe returns (`{T}`)",
    label = "this tolerance reads something else",
    note = "a tolerance is picked by the probe's output: `status(..)` for HTTP responses, `at_most(..)`, `at_least(..)` and `between(..)` for numbers, `contains(..)` and `matches(..)` for text, `json_path(..)` for JSON, or a closure that returns `bool`",
    note = "a latency is judged by a duration, `at_most(millis(500))`; what is no time by a number"
)]
pub trait Tolerance<T: ?Sized>: Send + Sync {
    /// Judges one observation.
    fn judge(&self, observed: &T) -> Judgement;

    /// Judges an observation of which only bounds are known, as `why` says: not known, unless the tolerance can
    /// decide by the bounds.
    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        let _ = observed;
        Judgement::inconclusive(why.clone(), &self.expected())
    }

    /// The lines that values should not cross, for reports; none where what it expects is no line.
    fn bounds(&self) -> Vec<Line> {
        Vec::new()
    }

    /// What is expected, in a few words: `status 200`.
    fn expected(&self) -> String {
        "that the closure accepts it".to_owned()
    }
}

impl<T, F> Tolerance<T> for F
where
    F: Fn(&T) -> bool + Send + Sync,
    T: std::fmt::Debug,
{
    fn judge(&self, observed: &T) -> Judgement {
        let relation = ("accepted", "not accepted");
        Judgement::of(self(observed), shortened(&format!("{observed:?}")), &Tolerance::<T>::expected(self), relation)
    }
}

/// The first 200 characters, so that one huge body does not fill a report.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
