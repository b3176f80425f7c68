use proptest::prelude::*;
use serde_json::{Value, json};

use super::series::Of;
use super::*;
use crate::document::py::tests::any_value;

fn as_is(text: &str) -> Value {
    match text {
        "${n}" => json!(3),
        "${range}" => json!({"type": "range", "target": "stdout", "range": ["1", 9]}),
        "${broken}" => json!({"type": "regex", "pattern": "["}),
        text => text.replace("$$", "$").into(),
    }
}

fn judge(tolerance: &Value, value: &Value) -> Judged {
    let parsed = Tolerance::parse(tolerance).unwrap_or_else(|why| panic!("{tolerance}: {why}"));
    parsed.judge(value.into(), &as_is)
}

fn raises(tolerance: &Value, value: &Value) -> String {
    match judge(tolerance, value) {
        Judged::Raises(why) => why,
        other => panic!("{tolerance}: {other:?}"),
    }
}

fn refused(tolerance: &Value) -> String {
    Tolerance::parse(tolerance).map_or_else(|why| why.message, |parsed| panic!("{tolerance} is {parsed:?}"))
}

fn process(status: i64, stdout: &str) -> Value {
    json!({"status": status, "stdout": stdout, "stderr": ""})
}

#[test]
fn values_are_compared_with_the_whole_and_numbers_with_the_status() {
    assert!(judge(&json!(true), &json!(1)).is_met());
    assert!(judge(&json!(1), &json!(true)).is_met());
    assert!(judge(&json!(3), &json!(3.0)).is_met());
    assert!(judge(&json!("a"), &json!("a")).is_met());
    assert!(judge(&json!(7), &process(7, "")).is_met());
    assert!(!judge(&json!(true), &process(0, "")).is_met());
    assert!(!judge(&json!("a"), &process(0, "a")).is_met());
    assert_eq!(judge(&json!(0), &process(1, "")), Judged::Missed("status 1 is not 0".into()));
}

#[test]
fn a_list_of_two_is_a_range_only_without_a_status() {
    assert!(judge(&json!([4, 9]), &json!(4)).is_met());
    assert!(judge(&json!(["a", "c"]), &json!("b")).is_met());
    assert!(!judge(&json!([200, 299]), &process(250, "")).is_met());
    assert!(judge(&json!([200, 250]), &process(250, "")).is_met());
    assert!(judge(&json!([4, 5, 9]), &json!(5.0)).is_met());
    assert!(!judge(&json!([]), &json!(5)).is_met());
    // The lower bound decides, so that the upper one is not looked at.
    assert!(matches!(judge(&json!([4, "x"]), &json!(3)), Judged::Missed(_)));
    assert!(raises(&json!([4, 9]), &json!("5")).contains("int and str have no order"));
    assert!(raises(&json!([4, 9]), &json!(null)).contains("None cannot be compared with the bounds 4 and 9"));
}

#[test]
fn a_text_may_stand_for_any_other_tolerance() {
    assert!(judge(&json!("${n}"), &json!(3)).is_met());
    assert!(judge(&json!("${n}"), &process(3, "")).is_met());
    assert!(judge(&json!("${range}"), &process(0, " 5\n")).is_met());
    assert!(raises(&json!("${broken}"), &json!("x")).contains("unterminated character set"));
    let resolved = Tolerance::Text("${range}".into());
    assert!(matches!(resolved.resolved(&as_is).as_ref(), Tolerance::Range(_)));
}

#[test]
fn ranges_are_exact() {
    let range = json!({"type": "range", "target": "body", "range": [0.1, 0.3]});
    let body = |text: &str| json!({"status": 200, "headers": {}, "body": text});
    assert!(!judge(&range, &body("0.1")).is_met());
    assert!(judge(&range, &body("0.10000000000000001")).is_met());
    let whole = json!({"type": "range", "range": [4, 5]});
    assert!(judge(&whole, &json!("5")).is_met() && judge(&whole, &json!(4.0)).is_met());
    assert!(!judge(&whole, &json!(5.000_000_1)).is_met());
    assert_eq!(judge(&range, &body("bad")), Judged::Missed("'bad' is no number".into()));
    assert!(raises(&range, &body("NaN")).contains("not a number"));
    assert!(
        raises(&json!({"type": "range", "range": [1, 9]}), &process(0, ""))
            .contains("name a target: status, stderr, stdout")
    );
    assert!(raises(&range, &json!(null)).contains("the output is null"));
}

#[test]
fn patterns_need_text() {
    let regex = |pattern: &str| json!({"type": "regex", "target": "stdout", "pattern": pattern});
    assert!(judge(&regex("^[0-9]{2}$"), &process(0, "87\n")).is_met());
    assert_eq!(judge(&regex("x"), &process(0, "y")), Judged::Missed("'y' holds nothing like x".into()));
    assert!(judge(&regex(r"a\$$"), &process(0, "a$b")).is_met(), "$$ is one $");
    let why = raises(&json!({"type": "regex", "target": "nope", "pattern": "x"}), &process(0, ""));
    assert_eq!(
        why,
        "a regex tolerance needs text, got a mapping; there is no \"nope\" in it, but status, stderr, stdout"
    );
}

