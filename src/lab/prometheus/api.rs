//! The HTTP API of the lab's Prometheus.

use axum::Router;
use axum::body::Body;
use axum::extract::{RawForm, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use promql_parser::parser::Expr;
use serde_json::{Value, json};

use super::eval::{Refusal, Worth, evaluate, parse};
use super::scrape::Health;
use super::tsdb::{Labels, Sample, Tsdb};
use crate::clock::{Clock, Timestamp};

/// The most points of a series that a range query may ask for.
const MOST_POINTS: i64 = 11_000;

#[derive(Clone)]
struct Api {
    tsdb: Tsdb,
    clock: Clock,
    health: Health,
}

type Parameters = Vec<(String, String)>;

pub(super) fn router(tsdb: Tsdb, clock: Clock, health: Health) -> Router {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/api/v1/targets", get(targets))
        .route("/-/ready", get(async || "Prometheus Server is Ready.\n"))
        .route("/-/healthy", get(async || "Prometheus Server is Healthy.\n"))
        .fallback(async || (axum::http::StatusCode::NOT_FOUND, "404 page not found\n"))
        .with_state(Api { tsdb, clock, health })
}

fn parameters(RawForm(form): RawForm) -> Parameters {
    form_urlencoded::parse(&form).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn bad(name: &str, why: &str) -> Refusal {
    Refusal::BadData(format!("invalid parameter {name:?}: {why}"))
}

async fn query(State(api): State<Api>, form: RawForm) -> Response {
    let parameters = parameters(form);
    answer((|| {
        let at = match parameter(&parameters, "time") {
            Some(text) => time("time", text)?,
            None => api.clock.now().as_millisecond(),
        };
        let expr = parse(parameter(&parameters, "query").unwrap_or_default())?;
        Ok(match evaluate(&api.tsdb, &expr, at)? {
            Worth::Scalar(value) => json!({"resultType": "scalar", "result": point((at, value))}),
            Worth::Vector(vector) => {
                let result: Vec<Value> = vector
                    .into_iter()
                    .map(|(metric, value)| json!({"metric": metric, "value": point((at, value))}))
                    .collect();
                json!({"resultType": "vector", "result": result})
            }
            Worth::Matrix(matrix) => json!({"resultType": "matrix", "result": series(matrix)}),
        })
    })())
}

async fn query_range(State(api): State<Api>, form: RawForm) -> Response {
    let parameters = parameters(form);
    answer((|| {
        let needed = |name: &str| parameter(&parameters, name).unwrap_or_default();
        let (start, end) = (time("start", needed("start"))?, time("end", needed("end"))?);
        if end < start {
            return Err(bad("end", "end timestamp must not be before start time"));
        }
        let step = duration(needed("step")).ok_or_else(|| bad("step", "cannot parse to a valid duration"))?;
        if step <= 0 {
            return Err(bad(
                "step",
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if (end - start) / step > MOST_POINTS {
            let why = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
            return Err(Refusal::BadData(why.into()));
        }
        let expr = parse(needed("query"))?;
        if let Expr::MatrixSelector(_) | Expr::StringLiteral(_) = expr {
            let why = "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector";
            return Err(bad("query", why));
        }
        let mut all: std::collections::BTreeMap<Labels, Vec<Sample>> = std::collections::BTreeMap::new();
        let mut at = start;
        while at <= end {
            match evaluate(&api.tsdb, &expr, at)? {
                Worth::Scalar(value) => all.entry(Labels::new()).or_default().push((at, value)),
                Worth::Vector(vector) => {
                    for (labels, value) in vector {
                        all.entry(labels).or_default().push((at, value));
                    }
                }
                Worth::Matrix(_) => return Err(bad("query", "a range vector in a range query")),
            }
            at += step;
        }
        Ok(json!({"resultType": "matrix", "result": series(all.into_iter().collect())}))
    })())
}

async fn targets(State(api): State<Api>) -> Response {
    let health = api.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let active: Vec<&Value> = health.values().collect();
    answer(Ok(json!({"activeTargets": active, "droppedTargets": []})))
}

fn series(matrix: Vec<(Labels, Vec<Sample>)>) -> Vec<Value> {
    let points = |samples: Vec<Sample>| samples.into_iter().map(point).collect::<Vec<_>>();
    matrix.into_iter().map(|(metric, samples)| json!({"metric": metric, "values": points(samples)})).collect()
}

/// `[seconds, "value"]`; whole seconds are written without a dot.
fn point((at, value): Sample) -> Value {
    let value = match value {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    };
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit")]
    let seconds = if at % 1000 == 0 { json!(at / 1000) } else { json!(at as f64 / 1000.0) };
    json!([seconds, value])
}

/// Milliseconds of a time: seconds as a number, or RFC 3339.
fn time(name: &str, text: &str) -> Result<i64, Refusal> {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds are meant")]
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let parsed: Result<Timestamp, _> = text.parse();
    parsed.map(Timestamp::as_millisecond).map_err(|_| bad(name, &format!("cannot parse {text:?} to a valid timestamp")))
}

/// Milliseconds of a step: seconds as a number, or `500ms`, `2s`, `1m`, `1h`.
fn duration(text: &str) -> Option<i64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" | "s" => 1000.0,
        "ms" => 1.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds are meant")]
    number.parse::<f64>().ok().filter(|n| n.is_finite()).map(|number| (number * factor).round() as i64)
}

fn answer(data: Result<Value, Refusal>) -> Response {
    let (code, body) = match data {
        Ok(data) => (200, json!({"status": "success", "data": data})),
        Err(Refusal::BadData(why)) => (400, json!({"status": "error", "errorType": "bad_data", "error": why})),
        Err(Refusal::Execution(why)) => (422, json!({"status": "error", "errorType": "execution", "error": why})),
    };
    let response = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).unwrap_or_default()
}
