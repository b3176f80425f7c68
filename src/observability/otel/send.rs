//! Sending: on a thread of its own, since the run's runtime may have no sockets, or be busy undoing.

use std::sync::mpsc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::settings::Settings;
use crate::clock::{Clock, Seed};
use crate::transport::{Failure, Network, NoAnswer, Request, Response, Transport, retry_after};

/// How long to wait before the first request that is sent again, where the server says nothing of it; then twice that.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How long the thread may take beyond the time-out, to say that it has passed.
const GRACE: Duration = Duration::from_millis(250);

/// How much of what a server says is shown, in characters.
const SHOWN: usize = 200;

/// Sends all batches one after the other; what the collector says though it has taken all, or why it has not.
pub(super) fn send(settings: Settings, batches: Vec<(Vec<u8>, usize)>, run: &str) -> Result<Option<String>, String> {
    let timeout = settings.timeout;
    // Runs that end together should not come back together.
    let chance = Seed(0).rng(run);
    let (tell, told) = mpsc::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(all(&settings, batches, chance)),
            Err(error) => Err(error.to_string()),
        };
        // Nobody waits any more.
        let _ = tell.send(done);
    };
    let thread = std::thread::Builder::new().name("steadfast-otlp".into());
    thread.spawn(work).map_err(|error| error.to_string())?;
    match told.recv_timeout(timeout.saturating_add(GRACE)) {
        Ok(done) => done,
        Err(_) => Err(late(timeout)),
    }
}

fn late(timeout: Duration) -> String {
    format!("no answer within {timeout:?}; OTEL_EXPORTER_OTLP_TIMEOUT gives it longer")
}

async fn all(
    settings: &Settings,
    batches: Vec<(Vec<u8>, usize)>,
    mut chance: fastrand::Rng,
) -> Result<Option<String>, String> {
    let (network, clock) = (Network::new(None).map_err(|error| error.to_string())?, Clock::real());
    let all: usize = batches.iter().map(|(_, spans)| spans).sum();
    let (mut lost, mut says) = (0_i64, None);
    for (body, _) in batches {
        let mut request = Request::new(Method::POST, settings.endpoint.clone());
        request.headers = settings.headers.clone();
        let kind = if settings.json { "application/json" } else { "application/x-protobuf" };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        request.body = body.into();
        request.roots = settings.roots.clone();
        let mut pause = AGAIN_AFTER;
        let answer = loop {
            let left = settings.timeout.saturating_sub(clock.elapsed());
            if left.is_zero() {
                return Err(late(settings.timeout));
            }
            request.timeout = left;
            let (why, asked) = match network.send(&request).await {
                Ok(answer) if matches!(answer.status, 200..=299) => break answer,
                Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => {
                    (refusal(&answer), retry_after(&answer.headers, &clock))
                }
                Ok(answer) => return Err(refusal(&answer)),
                // It may have come, or not: spans have ids, so that one that comes twice is one.
                Err(Failure::NoAnswer(NoAnswer::Reset)) => ("the connection was reset".to_owned(), None),
                Err(Failure::NoAnswer(NoAnswer::TimedOut { .. })) => return Err(late(settings.timeout)),
                Err(Failure::NoAnswer(NoAnswer::Refused)) => {
                    return Err("connection refused; is a collector listening there?".to_owned());
                }
                Err(failure) => return Err(failure.to_string()),
            };
            let wait = asked.unwrap_or_else(|| pause.mul_f64(0.5 + chance.f64() / 2.0));
            if clock.elapsed().saturating_add(wait) >= settings.timeout {
                let asked =
                    asked.map(|wait| format!(" and wants to be asked again in {wait:?}, which is beyond the time-out"));
                return Err(format!("{why}{}", asked.unwrap_or_default()));
            }
            clock.sleep(wait).await;
            pause *= 2;
        };
        // What follows may be taken all the same.
        if let Some((rejected, why)) = rejected(&answer, settings.json) {
            lost = lost.saturating_add(rejected);
            says = says.or(Some(why).filter(|why| !why.is_empty()));
        }
    }
    match (lost, says) {
        (0, says) => Ok(says),
        (lost, None) => Err(format!("the collector has rejected {lost} of {all} spans")),
        (lost, Some(why)) => Err(format!("the collector has rejected {lost} of {all} spans: {why}")),
    }
}

/// A status that is no success, with the remedy.
fn refusal(answer: &Response) -> String {
    let remedy = match answer.status {
        401 | 403 => "; OTEL_EXPORTER_OTLP_HEADERS holds the credentials",
        404 | 405 => "; is it an endpoint of OTLP/HTTP? To OTEL_EXPORTER_OTLP_ENDPOINT /v1/traces is appended",
        415 => "; OTEL_EXPORTER_OTLP_PROTOCOL may be http/protobuf or http/json",
        300..=399 => "; redirects are not followed",
        _ => "",
    };
    format!("it answered {}{remedy}", answer.status)
}

/// How many spans were rejected, and what the server has to say.
fn rejected(answer: &Response, json: bool) -> Option<(i64, String)> {
    let (rejected, why) = if json {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let partial = &body["partialSuccess"];
        let rejected = &partial["rejectedSpans"];
        let number = rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok());
        (number.unwrap_or(0), partial["errorMessage"].as_str().unwrap_or_default().to_owned())
    } else {
        let partial = ExportTraceServiceResponse::decode(&*answer.body).ok()?.partial_success?;
        (partial.rejected_spans, partial.error_message)
    };
    let why: String = why.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    (rejected != 0 || !why.is_empty()).then_some((rejected, why))
}
