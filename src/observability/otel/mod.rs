//! An experiment as an OpenTelemetry trace, sent over OTLP/HTTP when it has ended.
//!
//! The spans are made of the journal, so that they are as exact as it is, and the same for the same run. Messages and
//! their two encodings are those of `opentelemetry-proto`, generated from the published schema. OpenTelemetry's SDK and
//! exporter are not used: they read the environment by themselves, and tell what was rejected to a subscriber alone.

mod send;
mod settings;
mod spans;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;

use self::settings::{Parent, Settings};
use crate::clock::Seed;
use crate::journal::{Journal, SpanId, Trace, complain};

/// How many spans one request holds.
const BATCH: usize = 512;

/// The trace of a run, if traces are to be sent.
pub(super) fn trace(seed: Seed, run: &str, purpose: &str) -> Option<Trace> {
    // What is wrong with them is told at the end.
    let settings = Settings::of(&crate::variables::text).ok().flatten()?;
    Some(of(settings.parent, seed, run, purpose))
}

fn of(parent: Option<Parent>, seed: Seed, run: &str, purpose: &str) -> Trace {
    let baggage = format!("steadfast.run={run}");
    let mut rng = seed.rng(purpose);
    let (own, root) = (rng.u128(1..), SpanId::of(rng.u64(..)));
    match parent {
        Some(Parent { trace, span, sampled }) => Trace { id: trace, root, parent: Some(span), sampled, baggage },
        None => Trace { id: format!("{own:032x}"), root, parent: None, sampled: true, baggage },
    }
}

/// Sends the trace of a run, and waits for that at most its time-out.
pub(super) fn export(journal: &Journal) {
    let settings = match Settings::of(&crate::variables::text) {
        Ok(None) => return,
        Ok(Some(settings)) => settings,
        Err(why) => return complain(&format!("no trace of run {} is sent: {why}", journal.run)),
    };
    let Some(trace) = journal.trace.as_ref().filter(|trace| trace.sampled) else { return };
    let batches = batches(journal, trace, &settings);
    let endpoint = settings.shown();
    let run = &journal.run;
    match send::send(settings, batches, run) {
        Ok(None) => {}
        Ok(Some(says)) => complain(&format!("{endpoint} has taken the trace of run {run}, but says: {says}")),
        Err(why) => complain(&format!("the trace of run {run} was not sent whole to {endpoint}: {why}")),
    }
}

/// The bodies of the requests, each with the number of its spans.
fn batches(journal: &Journal, trace: &Trace, settings: &Settings) -> Vec<(Vec<u8>, usize)> {
    let resource = Resource { attributes: settings.resource(&journal.cluster), ..Resource::default() };
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let all = spans::of(journal, trace);
    let batch = all.chunks(BATCH).map(|spans| {
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope.clone()), spans: spans.to_vec(), schema_url: String::new() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource.clone()), scope_spans, schema_url: String::new() }];
        let request = ExportTraceServiceRequest { resource_spans };
        let body = if settings.json {
            serde_json::to_vec(&request).expect("spans hold nothing that JSON lacks")
        } else {
            request.encode_to_vec()
        };
        (body, spans.len())
    });
    batch.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_follows_from_the_seed_or_from_who_started_it() {
        let own = of(None, Seed(7), "r", "a");
        assert_eq!(own, of(None, Seed(7), "r", "a"));
        assert!(own.sampled && own.id.len() == 32);
        let others = [of(None, Seed(8), "r", "a"), of(None, Seed(7), "r", "b")];
        assert!(others.iter().all(|other| other.id != own.id && other.root != own.root));

        let span = SpanId::of(5);
        let below = of(Some(Parent { trace: "ab".repeat(16), span, sampled: false }), Seed(7), "r", "a");
        assert_eq!((below.id, below.root, below.parent), ("ab".repeat(16), own.root, Some(span)));
        assert!(!below.sampled);
    }
}
