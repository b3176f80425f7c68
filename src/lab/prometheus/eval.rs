//! Evaluates queries: walks the parser's tree over the stored samples.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::token::T_SUM;
use promql_parser::parser::{AggregateExpr, Call, Expr, LabelModifier, MatrixSelector, Offset, VectorSelector};

use super::tsdb::{Labels, Sample, Tsdb, is_stale};

/// How far back an instant looks for a sample, in milliseconds.
const LOOKBACK: i64 = 5 * 60 * 1000;

/// Series with their samples.
pub(super) type Matrix = Vec<(Labels, Vec<Sample>)>;

/// What an expression is worth at an instant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Worth {
    Scalar(f64),
    Vector(Vec<(Labels, f64)>),
    Matrix(Matrix),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The query is wrong: 400.
    BadData(String),
    /// The query is right, but the lab cannot answer it: 422.
    Execution(String),
}

fn unknown(what: &str) -> Refusal {
    let known = "it knows selectors, ranges, offset, rate, increase and sum";
    Refusal::Execution(format!("the lab does not evaluate {what}; {known}"))
}

pub(super) fn parse(query: &str) -> Result<Expr, Refusal> {
    promql_parser::parser::parse(query)
        .map_err(|error| Refusal::BadData(format!("invalid parameter \"query\": 1:1: parse error: {error}")))
}

/// The worth of an expression at `at`, in milliseconds.
pub(super) fn evaluate(tsdb: &Tsdb, expr: &Expr, at: i64) -> Result<Worth, Refusal> {
    match expr {
        Expr::Paren(inner) => evaluate(tsdb, &inner.expr, at),
        Expr::NumberLiteral(number) => Ok(Worth::Scalar(number.val)),
        Expr::VectorSelector(selector) => Ok(Worth::Vector(instant(tsdb, selector, at)?)),
        Expr::MatrixSelector(selector) => Ok(Worth::Matrix(range(tsdb, selector, at)?.1)),
        Expr::Call(call) => function(tsdb, call, at),
        Expr::Aggregate(aggregate) => sum(tsdb, aggregate, at),
        Expr::Unary(_) => Err(unknown("unary operators")),
        Expr::Binary(binary) => Err(unknown(&format!("the operator \"{}\"", binary.op))),
        Expr::Subquery(_) => Err(unknown("subqueries")),
        Expr::StringLiteral(_) => Err(unknown("strings")),
        Expr::Extension(_) => Err(unknown("extensions")),
    }
}

fn shifted(selector: &VectorSelector, at: i64) -> Result<i64, Refusal> {
    if selector.at.is_some() {
        return Err(unknown("the modifier \"@\""));
    }
    let millis = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
    Ok(match &selector.offset {
        None => at,
        Some(Offset::Pos(back)) => at - millis(back),
        Some(Offset::Neg(ahead)) => at + millis(ahead),
    })
}

fn accepts(selector: &VectorSelector, labels: &Labels) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    let all = |matchers: &[promql_parser::label::Matcher]| matchers.iter().all(|m| m.is_match(value(&m.name)));
    let matchers = &selector.matchers;
    selector.name.as_ref().is_none_or(|name| value("__name__") == name)
        && all(&matchers.matchers)
        && (matchers.or_matchers.is_empty() || matchers.or_matchers.iter().any(|m| all(m)))
}

fn instant(tsdb: &Tsdb, selector: &VectorSelector, at: i64) -> Result<Vec<(Labels, f64)>, Refusal> {
    let at = shifted(selector, at)?;
    let found = tsdb.select(|labels| accepts(selector, labels), at - LOOKBACK, at);
    let newest = found.into_iter().filter_map(|(labels, samples)| Some((labels, samples.last()?.1)));
    Ok(newest.filter(|(_, value)| !is_stale(*value)).collect())
}

/// The window's end, and the samples in it.
fn range(tsdb: &Tsdb, selector: &MatrixSelector, at: i64) -> Result<(i64, Matrix), Refusal> {
    let at = shifted(&selector.vs, at)?;
    let first = at - i64::try_from(selector.range.as_millis()).unwrap_or(i64::MAX / 4);
    let mut found = tsdb.select(|labels| accepts(&selector.vs, labels), first, at);
    for (_, samples) in &mut found {
        samples.retain(|(_, value)| !is_stale(*value));
    }
    found.retain(|(_, samples)| !samples.is_empty());
    Ok((at, found))
}

