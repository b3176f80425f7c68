//! Decimal numbers of any size, compared exactly.

use std::cmp::Ordering;

use serde_json::Value;

/// A decimal number as Python's `Decimal` reads it. Floats are taken as the binary fractions that they are: the bound
/// 0.1 lies a little above the text `0.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// `±0.d₁d₂d₃… × 10^point`; the first and the last digit are not 0, and zero has no digits.
    Finite { negative: bool, digits: Vec<u8>, point: i64 },
    /// `Infinity`.
    Infinite { negative: bool },
    /// `NaN`, which has no order.
    NotANumber,
}

/// Exponents beyond this are refused by Python too.
const MOST_EXPONENT: i64 = 1_000_000_000_000_000_000;

/// Why a value is no decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDecimal {
    /// A text that is no number.
    Text,
    /// A type that cannot be one: Python dies of it.
    Type(&'static str),
}

impl Decimal {
    /// `Decimal(value)`.
    ///
    /// # Errors
    /// [`NotDecimal`]; also for digits of other scripts, which Python reads.
    pub(crate) fn of(value: &Value) -> Result<Self, NotDecimal> {
        match value {
            Value::Bool(it) => Ok(Self::plain(if *it { "1" } else { "0" })),
            Value::Number(number) => Ok(match number.as_f64() {
                Some(float) if number.is_f64() => Self::of_float(float),
                _ => Self::plain(&number.to_string()),
            }),
            Value::String(text) => Self::parse(text).ok_or(NotDecimal::Text),
            _ => Err(NotDecimal::Type(super::type_name(value))),
        }
    }

    /// No finite float has more than 1074 digits after its point, and with so many Rust prints it exactly.
    fn of_float(float: f64) -> Self {
        Self::plain(&format!("{float:.1074}"))
    }

    /// Of what is known to be a number.
    fn plain(text: &str) -> Self {
        Self::parse(text).unwrap_or(Self::NotANumber)
    }

    /// Of a text: blanks around it, underscores anywhere, a sign, an exponent, `Infinity`, `NaN`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text: String = text.trim_matches(super::is_space).chars().filter(|c| *c != '_').collect();
        let (negative, number) = match text.strip_prefix(['+', '-']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text.as_str()),
        };
        let lower = number.to_ascii_lowercase();
        if lower == "inf" || lower == "infinity" {
            return Some(Self::Infinite { negative });
        }
        let payload = lower.strip_prefix('s').unwrap_or(&lower).strip_prefix("nan");
        if payload.is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_digit())) {
            return Some(Self::NotANumber);
        }
        let (mantissa, exponent) = lower.split_once('e').map_or((lower.as_str(), None), |(m, e)| (m, Some(e)));
        let exponent = exponent.map_or(Some(0), whole)?;
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if before.len() + after.len() == 0 || !before.bytes().chain(after.bytes()).all(|c| c.is_ascii_digit()) {
            return None;
        }
        let digits: Vec<u8> = before.bytes().chain(after.bytes()).collect();
        let point = exponent.checked_add(i64::try_from(before.len()).ok()?)?;
        Some(Self::finite(negative, &digits, point))
    }

    fn finite(negative: bool, digits: &[u8], point: i64) -> Self {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        let end = digits.iter().rposition(|digit| *digit != b'0').map_or(zeros, |last| last + 1);
        let digits = digits.get(zeros..end).unwrap_or_default().to_vec();
        let point = if digits.is_empty() { 0 } else { point.saturating_sub(i64::try_from(zeros).unwrap_or(i64::MAX)) };
        // Zero has one sign only.
        Self::Finite { negative: negative && !digits.is_empty(), digits, point }
    }

    /// How one stands to the other; `None` if one is no number.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        let rank = |it: &Self| match it {
            Self::NotANumber => None,
            Self::Infinite { negative } => Some(if *negative { -2 } else { 2 }),
            Self::Finite { digits, .. } if digits.is_empty() => Some(0),
            Self::Finite { negative, .. } => Some(if *negative { -1 } else { 1 }),
        };
        let (a, b) = (rank(self)?, rank(other)?);
        let sizes = match (self, other) {
            (Self::Finite { digits: a, point: p, .. }, Self::Finite { digits: b, point: q, .. }) => {
                p.cmp(q).then_with(|| a.cmp(b))
            }
            _ => Ordering::Equal,
        };
        Some(a.cmp(&b).then(if a < 0 { sizes.reverse() } else { sizes }))
    }
}

/// The whole number of an exponent, if it is one that Python takes.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|it: &i64| it.abs() < MOST_EXPONENT)
}
