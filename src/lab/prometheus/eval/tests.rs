//! Values computed by hand, and relations that hold for any samples.

use proptest::prelude::*;

use super::*;
use crate::lab::prometheus::labels::NAME;
use crate::lab::prometheus::promql::parse;
use crate::lab::prometheus::tsdb::Tsdb;

fn labels(text: &[(&str, &str)]) -> Labels {
    Labels::of(text)
}

/// `x{a="1"}` is 1, 2, … 37 each second from second 84 on, `x{a="2"}` stands at 5, `y` falls back to 0 every 50
/// seconds, `g` swings between -10 and 10, `h` are buckets, `n` and `i` are no number and infinite. At second 120.
fn stored() -> Tsdb {
    let tsdb = Tsdb::default();
    let put = |pairs: &[(&str, &str)], second: i32, value: f64| {
        tsdb.append(&labels(pairs), i64::from(second) * 1000, value).unwrap();
    };
    for second in 0..=120_i32 {
        if second >= 84 {
            put(&[(NAME, "x"), ("a", "1"), ("b", "p")], second, f64::from(second - 83));
        }
        put(&[(NAME, "x"), ("a", "2"), ("b", "p")], second, 5.0);
        put(&[(NAME, "y")], second, f64::from(second % 50));
        put(&[(NAME, "g"), ("a", "1")], second, if second % 2 == 0 { 10.0 } else { -10.0 });
        put(&[(NAME, "info"), ("a", "1"), ("version", "v7")], second, 1.0);
        put(&[(NAME, "n")], second, f64::NAN);
        put(&[(NAME, "i")], second, f64::NEG_INFINITY);
        for (le, share) in [("0.1", 1.0), ("0.2", 3.0), ("+Inf", 4.0)] {
            put(&[(NAME, "h"), ("le", le)], second, f64::from(second) * share);
        }
    }
    tsdb
}

fn ask(query: &str) -> Result<Answer, Refusal> {
    instant(&stored(), &parse(query)?, 120_000, Terms::of(TIMEOUT)).map(|(answer, _)| answer)
}

fn vector(query: &str) -> Vec<(Labels, f64)> {
    match ask(query) {
        Ok(Answer::Vector(vector)) => vector,
        other => panic!("{query}: {other:?}"),
    }
}

fn one(query: &str) -> f64 {
    match ask(query) {
        Ok(Answer::Scalar(value)) => value,
        Ok(Answer::Vector(vector)) if vector.len() == 1 => vector[0].1,
        other => panic!("{query}: {other:?}"),
    }
}

fn refusal(query: &str) -> String {
    match ask(query) {
        Err(Refusal::Execution(why)) => why,
        other => panic!("{query}: {other:?}"),
    }
}

fn close(query: &str, wanted: f64) {
    let got = one(query);
    assert!((got - wanted).abs() < 1e-9 || (got.is_nan() && wanted.is_nan()), "{query} is {got}, not {wanted}");
}