fn function(tsdb: &Tsdb, call: &Call, at: i64) -> Result<Worth, Refusal> {
    let per_second = match call.func.name {
        "rate" => true,
        "increase" => false,
        other => return Err(unknown(&format!("the function \"{other}\""))),
    };
    let mut argument = call.args.args.first().map(|argument| &**argument);
    while let Some(Expr::Paren(inner)) = argument {
        argument = Some(&inner.expr);
    }
    let Some(Expr::MatrixSelector(selector)) = argument else {
        return Err(unknown(&format!("\"{}\" of anything but a selector with a range", call.func.name)));
    };
    let (end, found) = range(tsdb, selector, at)?;
    let grown = found.into_iter().filter_map(|(mut labels, samples)| {
        labels.remove("__name__");
        Some((labels, extrapolated(&samples, end, selector.range, per_second)?))
    });
    Ok(Worth::Vector(grown.collect()))
}

/// What `rate` and `increase` estimate, as Prometheus 2 does: the growth between the first and the last sample,
/// extended to the window's ends unless the samples begin or end well inside it.
#[expect(clippy::cast_precision_loss, reason = "milliseconds and counts of samples are small")]
fn extrapolated(samples: &[Sample], end: i64, range: Duration, per_second: bool) -> Option<f64> {
    let ((first_at, first), (last_at, last)) = (*samples.first()?, *samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let resets: f64 = samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let growth = last - first + resets;
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let start = end - i64::try_from(range.as_millis()).ok()?;
    let sampled = seconds(last_at - first_at);
    let average = sampled / (samples.len() - 1) as f64;
    let mut to_start = seconds(first_at - start);
    let to_end = seconds(end - last_at);
    if growth > 0.0 && first >= 0.0 {
        // A counter was never below nothing.
        to_start = to_start.min(sampled * (first / growth));
    }
    let extended = |gap: f64| if gap < average * 1.1 { gap } else { average / 2.0 };
    let factor = (sampled + extended(to_start) + extended(to_end)) / sampled;
    Some(growth * if per_second { factor / range.as_secs_f64() } else { factor })
}

fn sum(tsdb: &Tsdb, aggregate: &AggregateExpr, at: i64) -> Result<Worth, Refusal> {
    if aggregate.op.id() != T_SUM {
        return Err(unknown(&format!("the aggregation \"{}\"", aggregate.op)));
    }
    let Worth::Vector(vector) = evaluate(tsdb, &aggregate.expr, at)? else {
        return Err(Refusal::BadData(
            "invalid parameter \"query\": 1:1: parse error: expected type instant vector".into(),
        ));
    };
    let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
    for (mut labels, value) in vector {
        match &aggregate.modifier {
            None => labels.clear(),
            Some(LabelModifier::Include(kept)) => labels.retain(|name, _| kept.labels.contains(name)),
            Some(LabelModifier::Exclude(dropped)) => {
                labels.retain(|name, _| name != "__name__" && !dropped.labels.contains(name));
            }
        }
        *sums.entry(labels).or_default() += value;
    }
    Ok(Worth::Vector(sums.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        text.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// `x{a="1"}` is 1, 2, … 37 each second from second 84 on, `x{a="2"}` flat, and `y` has a reset.
    fn stored() -> Tsdb {
        let tsdb = Tsdb::default();
        for second in 0..=120_i32 {
            let at = i64::from(second) * 1000;
            if second >= 84 {
                tsdb.append(labels(&[("__name__", "x"), ("a", "1"), ("b", "p")]), at, f64::from(second - 83));
            }
            tsdb.append(labels(&[("__name__", "x"), ("a", "2"), ("b", "p")]), at, 5.0);
            tsdb.append(labels(&[("__name__", "y")]), at, f64::from(second % 50));
        }
        tsdb
    }

    fn ask(query: &str) -> Result<Worth, Refusal> {
        evaluate(&stored(), &parse(query)?, 120_000)
    }

    fn one(query: &str) -> f64 {
        match ask(query) {
            Ok(Worth::Vector(vector)) if vector.len() == 1 => vector[0].1,
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn selectors_match_as_prometheus_does() {
        assert_eq!(one(r#"x{a="1"}"#), 37.0);
        assert_eq!(one(r#"x{a!="1"}"#), 5.0);
        assert_eq!(one(r#"x{a=~"1|3"}"#), 37.0);
        assert_eq!(one(r#"x{a=~".",a!~"1"}"#), 5.0);
        assert_eq!(one(r#"{__name__="y",nope=""}"#), 20.0);
        assert_eq!(ask(r#"x{a=~"11"}"#), Ok(Worth::Vector(vec![])), "regular expressions are anchored");
        assert_eq!(ask(r#"x{nope="1"}"#), Ok(Worth::Vector(vec![])));
    }

    #[test]
    fn ranges_hold_raw_samples_and_offsets_move_them() {
        assert_eq!(one(r#"x{a="1"} offset 10s"#), 27.0);
        assert_eq!(ask(r#"x{a="1"} offset 1m"#), Ok(Worth::Vector(vec![])), "not born yet");
        let Ok(Worth::Matrix(matrix)) = ask(r#"x{a="1"}[2s] offset 10s"#) else { panic!() };
        assert_eq!(matrix[0].1, [(108_000, 25.0), (109_000, 26.0), (110_000, 27.0)]);
    }

    #[test]
    fn rates_extrapolate_and_see_resets() {
        // Born at 1 in the window, now 37: Prometheus 2.42 answers 36 and a bit, for the 1 is lost.
        let born = one(r#"increase(x{a="1"}[2m])"#);
        assert!((36.0..37.1).contains(&born), "{born}");
        assert_eq!(one(r#"increase(x{a="2"}[1m])"#), 0.0);
        assert_eq!(one(r#"rate(x{a="1"}[10s])"#), 1.0);
        let reset = one("increase(y[1m])");
        assert!((59.0..61.0).contains(&reset), "{reset}");
        assert_eq!(ask(r#"rate(x{a="1"}[500ms])"#), Ok(Worth::Vector(vec![])), "one sample is no rate");
    }

    #[test]
    fn sums_group_by_labels() {
        assert_eq!(one("sum(x)"), 42.0);
        assert_eq!(ask("sum by (b) (x)"), Ok(Worth::Vector(vec![(labels(&[("b", "p")]), 42.0)])));
        let Ok(Worth::Vector(by_a)) = ask("sum by (a) (rate(x[10s]))") else { panic!() };
        assert_eq!(by_a, [(labels(&[("a", "1")]), 1.0), (labels(&[("a", "2")]), 0.0)]);
        assert_eq!(ask("sum without (a) (x)"), ask("sum by (b) (x)"));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (query, named) in [
            ("avg(x)", "aggregation \"avg\""),
            ("histogram_quantile(0.9, x)", "function \"histogram_quantile\""),
            ("x + x", "operator \"+\""),
            ("-x", "unary"),
            ("max_over_time(x[5m:1m])", "max_over_time"),
            ("x @ 5", "\"@\""),
        ] {
            let Err(Refusal::Execution(why)) = ask(query) else { panic!("{query}") };
            assert!(why.contains(named), "{query}: {why}");
        }
        assert!(matches!(ask("sum by"), Err(Refusal::BadData(_))));
        assert!(matches!(ask("x{"), Err(Refusal::BadData(why)) if why.contains("parse error")));
    }

    #[test]
    fn a_series_that_ended_is_gone_at_once() {
        let tsdb = stored();
        tsdb.end(labels(&[("__name__", "y")]), 120_500);
        let at = |query: &str, at| evaluate(&tsdb, &parse(query).unwrap(), at);
        assert_eq!(at("y", 121_000), Ok(Worth::Vector(vec![])));
        assert!(matches!(at("y[2s]", 121_000), Ok(Worth::Matrix(matrix)) if matrix[0].1.len() == 2));
        assert!(matches!(at("y", 120_000), Ok(Worth::Vector(vector)) if vector.len() == 1));
    }
}
