//! Tolerances on series of Prometheus, which Chaos Toolkit does not have: `growth`, `increase`, `rate`, `ratio`,
//! `quantile`.
//!
//! They are declared like Chaos Toolkit's own and judged on raw samples (`check.rs`). `docs/series-tolerances.md` shows
//! each of them.

mod check;

use serde_json::{Map, Number, Value};

use super::{Refused, shown};
use crate::document::py;

/// What of the series is judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Of {
    /// By how much a counter grew.
    Growth,
    /// By how much it grew since the first fault.
    Increase,
    /// How much it grew per second.
    Rate,
    /// The share of its growth in that of another selector's series.
    Ratio { whole: String },
    /// A quantile of a histogram, 0 to 1, of its buckets.
    Quantile { quantile: f64, interpolated: bool },
}

const KINDS: [&str; 5] = ["growth", "increase", "rate", "ratio", "quantile"];

pub(super) fn is_kind(name: &str) -> bool {
    KINDS.contains(&name)
}

pub(super) fn kinds() -> String {
    KINDS.join(", ")
}

impl Of {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::Increase => "increase",
            Self::Rate => "rate",
            Self::Ratio { .. } => "ratio",
            Self::Quantile { .. } => "quantile",
        }
    }
}

/// The bounds of a number; all that are given hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
    pub(crate) below: Option<f64>,
    pub(crate) above: Option<f64>,
}

impl Bounds {
    /// Whether a number that lies from `least` to `most` is within; `None` if only some of these are.
    pub(crate) fn hold(&self, (least, most): (f64, f64)) -> Option<bool> {
        let not_over = |value: f64| {
            self.at_most.is_none_or(|bound| value <= bound) && self.below.is_none_or(|bound| value < bound)
        };
        let not_under = |value: f64| {
            self.at_least.is_none_or(|bound| value >= bound) && self.above.is_none_or(|bound| value > bound)
        };
        if not_over(most) && not_under(least) {
            Some(true)
        } else if not_over(least) && not_under(most) {
            None
        } else {
            Some(false)
        }
    }

    /// In words: `at most 0, above 1`.
    pub(crate) fn shown(&self) -> String {
        let all =
            [("at most", self.at_most), ("at least", self.at_least), ("below", self.below), ("above", self.above)];
        let said: Vec<_> = all.iter().filter_map(|(word, bound)| Some(format!("{word} {}", (*bound)?))).collect();
        said.join(", ")
    }
}

/// A tolerance on series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesTolerance {
    pub(crate) of: Of,
    pub(crate) bounds: Bounds,
    /// The value where there are no such series and no target to ask.
    pub(crate) when_absent: Option<f64>,
    /// Series that end in the window are taken as they are.
    pub(crate) vanished_too: bool,
}

impl SeriesTolerance {
    pub(super) fn parse(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let name = mapping.get("type").and_then(Value::as_str).unwrap_or_default();
        let mut keys: Vec<&str> = vec!["type", "at_most", "at_least", "below", "above", "when_absent", "vanished_too"];
        let of = match name {
            "growth" => Of::Growth,
            "increase" => Of::Increase,
            "rate" => Of::Rate,
            "ratio" => {
                keys.push("of");
                let whole = mapping.get("of").and_then(Value::as_str).map(str::trim).filter(|it| !it.is_empty());
                let why = "a tolerance of type ratio needs `of`: the selector of the counter that it is a share of";
                Of::Ratio { whole: whole.ok_or_else(|| Refused::new("", why))?.to_owned() }
            }
            _ => {
                keys.extend(["quantile", "interpolated"]);
                let why = "a tolerance of type quantile needs `quantile`: a number from 0 to 1";
                let quantile = number(mapping, "quantile")?.filter(|it| (0.0..=1.0).contains(it));
                let quantile = quantile.ok_or_else(|| Refused::new("", why))?;
                Of::Quantile { quantile, interpolated: flag(mapping, "interpolated")? }
            }
        };
        if let Some(key) = mapping.keys().find(|key| !keys.contains(&key.as_str())) {
            let why = format!("a tolerance of type {name} has no key `{key}`");
            return Err(Refused { detail: Some(format!("there are {}", keys.join(", "))), ..Refused::new("", why) });
        }
        let bounds = Bounds {
            at_most: number(mapping, "at_most")?,
            at_least: number(mapping, "at_least")?,
            below: number(mapping, "below")?,
            above: number(mapping, "above")?,
        };
        if bounds == Bounds::default() {
            let why = format!("a tolerance of type {name} needs a bound: `at_most`, `at_least`, `below` or `above`");
            return Err(Refused::new("", why));
        }
        let low = bounds.at_least.into_iter().chain(bounds.above).reduce(f64::max);
        let high = bounds.at_most.into_iter().chain(bounds.below).reduce(f64::min);
        if low.zip(high).is_some_and(|(low, high)| low > high) {
            return Err(Refused::new("", format!("no number is {}", bounds.shown())));
        }
        let (when_absent, vanished_too) = (number(mapping, "when_absent")?, flag(mapping, "vanished_too")?);
        Ok(Self { of, bounds, when_absent, vanished_too })
    }
}

fn number(mapping: &Map<String, Value>, key: &'static str) -> Result<Option<f64>, Refused> {
    match mapping.get(key) {
        None => Ok(None),
        Some(value) => match value.as_number().and_then(Number::as_f64) {
            Some(number) => Ok(Some(number)),
            None => Err(Refused::new(key, format!("`{key}` must be a number, and is {}", shown(value)))),
        },
    }
}

fn flag(mapping: &Map<String, Value>, key: &'static str) -> Result<bool, Refused> {
    match mapping.get(key) {
        None => Ok(false),
        Some(Value::Bool(it)) => Ok(*it),
        Some(value) => {
            Err(Refused::new(key, format!("`{key}` must be true or false, and is {}", py::text::repr(value))))
        }
    }
}
