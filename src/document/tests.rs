//! Whatever a document holds, reading it, judging it, substituting and hiding come to an end.

use super::environment::Env;
use super::marks::{Marks, Path};
use super::redact::Redactor;
use super::source::{Format, Source};
use super::substitute::Scope;
use super::validate::{Checks, Functions, Known, Rules, validate};
use proptest::prelude::*;
use serde_json::{Map, Value};

struct Nothing;

impl Functions for Nothing {
    fn known(&self, _: &str, _: &str) -> Known {
        Known::Unknown
    }

    fn has_control(&self, _: &str) -> bool {
        false
    }
}

impl Checks for Nothing {
    fn pattern(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn json_path(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn own(&self, _: &str, _: &Value) -> Option<Result<(), String>> {
        None
    }
}

/// Marks tell the same keys and items as the value.
fn agree(value: &Value, marks: &Marks) -> bool {
    match value {
        Value::Object(entries) => {
            let keys: std::collections::BTreeSet<&str> = marks.keys().collect();
            keys.len() == marks.keys().count()
                && keys == entries.keys().map(String::as_str).collect()
                && entries.iter().all(|(key, value)| {
                    marks.get(&Path::root().key(key.as_str())).is_some_and(|marks| agree(value, marks))
                })
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .all(|(index, item)| marks.get(&Path::root().item(index)).is_some_and(|marks| agree(item, marks))),
        _ => marks.mark.line > 0 && marks.mark.column > 0,
    }
}

fn judged(source: &Source) {
    let env = Env::of([]);
    validate(source, &Rules { functions: &Nothing, checks: &Nothing, env: &env, processes: true });
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON's", |float| serde_json::Number::from_f64(float).map(Value::Number)),
        "(\\$|\\{|\\}|a|é|type|ref|\\PC){0,6}".prop_map(Value::from),
        prop::sample::select(vec!["probe", "action", "env", "process", "http", "python", "regex", "${a}"])
            .prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "title",
            "description",
            "method",
            "steady-state-hypothesis",
            "probes",
            "rollbacks",
            "configuration",
            "secrets",
            "controls",
            "tags",
            "extensions",
            "type",
            "name",
            "provider",
            "ref",
            "tolerance",
            "pauses",
            "before",
            "path",
            "url",
            "headers",
            "module",
            "func",
            "arguments",
            "pattern",
            "range",
            "x-steadfast",
            "leave",
            "key",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in [Format::Json, Format::Yaml] {
            if let Ok(source) = Source::parse("x", &bytes, format) {
                prop_assert!(agree(&source.value, &source.marks));
                judged(&source);
            }
        }
    }

    #[test]
    fn any_yaml_is_read_or_refused(
        text in "(a|k: |: |- |\\[|\\]|\\{|\\}|, |\n|\n  |&a |\\*a|<<: |!!str |!!int |\\||>|\"|'|#|\t|1|yes|2020-01-02|\\? |---\n|é){0,40}",
    ) {
        if let Ok(source) = Source::parse("x", text.as_bytes(), Format::Yaml) {
            prop_assert!(agree(&source.value, &source.marks));
            judged(&source);
        }
    }

    #[test]
    fn a_value_is_read_back_from_its_text(value in values(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let source = Source::parse("x", text.expect("a text").as_bytes(), Format::Json).expect("reads");
        prop_assert_eq!(&source.value, &value);
        prop_assert!(agree(&source.value, &source.marks));
        judged(&source);
    }

    #[test]
    fn substitution_and_hiding_end_well(value in values(), text in "\\PC{0,60}") {
        let scope = Scope {
            configuration: value.as_object().cloned().unwrap_or_default(),
            secrets: vec![("t".into(), value.as_object().cloned().unwrap_or_default())],
        };
        scope.put_into_text(&text);
        let mut put = scope.put_into(&value);
        let redactor = Redactor::of(&scope.secrets, &[&text]);
        redactor.redact_value(&mut put);
        let hidden = redactor.redact(&text);
        prop_assert!(text.trim().chars().count() < 4 || !hidden.contains(&text));
    }

    #[test]
    fn a_secret_is_never_left(secret in "[a-zA-Z0-9/+%: é\"'\\\\]{4,20}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
        prop_assume!(secret.trim() == secret && !"[redacted]".contains(&secret));
        let values = [("s".to_owned(), Value::from(secret.as_str()))].into_iter().collect();
        let redactor = Redactor::of(&vec![("t".into(), values)], &[]);
        let hidden = redactor.redact(&format!("{before}{secret}{after}")).into_owned();
        prop_assert!(!hidden.replace("[redacted]", "\n").contains(&secret), "{}", hidden);
    }
}

#[test]
fn hiding_is_linear_in_the_text() {
    let values = [("s".to_owned(), Value::from("aaaaaaaaaaaa"))].into_iter().collect();
    let redactor = Redactor::of(&vec![("t".into(), values)], &[]);
    for piece in [
        "a",
        "-",
        "://",
        "://a:",
        "bearer ",
        "bearer\t",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
        "eyJa.",
        "password=",
        "xoxb-1",
        "cookie:",
        "-u a:",
        " --user ",
        "authorization:",
        "basic ",
        "sk-",
    ] {
        let text = piece.repeat((1 << 17) / piece.len());
        assert!(redactor.redact(&text).len() <= text.len() * 8, "{piece}");
        Scope::default().put_into_text(&text);
    }
    Scope::default().put_into_text(&"${".repeat(1 << 17));
    Scope::default().put_into_text(&"$a".repeat(1 << 17));
}
