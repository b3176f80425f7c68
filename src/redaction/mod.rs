//! What is not shown: which names mean a secret, and texts without what stands under such a name.
//!
//! Called by whatever makes names of addresses and commands, and by whoever stores or reads journals. It knows no secret
//! itself: it goes by names (`password`, `api_key`, `Set-Cookie`) and, for journals of documents and of others, by the forms
//! that tokens of well-known kinds have. It promises: what is taken out leaves [`REDACTED`], and the rest is as it was.

mod command;
#[cfg(feature = "cli")]
pub(crate) mod shapes;
#[cfg(feature = "cli")]
pub(crate) mod value;

use std::borrow::Cow;

use serde_json::Value;

pub(crate) use command::words;

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// Whether a key says that its value is a secret: `password`, `db_password`, `Authorization`, `apiKey`, …
pub(crate) fn is_secret(key: &str) -> bool {
    const ENDS: [&str; 13] = [
        "authorization",
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
        "clientkeydata",
        "cookie",
        "credentials",
    ];
    let name: String = key.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_lowercase()).collect();
    name == "pass" || ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a key of a URL's query says so. What signs a request is good for that request.
fn is_secret_of_query(key: &str) -> bool {
    is_secret(key) || key.to_ascii_lowercase().ends_with("signature") || key.eq_ignore_ascii_case("sig")
}

/// A URL, or a part of it, without the values of its query that are secrets: `/?api_key=[redacted]`.
pub(crate) fn query(url: &str) -> Cow<'_, str> {
    let Some((before, rest)) = url.split_once('?') else { return Cow::Borrowed(url) };
    let (query, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
    let mut hidden = false;
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, value)) if !value.is_empty() && is_secret_of_query(key) => {
            hidden = true;
            Cow::Owned(format!("{key}={REDACTED}"))
        }
        _ => Cow::Borrowed(pair),
    });
    let pairs = pairs.collect::<Vec<_>>().join("&");
    if hidden { Cow::Owned(format!("{before}?{pairs}{fragment}")) } else { Cow::Borrowed(url) }
}

/// Whether a value of an object holds a secret by the names in it, or by its own: `{"name": "DB_PASSWORD", "value": "x"}`,
/// `{"token": "x"}`, a text of such, a URL with a password.
pub(crate) fn holds_secret(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let parsed = text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text).ok());
            match parsed.flatten() {
                Some(parsed) => holds_secret(name, &parsed),
                None => !text.is_empty() && (is_secret(name) || command::hides(text) || text.lines().any(sets_secret)),
            }
        }
        Value::Number(_) => is_secret(name),
        Value::Array(items) => items.iter().any(|item| holds_secret(name, item)),
        Value::Object(entries) => {
            let mut named = ["name", "key"].iter().filter_map(|key| entries.get(*key)?.as_str());
            let named = named.find(|name| is_secret(name));
            entries.iter().any(|(key, value)| match named {
                Some(named) if key == "value" => holds_secret(named, value),
                _ => holds_secret(key, value),
            })
        }
        Value::Null | Value::Bool(_) => false,
    }
}

/// Whether a line of a file of settings gives a value to such a name: `db.password = x`.
fn sets_secret(line: &str) -> bool {
    line.split_once(['=', ':']).is_some_and(|(name, value)| {
        let name = name.trim();
        !name.contains(char::is_whitespace) && is_secret(name) && !value.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_all_but_its_secrets() {
        for (url, shown) in [
            ("http://h/?api_key=S&page=2", "http://h/?api_key=[redacted]&page=2"),
            ("/a?b=c&Access-Token=S#there", "/a?b=c&Access-Token=[redacted]#there"),
            ("/a?X-Amz-Signature=S&sig=S", "/a?X-Amz-Signature=[redacted]&sig=[redacted]"),
            ("/a?token=&tokens=2&design=1", "/a?token=&tokens=2&design=1"),
            ("/password=x", "/password=x"),
        ] {
            assert_eq!(query(url), shown);
        }
    }

    #[test]
    fn a_value_holds_a_secret_by_the_names_in_it() {
        use serde_json::json;
        for (name, value) in [
            ("DB_PASSWORD", json!("S")),
            ("pin.token", json!(2026)),
            ("data", json!({"A": "b", "api-key": "S"})),
            ("env", json!([{"name": "A", "value": "b"}, {"name": "DB_PASSWORD", "value": "S"}])),
            ("args", json!(["--quiet", "--token=S"])),
            ("application.properties", json!("a=b\ndb.password = S\n")),
            ("config.json", json!("{\"a\": {\"secret\": \"S\"}}")),
            ("DATABASE_URL", json!("postgres://me:S@db/orders")),
        ] {
            assert!(holds_secret(name, &value), "{name}: {value}");
        }
        for (name, value) in [
            ("replicas", json!(3)),
            ("image", json!("registry:5000/back:1.2")),
            ("automountServiceAccountToken", json!(true)),
            ("password", json!("")),
            ("env", json!([{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}])),
            ("command", json!(["sh", "-c", "exec back --url http://front:8080/"])),
            ("selector", json!({"app": "front", "steadfast.dev/blackhole": "it's"})),
        ] {
            assert!(!holds_secret(name, &value), "{name}: {value}");
        }
    }
}
