//! Text and equality.

use std::borrow::Cow;
use std::fmt::Debug;

use regex::Regex;

use super::{Judgement, Tolerance, shortened};

/// Something that is text: a body, an output, a log.
#[diagnostic::on_unimplemented(
    message = "a tolerance for text cannot judge what this probe returns (`{Self}`)",
    label = "this probe returns no text",
    note = "a tolerance is picked by the probe's output: `contains(..)` and `matches(..)` for text, `status(..)` for HTTP responses, `at_most(..)`, `at_least(..)` and `between(..)` for numbers"
)]
pub trait AsText {
    /// The text; bytes that are no UTF-8 are replaced.
    fn text(&self) -> Cow<'_, str>;
}

impl AsText for String {
    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl AsText for &str {
    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

/// Expects a piece of text. See [`contains`].
#[derive(Clone, Debug)]
pub struct Contains(String);

/// Expects that the text contains `piece`.
#[must_use]
pub fn contains(piece: impl Into<String>) -> Contains {
    Contains(piece.into())
}

impl<T: AsText> Tolerance<T> for Contains {
    fn judge(&self, observed: &T) -> Judgement {
        let text = observed.text();
        let relation = ("contained", "not contained");
        Judgement::of(text.contains(&self.0), quoted(&text), &Tolerance::<T>::expected(self), relation)
    }

    fn expected(&self) -> String {
        format!("text that contains {:?}", self.0)
    }
}

/// Expects text of a pattern. See [`matches()`].
#[derive(Clone, Debug)]
pub struct Matches(Regex);

/// Expects that a part of the text matches the regular expression; anchor it with `^` and `$` for the whole.
///
/// # Panics
/// The pattern is no regular expression: the panic names where it goes wrong.
#[must_use]
#[track_caller]
pub fn matches(pattern: &str) -> Matches {
    match Regex::new(pattern) {
        Ok(regex) => Matches(regex),
        Err(error) => panic!("matches({pattern:?}): {error}"),
    }
}

impl<T: AsText> Tolerance<T> for Matches {
    fn judge(&self, observed: &T) -> Judgement {
        let text = observed.text();
        let relation = ("matched", "not matched");
        Judgement::of(self.0.is_match(&text), quoted(&text), &Tolerance::<T>::expected(self), relation)
    }

    fn expected(&self) -> String {
        format!("text that matches /{}/", self.0)
    }
}

/// Expects one value. See [`equals`].
#[derive(Clone, Debug)]
pub struct Equals<V>(V);

/// Expects a value equal to `value`.
#[must_use]
pub fn equals<V>(value: V) -> Equals<V> {
    Equals(value)
}

impl<T, V> Tolerance<T> for Equals<V>
where
    T: PartialEq<V> + Debug,
    V: Debug + Send + Sync,
{
    fn judge(&self, observed: &T) -> Judgement {
        let seen = shortened(&format!("{observed:?}"));
        Judgement::of(*observed == self.0, seen, &Tolerance::<T>::expected(self), ("equal", "not equal"))
    }

    fn expected(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Expects one of several values. See [`one_of`].
#[derive(Clone, Debug)]
pub struct OneOf<V>(Vec<V>);

/// Expects a value equal to one of `values`. An empty list accepts nothing.
#[must_use]
pub fn one_of<V>(values: impl IntoIterator<Item = V>) -> OneOf<V> {
    OneOf(values.into_iter().collect())
}

impl<T, V> Tolerance<T> for OneOf<V>
where
    T: PartialEq<V> + Debug,
    V: Debug + Send + Sync,
{
    fn judge(&self, observed: &T) -> Judgement {
        let seen = shortened(&format!("{observed:?}"));
        let met = self.0.iter().any(|value| observed == value);
        Judgement::of(met, seen, &Tolerance::<T>::expected(self), ("listed", "not listed"))
    }

    fn expected(&self) -> String {
        format!("one of {:?}", self.0)
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn text_explains_itself() {
        let log = String::from("GET / 200");
        assert_eq!(contains("GET /").judge(&log).outcome, Outcome::Met);
        assert_eq!(contains("POST").judge(&log).phrase(), r#"was "GET / 200", expected text that contains "POST""#);
        assert_eq!(matches("^GET .* 200$").judge(&log).outcome, Outcome::Met);
        assert_eq!(matches("500").judge(&log).relation, "not matched");
    }

    #[test]
    fn values_are_compared_by_equality() {
        assert_eq!(equals(3).judge(&3).outcome, Outcome::Met);
        assert_eq!(equals("a").judge(&String::from("b")).phrase(), r#"was "b", expected "a""#);
        assert_eq!(one_of([200, 204]).judge(&204).outcome, Outcome::Met);
        assert_eq!(one_of(Vec::<i32>::new()).judge(&204).outcome, Outcome::NotMet);
    }

    #[test]
    fn a_long_text_is_cut() {
        let phrase = contains("x").judge(&"ä".repeat(5000)).phrase();
        assert!(phrase.len() < 1000 && phrase.contains("10000 bytes in all"), "{phrase}");
    }

    #[test]
    #[should_panic(expected = "unclosed group")]
    fn a_pattern_that_is_none_says_where() {
        let _ = matches("(a");
    }
}
