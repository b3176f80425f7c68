//! The trace of the run in a load's requests.

use http::HeaderMap;
use serde::Serialize;

use super::recording::{Hit, Recording};
use crate::clock::Timestamp;
use crate::journal::{BAGGAGE, SpanId, Spans, TRACEPARENT, Trace};

/// How many of its slowest requests a load tells.
const SLOWEST: usize = 10;

/// What the requests of one load say of the trace.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    trace: Trace,
    spans: Spans,
}

/// One of the slowest requests of a load, with its span: the system's own spans are below it.
#[derive(Clone, Debug, Serialize)]
struct Slow {
    span: SpanId,
    number: u64,
    sent: Timestamp,
    done: Timestamp,
    latency_ms: f64,
    outcome: String,
}

impl Traced {
    /// Loads of one run that have one name are told apart by when they begin.
    pub(super) fn new(trace: &Trace, load: &str, started: Timestamp) -> Self {
        let spans = trace.spans(&format!("load {load} {}", started.as_nanosecond()));
        Self { trace: trace.clone(), spans }
    }

    /// The span of a request.
    pub(super) fn span(&self, number: u64) -> SpanId {
        self.spans.number(number)
    }

    /// The value of a request's `traceparent`.
    pub(super) fn traceparent(&self, number: u64) -> String {
        self.trace.traceparent(self.span(number))
    }

    /// Adds what all requests of a target say alike; whether each is to say its own span too.
    pub(super) fn prepare(&self, headers: &mut HeaderMap) -> bool {
        if let (false, Ok(baggage)) = (headers.contains_key(BAGGAGE), self.trace.baggage.parse()) {
            headers.insert(BAGGAGE, baggage);
        }
        !headers.contains_key(TRACEPARENT)
    }

    /// The slowest requests, the slowest first.
    pub(super) fn slowest(&self, recording: &Recording) -> serde_json::Value {
        let mut hits = recording.drawn();
        hits.sort_by_key(|hit| (std::cmp::Reverse(hit.latency()), hit.number));
        let slow = |hit: &Hit| Slow {
            span: self.span(hit.number),
            number: hit.number,
            sent: recording.started + hit.sent,
            done: recording.started + hit.done,
            latency_ms: (hit.latency().as_secs_f64() * 1e6).round() / 1000.0,
            outcome: hit.outcome.name().into_owned(),
        };
        hits.iter().take(SLOWEST).map(|hit| serde_json::to_value(slow(hit)).unwrap_or_default()).collect()
    }
}
