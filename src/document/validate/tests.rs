use super::*;
use crate::document::source::Format;
use serde_json::json;

/// `os.path.exists(path)` is built in, `os` has nothing else, `mine.*` is replaced.
struct Table;

impl Functions for Table {
    fn known(&self, module: &str, func: &str) -> Known {
        const EXISTS: &[Parameter] =
            &[Parameter { name: "path", required: true }, Parameter { name: "deep", required: false }];
        match (module, func) {
            ("os.path", "exists") => Known::Native(EXISTS),
            ("os", _) => Known::NoFunction,
            ("mine", _) => Known::Replaced,
            _ => Known::Unknown,
        }
    }

    fn has_control(&self, module: &str) -> bool {
        module == "mine"
    }
}

impl Checks for Table {
    fn pattern(&self, pattern: &str) -> Result<(), String> {
        if pattern == "[" { Err("unterminated character set".into()) } else { Ok(()) }
    }

    fn json_path(&self, path: &str) -> Result<(), String> {
        if path.starts_with('$') { Ok(()) } else { Err("it begins with `$`".into()) }
    }

    fn own(&self, kind: &str, tolerance: &Value) -> Option<Result<(), String>> {
        (kind == "growth").then(|| if tolerance.get("at_most").is_some() { Ok(()) } else { Err("no bound".into()) })
    }
}

fn judge(document: &Value, processes: bool) -> Report {
    let source = Source::parse("x.json", document.to_string().as_bytes(), Format::Json).expect("a source");
    let env = Env::of([("PATH", "/bin:/usr/bin"), ("SET", "x")]);
    validate(&source, &Rules { functions: &Table, checks: &Table, env: &env, processes })
}

/// The errors of a document, as `path message`.
fn errors(document: &Value) -> Vec<String> {
    judge(document, true).errors.iter().map(|error| format!("{} {}", error.path, error.message)).collect()
}

fn document() -> Value {
    json!({
        "title": "t", "description": "d",
        "method": [{"type": "action", "name": "a", "provider": {"type": "process", "path": "sh", "arguments": "-c true"}}],
    })
}

/// The first error of a document whose first activity has these keys besides.
fn of_activity(keys: Value) -> Option<String> {
    let mut document = document();
    for (key, value) in keys.as_object().expect("keys") {
        document["method"][0][key] = value.clone();
    }
    errors(&document).into_iter().next()
}

#[test]
fn a_right_document_has_neither_errors_nor_warnings() {
    assert_eq!(judge(&document(), true), Report::default());
}

#[test]
fn all_errors_are_told_in_the_order_of_the_original() {
    let broken = json!({
        "rollbacks": [{"ref": "nobody"}, null],
        "method": [{"ref": ""}, {"name": "a"}, {"type": "x", "name": "", "provider": {"type": "y"}, "timeout": "1", "pauses": {"after": "x"}, "background": 1}],
        "steady-state-hypothesis": {"probes": [{"ref": "a"}]},
        "secrets": {"t": {"a": {"type": "env", "key": "NOPE"}}},
        "configuration": {"c": {"type": "env", "key": "NOPE"}},
        "extensions": [{"name": " "}], "tags": ["x", ""], "controls": [{"ref": "x"}, {}, {"name": "c"}, {"name": "d", "provider": {"type": "python"}, "scope": "x"}],
    });
    assert_eq!(
        errors(&broken),
        [
            "$.title experiment requires a title",
            "$.description experiment requires a description",
            "$.tags[1] experiment tags must be a non-empty string",
            "$.extensions[0] All extensions require a non-empty name",
            "$.configuration.c Configuration makes reference to an environment key that does not exist: NOPE",
            "$.secrets.t.a Secrets make reference to an environment key that does not exist: NOPE",
            "$.steady-state-hypothesis.title hypothesis requires a title",
            "$.steady-state-hypothesis.probes[0] hypothesis probe must have a tolerance entry",
            "$.method[0].ref reference to activity must be non-empty strings",
            "$.method[1].type an activity must have a type",
            "$.method[1].provider an activity requires a provider",
            "$.method[2].type 'x' is not a supported activity type",
            "$.method[2].name an activity must have a name",
            "$.method[2].provider.type unknown provider type 'y'",
            "$.method[2].timeout activity timeout must be a number",
            "$.method[2].pauses.after activity after pause must be a number or a pattern to a variable from the configuration or secrets",
            "$.method[2].background activity background must be a boolean",
            "$.rollbacks[0].ref referenced activity 'nobody' could not be found in the experiment",
            "$.rollbacks[1] empty activity is no activity",
            "$.controls[0].ref Control reference '{}' declaration cannot be found",
            "$.controls[1] A control must have a `name` property",
            "$.controls[2] Control 'c' must have a `provider` property",
            "$.controls[3].scope Control 'd' scope property must be 'before' or 'after' only",
            "$.controls[3].provider.module Control 'd' must have a module path",
        ]
    );
}

