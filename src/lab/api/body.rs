//! Bodies of requests: JSON or YAML.

use std::fmt::Write;

use serde_json::Value;

use super::Call;
use crate::lab::resource::Resource;
use crate::lab::status::Status;
use crate::lab::store::admission;
use crate::lab::store::patch::go;

/// How much of a body that cannot be read is told back.
const SUMMARY: usize = 30;

/// A body that is to be an object of this kind.
///
/// # Errors
/// 415 for another media type than JSON and YAML, 400 for what is no object.
pub(super) fn object(call: &Call, kind: &str) -> Result<Value, Status> {
    let unrecognized = |why: &str| {
        let summary = summary(&call.body);
        let message = format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})");
        Status::bad_request(message)
    };
    let value = match call.content_type() {
        "application/json" => serde_json::from_slice(&call.body).map_err(|error| {
            unrecognized(&format!("couldn't get version/kind; json parse error: {}", go_error(&call.body, &error)))
        })?,
        "application/yaml" => yaml(&call.body).map_err(|why| unrecognized(&format!("yaml: {why}")))?,
        _ => return Err(unknown_format()),
    };
    if let Some(what) = not_object(&value) {
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        );
        return Err(unrecognized(&why));
    }
    metadata_of(&value, kind)?;
    Ok(value)
}

/// A body that is to be an object of a stored kind, and the keys that came twice in it.
///
/// # Errors
/// As [`object`].
pub(super) fn of_kind(call: &Call, resource: &Resource) -> Result<(Value, Vec<String>), Status> {
    if call.content_type() != "application/json" {
        let value = object(call, resource.kind)?;
        return admission::parse(resource, value.to_string().as_bytes());
    }
    // What is no object at all is told in fewer words of its body.
    let parsed =
        admission::parse(resource, &call.body).map_err(|status| object(call, resource.kind).err().unwrap_or(status));
    let (value, duplicates) = parsed?;
    metadata_of(&value, resource.kind)?;
    Ok((value, duplicates))
}

/// Refuses metadata that is no object.
///
/// # Errors
/// 400.
pub(super) fn metadata_of(value: &Value, kind: &str) -> Result<(), Status> {
    if let Some(what) = not_object(value) {
        return Err(Status::bad_request(format!("json: cannot unmarshal {what} into an object of kind {kind}")));
    }
    let text = |field: &str| value[field].as_str().filter(|text| !text.is_empty());
    if let Some(what) = not_object(&value["metadata"]).filter(|what| *what != "null") {
        let sent = text("kind").unwrap_or(kind);
        let version = text("apiVersion").map_or("v1", |version| version.rsplit('/').next().unwrap_or(version));
        let why = format!("json: cannot unmarshal {what} into Go struct field {kind}.metadata of type v1.ObjectMeta");
        let message = format!("{sent} in version {version:?} cannot be handled as a {kind}: {why}");
        return Err(Status::bad_request(message));
    }
    Ok(())
}

/// Any JSON or YAML value.
pub(super) fn yaml(body: &[u8]) -> Result<Value, String> {
    serde_saphyr::from_slice(body).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// The refusal of a media type by what reads the bodies of new objects.
pub(super) fn unknown_format() -> Status {
    let message = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml";
    Status::new(415, "UnsupportedMediaType", message)
}

pub(super) fn not_object(value: &Value) -> Option<&'static str> {
    (!value.is_object()).then(|| go::json_kind(value))
}

/// The beginning of a body: as it is if it looks like JSON, in hexadecimal otherwise.
fn summary(body: &[u8]) -> String {
    if body.is_empty() {
        return "<empty>".to_owned();
    }
    let (head, more) = if body.len() > SUMMARY { (&body[..SUMMARY], " ...") } else { (body, "") };
    if body[0] == b'{' {
        return format!("{}{more}", String::from_utf8_lossy(head));
    }
    let mut text = String::new();
    for byte in head {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text + more
}

/// What Go's parser would say of text that is no JSON.
pub(super) fn go_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let letter = line.get(error.column().saturating_sub(1)).copied().unwrap_or(b' ');
    let letter = if letter.is_ascii_graphic() || letter == b' ' {
        char::from(letter).to_string()
    } else {
        format!("\\u{:04x}", u32::from(letter))
    };
    let expected = match error.to_string() {
        text if text.starts_with("key must be") => "looking for beginning of object key string",
        text if text.starts_with("expected `,`") => "after object key:value pair",
        text if text.starts_with("trailing") => "after top-level value",
        _ => "looking for beginning of value",
    };
    format!("invalid character '{letter}' {expected}")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Uri};
    use hyper::body::Bytes;
    use serde_json::json;

    use super::*;

    fn read(kind: &'static str, body: &str) -> Result<Value, Status> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        let call = Call::new(Method::POST, &Uri::from_static("/"), headers, Bytes::copy_from_slice(body.as_bytes()));
        object(&call, "ConfigMap")
    }

    #[test]
    fn yaml_is_read_as_kubernetes_reads_it() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: \"1\"\n  b: |\n    x\n    y\nn: 1\nt: true\nz: null\nf: 1.5\n";
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1", "b": "x\ny\n"},
            "n": 1, "t": true, "z": null, "f": 1.5,
        });
        assert_eq!(read("application/yaml", text).unwrap(), expected);
        assert_eq!(read("application/yaml", "{\"a\": [1, \"x\"]}").unwrap(), json!({"a": [1, "x"]}));
        assert_eq!(read("application/yaml; charset=utf-8", "a: b: c").unwrap_err().code, 400);
    }

    #[test]
    fn what_is_no_object_is_told_back() {
        let told = |body: &str| read("application/json", body).unwrap_err().message;
        let prefix = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ";
        assert_eq!(told(""), format!("{prefix}unexpected end of JSON input (<empty>)"));
        let cut = r#"{"apiVersion": "v1", "kind": "ConfigMap", "#;
        let summary = r#"({"apiVersion": "v1", "kind": " ...)"#;
        assert_eq!(told(cut), format!("{prefix}unexpected end of JSON input {summary}"));
        assert!(told("[]").ends_with("(5b5d)"), "{}", told("[]"));
        assert!(
            told("{bad").contains("invalid character 'b' looking for beginning of object key string"),
            "{}",
            told("{bad")
        );
        let metadata = r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta"#;
        assert_eq!(told(r#"{"metadata":[]}"#), metadata);
        assert_eq!(read("text/plain", "x").unwrap_err().code, 415);
    }
}