#[test]
fn paths_find_what_is_expected() {
    let path = |more: Value| {
        let mut tolerance = json!({"type": "jsonpath", "target": "stdout", "path": "$.a[*]"});
        tolerance.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tolerance
    };
    let output = process(0, r#"{"a": [1, true]}"#);
    for (more, met) in [
        (json!({}), true),
        (json!({"count": 2}), true),
        (json!({"count": "2"}), false),
        (json!({"count": null}), true),
        (json!({"expect": [true, 1]}), true),
        (json!({"expect": 1}), false),
        (json!({"expect": [[1, 1]]}), false),
        (json!({"count": 7, "expect": [1, 1]}), true),
        (json!({"path": "$.a[0]", "expect": 1.0}), true),
        (json!({"path": "$.b", "expect": null}), false),
        (json!({"path": "$.a", "expect": [[1, 1]]}), true),
        (json!({"path": "$.a[0]", "expect": "${n}"}), false),
    ] {
        assert_eq!(judge(&path(more.clone()), &output).is_met(), met, "{more}");
    }
    let missed = judge(&path(json!({"expect": 1})), &output);
    assert_eq!(missed, Judged::Missed("$.a[*] finds [1, True], not 1".into()));
    assert!(raises(&path(json!({"path": "$[::0]"})), &process(0, "[1]")).contains("step is 0"));
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    assert!(raises(&path(json!({"count": 0})), &process(0, &deep)).contains("cannot be read"));
}

#[test]
fn what_is_no_json_finds_nothing_and_says_so() {
    let none =
        Tolerance::parse(&json!({"type": "jsonpath", "target": "stdout", "path": "$.errors[*]", "count": 0})).unwrap();
    let output = process(0, "Segmentation fault");
    assert!(none.judge((&output).into(), &as_is).is_met());
    let why = none.vacuous((&output).into(), &as_is).unwrap();
    assert!(why.contains("is no JSON"), "{why}");
    assert_eq!(none.vacuous((&process(0, "{}")).into(), &as_is), None);
}

#[test]
fn a_body_keeps_the_order_of_its_text() {
    let value = json!({"status": 200, "headers": {}, "body": {"a": 2, "b": 1}});
    let judge = |tolerance: Value, body: Option<&str>| {
        Tolerance::parse(&tolerance).unwrap().judge(Output { value: &value, body }, &as_is)
    };
    let target = json!({"type": "jsonpath", "target": "body", "path": "$.*", "expect": [1, 2]});
    assert!(!judge(target.clone(), None).is_met());
    assert!(judge(target.clone(), Some(r#"{"b": 1, "a": 2}"#)).is_met());
    assert!(!judge(target, Some(r#"{"b": 1, "a": 3}"#)).is_met(), "another body");
    let whole = json!({"type": "jsonpath", "path": "$..*", "expect": [200, {}, {"a": 2, "b": 1}, 1, 2]});
    assert!(judge(whole, Some(r#"{"b": 1, "a": 2}"#)).is_met());
}

#[test]
fn a_probe_takes_the_value_and_its_result_is_true_or_not() {
    let probe =
        |provider: Value| ProbeTolerance::new(json!({"type": "probe", "provider": provider}).as_object().unwrap());
    let process = probe(json!({"type": "process", "path": "false", "arguments": {"a": 1}}));
    let given = process.given(&json!(5)).unwrap();
    assert_eq!(given["provider"]["arguments"], json!({"a": 1, "value": 5}));
    assert!(process.judge(Ok(&json!({"status": 1}))).is_met());
    assert_eq!(process.contradiction(&json!({"status": 1})).unwrap(), "the tolerance's process ended with 1");
    assert_eq!(process.contradiction(&json!({"status": 0})), None);
    let python = probe(json!({"type": "python", "module": "m", "func": "f", "arguments": "x"}));
    assert!(python.given(&json!(5)).unwrap_err().contains("got text"));
    assert!(matches!(python.judge(Ok(&json!(0))), Judged::Missed(_)));
    assert!(matches!(python.judge(Err("no")), Judged::Missed(_)));
    assert!(probe(json!({"type": "http"})).given(&json!(5)).unwrap_err().contains("add \"arguments\": {}"));
}

#[test]
fn the_validator_refuses_in_chaos_toolkits_words() {
    for (tolerance, message) in [
        (json!({"status": 0}), "hypothesis probe tolerance type 'None' is unsupported"),
        (json!({"type": 5}), "hypothesis probe tolerance type '5' is unsupported"),
        (json!({"type": "regex"}), "hypothesis regex probe tolerance must have a `pattern` key"),
        (json!({"type": "regex", "pattern": [1]}), "hypothesis probe tolerance pattern [1] has an invalid type"),
        (
            json!({"type": "regex", "pattern": "[0-9"}),
            "hypothesis probe tolerance pattern [0-9 seems invalid: unterminated character set",
        ),
        (json!({"type": "jsonpath"}), "hypothesis jsonpath probe tolerance must have a `path` key"),
        (json!({"type": "jsonpath", "path": " "}), "hypothesis probe tolerance JSON path cannot be empty"),
        (json!({"type": "jsonpath", "path": "$.[[["}), "hypothesis probe tolerance JSON path $.[[[ is invalid"),
        (json!({"type": "jsonpath", "path": null}), "hypothesis probe tolerance JSON path None has an invalid type"),
        (json!({"type": "range"}), "hypothesis range probe tolerance must have a `range` key"),
        (json!({"type": "range", "range": "4"}), "hypothesis range must be a sequence"),
        (json!({"type": "range", "range": [1]}), "hypothesis range sequence must be made of two values"),
        (json!({"type": "range", "range": ["a", 3]}), "hypothesis range lower boundary must be a number"),
        (json!({"type": "range", "range": [1, null]}), "hypothesis range upper boundary must be a number"),
    ] {
        assert_eq!(refused(&tolerance), message, "{tolerance}");
    }
    for tolerance in [json!(0.5), json!(null)] {
        assert!(refused(&tolerance).starts_with("hypothesis probe tolerance must either be an integer,"));
        assert!(matches!(Tolerance::unvalidated(&tolerance).judge((&tolerance).into(), &as_is), Judged::Missed(_)));
    }
    let why = Tolerance::parse(&json!({"type": "jsonpath", "path": "$.a-b"})).unwrap_err();
    assert_eq!((why.key, why.detail.unwrap().contains("column 4")), ("path", true));
}

#[test]
fn tolerances_on_series_say_what_they_need() {
    let parsed = Tolerance::parse(&json!({"type": "growth", "at_most": 0})).unwrap();
    assert_eq!(parsed.series().unwrap().of, Of::Growth);
    let ratio = Tolerance::parse(&json!({"type": "ratio", "of": "all_total", "below": 0.01})).unwrap();
    assert_eq!(ratio.series().unwrap().of, Of::Ratio { whole: "all_total".to_owned() });
    assert!(
        raises(&json!({"type": "increase", "at_least": 1}), &json!({"status": "success"})).contains("query_interval")
    );
    for (tolerance, part) in [
        (json!({"type": "growth"}), "needs a bound"),
        (json!({"type": "growth", "at_most": "0"}), "`at_most` must be a number, and is '0'"),
        (json!({"type": "growth", "at_mots": 0}), "has no key `at_mots`"),
        (json!({"type": "growth", "at_most": 1, "above": 2}), "no number is at most 1, above 2"),
        (json!({"type": "growth", "at_most": 1, "vanished_too": 1}), "must be true or false"),
        (json!({"type": "ratio", "at_most": 1}), "needs `of`"),
        (json!({"type": "quantile", "at_most": 1}), "needs `quantile`"),
        (json!({"type": "quantile", "quantile": 95, "at_most": 1}), "from 0 to 1"),
    ] {
        let message = refused(&tolerance);
        assert!(message.contains(part), "{message}");
    }
}

fn any_tolerance() -> impl Strategy<Value = Value> {
    let mapping = |kind: &'static str| {
        (any_value(), any_value(), "[$.a*\\[\\]0-9+]{0,6}", any_value()).prop_map(move |(range, expect, text, target)| {
            json!({"type": kind, "range": [range, 1], "expect": expect, "path": format!("${text}"), "pattern": text, "target": target, "at_most": 1})
        })
    };
    prop_oneof![
        any_value(),
        mapping("range"),
        mapping("jsonpath"),
        mapping("regex"),
        mapping("growth"),
        mapping("probe")
    ]
}

proptest! {
    #[test]
    fn no_tolerance_panics(tolerance in any_tolerance(), value in any_value()) {
        for output in [value.clone(), json!({"status": value.clone(), "stdout": value.to_string()})] {
            if let Ok(parsed) = Tolerance::parse(&tolerance) {
                let judged = parsed.judge((&output).into(), &as_is);
                if !tolerance.is_string() {
                    prop_assert_eq!(Tolerance::unvalidated(&tolerance).judge((&output).into(), &as_is), judged);
                }
            }
            let _ = Tolerance::unvalidated(&tolerance).judge((&output).into(), &as_is);
        }
    }

    #[test]
    fn every_value_that_is_a_tolerance_meets_itself(value in any_value()) {
        if value.is_boolean() || value.is_i64() {
            prop_assert!(judge(&value, &value).is_met());
        }
    }
}