#[test]
fn documents_that_are_none() {
    for empty in [json!({}), json!(null), json!([]), json!("")] {
        assert_eq!(errors(&empty), ["$ an empty experiment is not an experiment"], "{empty}");
    }
    assert_eq!(errors(&json!([1])), ["$ an experiment is a mapping with title, description and method"]);
    for (key, value, at) in [
        ("method", json!(null), "$.method an experiment requires a method"),
        ("method", json!({}), "$.method an experiment requires a method"),
        ("steady-state-hypothesis", json!(null), "$.steady-state-hypothesis a hypothesis is a mapping"),
        ("configuration", json!(null), "$.configuration configuration is a mapping"),
        ("secrets", json!([]), "$.secrets secrets is a mapping"),
        ("rollbacks", json!({"a": 1}), "$.rollbacks rollbacks is a list"),
        ("x-steadfast", json!({"trust": "why"}), "$.x-steadfast.trust x-steadfast has no key `trust` here"),
    ] {
        let mut document = document();
        document[key] = value;
        let errors = errors(&document);
        assert!(errors.len() == 1 && errors[0].starts_with(at), "{errors:?}");
    }
}

#[test]
fn providers() {
    for (provider, first) in [
        (json!({"type": "process"}), Some("$.method[0].provider.path a process activity must have a path")),
        (
            json!({"type": "process", "path": "${p}"}),
            Some("$.method[0].provider.path path '${p}' cannot be found, in activity 'a'"),
        ),
        (
            json!({"type": "process", "path": "/etc/passwd"}),
            Some("$.method[0].provider.path path '/etc/passwd' cannot be found, in activity 'a'"),
        ),
        (json!({"type": "http"}), Some("$.method[0].provider.url a HTTP activity must have a URL")),
        (
            json!({"type": "http", "url": "x", "headers": ["x"]}),
            Some("$.method[0].provider.headers a HTTP activities expect headers as a mapping"),
        ),
        (json!({"type": "http", "url": "x", "headers": null}), None),
        (
            json!({"type": "python", "func": "f"}),
            Some("$.method[0].provider.module a Python activity must have a module path"),
        ),
        (
            json!({"type": "python", "module": "m"}),
            Some("$.method[0].provider.func a Python activity must have a function name"),
        ),
        (json!({"type": "python", "module": "mine", "func": "f", "arguments": {"x": 1}}), None),
        (
            json!({"type": "python", "module": "os", "func": "f"}),
            Some(
                "$.method[0].provider.func The python module 'os' does not expose a function called 'f' in action 'a'",
            ),
        ),
        (
            json!({"type": "python", "module": "os.path", "func": "exists"}),
            Some("$.method[0].provider.arguments required argument 'path' is missing from activity 'exists'"),
        ),
        (
            json!({"type": "python", "module": "os.path", "func": "exists", "arguments": {"path": 1, "deep": 2, "zzz": 3}}),
            Some(
                "$.method[0].provider.arguments.zzz argument 'zzz' is not part of the function signature in activity 'exists'",
            ),
        ),
        (
            json!({"type": "python", "module": "m", "func": "f"}),
            Some(
                "$.method[0].provider.func could not find Python module 'm' in activity 'a': m.f is not a function that is \
                 built in; say what to run instead of it (--replace m.f='{…}'), or let Python run it (--allow-python)",
            ),
        ),
    ] {
        assert_eq!(of_activity(json!({"provider": provider})).as_deref(), first, "{provider}");
    }
}