#[test]
fn a_sample_counts_for_five_minutes_at_every_step() {
    let steps = Steps { first: 120_000, step: 60_000, count: 8 };
    let query = parse("x{a=\"2\"}").unwrap();
    let (series, _) = range(&stored(), &query, steps, steps.last(), Terms::of(TIMEOUT)).unwrap();
    // The last sample is of second 120: it is there up to second 420.
    let numbers: Vec<u32> = series[0].points.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_query_says_how_far_back_it_looks() {
    let terms = Terms { lookback: 10_000, ..Terms::of(TIMEOUT) };
    let at = |at| match instant(&stored(), &parse("y").unwrap(), at, terms).unwrap().0 {
        Answer::Vector(vector) => vector.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((at(130_000), at(130_001)), (1, 0));
}

#[test]
fn selectors_match_as_prometheus_does() {
    for (query, value) in [
        (r#"x{a="1"}"#, 37.0),
        (r#"x{a!="1"}"#, 5.0),
        (r#"x{a=~"1|3"}"#, 37.0),
        (r#"x{a=~".",a!~"1"}"#, 5.0),
        (r#"{__name__="y",nope=""}"#, 20.0),
        (r#"x{a="1"} offset 10s"#, 27.0),
        (r#"x{a="1"} offset 1m offset -5s"#, f64::NAN),
        (r#"x{a="1"} @ 100"#, 17.0),
        (r#"x{a="1"} @ 110 offset 10s"#, 17.0),
        (r#"x{a="1"} @ end()"#, 37.0),
    ] {
        if value.is_nan() {
            assert!(parse(query).is_err(), "{query}");
        } else {
            assert_eq!(one(query), value, "{query}");
        }
    }
    for none in [r#"x{a=~"11"}"#, r#"x{nope="1"}"#, r#"x{nope!=""}"#, r#"x{a="1"} offset 1m"#, "x @ 500"] {
        assert_eq!(vector(none), [], "{none}");
    }
}

#[test]
fn windows_are_closed_on_both_sides() {
    let Answer::Matrix(matrix) = ask(r#"x{a="1"}[2s] offset 10s"#).unwrap() else { panic!() };
    assert_eq!(matrix[0].1, [(108_000, 25.0), (109_000, 26.0), (110_000, 27.0)]);
    assert_eq!(one(r#"count_over_time(x{a="2"}[20s])"#), 21.0);
    // Steps of a subquery are multiples of the step: 105, 110, 115, 120.
    assert_eq!(one("count_over_time(vector(1)[17s:5s])"), 4.0);
    assert_eq!(one("max_over_time(vector(time())[1m:7s])"), 119.0);
    assert_eq!(one("sum_over_time(vector(1)[2m:])"), 3.0, "0, 60 and 120");
}

#[test]
fn rates_extrapolate_and_see_resets() {
    // 36 in 36 s of a window of 120 s; to the left it is extended by 1/36 of 36 s, to where the counter was 0.
    close(r#"increase(x{a="1"}[2m])"#, 37.0);
    close(r#"rate(x{a="1"}[2m])"#, 37.0 / 120.0);
    close(r#"rate(x{a="1"}[10s])"#, 1.0);
    close(r#"increase(x{a="2"}[1m])"#, 0.0);
    // 10 to 49, back to 0, up to 20: 39 + 20 in 60 s, exactly the window.
    close("increase(y[1m])", 59.0);
    close("delta(y[1m])", 10.0);
    close("irate(y[1m])", 1.0);
    close("idelta(y[30s])", 1.0);
    close("resets(y[1m])", 1.0);
    close("resets(y[2m])", 2.0);
    close("changes(g[10s])", 10.0);
    for none in ["rate(x[500ms])", "increase(x[500ms])", "irate(x[0s500ms])", "deriv(x[500ms])"] {
        assert_eq!(vector(none), [], "one sample is no rate: {none}");
    }
    assert_eq!(vector("rate(y[10s])")[0].0, labels(&[]), "a rate has no name");
}

#[test]
fn lines_and_smoothings() {
    close(r#"deriv(x{a="1"}[10s])"#, 1.0);
    close(r#"predict_linear(x{a="1"}[10s], 60)"#, 97.0);
    close(r#"predict_linear(x{a="1"}[10s] offset 10s, 60)"#, 97.0);
    close(r#"deriv(x{a="2"}[10s])"#, 0.0);
    close(r#"holt_winters(x{a="1"}[10s], 0.5, 0.5)"#, 37.0);
    assert_eq!(
        refusal("holt_winters(y[10s], 1, 0.5)"),
        "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000"
    );
    assert_eq!(refusal("holt_winters(y[10s], 0.5, 0)"), "invalid trend factor. Expected: 0 < tf < 1, got: 0.000000");
}

#[test]
fn functions_over_time() {
    for (query, value) in [
        ("avg_over_time(y[10s])", 15.0),
        ("sum_over_time(y[10s])", 165.0),
        ("min_over_time(y[10s])", 10.0),
        ("max_over_time(y[10s])", 20.0),
        ("last_over_time(y[10s])", 20.0),
        ("present_over_time(y[10s])", 1.0),
        ("stdvar_over_time(y[10s])", 10.0),
        ("stddev_over_time(y[10s])", 10_f64.sqrt()),
        ("quantile_over_time(0.25, y[10s])", 12.5),
        ("quantile_over_time(-1, y[10s])", f64::NEG_INFINITY),
        ("quantile_over_time(2, y[10s])", f64::INFINITY),
        ("avg_over_time(i[10s])", f64::NEG_INFINITY),
        ("sum_over_time(n[10s])", f64::NAN),
    ] {
        let got = one(query);
        assert!(got == value || (got - value).abs() < 1e-9 || (got.is_nan() && value.is_nan()), "{query}: {got}");
    }
    assert_eq!(vector("last_over_time(y[10s])")[0].0.get(NAME), "y");
    assert_eq!(vector("max_over_time(y[10s])")[0].0.get(NAME), "");
}

#[test]
fn aggregations_group() {
    for (query, value) in [
        ("sum(x)", 42.0),
        ("avg(x)", 21.0),
        ("min(x)", 5.0),
        ("max(x)", 37.0),
        ("count(x)", 2.0),
        ("group(x)", 1.0),
        ("stdvar(x)", 256.0),
        ("stddev(x)", 16.0),
        ("quantile(0.5, x)", 21.0),
        ("quantile(-1, x)", f64::NEG_INFINITY),
        ("topk(1, x)", 37.0),
        ("bottomk(1, x)", 5.0),
        ("max(x or n)", 37.0),
        ("count(n)", 1.0),
    ] {
        assert_eq!(one(query), value, "{query}");
    }
    assert_eq!(vector("sum by (b) (x)"), [(labels(&[("b", "p")]), 42.0)]);
    assert_eq!(vector("sum without (a) (x)"), vector("sum by (b) (x)"));
    let mut by_a = vector("sum by (a) (rate(x[10s]))");
    by_a.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(by_a, [(labels(&[("a", "1")]), 1.0), (labels(&[("a", "2")]), 0.0)]);
    assert_eq!(vector("topk(1, x)")[0].0.get(NAME), "x", "what is chosen stays as it is");
    assert_eq!(vector("topk(0, x)"), []);
    assert_eq!(vector(r#"count_values("v", x > 5)"#), [(labels(&[("v", "37")]), 1.0)]);
    assert_eq!(refusal(r#"count_values("a b", x)"#), "invalid label name \"a b\"");
    assert_eq!(refusal("topk(NaN, x)"), "Scalar value NaN overflows int64");
    assert_eq!(refusal("bottomk(1e300, x)"), "Scalar value 1e+300 overflows int64");
}

#[test]
fn operators() {
    for (query, value) in [
        ("2^3^2", 512.0),
        ("-2^2", -4.0),
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("-7 % 3", -1.0),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1 atan2 1", std::f64::consts::FRAC_PI_4),
        ("3 > bool 2", 1.0),
        ("NaN == bool NaN", 0.0),
        (r#"x{a="1"} * 2"#, 74.0),
        (r#"2 ^ x{a="2"}"#, 32.0),
        (r#"-x{a="2"}"#, -5.0),
        ("x > 6", 37.0),
        ("6 < x", 37.0),
        (r#"x{a="2"} > bool 6"#, 0.0),
        (r#"x{a="1"} - ignoring(b) g"#, 27.0),
        ("x * on(a) info", 37.0),
        ("x * on(a) group_left(version) info", 37.0),
        ("info * on(a) group_right(version) x", 37.0),
        ("x and on(a) g", 37.0),
        ("x unless on(a) g", 5.0),
    ] {
        assert_eq!(one(query), value, "{query}");
    }
    assert_eq!(vector("x * on(a) group_left(version) info")[0].0, labels(&[("a", "1"), ("b", "p"), ("version", "v7")]));
    assert_eq!(vector("x * on(a) info")[0].0, labels(&[("a", "1")]));
    assert_eq!(vector("y > 1")[0].0.get(NAME), "y", "a filter keeps the name");
    assert_eq!(vector("y > bool 1")[0].0.get(NAME), "");
    assert_eq!(vector("x or y").len(), 3);
    assert_eq!(vector("y or x == 37").len(), 2);
    assert!(refusal("info * on(b) x").starts_with("found duplicate series for the match group {b=\"p\"} on the right"));
    assert!(refusal("x * on(b) group_right x").contains("on the left hand-side"));
    assert!(refusal("x * on() info").starts_with("multiple matches for labels: many-to-one matching must be explicit"));
    assert!(refusal("x * on() group_left(a) info").contains("grouping labels must ensure unique matches"));
    assert_eq!(refusal(r#"-{__name__=~"y|n"}"#), "vector cannot contain metrics with the same labelset");
}

#[test]
fn functions_of_values() {
    for (query, value) in [
        ("abs(-y)", 20.0),
        ("ceil(y / 3)", 7.0),
        ("floor(y / 3)", 6.0),
        ("round(y / 3)", 7.0),
        ("round(-0.125 * y)", -2.0),
        ("round(y, 15)", 15.0),
        ("sqrt(y * 5)", 10.0),
        ("ln(exp(y))", 20.0),
        ("log2(y - 12)", 3.0),
        ("log10(y * 5)", 2.0),
        ("sgn(-y)", -1.0),
        ("deg(rad(y))", 20.0),
        ("clamp(y, 0, 10)", 10.0),
        ("clamp_min(y, 30)", 30.0),
        ("clamp_max(y, 30)", 20.0),
        ("scalar(y)", 20.0),
        ("scalar(x)", f64::NAN),
        ("vector(7)", 7.0),
        ("time()", 120.0),
        ("timestamp(y offset 3s)", 117.0),
        ("timestamp(y + 0)", 120.0),
        ("pi()", std::f64::consts::PI),
        ("minute()", 2.0),
        ("year(vector(1e9))", 2001.0),
        ("histogram_quantile(0.5, h)", 0.15),
        ("absent(nope)", 1.0),
        ("absent_over_time(nope[1m])", 1.0),
    ] {
        close(query, value);
    }
    // As Go has it, what is no number wins but against the utmost.
    close("clamp_min(i, NaN)", f64::NAN);
    assert_eq!(one("clamp_max(i, NaN)"), f64::NEG_INFINITY);
    assert_eq!(one("clamp(i, 0.5, NaN)"), 0.5);
    assert_eq!(one("1 / clamp_max(vector(-0), 0)"), f64::NEG_INFINITY);
    assert_eq!(one("1 / clamp_min(vector(-0), 0)"), f64::INFINITY);
    assert_eq!(vector("clamp(y, 10, 0)"), []);
    assert_eq!(vector("absent(y)"), []);
    assert_eq!(vector(r#"absent(nope{a="b",c=~"d",e="f",e="g"})"#)[0].0, labels(&[("a", "b")]));
    assert_eq!(vector(r#"label_replace(y, "to", "$1-${1}", "__name__", "(.)")"#)[0].0.get("to"), "y-y");
    assert_eq!(vector(r#"label_replace(y, "to", "z", "__name__", "nope")"#)[0].0.get("to"), "");
    assert_eq!(vector(r#"label_join(info, "to", "/", "a", "nope", "version")"#)[0].0.get("to"), "1//v7");
    let values = |query: &str| vector(query).iter().map(|(_, value)| *value).collect::<Vec<f64>>();
    assert_eq!(values("sort(x or y)"), [5.0, 20.0, 37.0]);
    assert_eq!(values("sort_desc(x or y)"), [37.0, 20.0, 5.0]);
    assert_eq!(refusal(r#"label_replace(y, "to", "", "a", "(")"#), "invalid regular expression in label_replace(): (");
    assert_eq!(refusal(r#"label_replace(x, "a", "", "", "")"#), "vector cannot contain metrics with the same labelset");
}

#[test]
fn a_series_that_ended_is_gone_at_once() {
    let tsdb = stored();
    tsdb.end(&labels(&[(NAME, "y")]), 120_500);
    let at = |query: &str, at| instant(&tsdb, &parse(query).unwrap(), at, Terms::of(TIMEOUT)).unwrap().0;
    assert_eq!(at("y", 121_000), Answer::Vector(vec![]));
    assert!(matches!(at("y[2s]", 121_000), Answer::Matrix(matrix) if matrix[0].1.len() == 2));
    assert!(matches!(at("y", 120_499), Answer::Vector(vector) if vector.len() == 1));
    // What has no end marked is seen for five minutes, both ends included.
    assert!(matches!(at("n", 420_000), Answer::Vector(vector) if vector.len() == 1));
    assert_eq!(at("n", 420_001), Answer::Vector(vec![]));
}

#[test]
fn a_range_is_the_instants_in_order() {
    let tsdb = stored();
    for query in [
        "x",
        "rate(y[30s])",
        "sum by (a) (x)",
        "x * on(a) group_left info",
        "time()",
        "y > 10",
        "topk(1, x)",
        "avg_over_time(g[10s:3s])",
        "absent(x)",
    ] {
        let parsed = parse(query).unwrap();
        let steps = Steps { first: 30_000, step: 7000, count: 20 };
        let (series, _) = range(&tsdb, &parsed, steps, 163_000, Terms::of(TIMEOUT)).unwrap();
        for n in 0..20 {
            let (answer, _) = instant(&tsdb, &parsed, steps.time(n), Terms::of(TIMEOUT)).unwrap();
            let mut wanted = match answer {
                Answer::Vector(vector) => vector,
                Answer::Scalar(value) => vec![(Labels::default(), value)],
                other => panic!("{other:?}"),
            };
            wanted.sort_by(|a, b| a.0.cmp(&b.0));
            let at =
                |s: &Series| s.points.iter().find(|(step, _)| *step as usize == n).map(|p| (s.labels.clone(), p.1));
            assert_eq!(series.iter().filter_map(at).collect::<Vec<_>>(), wanted, "{query} at step {n}");
        }
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    assert!(refusal("count_over_time(vector(1)[1y:1s])").contains("too many samples"));
    let query = parse("sum_over_time(y[1m])").unwrap();
    let none = Terms::of(Duration::ZERO);
    assert!(matches!(instant(&stored(), &query, 0, none), Err(Refusal::Timeout(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rates_are_not_negative_and_parts_add_up(counts in prop::collection::vec((0_u32..5, 0_u32..100, prop::bool::ANY), 1..60)) {
        let tsdb = Tsdb::default();
        let mut value = 0.0;
        for (n, (job, grown, reset)) in counts.iter().enumerate() {
            value = if *reset { 0.0 } else { value + f64::from(*grown) };
            let at = i64::try_from(n).unwrap() * 1000;
            tsdb.append(&labels(&[(NAME, "c"), ("job", &job.to_string()), ("odd", if job % 2 == 1 { "1" } else { "" })]), at, value).unwrap();
        }
        let at = i64::try_from(counts.len()).unwrap() * 1000;
        let values = |query: &str| match instant(&tsdb, &parse(query).unwrap(), at, Terms::of(TIMEOUT)).unwrap().0 {
            Answer::Vector(vector) => vector.into_iter().map(|(_, value)| value).collect::<Vec<f64>>(),
            other => panic!("{other:?}"),
        };
        for query in ["rate(c[1m])", "increase(c[1m])", "irate(c[1m])"] {
            prop_assert!(values(query).iter().all(|value| *value >= 0.0));
        }
        let total = values("sum(c)")[0];
        for parts in ["sum by (job) (c)", "sum by (odd) (c)", "sum without (job) (c)"] {
            prop_assert!((values(parts).iter().sum::<f64>() - total).abs() < 1e-6);
        }
        prop_assert_eq!(values("count(c)")[0], values("sum(count by (job) (c))")[0]);
    }
}
