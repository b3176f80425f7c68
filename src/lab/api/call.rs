//! One request, taken apart.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use hyper::body::Bytes;

use super::body;
use super::place::Asked;
use crate::lab::access::User;
use crate::lab::status::Status;

/// What a request says beside its path.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) user: Arc<User>,
}

impl Call {
    pub(super) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let query = uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        Self { method, query, headers, body, user: User::own() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Only its absence, `false` and `0` are no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let bad = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.strip_prefix('+').unwrap_or(text).parse().map(Some).map_err(bad)
    }

    /// The `dryRun` of the query.
    ///
    /// # Errors
    /// 422 for a value that is not `All`.
    pub(super) fn dry_run(&self) -> Result<bool, Status> {
        let kind = match self.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            Method::DELETE => "DeleteOptions",
            _ => "CreateOptions",
        };
        let values: Vec<&str> = self.query.iter().filter(|(key, _)| key == "dryRun").map(|(_, v)| v.as_str()).collect();
        is_dry_run(&values, kind)
    }

    /// The body, whatever kind of object it is.
    ///
    /// # Errors
    /// As those of every body.
    pub(super) fn json(&self) -> Result<serde_json::Value, Status> {
        body::object(self, "Object")
    }

    /// The media type of the body, without parameters; none is JSON.
    pub(super) fn content_type(&self) -> &str {
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim() {
            "" => "application/json",
            kind => kind,
        }
    }

    /// `GET /api/v1/watch/…` is the same with `watch=true`, and one object is chosen by its name.
    pub(super) fn watch_by_path(&mut self, asked: &Asked) {
        self.query.retain(|(key, _)| key != "watch");
        self.query.push(("watch".to_owned(), "true".to_owned()));
        if !asked.name.is_empty() {
            self.query.retain(|(key, _)| key != "fieldSelector");
            self.query.push(("fieldSelector".to_owned(), format!("metadata.name={}", asked.name)));
        }
    }
}

/// Whether these values of `dryRun` ask for it.
pub(super) fn is_dry_run(values: &[&str], kind: &str) -> Result<bool, Status> {
    match values {
        [] | [""] => Ok(false),
        values if values.iter().all(|value| *value == "All") => Ok(true),
        values => {
            let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            let why = format!("Unsupported value: [{}]: supported values: \"All\"", values.join(","));
            Err(Status::bad_options(kind, &[("FieldValueNotSupported", "dryRun", why)]))
        }
    }
}
