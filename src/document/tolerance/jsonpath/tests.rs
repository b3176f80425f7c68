use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::ordered::Ordered;
use super::*;
use crate::document::py::tests::any_value;

const SHOP: &str = r#"{"items": [{"n": 1, "b": "x"}, {"n": 2, "a": true}], "z": {"b": {"c": [1, [2]]}, "a": null}, "k": "z", "s": "héllo"}"#;

fn find(path: &str, text: &str) -> Value {
    let path = Path::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
    Value::Array(path.find(&Ordered::parse(text).unwrap()).unwrap())
}

fn column(path: &str) -> usize {
    Path::parse(path).map_or_else(|why| why.column, |parsed| panic!("{path} is {parsed:?}"))
}

#[test]
fn a_filter_tests_the_node_itself() {
    assert_eq!(find("$.items[?(@.n = 2)]", SHOP), json!([]));
    assert_eq!(find("$.items[*][?(@.n = 2)].a", SHOP), json!([true]));
    assert_eq!(find("$[?(@.k)].k", SHOP), json!(["z"]));
    assert_eq!(find("$.items.*[?(@.n = $.items[1].n)].n", SHOP), json!([2]));
}

#[test]
fn or_binds_closer_than_and() {
    assert_eq!(find("$[?(false and false or true)]", "0"), json!([]));
    assert_eq!(find("$[?((false and false) or true)]", "0"), json!([0]));
    assert_eq!(find("$[?(not false and not not true)]", "0"), json!([0]));
}

