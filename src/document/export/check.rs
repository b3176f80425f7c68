//! Tolerances as Rust.

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr};
use serde_json::{Map, Value};

use super::text::{float, literal};
use crate::document::activity::ProviderKind;
use crate::document::tolerance::{Of, SeriesTolerance, Tolerance};

/// What a probe's tolerance is in `.expect(..)`, or why there is nothing like it.
pub(super) fn expected(tolerance: &Value, kind: ProviderKind) -> Result<String, String> {
    let exact = |code: &Value| match (kind, code.as_u64().filter(|_| code.is_u64())) {
        (ProviderKind::Http, Some(code)) => Ok(format!("status({code})")),
        (ProviderKind::Process, Some(code)) => Ok(format!("process::exited({code})")),
        _ => Err(format!("no status is {code}")),
    };
    match tolerance {
        Value::Number(_) => exact(tolerance),
        Value::Array(codes) if !codes.is_empty() => {
            let all = codes.iter().map(exact).collect::<Result<Vec<_>, _>>()?;
            match all.as_slice() {
                [one] => Ok(one.clone()),
                // Tuples of tolerances have an end.
                all if all.len() <= 6 => Ok(format!("any(({}))", all.join(", "))),
                _ => Err("more than six values are allowed".to_owned()),
            }
        }
        Value::Object(mapping) => of_mapping(mapping, kind),
        other => Err(format!("no answer is {other}")),
    }
}

fn of_mapping(mapping: &Map<String, Value>, kind: ProviderKind) -> Result<String, String> {
    let said = |key: &str| mapping.get(key).filter(|value| !value.is_null());
    let target = said("target").and_then(Value::as_str).unwrap_or_default();
    let (whole, output) = match kind {
        ProviderKind::Http => ("body", "answer: &http::Answer"),
        _ => ("stdout", "output: &process::Output"),
    };
    let of = mapping.get("type").and_then(Value::as_str).unwrap_or_default();
    match of {
        "regex" if target == whole => {
            let pattern = said("pattern").and_then(Value::as_str).unwrap_or_default();
            match regex::Regex::new(pattern) {
                Ok(_) => Ok(format!("matches({})", literal(pattern))),
                Err(_) => Err(format!("the pattern {pattern:?} is one of Python's, and none of the regex crate")),
            }
        }
        "jsonpath" if target == whole && said("count").is_none() => {
            let path = said("path").and_then(Value::as_str).unwrap_or_default().trim();
            let rooted = if path.starts_with('$') { path.to_owned() } else { format!("$.{path}") };
            if serde_json_path::JsonPath::parse(&rooted).is_err() {
                return Err(format!("the path {path:?} is none of RFC 9535"));
            }
            let equal = match mapping.get("expect") {
                None => String::new(),
                Some(Value::Array(all)) if all.len() == 1 => format!(".equals({})", json(&all[0])?),
                Some(Value::Array(_)) => return Err("a path that gives several values is compared as one".to_owned()),
                Some(one) => format!(".equals({})", json(one)?),
            };
            Ok(format!("json_path({}){equal}", literal(&rooted)))
        }
        "range" => {
            let bound = |at: usize| mapping["range"].get(at).and_then(Value::as_f64).map(float);
            let range = said("range").and_then(|_| Some((bound(0)?, bound(1)?)));
            let (low, high) = range.ok_or("its range has no two numbers")?;
            let number = match (kind, target) {
                (ProviderKind::Http, "status") => "f64::from(steadfast::tolerance::AsStatus::status(answer))",
                (ProviderKind::Process, "status") => "output.code.map_or(f64::NAN, f64::from)",
                (ProviderKind::Http, "body") => {
                    "String::from_utf8_lossy(answer.body()).trim().parse().unwrap_or(f64::NAN)"
                }
                (ProviderKind::Process, "stdout") => "output.stdout.trim().parse().unwrap_or(f64::NAN)",
                _ => return Err(format!("nothing reads the target {target:?}")),
            };
            Ok(format!("|{output}| ({low}..={high}).contains(&{number})"))
        }
        "regex" | "jsonpath" => Err(format!("a {of} tolerance reads {whole} alone here, and is given in full")),
        _ => Err(format!("nothing is like a tolerance of type {of}")),
    }
}

/// A value that `.equals(..)` takes.
fn json(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(literal(text)),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(format!("{other} is compared as a whole")),
    }
}

