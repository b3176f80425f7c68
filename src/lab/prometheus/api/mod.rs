//! The HTTP API of the lab's Prometheus: the answers of version 2.42, errors included.

mod parameters;
mod query;
mod series;
mod status;
mod targets;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::parameters::Parameters;
use super::promql::Refusal;
use super::rules::Rules;
use super::scrape::Targets;
use super::tsdb::Tsdb;
use crate::clock::{Clock, Timestamp};

/// The largest form that is read, in bytes.
const FORM_LIMIT: usize = 10 * 1024 * 1024;

/// What the API tells of. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) tsdb: Tsdb,
    pub(super) clock: Clock,
    pub(super) targets: Targets,
    pub(super) rules: Rules,
    /// How often pods are scraped.
    pub(super) interval: Duration,
    pub(super) started: Timestamp,
}

/// An error of the API: the status, its type, and the text.
struct Wrong(u16, &'static str, String);

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadData(why) => Self(400, "bad_data", why),
            Refusal::Execution(why) => Self(422, "execution", why),
            Refusal::Timeout(why) => Self(503, "timeout", why),
        }
    }
}

fn bad(why: impl Into<String>) -> Wrong {
    Wrong(400, "bad_data", why.into())
}

fn bad_parameter(name: &str, why: &str) -> Wrong {
    bad(format!("invalid parameter {name:?}: {why}"))
}

/// As [`Wrong::from`], naming the parameter if it is the one that is wrong.
fn in_parameter(name: &'static str) -> impl Fn(Refusal) -> Wrong {
    move |refusal| match refusal {
        Refusal::BadData(why) => bad_parameter(name, &why),
        other => other.into(),
    }
}

pub(super) fn router(api: Api) -> Router {
    Router::new().fallback(serve).with_state(api)
}

const READ: &[Method] = &[Method::GET];
const FORM: &[Method] = &[Method::GET, Method::POST];
const ADMIN: &[Method] = &[Method::POST, Method::PUT];
const POST: &[Method] = &[Method::POST];

async fn serve(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let Some(below) = path.strip_prefix("/api/v1/") else { return plain(&api, &parts, &path) };
    let Some(known) = methods(below) else {
        let without = below.strip_suffix('/').filter(|path| methods(path).is_some_and(|m| m.contains(&parts.method)));
        return match without {
            Some(path) => redirect(&parts, path),
            None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        };
    };
    if parts.method == Method::OPTIONS {
        return Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap_or_default();
    }
    if !known.contains(&parts.method) {
        let mut allowed: Vec<&str> = known.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
        allowed.sort_unstable();
        let answer = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, allowed.join(", "));
        let answer = answer.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        return answer.body(Body::from("Method Not Allowed\n")).unwrap_or_default();
    }
    if below == "write" {
        let why = "remote write receiver needs to be enabled with --enable-feature=remote-write-receiver\n";
        return text(StatusCode::NOT_FOUND, why);
    }
    if below == "read" {
        return text(StatusCode::BAD_REQUEST, "snappy: corrupt input\n");
    }
    let form = match axum::body::to_bytes(body, FORM_LIMIT).await {
        Ok(form) if parts.method == Method::POST => form,
        Ok(_) => hyper::body::Bytes::new(),
        Err(_) => return answer(Err(bad("error parsing form values: http: request body too large"))),
    };
    let parameters = Parameters::new(&form, parts.uri.query().unwrap_or_default());
    if known == ADMIN {
        return answer(Err(Wrong(500, "unavailable", "admin APIs disabled".into())));
    }
    if parts.method == Method::DELETE {
        return answer(Err(Wrong(500, "internal", "not implemented".into())));
    }
    answer(match below {
        "query" => query::instant(&api, &parameters),
        "query_range" => query::range(&api, &parameters),
        "query_exemplars" => query::exemplars(&parameters),
        "format_query" => query::formatted(&parameters),
        "series" => series::series(&api, &parameters),
        "labels" => series::labels(&api, &parameters),
        "targets" => Ok(targets::targets(&api, &parameters)),
        "targets/metadata" => targets::targets_metadata(&api, &parameters),
        "metadata" => targets::metadata(&api, &parameters),
        "rules" => status::rules(&api, &parameters),
        "alerts" => Ok(status::alerts(&api)),
        "alertmanagers" => Ok(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}).to_string()),
        "status/buildinfo" => Ok(status::build().to_string()),
        "status/config" => Ok(status::config(&api)),
        "status/flags" => Ok(status::flags()),
        "status/runtimeinfo" => Ok(status::runtime(&api)),
        "status/tsdb" => Ok(status::tsdb(&api)),
        "status/walreplay" => Ok(json!({"min": 0, "max": 0, "current": 0}).to_string()),
        label => series::values(&api, label_of(label).unwrap_or_default(), &parameters),
    })
}