#[test]
fn order_is_among_numbers_and_equality_is_that_of_python() {
    assert_eq!(find("$[*][?(@ > 1)]", r#"[0, 2, "3", true, [4]]"#), json!([2]));
    assert_eq!(find("$[*][?(@ = 1)]", r#"[1, 1.0, true, "1"]"#), json!([1, 1.0, true]));
    assert_eq!(find("$[*][?(@ <= true)]", "[0, 1, 2]"), json!([0, 1]));
    assert_eq!(find(r#"$[*][?(@ = {"a": [1]})]"#, r#"[{"a": [true]}, {"a": []}]"#), json!([{"a": [true]}]));
}

#[test]
fn a_path_on_the_right_is_compared_with_the_first_on_the_left() {
    assert_eq!(find("$[?(@.a[*] = 2)].b", r#"{"a": [1, 2], "b": [2]}"#), json!([[2]]));
    assert_eq!(find("$[?(@.a[*] = @.b[*])].b", r#"{"a": [1, 2], "b": [2]}"#), json!([]));
    assert_eq!(find("$[?(@.b[*] = @.a[*])].b", r#"{"a": [1, 2], "b": [2]}"#), json!([[2]]));
}

#[test]
fn members_come_in_the_order_of_the_text() {
    let text = r#"{"b": 1, "a": {"d": 2, "c": 3}, "b": 4}"#;
    assert_eq!(find("$.*", text), json!([4, {"c": 3, "d": 2}]));
    assert_eq!(find("$.keys()", text), json!([["b", "a"]]));
    assert_eq!(find("$..*", text), json!([4, {"c": 3, "d": 2}, 2, 3]));
    assert_eq!(find("$.values()..*", text), json!([4, {"c": 3, "d": 2}, 2, 3]));
    assert_eq!(find("$.entries()[*][1].*", text), json!([2, 3]));
    let by_name = Path::parse("$.*").unwrap().find(&serde_json::from_str::<Value>(text).unwrap().into());
    assert_eq!(by_name, Ok(vec![json!({"c": 3, "d": 2}), json!(4)]));
}

#[test]
fn functions_are_subscripts() {
    assert_eq!(find("$.items.length()", SHOP), json!([2]));
    assert_eq!(find("$.items[length(), 0].n", SHOP), json!([1]));
    assert_eq!(find("$.s.length()", SHOP), json!([5]));
    assert_eq!(find("$.s.charAt(-4)", SHOP), json!(["é"]));
    assert_eq!(find("$.s.substring(1, 3)", SHOP), json!(["él"]));
    assert_eq!(find("$.s.substring(-2)", SHOP), json!(["lo"]));
    assert_eq!(find("$.s.substring(3, 1)", SHOP), json!([""]));
    assert_eq!(find("$.items[0].entries()", SHOP), json!([[["n", 1], ["b", "x"]]]));
    assert_eq!(find("$.items.keys()", SHOP), json!([[0, 1]]));
    assert_eq!(find("$.k.keys()", SHOP), json!([]));
    assert_eq!(find("$.s.charAt($.items[*].n)", SHOP), json!(["é", "l"]));
}

#[test]
fn subscripts_are_those_of_jsonpath2() {
    let list = "[0, 1, 2, 3]";
    for (path, found) in [
        ("$[-1]", json!([3])),
        ("$[4]", json!([])),
        ("$[99999999999999999999]", json!([])),
        ("$[1:3]", json!([1, 2])),
        ("$[::2]", json!([0, 2])),
        ("$[-2:]", json!([2, 3])),
        ("$[-9:2]", json!([0, 1])),
        ("$[::-1]", json!([])),
        ("$[2::-1]", json!([])),
        ("$[1:-6:-1]", json!([1, 0, 3])),
        ("$[0:9999999999999999:3]", json!([0, 3])),
        ("$[0,0]", json!([0, 0])),
        ("$[$[1]]", json!([1])),
    ] {
        assert_eq!(find(path, list), found, "{path}");
    }
    assert_eq!(find("$[$.k].a", SHOP), json!([null]));
    assert_eq!(find("$..n", r#"[{"n": {"n": 1}}, {"n": 2}]"#), json!([{"n": 1}, 1, 2]), "a node before its children");
    assert_eq!(find("$..c..[0]", SHOP), json!([1, 2]));
    assert_eq!(find(r#"$["a\u0062"]"#, r#"{"ab": 1, "a\\u0062": 2}"#), json!([2]));
    let why = Path::parse("$[::0]").unwrap().find(&json!([1]).into()).unwrap_err();
    assert!(why.contains("step is 0"), "{why}");
}

#[test]
fn what_is_wrong_has_a_column_and_a_remedy() {
    for (path, at) in [
        ("foo[*].baz", 1),
        ("$.a-b", 4),
        ("$.[[[", 3),
        ("$['a']", 3),
        ("$.items[?(@.n == 2)]", 16),
        ("$.null", 3),
        ("$[1.5]", 3),
        ("$[01]", 4),
        ("$.a b", 5),
        ("$.foo()", 3),
        ("$[\"a]", 3),
        ("$[", 3),
        ("", 1),
    ] {
        assert_eq!(column(path), at, "{path}");
    }
    let why = Path::parse("$.a-b").unwrap_err().to_string();
    assert!(why.contains("[\"a-b\"]"), "{why}");
    let why = Path::parse("$[?(@.n == 2)]").unwrap_err().to_string();
    assert!(why.contains("one ="), "{why}");
}

#[test]
fn hostile_paths_end() {
    for path in [
        format!("$[?({}true{})]", "(".repeat(20_000), ")".repeat(20_000)),
        format!("$[?({}true)]", "not ".repeat(10_000)),
        format!("${}", "[?(@".repeat(10_000)),
        format!("$[?(@ = {})]", "[".repeat(20_000)),
        format!("${}", ".a".repeat(40_000)),
    ] {
        assert!(Path::parse(&path).is_err());
    }
    let wide = Value::Array((0..2_000).map(Value::from).collect());
    for path in ["$[*][?($[*] = -1)]", "$..[?($..[?($..* = -1)])]", "$..*..*..*..*", "$[*,*,*][length($[*],$[*],$[*])]"]
    {
        let nested = (0..60).fold(wide.clone(), |inner, _| Value::Array(vec![inner]));
        let path = Path::parse(path).unwrap();
        for value in [wide.clone(), nested] {
            if let Err(why) = path.find(&value.into()) {
                assert!(why.contains("more than"), "{why}");
            }
        }
    }
    let many = Path::parse("$[*]").unwrap().find(&Value::Array(vec![Value::Null; 100_001]).into());
    assert!(many.unwrap_err().contains("100001 values"));
}

/// Mostly well-formed paths.
fn any_path() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        Just(".a".to_owned()),
        Just(".*".to_owned()),
        Just("..b".to_owned()),
        Just("..*".to_owned()),
        Just("[0,-1]".to_owned()),
        Just("[::-2]".to_owned()),
        Just("[@.a]".to_owned()),
        Just(".entries()".to_owned()),
        Just(".values()".to_owned()),
        Just("[?(@.a = $..b or not @ > 1)]".to_owned()),
        Just("[charAt($..*)]".to_owned()),
        "[$@.\\[\\]()?*,:=<>!\"a1 -]{1,3}",
    ];
    prop::collection::vec(step, 0..6).prop_map(|steps| format!("${}", steps.concat()))
}

proptest! {
    #[test]
    fn no_text_panics(path in ".{0,20}") {
        let _ = Path::parse(&path);
    }

    #[test]
    fn no_path_panics_in_any_value(path in any_path(), value in any_value()) {
        if let Ok(path) = Path::parse(&path) {
            let _ = path.find(&value.into());
        }
    }

    #[test]
    fn ordered_json_is_the_same_json(value in any_value()) {
        let text = value.to_string();
        prop_assert_eq!(Ordered::parse(&text).unwrap().value, serde_json::from_str::<Value>(&text).unwrap());
    }
}