/// A check of series: of `server`, which is an expression.
pub(super) fn series(server: &str, query: &str, tolerance: &Value) -> Result<String, String> {
    let parsed = Tolerance::parse(tolerance).map_err(|why| why.to_string())?;
    let Some(SeriesTolerance { of, bounds, when_absent, vanished_too }) = parsed.series() else {
        return Err("an answer of Prometheus is judged by a tolerance on series alone".to_owned());
    };
    let counter = || selection(server, "counter", query);
    let mut check = match of {
        Of::Growth => format!("{}.growth()", counter()?),
        Of::Increase => format!("{}.increase()", counter()?),
        Of::Rate => format!("{}.rate()", counter()?),
        Of::Ratio { whole } => {
            format!("steadfast::prometheus::ratio(&{}, &{})", counter()?, selection(server, "counter", whole)?)
        }
        Of::Quantile { quantile, interpolated } => {
            let interpolated = if *interpolated { ".interpolated()" } else { "" };
            format!("{}.quantile({}){interpolated}", selection(server, "histogram", query)?, float(*quantile))
        }
    };
    if let Some(absent) = when_absent {
        check.push_str(&format!(".or_when_absent({})", float(*absent)));
    }
    if *vanished_too {
        check.push_str(".vanished_too()");
    }
    let at = |bound: &Option<f64>, open: &str, close: &str| bound.map(|it| format!("{open}({}){close}", float(it)));
    let all: Vec<_> = [
        at(&bounds.at_most, "at_most", ""),
        at(&bounds.at_least, "at_least", ""),
        at(&bounds.below, "not(at_least", ")"),
        at(&bounds.above, "not(at_most", ")"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let bound = match all.as_slice() {
        [one] => one.clone(),
        all => format!("all(({}))", all.join(", ")),
    };
    Ok(format!("{check}.expect({bound})"))
}

/// A selector as the selection that it is.
fn selection(server: &str, kind: &str, query: &str) -> Result<String, String> {
    let why = || format!("{query:?} is no selector of series");
    let Ok(Expr::VectorSelector(selector)) = parser::parse(query) else { return Err(why()) };
    if selector.offset.is_some() || selector.at.is_some() || !selector.matchers.or_matchers.is_empty() {
        return Err(why());
    }
    let name = selector.name.as_deref().ok_or_else(why)?;
    let name = if kind == "histogram" { name.strip_suffix("_bucket").unwrap_or(name) } else { name };
    let labels = selector.matchers.matchers.iter().map(|matcher| {
        let by = match &matcher.op {
            MatchOp::Equal => "label",
            MatchOp::NotEqual => "not_label",
            MatchOp::Re(_) => "matching",
            MatchOp::NotRe(_) => "not_matching",
        };
        format!(".{by}({}, {})", literal(&matcher.name), literal(&matcher.value))
    });
    Ok(format!("{server}.{kind}({}){}", literal(name), labels.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerances_are_the_builder_s() {
        let http = |tolerance: Value| expected(&tolerance, ProviderKind::Http);
        let process = |tolerance: Value| expected(&tolerance, ProviderKind::Process);
        let said = |text: &str| Ok(text.to_owned());
        assert_eq!(http(json!(200)), said("status(200)"));
        assert_eq!(http(json!([200, 204])), said("any((status(200), status(204)))"));
        assert_eq!(process(json!([0])), said("process::exited(0)"));
        assert_eq!(
            http(json!({"type": "regex", "target": "body", "pattern": "^\"a\""})),
            said("matches(\"^\\\"a\\\"\")")
        );
        let path = json!({"type": "jsonpath", "target": "stdout", "path": "a.b", "expect": ["x"]});
        assert_eq!(process(path), said("json_path(\"$.a.b\").equals(\"x\")"));
        let range = json!({"type": "range", "target": "status", "range": [200, 299.5]});
        let closure = "|answer: &http::Answer| (200.0..=299.5).contains(&f64::from(steadfast::tolerance::AsStatus::status(answer)))";
        assert_eq!(http(range), said(closure));
        for none in
            [json!("x"), json!(true), json!([]), json!({"type": "regex", "target": "body", "pattern": "(?<=a)b"})]
        {
            assert!(http(none.clone()).is_err(), "{none}");
        }
    }

    #[test]
    fn series_are_selected_as_the_query_does() {
        let of = |query: &str, tolerance: Value| series("p", query, &tolerance);
        let growth = json!({"type": "growth", "at_most": 0, "below": 7, "when_absent": 0});
        assert_eq!(
            of("failed{job=\"front\",to!~\"a|b\"}", growth),
            Ok("p.counter(\"failed\").label(\"job\", \"front\").not_matching(\"to\", \"a|b\").growth().or_when_absent(0.0)\
                .expect(all((at_most(0.0), not(at_least(7.0)))))"
                .to_owned())
        );
        let quantile = json!({"type": "quantile", "quantile": 0.9, "at_most": 1});
        assert_eq!(
            of("took_bucket", quantile),
            Ok("p.histogram(\"took\").quantile(0.9).expect(at_most(1.0))".to_owned())
        );
        assert!(of("rate(x[1m])", json!({"type": "rate", "at_most": 1})).is_err());
    }
}