/// How a path below `/api/v1/` may be asked for.
fn methods(below: &str) -> Option<&'static [Method]> {
    Some(match below {
        "query" | "query_range" | "labels" | "query_exemplars" | "format_query" => FORM,
        "series" => &[Method::DELETE, Method::GET, Method::POST],
        "targets" | "targets/metadata" | "metadata" | "rules" | "alerts" | "alertmanagers" | "status/buildinfo"
        | "status/config" | "status/flags" | "status/runtimeinfo" | "status/tsdb" | "status/walreplay" => READ,
        "admin/tsdb/snapshot" | "admin/tsdb/delete_series" | "admin/tsdb/clean_tombstones" => ADMIN,
        "read" | "write" => POST,
        label if label_of(label).is_some() => READ,
        _ => return None,
    })
}

/// To a path without the slash at its end. As the real one does, it forgets what the path lies under.
fn redirect(parts: &http::request::Parts, path: &str) -> Response {
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = format!("/{path}{query}");
    if parts.method != Method::GET {
        let answer = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(LOCATION, to);
        return answer.body(Body::empty()).unwrap_or_default();
    }
    let escaped = to.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;").replace('>', "&gt;");
    let answer = Response::builder().status(StatusCode::MOVED_PERMANENTLY).header(LOCATION, to);
    let answer = answer.header(CONTENT_TYPE, "text/html; charset=utf-8");
    answer.body(Body::from(format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n"))).unwrap_or_default()
}

/// The name in `label/NAME/values`.
fn label_of(path: &str) -> Option<&str> {
    path.strip_prefix("label/")?.strip_suffix("/values").filter(|name| !name.contains('/'))
}

/// What does not lie under `/api/v1`.
fn plain(api: &Api, parts: &http::request::Parts, path: &str) -> Response {
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "/-/healthy" if read => text(StatusCode::OK, "Prometheus Server is Healthy.\n"),
        "/-/ready" if read => text(StatusCode::OK, "Prometheus Server is Ready.\n"),
        "/-/reload" | "/-/quit" if matches!(parts.method, Method::POST | Method::PUT) => {
            text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
        }
        "/-/reload" | "/-/quit" => text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed"),
        "/metrics" if read => exposition(status::metrics(api)),
        "/federate" if read => {
            let parameters = Parameters::new(b"", parts.uri.query().unwrap_or_default());
            match series::federate(api, &parameters) {
                Ok(page) => exposition(page),
                Err(Wrong(_, _, why)) => text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
            }
        }
        "/version" if read => text(StatusCode::OK, &format!("{}\n", status::build())),
        "/" if read => {
            let answer = Response::builder().status(StatusCode::FOUND).header(LOCATION, "/graph");
            answer.body(Body::empty()).unwrap_or_default()
        }
        "/graph" if read => {
            let page = "<!DOCTYPE html><title>Prometheus</title><p>The lab has no console; ask <code>/api/v1</code>.\n";
            let answer = Response::builder().header(CONTENT_TYPE, "text/html; charset=utf-8");
            answer.body(Body::from(page)).unwrap_or_default()
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response {
    let answer = Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8");
    answer.body(Body::from(body.to_owned())).unwrap_or_default()
}

fn exposition(page: String) -> Response {
    let answer = Response::builder().header(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    answer.body(Body::from(page)).unwrap_or_default()
}

/// An answer of the API; `data` is JSON already.
fn answer(data: Result<String, Wrong>) -> Response {
    let (code, body) = match data {
        Ok(data) => (200, format!("{{\"status\":\"success\",\"data\":{data}}}")),
        Err(Wrong(code, kind, why)) => (code, json!({"status": "error", "errorType": kind, "error": why}).to_string()),
    };
    let response = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    response.body(Body::from(body)).unwrap_or_default()
}

/// Labels as an object.
fn object(labels: &super::labels::Labels) -> Value {
    labels.pairs().iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect()
}
