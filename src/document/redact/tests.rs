use super::*;
use serde_json::json;

fn redactor(secrets: Value) -> Redactor {
    let Value::Object(values) = secrets else { unreachable!() };
    Redactor::of(&vec![("target".into(), values)], &["fetched-with"])
}

#[test]
fn a_secret_is_hidden_in_every_form() {
    let redactor =
        redactor(json!({"s": "p\u{e4}ss w\u{f6}rd/\"+'1", "deep": {"n": 12345678, "list": ["inside", true]}}));
    let secret = "p\u{e4}ss w\u{f6}rd/\"+'1";
    for form in [
        secret.to_owned(),
        "p%C3%A4ss+w%C3%B6rd%2F%22%2B%271".into(),
        "p%C3%A4ss%20w%C3%B6rd%2F%22%2B%271".into(),
        "p\u{e4}ss w\u{f6}rd/\\\"+'1".into(),
        "p\\u00e4ss w\\u00f6rd/\\\"+'1".into(),
        "p\u{e4}ss w\u{f6}rd/\"+\\'1".into(),
        BASE64_STANDARD.encode(secret),
        "12345678".into(),
        "inside".into(),
        "fetched-with".into(),
    ] {
        assert_eq!(redactor.redact(&format!("<{form}>")), "<[redacted]>", "{form}");
    }
    for user in ["", "u", "us", "use"] {
        let encoded = BASE64_URL_SAFE.encode(format!("{user}:{secret}:after"));
        let hidden = redactor.redact(&encoded);
        assert!(hidden.contains(REDACTED) && hidden.len() - REDACTED.len() <= encoded.len() - 18, "{hidden}");
    }
}

#[test]
fn what_a_secret_carries_is_hidden_too() {
    let redactor = redactor(json!({
        "url": "postgres://me:p%40ss@db/x", "header": "Bearer abc123", "pem": "-----BEGIN X-----\nline-of-a-key-1\nline-of-a-key-2\n",
    }));
    for part in ["p%40ss", "p@ss", "abc123", "line-of-a-key-2"] {
        assert_eq!(redactor.redact(part), REDACTED, "{part}");
    }
    assert_eq!(redactor.redact("-----BEGIN X-----"), "-----BEGIN X-----");
}

#[test]
fn secrets_in_one_another_leave_nothing() {
    let redactor = redactor(json!({"a": "abcdef", "b": "defghi", "c": "cdef", "d": "x-abcdef-y"}));
    assert_eq!(redactor.redact("<abcdefghi>"), "<[redacted]>");
    assert_eq!(redactor.redact("x-abcdef-y abcdef"), "[redacted] [redacted]");
}

#[test]
fn a_secret_that_is_a_year_leaves_times_as_they_are() {
    let redactor = redactor(json!({"pin": "2026", "born": "2026-01-02T03:04:05Z"}));
    let mut value = json!({"at": "2026-11-30T01:07:00.2026Z", "start": "2026-11-30T01:07:00", "born": "2026-01-02T03:04:05Z",
        "said": "it is 2026-11-30T01:07:00Z"});
    redactor.redact_value(&mut value);
    let expected = json!({"at": "2026-11-30T01:07:00.2026Z", "start": "2026-11-30T01:07:00", "born": REDACTED,
        "said": "it is [redacted]-11-30T01:07:00Z"});
    assert_eq!(value, expected);
}

#[test]
fn short_secrets_are_told_and_not_hidden() {
    let redactor = redactor(json!({"a": "one", "b": {"c": 7}, "d": "", "e": true}));
    assert_eq!(redactor.too_short(), ["target.a", "target.b.c"]);
    assert!(matches!(redactor.redact("one 7"), Cow::Borrowed("one 7")));
}

#[test]
fn values_lose_what_their_keys_call_secret() {
    let redactor = redactor(json!({"a": "s3cr3t", "n": 12345678}));
    let mut value = json!({
        "Authorization": "x", "db_password": 7, "apiKey": ["a", "b"], "token": true, "secret": {"secretName": "back-tls"},
        "s3cr3t": 1, "x s3cr3t": [12345678, "with s3cr3t", null], "secrets": ["k8s"], "max_tokens": 5, "password": "",
    });
    value["of"] = json!({"kind": "Secret", "data": {"x": "aGVsbG8="}, "metadata": {"name": "back-tls"}});
    redactor.redact_value(&mut value);
    let left = json!({
        "of": {"kind": "Secret", "data": {"x": "[redacted]"}, "metadata": {"name": "back-tls"}},
        "Authorization": "[redacted]", "db_password": "[redacted]", "apiKey": ["[redacted]", "[redacted]"], "token": true,
        "secret": {"secretName": "back-tls"}, "[redacted]": 1, "x [redacted]": ["[redacted]", "with [redacted]", null],
        "secrets": ["k8s"], "max_tokens": 5, "password": "",
    });
    assert_eq!(value, left);
}

#[test]
fn a_documents_inline_secrets_are_hidden_and_definitions_stay() {
    let redactor = Redactor::of(&Secrets::new(), &[]);
    let mut document = json!({"secrets": {"t": {"a": "no", "b": {"type": "env", "key": "B"}, "c": {"d": 1}}, "flat": "x"}, "title": "no"});
    redactor.redact_document(&mut document);
    let left = json!({"secrets": {"t": {"a": "[redacted]", "b": {"type": "env", "key": "B"}, "c": {"d": "[redacted]"}}, "flat": "[redacted]"}, "title": "no"});
    assert_eq!(document, left);
}
