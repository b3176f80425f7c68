//! The services of the shop: `front` calls `middle`, which calls `back`.
//!
//! `front` calls `middle` with a time-out of 1 s, `middle` calls `back` with one of 1.5 s: so front always gives up
//! first. On a time-out or an error they still answer 200, with the last value that they saw, and count
//! `failed_call_total`. A service finds the next one by its name, or where `MIDDLE_URL` or `BACK_URL` says. They run
//! as pods of the lab and, by the program `steadfast-shop`, as containers of a real cluster: what differs is [`Place`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};

/// The service that another one calls, its port, and the time-out.
pub type Calls = (&'static str, u16, Duration);

/// The services: name, port, and the service that each calls within a time-out.
pub const SERVICES: [(&str, u16, Option<Calls>); 3] = [
    ("front", 8000, Some(("middle", 8001, Duration::from_millis(1000)))),
    ("middle", 8001, Some(("back", 8002, Duration::from_millis(1500)))),
    ("back", 8002, None),
];

/// Where a service runs.
pub trait Place: Clone + Send + Sync + 'static {
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// Writes a line to the log.
    fn log(&self, line: String);

    /// The body of an answer, asked for on a new connection: an established one would outlive a policy.
    fn get(&self, url: &str, timeout: Duration) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// The service that an argument names: its port, and what it answers.
///
/// # Errors
/// There is no such service; the text says which there are.
pub fn service<P: Place>(wanted: &str, place: P) -> Result<(u16, Router), String> {
    let Some(&(name, port, calls)) = SERVICES.iter().find(|(service, ..)| *service == wanted) else {
        return Err(format!("no service {wanted:?}; give front, middle or back"));
    };
    let url = calls.map_or(String::new(), |(next, port, _)| {
        let named = place.env(&format!("{}_URL", next.to_uppercase()));
        named.unwrap_or_else(|| format!("http://{next}:{port}/"))
    });
    let shop = Shop { place, name, calls, url, counters: Arc::default() };
    let router = Router::new()
        .route("/", get(answer::<P>))
        .route("/health", get(async || "ok"))
        .route("/metrics", get(metrics::<P>))
        .with_state(shop);
    Ok((port, router))
}

/// One running service.
#[derive(Clone)]
struct Shop<P> {
    place: P,
    name: &'static str,
    calls: Option<Calls>,
    /// Where the next service is.
    url: String,
    counters: Arc<Mutex<Counters>>,
}

#[derive(Default)]
struct Counters {
    requests: BTreeMap<&'static str, u64>,
    failed: u64,
    last: u64,
}

impl<P: Place> Shop<P> {
    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number, asked for down the line if this is not the last service.
    async fn value(&self) -> Result<u64, String> {
        let Some((next, _, timeout)) = self.calls else {
            return Ok(self.counters().last + 1);
        };
        let answer = self.place.get(&self.url, timeout).await?;
        let body: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        body["value"].as_u64().ok_or_else(|| format!("{next} answered without a value"))
    }
}

async fn answer<P: Place>(State(shop): State<Shop<P>>) -> impl IntoResponse {
    shop.place.log(format!("{} GET /", shop.name));
    let value = shop.value().await;
    let mut counters = shop.counters();
    *counters.requests.entry("/").or_default() += 1;
    let body = match value {
        Ok(value) => {
            counters.last = value;
            json!({"service": shop.name, "value": value})
        }
        Err(error) => {
            counters.failed += 1;
            json!({"service": shop.name, "value": counters.last, "error": error})
        }
    };
    drop(counters);
    axum::Json(body)
}

async fn metrics<P: Place>(State(shop): State<Shop<P>>) -> impl IntoResponse {
    let counters = shop.counters();
    let mut text = String::from("# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n");
    for (path, count) in &counters.requests {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "http_requests_total{{path=\"{path}\"}} {count}");
    }
    // The series does not exist before the first failure, as with most client libraries.
    if let (Some((next, ..)), true) = (shop.calls, counters.failed > 0) {
        text.push_str("# HELP failed_call_total Calls that got no answer in time.\n# TYPE failed_call_total counter\n");
        let _ = writeln!(text, "failed_call_total{{to=\"{next}\"}} {}", counters.failed);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
