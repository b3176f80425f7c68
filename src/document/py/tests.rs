use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Values of every type, three deep.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(1.0)),
        Just(json!(-0.0)),
        Just(json!(9_007_199_254_740_993_i64)),
        Just(json!(9_007_199_254_740_992.0)),
        Just(json!(u64::MAX)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        "[a-c0-9. ]{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

#[test]
fn numbers_and_booleans_are_equal_at_every_depth() {
    assert!(equal(&json!([1, {"a": true}]), &json!([1.0, {"a": 1}])));
    assert!(equal(&json!(0), &json!(-0.0)));
    assert!(!equal(&json!("1"), &json!(1)));
    assert!(!equal(&json!(null), &json!(false)));
    assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
}

#[test]
fn whole_numbers_are_not_rounded() {
    let (above, float) = (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0));
    assert!(!equal(&above, &float));
    assert_eq!(compare(&float, &above), Ok(Ordering::Less));
    assert_eq!(compare(&json!(3), &json!(3.5)), Ok(Ordering::Less));
    assert_eq!(compare(&json!(-3), &json!(-3.5)), Ok(Ordering::Greater));
    assert_eq!(compare(&json!(u64::MAX), &json!(1e300)), Ok(Ordering::Less));
}

#[test]
fn what_has_no_order_is_named() {
    assert_eq!(compare(&json!([1, "b"]), &json!([1.0, "a", 0])), Ok(Ordering::Greater));
    assert_eq!(compare(&json!([1]), &json!([1, 2])), Ok(Ordering::Less));
    let error = compare(&json!("5"), &json!(4)).unwrap_err();
    assert_eq!(error, "str and int have no order");
    assert!(compare(&json!(null), &json!(null)).is_err());
}

#[test]
fn what_is_empty_is_false() {
    for value in [json!(null), json!(false), json!(0), json!(-0.0), json!(""), json!([]), json!({})] {
        assert!(!truthy(&value), "{value}");
    }
    for value in [json!(true), json!(-1), json!(0.1), json!("0"), json!([0]), json!({"status": 1})] {
        assert!(truthy(&value), "{value}");
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    Decimal::of(a).unwrap().compare(&Decimal::of(b).unwrap())
}

#[test]
fn decimals_take_floats_exactly() {
    assert_eq!(order(&json!("0.1"), &json!(0.1)), Some(Ordering::Less));
    let exact = "0.1000000000000000055511151231257827021181583404541015625";
    assert_eq!(order(&json!(exact), &json!(0.1)), Some(Ordering::Equal));
    assert_eq!(order(&json!("5e-324"), &json!(5e-324)), Some(Ordering::Greater));
    assert_eq!(order(&json!("1e400"), &json!(f64::MAX)), Some(Ordering::Greater));
}

#[test]
fn decimals_are_read_as_python_reads_them() {
    for (text, same) in
        [(" 1_0\n", 10), ("+5", 5), ("5.", 5), ("0.5e1", 5), ("50E-1", 5), ("-0", 0), ("_1_", 1), ("0e5", 0)]
    {
        assert_eq!(order(&json!(text), &json!(same)), Some(Ordering::Equal), "{text}");
    }
    for text in ["", " ", ".", "_", "1e", "1 0", "--1", "1e+-5", "0x1", "1e1000000000000000000", "five"] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
    assert_eq!(order(&json!("-Infinity"), &json!(f64::MIN)), Some(Ordering::Less));
    assert_eq!(order(&json!("NaN"), &json!(1)), None);
    assert_eq!(Decimal::of(&json!([1])), Err(NotDecimal::Type("list")));
}

proptest! {
    #[test]
    fn equality_is_symmetric_and_agrees_with_order(a in any_value(), b in any_value()) {
        prop_assert!(equal(&a, &a));
        prop_assert_eq!(equal(&a, &b), equal(&b, &a));
        if let Ok(ordering) = compare(&a, &b) {
            prop_assert_eq!(ordering.is_eq(), equal(&a, &b));
            prop_assert_eq!(compare(&b, &a), Ok(ordering.reverse()));
        }
    }

    #[test]
    fn decimals_of_any_text_do_not_panic(text in ".{0,12}", number in "[-+ _]?[0-9_]{0,4}[.]?[0-9]{0,4}([eE][-+]?[0-9]{0,20})?") {
        let _ = Decimal::parse(&text);
        if let Some(decimal) = Decimal::parse(&number) {
            prop_assert_eq!(decimal.compare(&decimal), Some(Ordering::Equal));
        }
    }

    #[test]
    fn floats_stand_as_their_decimals_do(a in any::<f64>(), b in any::<f64>()) {
        prop_assume!(a.is_finite() && b.is_finite());
        prop_assert_eq!(order(&json!(a), &json!(b)), a.partial_cmp(&b));
    }
}
