//! One question to both, and whether they say the same.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use steadfast::clock::{Clock, Seed, Timestamp};
use steadfast::lab::Lab;
use steadfast::transport::{Address, Network, Request, Transport};

use super::PATIENCE;
use super::grammar::{Question, When};
use super::real::Real;
use super::samples::Series;

/// How far two values may be apart, relative to the larger.
const CLOSE: f64 = 1e-9;

/// The label that expressions give to `count_values`. In a range query the real one loses grouping labels that sort after
/// it, so it is the last of all.
pub const COUNTED: &str = "worth";

/// A request of the API.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub form: String,
}

/// What was said: the status, and JSON, or a text that is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Asked {
    /// Without a form.
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), form: String::new() }
    }
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

impl Question {
    pub fn asked(&self) -> Asked {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("query", &self.expr);
        let path = match self.when {
            When::At(at) => {
                form.append_pair("time", &seconds(at));
                "/api/v1/query"
            }
            When::Steps { first, last, step } => {
                form.append_pair("start", &seconds(first));
                form.append_pair("end", &seconds(last));
                form.append_pair("step", &seconds(step));
                "/api/v1/query_range"
            }
        };
        Asked { method: Method::POST, path: path.to_owned(), form: form.finish() }
    }
}

/// Asks one after the other.
async fn all(transport: &dyn Transport, base: &str, asked: &[Asked]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for one in asked {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let request = Request {
            headers,
            body: one.form.clone().into(),
            timeout: PATIENCE,
            ..Request::new(one.method.clone(), Address::from(format!("{base}{}", one.path)))
        };
        let answer = transport.send(&request).await.map_err(|error| format!("{base}: {one:?}: {error}"))?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        answers.push(Answer { status: answer.status, body });
    }
    Ok(answers)
}

/// What the real one answers.
pub fn real(real: &Real, asked: &[Asked]) -> Result<Vec<Answer>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let network = Network::new(None).map_err(|error| error.to_string())?;
    runtime.block_on(all(&network, &format!("http://{}", real.at), asked))
}

/// What a lab with these samples answers, in virtual time.
pub fn lab(series: &[Series], asked: &[Asked]) -> Result<Vec<Answer>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let lab = Lab::start(Clock::virtual_time(), Seed(0));
        for one in series {
            let labels: Vec<(&str, &str)> = one.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let at = |millis| Timestamp::from_millisecond(millis).expect("a time of this century");
            let samples = one.samples.iter().map(|(millis, value)| (at(*millis), *value));
            lab.backfill(&labels, samples).map_err(|error| error.to_string())?;
        }
        all(&*lab.transport(), "http://localhost:9090", asked).await
    })
}

fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// Two samples, `[seconds, "value"]`.
fn close(a: &Value, b: &Value) -> bool {
    if a[0] != b[0] && a[0].as_f64() != b[0].as_f64() {
        return false;
    }
    match (number(&a[1]), number(&b[1])) {
        (Some(x), Some(y)) => x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= CLOSE * x.abs().max(y.abs()),
        // Strings are values, too.
        _ => a[1] == b[1],
    }
}

fn all_close(a: &Value, b: &Value) -> bool {
    match (a.as_array(), b.as_array()) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b)),
        _ => a == b,
    }
}

/// The series of an answer by their labels, or as they stand if they are `ordered`.
fn series(answer: &Value, ordered: bool) -> Vec<(String, Value)> {
    let key = |one: &Value| {
        let mut metric = one["metric"].clone();
        // A value that count_values made a label is as close as any.
        if let Some(label) = metric.get_mut(COUNTED)
            && let Some(value) = number(label)
        {
            *label = Value::from(format!("{value:.9e}"));
        }
        metric.to_string()
    };
    let mut series: Vec<(String, Value)> =
        answer["result"].as_array().into_iter().flatten().map(|one| (key(one), one.clone())).collect();
    if !ordered {
        series.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    series
}

/// Whether two answers are the same, but for the last digits, and for the order of series unless it is `ordered`.
pub fn same(a: &Answer, b: &Answer, ordered: bool) -> bool {
    if a.status != b.status || a.body["status"] != b.body["status"] || a.body["errorType"] != b.body["errorType"] {
        return false;
    }
    let (a, b) = (&a.body["data"], &b.body["data"]);
    match a["resultType"].as_str() {
        _ if a["resultType"] != b["resultType"] => false,
        None => a == b,
        Some("scalar" | "string") => close(&a["result"], &b["result"]),
        Some(_) => {
            let (a, b) = (series(a, ordered), series(b, ordered));
            let equal = |((a_key, a), (b_key, b)): (&(String, Value), &(String, Value))| {
                // Equal values stand in any order.
                let named = ordered || a_key == b_key;
                let value = a["value"] == b["value"] || close(&a["value"], &b["value"]);
                named && value && all_close(&a["values"], &b["values"])
            };
            a.len() == b.len() && a.iter().zip(&b).all(equal)
        }
    }
}

/// Whether there is anything in it.
pub fn has_data(answer: &Answer) -> bool {
    let result = &answer.body["data"]["result"];
    result.as_array().is_some_and(|series| !series.is_empty())
}

/// Writes samples to the real one.
pub fn write(real: &Real, body: Vec<u8>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let network = Network::new(None).map_err(|error| error.to_string())?;
    let mut request = Request::new(Method::POST, Address::from(format!("http://{}/api/v1/write", real.at)));
    request.headers.insert("content-encoding", HeaderValue::from_static("snappy"));
    request.headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    request.body = body.into();
    request.timeout = PATIENCE;
    let answer = runtime.block_on(network.send(&request)).map_err(|error| error.to_string())?;
    if answer.status == 204 {
        return Ok(());
    }
    Err(format!("the write is refused: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
}
