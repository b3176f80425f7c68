//! Series tolerances, as the checks of this crate that they are: raw samples, a fresh scrape, windows from event to event.

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr};

use super::{Bounds, Of, SeriesTolerance};
use crate::experiment::{Check, Probe};
use crate::journal::Reason;
use crate::prometheus::{Counter, Histogram, Prometheus, ratio};
use crate::tolerance::{AsNumber, Judgement, Tolerance};

impl SeriesTolerance {
    /// The check of a query's series. `gate` says that it is asked before the method: there a counter that nobody has
    /// counted yet has not grown, since the gate alone is never a verdict.
    ///
    /// # Errors
    /// The query selects no series by itself: an expression has no samples of its own.
    pub(crate) fn check(&self, prometheus: &Prometheus, query: &str, gate: bool) -> Result<Box<dyn Check>, String> {
        let bounds = self.bounds.clone();
        let absent = self.when_absent.or(gate.then_some(0.0));
        let counter = || selected(prometheus, query, Prometheus::counter, Labels::of_counter);
        Ok(match &self.of {
            Of::Growth | Of::Increase => {
                let counter = counter()?;
                let mut growth = if self.of == Of::Growth { counter.growth() } else { counter.increase() };
                if let Some(absent) = absent {
                    growth = growth.or_when_absent(absent);
                }
                if self.vanished_too {
                    growth = growth.vanished_too();
                }
                Box::new(growth.expect(bounds))
            }
            Of::Rate => {
                let mut rate = counter()?.rate();
                if let Some(absent) = absent {
                    rate = rate.or_when_absent(absent);
                }
                if self.vanished_too {
                    rate = rate.vanished_too();
                }
                Box::new(rate.expect(bounds))
            }
            Of::Ratio { whole } => {
                let whole = selected(prometheus, whole, Prometheus::counter, Labels::of_counter)?;
                let share = ratio(&counter()?, &whole);
                Box::new(if self.vanished_too { share.vanished_too() } else { share }.expect(bounds))
            }
            Of::Quantile { quantile, interpolated } => {
                let histogram = selected(prometheus, query, Prometheus::histogram, Labels::of_histogram)?;
                let quantile = histogram.quantile(*quantile);
                Box::new(if *interpolated { quantile.interpolated() } else { quantile }.expect(bounds))
            }
        })
    }
}

/// How a label is added to a selection.
struct Labels<T> {
    equal: fn(T, &str, &str) -> T,
    not_equal: fn(T, &str, &str) -> T,
    matching: fn(T, &str, &str) -> T,
    not_matching: fn(T, &str, &str) -> T,
}

impl Labels<Counter> {
    fn of_counter() -> Self {
        Self {
            equal: Counter::label,
            not_equal: Counter::not_label,
            matching: Counter::matching,
            not_matching: Counter::not_matching,
        }
    }
}

impl Labels<Histogram> {
    fn of_histogram() -> Self {
        Self {
            equal: Histogram::label,
            not_equal: Histogram::not_label,
            matching: Histogram::matching,
            not_matching: Histogram::not_matching,
        }
    }
}

/// The selection that a selector's text means.
fn selected<T>(
    prometheus: &Prometheus,
    query: &str,
    named: fn(&Prometheus, &str) -> T,
    labels: fn() -> Labels<T>,
) -> Result<T, String> {
    let no_selector = |why: &str| {
        format!("{query:?} {why}; a tolerance on series needs a selector, such as failed_call_total{{job=\"front\"}}")
    };
    let expression = parser::parse(query).map_err(|error| no_selector(&format!("is no PromQL ({error})")))?;
    let Expr::VectorSelector(selector) = expression else { return Err(no_selector("is an expression")) };
    if selector.offset.is_some() || selector.at.is_some() || !selector.matchers.or_matchers.is_empty() {
        return Err(no_selector("has an offset, an @ or an `or`"));
    }
    let Some(name) = &selector.name else { return Err(no_selector("names no metric")) };
    // A histogram is asked for by the name of its buckets or by its own.
    let name =
        name.strip_suffix("_bucket").filter(|_| std::any::type_name::<T>().ends_with("Histogram")).unwrap_or(name);
    let labels = labels();
    Ok(selector.matchers.matchers.iter().fold(named(prometheus, name), |series, matcher| {
        let add = match &matcher.op {
            MatchOp::Equal => labels.equal,
            MatchOp::NotEqual => labels.not_equal,
            MatchOp::Re(_) => labels.matching,
            MatchOp::NotRe(_) => labels.not_matching,
        };
        add(series, &matcher.name, &matcher.value)
    }))
}

impl Bounds {
    fn judgement<T: AsNumber>(&self, observed: &T, between: (f64, f64), why: Option<&Reason>) -> Judgement {
        let expected = self.shown();
        if observed.number().is_nan() {
            return Judgement::inconclusive(Reason::NotANumber { what: observed.shown() }, &expected);
        }
        match (self.hold(between), why) {
            (Some(met), _) => {
                let low = self.at_least.is_some_and(|bound| between.1 < bound)
                    || self.above.is_some_and(|bound| between.1 <= bound);
                let outside = if low { "below" } else { observed.above() };
                Judgement::of(met, observed.shown(), &expected, ("within", outside))
            }
            (None, Some(why)) => Judgement::inconclusive(why.clone(), &expected),
            (None, None) => {
                let why = format!("it lies between {} and {}", between.0, between.1);
                Judgement::inconclusive(Reason::NoData { what: observed.shown(), why }, &expected)
            }
        }
    }
}

impl<T: AsNumber> Tolerance<T> for Bounds {
    fn judge(&self, observed: &T) -> Judgement {
        self.judgement(observed, (observed.number(), observed.number()), None)
    }

    fn judge_partial(&self, observed: &T, why: &Reason) -> Judgement {
        self.judgement(observed, observed.bounds(), Some(why))
    }

    fn expected(&self) -> String {
        self.shown()
    }
}
