//! What is wrong with a check of series before anything is touched.

use std::time::Duration;

use promql_parser::parser::token::TokenType;
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self, Expr};
use serde_json::Value;

use super::Prometheus;
use super::client::NoData;
use super::selection::{JOB, Selection};
use super::settle::{Settle, Watched};
use crate::BoxError;
use crate::experiment::{Phase, Remarks, Scene};

/// What a metric must be for a check to make sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// The most names of a server that are looked through; of one that has more, nothing is said.
const MOST_NAMES: usize = 100_000;

/// How many slips away a name may be that was meant.
const FAR: usize = 3;

/// Functions that make sense of counters alone.
const OF_COUNTERS: &[&str] = &["rate", "increase", "irate", "resets"];

/// Of a metric by its name and labels: whether a window holds two scrapes, whether it is what it is taken for, and
/// whether its target can be told.
pub(super) async fn selection(
    selection: &Selection,
    scene: &Scene,
    taken_for: Type,
    window: Option<Duration>,
) -> Result<Vec<String>, BoxError> {
    let mut notes = Vec::new();
    if selection.up().is_none() {
        notes.push(format!(
            "{} names no `{JOB}`: whether its target is scraped cannot be known, and an absent series is inconclusive",
            selection.shown()
        ));
    }
    let watched = Watched::of(selection);
    let settle = Settle::new(&selection.prometheus, scene, &selection.query(), watched).await;
    let settle = match settle {
        Ok(settle) => settle,
        Err(error) => return silent(error, notes),
    };
    if let Some(window) = window.filter(|_| settle.knows_interval()) {
        two_scrapes(&selection.shown(), window, settle.interval())?;
    }
    match types(&selection.prometheus, scene, selection.name()).await {
        Ok(types) => wrong_type(&selection.shown(), taken_for, &types)?,
        Err(error) => return silent(error, notes),
    }
    Ok(notes)
}

/// A server that does not answer now may do so later; one that cannot be asked at all cannot.
fn silent(error: NoData, mut notes: Vec<String>) -> Result<Vec<String>, BoxError> {
    match error {
        NoData::Error(error) => Err(error),
        NoData::Inconclusive(reason) => {
            notes.push(format!("not examined: {reason}"));
            Ok(notes)
        }
    }
}

fn two_scrapes(what: &str, window: Duration, interval: f64) -> Result<(), BoxError> {
    if window.as_secs_f64() < 2.0 * interval {
        let least = 2.0 * interval;
        return Err(format!(
            "{what} over {window:?} never has two samples: it is scraped every {interval} s; use at least {least} s"
        )
        .into());
    }
    Ok(())
}

fn wrong_type(what: &str, taken_for: Type, types: &[String]) -> Result<(), BoxError> {
    let is = |name: &str| types.iter().any(|known| known == name);
    match taken_for {
        Type::Counter if is("gauge") => {
            Err(format!("{what} is a gauge, which falls as well as rises: its growth means nothing; use `.gauge(..)`")
                .into())
        }
        Type::Gauge if is("counter") => Err(format!(
            "{what} is a counter, whose value by itself means nothing; use `.counter(..)` and its growth or rate"
        )
        .into()),
        Type::Histogram if !types.is_empty() && !is("histogram") && !is("unknown") && !is("untyped") => {
            Err(format!("{what} is a {}, not a histogram", types.join(" or ")).into())
        }
        _ => Ok(()),
    }
}

/// What targets say that a metric is; nothing where no target says anything.
async fn types(prometheus: &Prometheus, scene: &Scene, name: &str) -> Result<Vec<String>, NoData> {
    // OpenMetrics names a counter without its suffix.
    let all = prometheus.ask(scene, "/api/v1/metadata", &[]).await?;
    let named = [Some(name), name.strip_suffix("_total")].into_iter().flatten();
    let entries = named.filter_map(|name| all[name].as_array()).flatten();
    Ok(entries.filter_map(|entry| entry["type"].as_str()).map(str::to_owned).collect())
}

/// That the server has no sample of a name, of this run or before, with the name that may be meant; under the fault, where
/// absence counts as no growth. Silent where the server does not say.
pub(super) async fn unheard(prometheus: &Prometheus, scene: &Scene, name: &str) -> Option<String> {
    let Phase::Fault { .. } = scene.phase else { return None };
    // What the server says of this question is nothing about the check.
    let beside = Scene { remarks: Remarks::default(), ..scene.clone() };
    let told = prometheus.ask(&beside, "/api/v1/label/__name__/values", &[]).await.ok()?;
    let known: Vec<&str> = told.as_array()?.iter().filter_map(Value::as_str).take(MOST_NAMES).collect();
    if known.is_empty() || known.len() == MOST_NAMES || known.contains(&name) {
        return None;
    }
    // Only names of about its length are compared.
    let near = known.iter().filter(|known| known.len().abs_diff(name.len()) <= FAR);
    let near = near.map(|known| (strsim::osa_distance(name, known), *known)).min();
    let meant = near.filter(|(far, _)| *far <= FAR.min(name.len() / 3));
    let meant = meant.map(|(_, meant)| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Some(format!("no scrape had a sample of {name}, in this run or before{meant}"))
}

/// Whether a query parses and can be judged; the error names it and what is wrong.
pub(super) fn query(query: &str) -> Result<(), BoxError> {
    let wrong = |why: &str| Err(format!("the query {query:?} {why}").into());
    let expr = match parser::parse(query) {
        Ok(expr) => expr,
        Err(error) => return wrong(&format!("does not parse: {}", super::blame::why(query, &error))),
    };
    match expr.value_type() {
        ValueType::Matrix => return wrong("is a range of samples: put a function such as increase() around it"),
        ValueType::String => return wrong("is a text"),
        ValueType::Vector | ValueType::Scalar => {}
    }
    if let Some(comparison) = filter(&expr) {
        return wrong(&format!(
            "compares with `{comparison}`, which leaves nothing where it does not hold: let a tolerance compare, or say `{comparison} bool`"
        ));
    }
    Ok(())
}

/// The operator of a comparison that drops series, at the top of an expression.
fn filter(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Paren(inner) => filter(&inner.expr),
        Expr::Binary(inner) => {
            let operator: TokenType = inner.op;
            let drops = operator.is_comparison_operator() && !inner.return_bool();
            let vectors = [&inner.lhs, &inner.rhs].iter().any(|side| side.value_type() == ValueType::Vector);
            (drops && vectors).then(|| operator.to_string())
        }
        _ => None,
    }
}