#[test]
fn tolerances() {
    let of = |tolerance: &Value| {
        let mut document = document();
        let probe =
            json!({"type": "probe", "name": "p", "tolerance": tolerance, "provider": {"type": "http", "url": "x"}});
        document["steady-state-hypothesis"] = json!({"title": "t", "probes": [probe]});
        let place = "$.steady-state-hypothesis.probes[0].tolerance";
        errors(&document).first().map(|error| error.strip_prefix(place).expect("its place").to_owned())
    };
    for right in [
        json!(1),
        json!(true),
        json!("x"),
        json!([1, 2, 3]),
        json!([]),
        json!({"type": "regex", "pattern": "x"}),
        json!({"type": "jsonpath", "path": " $.a "}),
        json!({"type": "range", "range": [1, 2.5]}),
        json!({"type": "growth", "at_most": 1}),
        json!({"type": "probe", "name": "n", "provider": {"type": "http", "url": "x"}}),
    ] {
        assert_eq!(of(&right), None, "{right}");
    }
    for (wrong, first) in [
        (json!(1.5), " hypothesis probe tolerance must either be an integer"),
        (json!(null), " hypothesis probe tolerance must either be an integer"),
        (json!({}), ".type hypothesis probe tolerance type 'None' is unsupported"),
        (json!({"type": "x"}), ".type hypothesis probe tolerance type 'x' is unsupported"),
        (json!({"type": "regex"}), ".pattern hypothesis regex probe tolerance must have a `pattern` key"),
        (json!({"type": "regex", "pattern": 1}), ".pattern hypothesis probe tolerance pattern 1 has an invalid type"),
        (
            json!({"type": "regex", "pattern": "["}),
            ".pattern hypothesis probe tolerance pattern [ seems invalid: unterminated character set",
        ),
        (json!({"type": "jsonpath"}), ".path hypothesis jsonpath probe tolerance must have a `path` key"),
        (json!({"type": "jsonpath", "path": " "}), ".path hypothesis probe tolerance JSON path cannot be empty"),
        (json!({"type": "jsonpath", "path": 1}), ".path hypothesis probe tolerance JSON path 1 has an invalid type"),
        (
            json!({"type": "jsonpath", "path": "a"}),
            ".path hypothesis probe tolerance JSON path a is invalid: it begins",
        ),
        (json!({"type": "range"}), ".range hypothesis range probe tolerance must have a `range` key"),
        (json!({"type": "range", "range": "x"}), ".range hypothesis range must be a sequence"),
        (json!({"type": "range", "range": [1]}), ".range hypothesis range sequence must be made of two values"),
        (json!({"type": "range", "range": ["1", 2]}), ".range[0] hypothesis range lower boundary must be a number"),
        (json!({"type": "range", "range": [1, null]}), ".range[1] hypothesis range upper boundary must be a number"),
        (json!({"type": "growth"}), " no bound"),
        (json!({"type": "probe", "name": "n"}), ".provider an activity requires a provider"),
    ] {
        let found = of(&wrong);
        assert!(found.as_ref().is_some_and(|found| found.starts_with(first)), "{wrong}: {found:?}");
    }
}

#[test]
fn processes_may_be_forbidden_wherever_they_stand() {
    let mut document = document();
    let process = json!({"type": "probe", "name": "p", "provider": {"type": "process", "path": "sh"}});
    document["configuration"] = json!({"c": process});
    let mut tolerance = process.clone();
    tolerance["provider"]["arguments"] = json!({"x": 1});
    let probe = json!({"type": "probe", "name": "p", "tolerance": tolerance, "provider": {"type": "http", "url": "x"}});
    document["steady-state-hypothesis"] = json!({"title": "t", "probes": [probe]});
    assert!(judge(&document, true).errors.is_empty());
    let places: Vec<String> = judge(&document, false).errors.into_iter().map(|error| error.path).collect();
    assert_eq!(
        places,
        [
            "$.configuration.c.provider",
            "$.steady-state-hypothesis.probes[0].tolerance.provider",
            "$.method[0].provider"
        ]
    );
}

#[test]
fn our_own_keys_and_warnings() {
    assert_eq!(of_activity(json!({"x-steadfast": {"leave": true, "trust": "no route to it"}})), None);
    for (own, first) in [
        (json!({"leave": 1}), "$.method[0].x-steadfast.leave x-steadfast.leave is true or false"),
        (
            json!({"trust": " "}),
            "$.method[0].x-steadfast.trust x-steadfast.trust says why, in a text that is not empty",
        ),
        (
            json!({"levae": true}),
            "$.method[0].x-steadfast.levae x-steadfast has no key `levae` here: it may have leave, all and trust",
        ),
        (json!(true), "$.method[0].x-steadfast x-steadfast is a mapping, such as {\"leave\": true}"),
    ] {
        assert_eq!(of_activity(json!({"x-steadfast": own})).as_deref(), Some(first));
    }
    let mut document = document();
    document["method"][0]["pauses"] = json!({"before": -1, "after": "${p}"});
    document["method"][0]["provider"]["arguments"] = json!({"-c": "true"});
    document["controls"] = json!([{"name": "c", "provider": {"type": "python", "module": "nowhere"}}]);
    let report = judge(&document, true);
    let places: Vec<&str> = report.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(
        places,
        ["$.method[0].pauses.before", "$.method[0].provider.arguments", "$.controls[0].provider.module"]
    );
}
