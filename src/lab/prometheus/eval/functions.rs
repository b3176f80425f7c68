//! Function calls, and the functions of single values.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Call, Expr};

use super::select::number;
use super::{Engine, Series, Value, dates, distinct, execution, mapped};
use crate::lab::prometheus::labels::NAME;
use crate::lab::prometheus::promql::{Refusal, matchers};
use crate::lab::prometheus::tsdb::Labels;

/// A function of one value.
fn simple(function: &str) -> Option<fn(f64) -> f64> {
    Some(match function {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Go's `math.Min`: what is no number wins, but not against the least that there is.
fn least(a: f64, b: f64) -> f64 {
    match (a, b) {
        (f64::NEG_INFINITY, _) | (_, f64::NEG_INFINITY) => f64::NEG_INFINITY,
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        // Of the two zeros the negative one is less.
        _ if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => a.min(b),
    }
}

/// Go's `math.Max`.
fn most(a: f64, b: f64) -> f64 {
    -least(-a, -b)
}

pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(inner) = expr {
        expr = &inner.expr;
    }
    expr
}

impl Engine<'_> {
    pub(super) fn call(&self, call: &Call) -> Result<Value, Refusal> {
        let function = call.func.name;
        let arguments: Vec<&Expr> = call.args.args.iter().map(|argument| &**argument).collect();
        let at = |n: usize| -> Result<&Expr, Refusal> {
            arguments.get(n).map_or_else(|| execution(format!("an argument of {function} is missing")), |e| Ok(*e))
        };
        if let Some(of) = simple(function) {
            return Ok(Value::Vector(distinct(mapped(self.vector(at(0)?)?, of))?));
        }
        if let Some(of) = dates::part(function) {
            return Ok(Value::Vector(match arguments.first() {
                Some(argument) => distinct(mapped(self.vector(argument)?, of))?,
                None => {
                    let times = self.times().into_iter().map(of);
                    vec![Series { labels: Labels::default(), points: (0_u32..).zip(times).collect() }]
                }
            }));
        }
        Ok(match function {
            "pi" => Value::Scalar(vec![std::f64::consts::PI; self.steps.count]),
            "time" => Value::Scalar(self.times()),
            "scalar" => Value::Scalar(self.only_value(&self.vector(at(0)?)?)),
            "vector" => {
                let points = (0_u32..).zip(self.scalar(at(0)?)?).collect();
                Value::Vector(vec![Series { labels: Labels::default(), points }])
            }
            "timestamp" => Value::Vector(distinct(self.timestamps(at(0)?)?)?),
            "absent" => Value::Vector(self.absent(at(0)?)?),
            "absent_over_time" => Value::Vector(self.absent_over_time(at(0)?)?),
            "sort" | "sort_desc" => Value::Vector(self.sorted(self.vector(at(0)?)?, function == "sort")),
            "clamp" | "clamp_min" | "clamp_max" => Value::Vector(self.clamped(function, &arguments)?),
            "round" => {
                let to = match arguments.get(1) {
                    Some(to) => self.scalar(to)?,
                    None => vec![1.0; self.steps.count],
                };
                let of = |step: usize, value: f64| {
                    let inverse = 1.0 / to[step];
                    Some((value * inverse + 0.5).floor() / inverse)
                };
                Value::Vector(by_step(self.vector(at(0)?)?, of)?)
            }
            "histogram_quantile" => {
                let ranks = self.scalar(at(0)?)?;
                Value::Vector(self.histogram_quantile(&ranks, self.vector(at(1)?)?))
            }
            // They know native histograms only, and none is ever stored here.
            "histogram_count" | "histogram_sum" => {
                self.vector(at(0)?)?;
                Value::Vector(vec![])
            }
            "histogram_fraction" => {
                self.vector(at(2)?)?;
                Value::Vector(vec![])
            }
            "label_replace" => {
                let texts = self.strings(&arguments[1..])?;
                Value::Vector(super::labels::replace(self.vector(at(0)?)?, &texts)?)
            }
            "label_join" => {
                let texts = self.strings(&arguments[1..])?;
                Value::Vector(super::labels::join(self.vector(at(0)?)?, &texts)?)
            }
            "quantile_over_time" => {
                let rank = self.scalar(at(0)?)?;
                Value::Vector(self.range_function(function, self.ranged(at(1)?)?, &[rank])?)
            }
            _ => {
                let scalars = arguments.iter().skip(1).map(|argument| self.scalar(argument));
                let scalars = scalars.collect::<Result<Vec<_>, _>>()?;
                Value::Vector(self.range_function(function, self.ranged(at(0)?)?, &scalars)?)
            }
        })
    }

    fn strings(&self, arguments: &[&Expr]) -> Result<Vec<String>, Refusal> {
        arguments.iter().map(|argument| self.string(argument)).collect()
    }

    /// The time of each step, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit")]
    fn times(&self) -> Vec<f64> {
        (0..self.steps.count).map(|step| self.steps.time(step) as f64 / 1000.0).collect()
    }

    /// At each step the value of the one series that there is.
    fn only_value(&self, series: &[Series]) -> Vec<f64> {
        let mut found: Vec<(u32, f64)> = vec![(0, f64::NAN); self.steps.count];
        for &(step, value) in series.iter().flat_map(|series| &series.points) {
            let place = &mut found[step as usize];
            *place = (place.0 + 1, value);
        }
        found.into_iter().map(|(count, value)| if count == 1 { value } else { f64::NAN }).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit")]
    fn timestamps(&self, expr: &Expr) -> Result<Vec<Series>, Refusal> {
        // Of a plain selector it is the sample's own time; of anything else, the step's.
        if let Expr::VectorSelector(selector) = bare(expr) {
            return Ok(mapped(self.newest(selector, |time, _| time as f64 / 1000.0)?, |time| time));
        }
        let times = self.times();
        by_step(self.vector(expr)?, |step, _| Some(times[step]))
    }

    fn absent(&self, expr: &Expr) -> Result<Vec<Series>, Refusal> {
        let series = self.vector(expr)?;
        let labels = match bare(expr) {
            Expr::VectorSelector(selector) => wanted(&matchers(selector)),
            _ => Labels::default(),
        };
        Ok(self.where_there_is_none(&series, labels))
    }

    fn absent_over_time(&self, expr: &Expr) -> Result<Vec<Series>, Refusal> {
        let series = self.over_windows(self.ranged(expr)?, |_| Some(1.0))?;
        let labels = match bare(expr) {
            Expr::MatrixSelector(selector) => wanted(&matchers(&selector.vs)),
            _ => Labels::default(),
        };
        Ok(self.where_there_is_none(&series, labels))
    }

    fn where_there_is_none(&self, series: &[Series], labels: Labels) -> Vec<Series> {
        let mut absent = vec![true; self.steps.count];
        for (step, _) in series.iter().flat_map(|series| &series.points) {
            absent[*step as usize] = false;
        }
        let steps = absent.into_iter().enumerate().filter(|(_, absent)| *absent);
        let points: Vec<(u32, f64)> = steps.map(|(step, _)| (number(step), 1.0)).collect();
        if points.is_empty() { vec![] } else { vec![Series { labels, points }] }
    }

    /// In the order of the values at the first step; for a range that order means nothing.
    fn sorted(&self, mut series: Vec<Series>, ascending: bool) -> Vec<Series> {
        if self.steps.count == 1 {
            let value = |series: &Series| series.points.first().map_or(f64::NAN, |(_, value)| *value);
            series.sort_by(|a, b| {
                let (a, b) = (value(a), value(b));
                let order = if ascending { a.partial_cmp(&b) } else { b.partial_cmp(&a) };
                // What is no number is last either way.
                order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            });
        }
        series
    }

    fn clamped(&self, function: &str, arguments: &[&Expr]) -> Result<Vec<Series>, Refusal> {
        let [vector, bounds @ ..] = arguments else { return execution("an argument is missing") };
        let series = self.vector(vector)?;
        let bounds = bounds.iter().map(|bound| self.scalar(bound)).collect::<Result<Vec<_>, _>>()?;
        let bound = |n: usize, step: usize| bounds.get(n).and_then(|b| b.get(step)).copied().unwrap_or(f64::NAN);
        by_step(series, |step, value| match function {
            "clamp_min" => Some(most(bound(0, step), value)),
            "clamp_max" => Some(least(bound(0, step), value)),
            _ => {
                let (low, high) = (bound(0, step), bound(1, step));
                (high >= low || low.is_nan() || high.is_nan()).then(|| most(low, least(high, value)))
            }
        })
    }
}

/// A function of the step's number and the value; the result has no name.
fn by_step(series: Vec<Series>, of: impl Fn(usize, f64) -> Option<f64>) -> Result<Vec<Series>, Refusal> {
    let one = |series: Series| {
        let points = series.points.into_iter().filter_map(|(step, value)| Some((step, of(step as usize, value)?)));
        Series { labels: series.labels.without_name(), points: points.collect() }
    };
    distinct(series.into_iter().map(one).filter(|series| !series.points.is_empty()).collect())
}

/// The labels that a series must have to be found: those that are asked for once, by equality.
fn wanted(matchers: &[Matcher]) -> Labels {
    let mut labels = Labels::default();
    let mut seen = std::collections::BTreeSet::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != NAME) {
        let first = matches!(matcher.op, MatchOp::Equal) && seen.insert(matcher.name.clone());
        labels = labels.with(&matcher.name, if first { &matcher.value } else { "" });
    }
    labels
}