/// Of a query: whether each of its windows holds two scrapes, and whether functions of counters are given counters.
pub(super) async fn of_query(prometheus: &Prometheus, scene: &Scene, text: &str) -> Result<Vec<String>, BoxError> {
    let mut notes = Vec::new();
    let Ok(expr) = parser::parse(text) else { return Ok(notes) };
    for watched in super::value::watched(text) {
        if !watched.names_job {
            let query = &watched.query;
            notes.push(format!("{query} names no `{JOB}`: whether its target is scraped cannot be known"));
        }
        let interval = match Settle::new(prometheus, scene, text, watched).await {
            Ok(settle) if settle.knows_interval() => settle.interval(),
            Ok(_) => continue,
            Err(error) => return silent(error, notes),
        };
        let mut shortest: Option<Duration> = None;
        each_range(&expr, &mut |range| shortest = Some(shortest.map_or(range, |known| known.min(range))));
        if let Some(shortest) = shortest {
            two_scrapes(&format!("the query {text:?}"), shortest, interval)?;
        }
    }
    let mut counted = Vec::new();
    each_call(&expr, &mut |function, argument| {
        if let (true, Expr::MatrixSelector(range)) = (OF_COUNTERS.contains(&function), argument) {
            counted.extend(range.vs.name.clone());
        }
    });
    for name in counted {
        match types(prometheus, scene, &name).await {
            Ok(types) => wrong_type(&name, Type::Counter, &types)?,
            Err(error) => return silent(error, notes),
        }
    }
    Ok(notes)
}

/// Every range of samples of an expression, but not those of subqueries, whose samples are not scrapes.
fn each_range(expr: &Expr, see: &mut impl FnMut(Duration)) {
    each(expr, &mut |expr| {
        if let Expr::MatrixSelector(selected) = expr {
            see(selected.range);
        }
    });
}

fn each_call(expr: &Expr, see: &mut impl FnMut(&str, &Expr)) {
    each(expr, &mut |expr| {
        if let Expr::Call(call) = expr {
            call.args.args.iter().for_each(|argument| see(call.func.name, argument));
        }
    });
}

/// An expression and all within it.
pub(super) fn each(expr: &Expr, see: &mut impl FnMut(&Expr)) {
    see(expr);
    match expr {
        Expr::Aggregate(inner) => {
            each(&inner.expr, see);
            if let Some(param) = &inner.param {
                each(param, see);
            }
        }
        Expr::Unary(inner) => each(&inner.expr, see),
        Expr::Binary(inner) => {
            each(&inner.lhs, see);
            each(&inner.rhs, see);
        }
        Expr::Paren(inner) => each(&inner.expr, see),
        Expr::Subquery(inner) => each(&inner.expr, see),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| each(argument, see)),
        Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_cannot_be_judged_are_named() {
        for (text, told) in [
            ("up{job=\"a\"", "does not parse"),
            ("rate(x[1m]) +", "does not parse"),
            ("x[1m]", "is a range of samples"),
            ("\"x\"", "is a text"),
            ("rate(x[1m]) > 0.1", "compares with `>`"),
            ("(sum(x) == 0)", "compares with `==`"),
        ] {
            let error = query(text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(&format!("{text:?}")), "{error}");
        }
        for text in ["x", "sum(rate(x[1m]))", "sum(x) > bool 3", "count(x > 3)", "1 > bool 2"] {
            assert!(query(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn windows_and_types_are_named_with_the_remedy() {
        let short = two_scrapes("x", Duration::from_secs(15), 10.0).unwrap_err().to_string();
        assert!(short.contains("scraped every 10 s; use at least 20 s"), "{short}");
        assert!(two_scrapes("x", Duration::from_secs(20), 10.0).is_ok());
        let types = |name: &str| vec![name.to_owned()];
        for (taken_for, is, told) in [
            (Type::Counter, "gauge", "use `.gauge(..)`"),
            (Type::Gauge, "counter", "use `.counter(..)`"),
            (Type::Histogram, "counter", "not a histogram"),
        ] {
            let error = wrong_type("x", taken_for, &types(is)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        for (taken_for, is) in [(Type::Counter, "counter"), (Type::Counter, "unknown"), (Type::Histogram, "histogram")]
        {
            assert!(wrong_type("x", taken_for, &types(is)).is_ok());
        }
        assert!(wrong_type("x", Type::Histogram, &[]).is_ok(), "nobody says");
    }
}
