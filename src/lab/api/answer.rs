//! Answers, and how they are written.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::ApiBody;
use super::negotiate::{self, Encoding};
use crate::lab::resource::Resource;
use crate::lab::status::Status;
use crate::lab::store::{Object, write_value};

/// What a request is answered with.
pub(super) enum Answer {
    /// One stored object, in the version that it was asked for in.
    Object(u16, &'static Resource, Object),
    /// Stored objects.
    List(Listed),
    /// Anything else.
    Json(u16, Value),
    Text(String),
    /// Nothing to say: 204.
    Empty,
    /// Lines of JSON as they come.
    Stream(ApiBody),
    /// Text as it comes.
    TextStream(ApiBody),
    /// With headers of its own.
    Whole(Box<Response<ApiBody>>),
}

/// A list of stored objects; they are written as they lie, without a copy.
pub(super) struct Listed {
    pub(super) resource: &'static Resource,
    pub(super) metadata: Value,
    pub(super) items: Vec<Object>,
}

/// An answer, and what the client is to be warned of.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) warnings: Vec<String>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, warnings: Vec::new() }
    }
}

impl Answer {
    /// The code and the whole body, of an answer that is JSON; for those who change it. Others come back as they are.
    pub(super) fn into_json(self) -> Result<(u16, Value), Self> {
        match self {
            Self::Json(code, body) => Ok((code, body)),
            Self::Object(code, resource, object) => Ok((code, in_version(resource, &object).into_owned())),
            Self::List(Listed { resource, metadata, items }) => {
                let items: Vec<Value> = items.iter().map(|item| (**item).clone()).collect();
                let (kind, api_version) = (format!("{}List", resource.kind), resource.api_version());
                let body = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items});
                Ok((200, body))
            }
            other => Err(other),
        }
    }
}

/// An object as it is told in one of the versions of its kind.
pub(super) fn in_version<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if object["kind"] == resource.kind && object["apiVersion"] == resource.api_version() {
        return Cow::Borrowed(object);
    }
    let mut told = object.clone();
    told["apiVersion"] = json!(resource.api_version());
    told["kind"] = json!(resource.kind);
    Cow::Owned(told)
}

/// Writes an object, kind and version first; `members` are the others.
pub(super) fn write_object(into: &mut Vec<u8>, resource: &Resource, members: &[u8]) {
    into.extend_from_slice(b"{\"kind\":");
    write_value(into, resource.kind);
    into.extend_from_slice(b",\"apiVersion\":");
    write_value(into, &resource.api_version());
    if !members.is_empty() {
        into.push(b',');
    }
    into.extend_from_slice(members);
    into.push(b'}');
}

fn write_list(into: &mut Vec<u8>, Listed { resource, metadata, items }: &Listed) {
    /// What an item has beside its members: braces, a comma, kind and version.
    const AROUND: usize = 100;
    into.reserve(items.iter().map(|item| item.rest().len() + AROUND).sum());
    into.extend_from_slice(b"{\"kind\":");
    write_value(into, &format!("{}List", resource.kind));
    into.extend_from_slice(b",\"apiVersion\":");
    write_value(into, &resource.api_version());
    into.extend_from_slice(b",\"metadata\":");
    write_value(into, metadata);
    into.extend_from_slice(b",\"items\":[");
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            into.push(b',');
        }
        if resource.custom {
            write_object(into, resource, item.rest());
        } else {
            // Items of a list of a built-in kind name neither kind nor version.
            into.push(b'{');
            into.extend_from_slice(item.rest());
            into.push(b'}');
        }
    }
    into.extend_from_slice(b"]}");
}

/// `Status` and other small bodies, in the real server's order of keys.
pub(super) fn write_body(into: &mut Vec<u8>, body: &Value) {
    const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
    const STATUS: [&str; 5] = ["status", "message", "reason", "details", "code"];
    let Some(map) = body.as_object() else { return write_value(into, body) };
    let is_status = map.get("kind").is_some_and(|kind| kind == "Status");
    let order: &[&str] = if is_status { &STATUS } else { &[] };
    let first: Vec<&str> = FIRST.iter().chain(order).copied().collect();
    let head = first.iter().filter_map(|key| map.get_key_value(*key));
    let rest = map.iter().filter(|(key, _)| !first.contains(&key.as_str()));
    into.push(b'{');
    for (number, (key, value)) in head.chain(rest).enumerate() {
        if number > 0 {
            into.push(b',');
        }
        write_value(into, key);
        into.push(b':');
        write_value(into, value);
    }
    into.push(b'}');
}

pub(super) fn respond(reply: Result<Reply, Status>) -> Response<ApiBody> {
    respond_as(reply, Encoding::default())
}

pub(super) fn respond_as(reply: Result<Reply, Status>, encoding: Encoding) -> Response<ApiBody> {
    const JSON: &str = "application/json";
    let mut bytes = Vec::new();
    let (answer, warnings) = match reply {
        Ok(Reply { answer, warnings }) => (answer, warnings),
        Err(status) => (Answer::Json(status.code, status.body()), Vec::new()),
    };
    // Only plain JSON is written straight from what is stored.
    let answer = if encoding == Encoding::default() {
        Err(answer)
    } else {
        answer.into_json().map(|(code, body)| (code, negotiate::encode(&body, encoding)))
    };
    let (code, kind, body) = match answer {
        Ok((code, (kind, text))) => (code, kind, full(text)),
        Err(answer) => match answer {
            Answer::Object(code, resource, object) => {
                write_object(&mut bytes, resource, object.rest());
                bytes.push(b'\n');
                (code, JSON, full(bytes))
            }
            Answer::List(listed) => {
                write_list(&mut bytes, &listed);
                bytes.push(b'\n');
                (200, JSON, full(bytes))
            }
            Answer::Json(code, value) => {
                write_body(&mut bytes, &value);
                bytes.push(b'\n');
                (code, JSON, full(bytes))
            }
            Answer::Text(text) => (200, "text/plain", full(text)),
            Answer::Empty => (204, "", full(bytes)),
            Answer::Stream(body) => (200, JSON, body),
            Answer::TextStream(body) => (200, "text/plain", body),
            Answer::Whole(response) => return *response,
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if !kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    warn(headers, &warnings);
    response
}

fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(header::WARNING, value);
        }
    }
}

pub(super) fn full(bytes: impl Into<Bytes>) -> ApiBody {
    Full::new(bytes.into()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::resource::CONFIG_MAPS;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn kind_and_version_come_first() {
        let map = json!({"data": {"a": "1"}, "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let map = Object::new(map);
        let whole = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"m"},"data":{"a":"1"}}"#;
        assert_eq!(text(|into| write_object(into, &CONFIG_MAPS, map.rest())), whole);
        let listed = Listed { resource: &CONFIG_MAPS, metadata: json!({}), items: vec![map] };
        let item = r#"{"metadata":{"name":"m"},"data":{"a":"1"}}"#;
        let list = format!(r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{}},"items":[{item}]}}"#);
        assert_eq!(text(|into| write_list(into, &listed)), list);
        let status = text(|into| write_body(into, &Status::new(404, "NotFound", "no").body()));
        assert!(status.starts_with(r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message""#));
    }

    #[test]
    fn a_warning_is_quoted() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &[r#"unknown field "a""#.to_owned()]);
        assert_eq!(headers[header::WARNING], r#"299 - "unknown field \"a\"""#);
    }
}
