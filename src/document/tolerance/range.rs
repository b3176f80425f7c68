//! `{"type": "range", "range": [low, high], "target": …}`: a number within two bounds, both included.

use serde_json::{Map, Value};

use super::{Judged, Refused, Target, kind, shown};
use crate::document::py::{Decimal, NotDecimal};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RangeTolerance {
    target: Target,
    bounds: [(Value, Decimal); 2],
}

impl RangeTolerance {
    pub(super) fn parse(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let range = mapping.get("range");
        let range =
            range.ok_or_else(|| Refused::new("", "hypothesis range probe tolerance must have a `range` key"))?;
        let refused = |why: &str| Refused::new("range", why);
        let bounds = range.as_array().ok_or_else(|| refused("hypothesis range must be a sequence"))?;
        let [low, high] = bounds.as_slice() else {
            return Err(refused("hypothesis range sequence must be made of two values"));
        };
        for (bound, which) in [(low, "lower"), (high, "upper")] {
            if !bound.is_number() && !bound.is_boolean() {
                return Err(refused(&format!("hypothesis range {which} boundary must be a number")));
            }
        }
        Self::unvalidated(mapping)
    }

    /// Bounds may be texts that are numbers, and more may follow.
    pub(super) fn unvalidated(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let bound = |at: usize| {
            let bound = mapping.get("range").and_then(|range| range.get(at));
            let bound = bound.ok_or_else(|| Refused::new("range", "a range has two bounds"))?;
            match Decimal::of(bound) {
                Ok(decimal) => Ok((bound.clone(), decimal)),
                Err(_) => Err(Refused::new("range", format!("the bound {} of a range is no number", shown(bound)))),
            }
        };
        Ok(Self { target: Target::of(mapping), bounds: [bound(0)?, bound(1)?] })
    }

    pub(super) fn judge(&self, output: &Value) -> Judged {
        let value = match self.target.of_value(output) {
            Ok(value) => value,
            Err(why) => return Judged::Raises(why),
        };
        let [(low, least), (high, most)] = &self.bounds;
        let number = match Decimal::of(value) {
            Ok(number) => number,
            Err(NotDecimal::Text) => return Judged::Missed(format!("{} is no number", shown(value))),
            Err(NotDecimal::Type(_)) => {
                let remedy = self.target.remedy(output, value);
                return Judged::Raises(format!(
                    "a range tolerance needs a number or text, got {}{remedy}",
                    kind(value)
                ));
            }
        };
        let within = || Some(least.compare(&number)?.is_le() && number.compare(most)?.is_le());
        match within() {
            Some(met) => {
                Judged::of(met, || format!("{} is not between {} and {}", shown(value), shown(low), shown(high)))
            }
            None => Judged::Raises(format!("{} cannot be compared with a range: it is not a number", shown(value))),
        }
    }
}
