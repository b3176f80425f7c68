//! A journal as spans: docs/observability.md says what each of them is.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event as SpanEvent, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::clock::Timestamp;
use crate::journal::{
    CheckRecord, Ended, Evaluation, Event, EventKind, FaultEnd, FaultRecord, Journal, SightingTime, SpanId, StepStatus,
    Trace, Verdict, WATCHED,
};

/// The flags of a span that is recorded, and of a link to one: W3C's, and that it is known whether it is remote.
const FLAGS: u32 = 0x101;

/// The spans of a run, its own first.
pub(super) fn of(journal: &Journal, trace: &Trace) -> Vec<Span> {
    let mut made = Made { journal, trace, id: id(&trace.id), spans: Vec::new() };
    made.run();
    made.method();
    made.rollback();
    made.evaluations();
    made.steps();
    made.faults();
    made.finally();
    made.sightings();
    made.spans
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u32) -> KeyValue {
    pair(key, Value::IntValue(value.into()))
}

fn yes(key: &str, value: bool) -> KeyValue {
    pair(key, Value::BoolValue(value))
}

fn list(key: &str, values: impl IntoIterator<Item = String>) -> KeyValue {
    let value = |text| AnyValue { value: Some(Value::StringValue(text)) };
    pair(key, Value::ArrayValue(ArrayValue { values: values.into_iter().map(value).collect() }))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

/// The bytes of a trace's id.
fn id(hex: &str) -> Vec<u8> {
    let byte = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..hex.len()).step_by(2).filter_map(byte).collect()
}

fn ok() -> Status {
    Status { code: StatusCode::Ok.into(), message: String::new() }
}

fn failed(message: impl Into<String>) -> Status {
    Status { code: StatusCode::Error.into(), message: message.into() }
}

/// Spans so far.
struct Made<'a> {
    journal: &'a Journal,
    trace: &'a Trace,
    id: Vec<u8>,
    spans: Vec<Span>,
}

impl Made<'_> {
    /// Adds a span below the smallest part of the run that holds all of its time.
    fn add(&mut self, kind: &str, nth: usize, name: &str, from: Timestamp, to: Timestamp) -> &mut Span {
        let (from, to) = (nanos(from), nanos(to.max(from)));
        let phases = self.spans.iter().filter(|span| span.attributes.iter().any(|pair| pair.key == PHASE));
        let around = phases.filter(|span| span.start_time_unix_nano <= from && to <= span.end_time_unix_nano);
        let around = around.min_by_key(|span| span.end_time_unix_nano - span.start_time_unix_nano);
        let parent = around.map_or_else(|| self.trace.root.bytes().to_vec(), |span| span.span_id.clone());
        self.push(self.trace.span(kind, nth as u64), parent, name, from, to)
    }

    fn push(&mut self, own: SpanId, parent: Vec<u8>, name: &str, from: u64, to: u64) -> &mut Span {
        self.spans.push(Span {
            trace_id: self.id.clone(),
            span_id: own.bytes().to_vec(),
            parent_span_id: parent,
            flags: FLAGS,
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: from,
            end_time_unix_nano: to,
            ..Span::default()
        });
        let last = self.spans.len() - 1;
        &mut self.spans[last]
    }

    /// A part of the run.
    fn phase(&mut self, nth: usize, name: &str, from: Timestamp, to: Timestamp) -> &mut Span {
        let (from, to, root) = (nanos(from), nanos(to.max(from)), self.trace.root.bytes().to_vec());
        let span = self.push(self.trace.span(&format!("phase {name}"), nth as u64), root, name, from, to);
        span.attributes.push(text(PHASE, name));
        span
    }

    fn run(&mut self) {
        let journal = self.journal;
        let mut attributes = vec![
            text("steadfast.run", &journal.run),
            text("steadfast.experiment", &journal.experiment),
            text("steadfast.cluster", &journal.cluster),
            text("steadfast.seed", &journal.seed.0.to_string()),
            text("steadfast.time", &word(&journal.time)),
            text("steadfast.ended", &word(&journal.ended)),
            text("steadfast.verdict", &journal.verdict.to_string()),
            text("steadfast.recovered", &journal.recovered.to_string()),
        ];
        attributes.extend(journal.hypothesis.as_ref().map(|title| text("steadfast.hypothesis", title)));
        attributes.extend(journal.reason.as_ref().map(|reason| text("steadfast.reason", &reason.to_string())));
        let told = |event: &&Event| {
            use EventKind::{FaultEndedEarly, Interrupted, SafeguardBroken, SafeguardLooked};
            matches!(event.kind, FaultEndedEarly | Interrupted | SafeguardBroken | SafeguardLooked)
        };
        let events = journal.events.iter().filter(told).map(|event| SpanEvent {
            time_unix_nano: nanos(event.at),
            name: event.kind.to_string(),
            attributes: vec![text("steadfast.subject", &event.subject), text("steadfast.detail", &event.detail)],
            ..SpanEvent::default()
        });
        let (events, status) = (events.collect(), run_status(journal));
        let parent = self.trace.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default();
        let (from, to) = (nanos(journal.started), nanos(journal.finished.max(journal.started)));
        let remote = if parent.is_empty() { 0 } else { 0x200 };
        let span = self.push(self.trace.root, parent, &journal.experiment, from, to);
        span.flags |= remote;
        (span.attributes, span.events, span.status) = (attributes, events, Some(status).filter(|s| s.code != 0));
    }

    /// When the method began, and when its last step had ended or it was cut short.
    fn method_window(&self) -> Option<(Timestamp, Timestamp)> {
        let (from, end) = self.journal.method_window()?;
        Some((from, end.unwrap_or(self.journal.finished)))
    }

    fn method(&mut self) {
        if let Some((from, to)) = self.method_window() {
            self.phase(0, "in the method", from, to);
        }
    }

    fn rollback(&mut self) {
        use EventKind::{FinallyEnded, UndoFailed, UndoRequested, Undone};
        let Some((_, method_ended)) = self.method_window() else { return };
        let undoing = |event: &&Event| matches!(event.kind, FinallyEnded | Undone | UndoFailed | UndoRequested);
        let events = &self.journal.events;
        let after = |event: &Event| undoing(&event) && event.at >= method_ended;
        let (Some(first), Some(last)) = (events.iter().position(after), events.iter().rposition(after)) else { return };
        // A step of `finally` is told at its end: it began when what came before it had ended.
        let begun = if events[first].kind == FinallyEnded { first.saturating_sub(1) } else { first };
        let (from, to) = (events[begun].at.max(method_ended), events[last].at);
        self.phase(0, "rollback", from, to);
    }

    /// Each judgement with each attempt of each of its checks.
    fn evaluations(&mut self) {
        let journal = self.journal;
        let begun = |phase: &str| {
            let began =
                |(_, event): &(usize, &Event)| event.kind == EventKind::EvaluationStarted && event.detail == phase;
            journal.events.iter().enumerate().filter(began).map(|(place, _)| place).collect::<Vec<_>>()
        };
        let mut seen = std::collections::BTreeMap::<&str, usize>::new();
        for (place, evaluation) in journal.evaluations.iter().enumerate() {
            let phase = evaluation.phase.as_str();
            let before = seen.entry(phase).or_default();
            let attempts: Vec<_> = begun(phase).into_iter().skip(*before).take(evaluation.attempts as usize).collect();
            *before += attempts.len();
            let from = attempts.first().map_or(evaluation.started, |first| journal.events[*first].at);
            if phase != WATCHED {
                let span = self.phase(place, phase, from.min(evaluation.started), evaluation.ended);
                span.attributes.push(number("steadfast.attempts", evaluation.attempts));
                span.attributes.push(text("steadfast.verdict", &evaluation.verdict.to_string()));
                span.status = verdict_status(evaluation);
            }
            let last = attempts.len().saturating_sub(1);
            for (nth, begun) in attempts.iter().enumerate() {
                self.attempt(place, evaluation, nth, *begun, nth == last);
            }
        }
    }

    /// One judgement of all checks, from its event on.
    fn attempt(&mut self, nth_evaluation: usize, evaluation: &Evaluation, nth: usize, begun: usize, last: bool) {
        let events = &self.journal.events;
        let mut from = events[begun].at;
        let mut place = begun + 1;
        for (check, record) in evaluation.checks.iter().enumerate() {
            let judged = |event: &Event| event.kind == EventKind::CheckJudged && event.subject == record.check;
            let Some(found) = events[place..].iter().position(judged) else { return };
            let event = &events[place + found];
            place += found + 1;
            let links = self.links(from, event.at);
            let kind = format!("check {nth_evaluation} {nth}");
            let span = self.add(&kind, check, &record.check, from, event.at);
            span.links = links;
            span.attributes = vec![
                text("steadfast.check", &record.check),
                text("steadfast.in", &evaluation.phase),
                number("steadfast.attempt", u32::try_from(nth + 1).unwrap_or(u32::MAX)),
                text("steadfast.phrase", &event.detail),
            ];
            // Of the attempts before, how each check ended is told by its phrase alone.
            if last {
                judged_as(span, record);
            }
            from = event.at;
        }
    }

    /// To the faults that were on then.
    fn links(&self, from: Timestamp, to: Timestamp) -> Vec<Link> {
        let on = |(_, fault): &(usize, &FaultRecord)| {
            let (begin, end) = self.window(fault);
            begin < to && from < end
        };
        let faults = self.journal.faults.iter().enumerate().filter(on);
        faults.map(|(number, fault)| self.link(number, fault)).collect()
    }

    fn link(&self, number: usize, fault: &FaultRecord) -> Link {
        Link {
            trace_id: self.id.clone(),
            span_id: self.trace.span("fault", number as u64).bytes().to_vec(),
            attributes: vec![text("steadfast.fault", &fault.window.fault)],
            flags: FLAGS,
            ..Link::default()
        }
    }

    /// When a fault had its effect, as far as is known.
    fn window(&self, fault: &FaultRecord) -> (Timestamp, Timestamp) {
        let window = &fault.window;
        let end = window.undone.or(self.not_undone(fault)).or(window.undo_requested);
        (window.effective.unwrap_or(window.requested), end.unwrap_or(self.journal.finished))
    }

    /// When an undo was given up.
    fn not_undone(&self, fault: &FaultRecord) -> Option<Timestamp> {
        let failed = |event: &&Event| event.kind == EventKind::UndoFailed && event.subject == fault.window.fault;
        let asked = fault.window.undo_requested?;
        self.journal.events.iter().filter(failed).map(|event| event.at).find(|at| *at >= asked)
    }

    fn steps(&mut self) {
        let ended = self.method_window().map_or(self.journal.finished, |(_, to)| to);
        for (number, step) in self.journal.steps.iter().enumerate() {
            let Some(from) = step.started else { continue };
            let span = self.add("activity", number, &step.name, from, step.ended.unwrap_or(ended));
            span.attributes = vec![
                text("steadfast.kind", &step.kind),
                text("steadfast.activity", &step.name),
                text("steadfast.location", &step.location),
            ];
            let (status, told) = match &step.status {
                StepStatus::Succeeded => ("succeeded", Some(ok())),
                StepStatus::Failed { error } => ("failed", Some(failed(error))),
                StepStatus::Panicked { message } => ("panicked", Some(failed(message))),
                StepStatus::Stopped => ("stopped", None),
                StepStatus::NotRun => ("not-run", None),
            };
            span.attributes.push(text("steadfast.status", status));
            span.status = told;
            self.slowest(&step.output["slowest"]);
        }
    }

    /// The slowest requests of the load that was added last: the system's own spans are below them.
    fn slowest(&mut self, requests: &serde_json::Value) {
        let Some(Span { span_id: load, name, .. }) = self.spans.last().cloned() else { return };
        for request in requests.as_array().into_iter().flatten() {
            let said = |key: &str| request[key].as_str().unwrap_or_default();
            let (Some(own), Ok(sent), Ok(done)) =
                (SpanId::parse(said("span")), said("sent").parse(), said("done").parse())
            else {
                continue;
            };
            let span = self.push(own, load.clone(), &format!("request of {name}"), nanos(sent), nanos(done));
            span.kind = SpanKind::Client.into();
            let outcome = said("outcome");
            match outcome.parse() {
                Ok(status) => span.attributes.push(number("http.response.status_code", status)),
                Err(_) => span.attributes.push(text("error.type", outcome)),
            }
            if !outcome.parse().is_ok_and(|status: u32| status < 400) {
                span.status = Some(failed(outcome));
            }
        }
    }

    fn faults(&mut self) {
        for (number, fault) in self.journal.faults.iter().enumerate() {
            let ((from, to), window, root) = (self.window(fault), &fault.window, self.trace.root.bytes().to_vec());
            let own = self.trace.span("fault", number as u64);
            let end = match &fault.end {
                FaultEnd::None => None,
                FaultEnd::Rollback => Some("rollback"),
                FaultEnd::Plan => Some("plan"),
                FaultEnd::Left => Some("left"),
                FaultEnd::Early { .. } => Some("early"),
            };
            // It outlives the step that injects it, and the method.
            let span = self.push(own, root, &window.fault, nanos(from), nanos(to.max(from)));
            span.attributes = vec![
                text("steadfast.fault", &window.fault),
                list("steadfast.targets", fault.targets.iter().cloned()),
                yes("steadfast.proved", fault.proved),
                text("steadfast.requested", &window.requested.to_string()),
            ];
            let told = [
                ("steadfast.effective", window.effective.map(|at| at.to_string())),
                ("steadfast.undo_requested", window.undo_requested.map(|at| at.to_string())),
                ("steadfast.undone", window.undone.map(|at| at.to_string())),
                ("steadfast.trusted", fault.trusted.clone()),
                ("steadfast.ended_by", end.map(ToOwned::to_owned)),
            ];
            span.attributes.extend(told.iter().filter_map(|(key, value)| Some(text(key, value.as_ref()?))));
            if let FaultEnd::Early { by } = &fault.end {
                span.status = Some(failed(format!("ended early: {by}")));
            }
            if let Some(asked) = window.undo_requested {
                self.undo(number, fault, asked, to);
            }
        }
    }

    fn undo(&mut self, number: usize, fault: &FaultRecord, from: Timestamp, to: Timestamp) {
        let link = self.link(number, fault);
        let span = self.add("undo", number, &format!("undo {}", fault.window.fault), from, to);
        span.links = vec![link];
        let undos = fault.undo.iter().map(|undo| format!("{}: {}", undo.undo, undo.outcome));
        span.attributes = vec![text("steadfast.fault", &fault.window.fault), list("steadfast.undo", undos)];
        let unclean: Vec<_> = fault.undo.iter().filter(|undo| !undo.outcome.is_clean()).collect();
        span.status = Some(match unclean.first() {
            None => ok(),
            Some(first) => failed(format!("{}: {}", first.undo, first.outcome)),
        });
    }

    /// What `finally` did, each from what was told before it.
    fn finally(&mut self) {
        let events = &self.journal.events;
        let ended = |(_, event): &(usize, &Event)| event.kind == EventKind::FinallyEnded;
        for (number, event) in events.iter().enumerate().filter(ended) {
            let from = number.checked_sub(1).map_or(event.at, |before| events[before].at);
            let record = self.journal.finally.iter().find(|record| record.name == event.subject);
            let error = record.and_then(|record| record.error.clone());
            let span = self.add("finally", number, &event.subject, from, event.at);
            span.attributes = vec![text("steadfast.kind", "finally"), text("steadfast.activity", &event.subject)];
            span.status = Some(error.map_or_else(ok, failed));
        }
    }

    /// Each look of a witness, in the span of what it was for: the fault, its undo, or the step that injects it.
    fn sightings(&mut self) {
        for (number, fault) in self.journal.faults.iter().enumerate() {
            let own = self.trace.span("fault", number as u64).bytes();
            let undo = self.trace.span("undo", number as u64).bytes();
            for sighting in &fault.sightings {
                let at = nanos(sighting.at);
                let inside = |span: &Span| span.start_time_unix_nano <= at && at <= span.end_time_unix_nano;
                let of = |bytes: [u8; 8]| self.spans.iter().position(|span| span.span_id == bytes && inside(span));
                let injecting = || {
                    let is = |key: &str, value: &str| {
                        let wanted = text(key, value);
                        move |span: &Span| span.attributes.contains(&wanted)
                    };
                    let (inject, name) =
                        (is("steadfast.kind", "inject"), is("steadfast.activity", &fault.window.fault));
                    self.spans.iter().position(|span| inject(span) && name(span) && inside(span))
                };
                let place = match sighting.when {
                    SightingTime::Before => injecting(),
                    SightingTime::After => of(undo),
                    _ => of(own).or_else(injecting),
                };
                self.spans[place.unwrap_or(0)].events.push(SpanEvent {
                    time_unix_nano: at,
                    name: "sighting".to_owned(),
                    attributes: vec![
                        text("steadfast.fault", &fault.window.fault),
                        text("steadfast.when", &word(&sighting.when)),
                        text("steadfast.saw", &sighting.saw),
                        yes("steadfast.as_expected", sighting.as_expected),
                    ],
                    ..SpanEvent::default()
                });
            }
        }
    }
}

/// What marks a part of the run, below which other spans belong.
const PHASE: &str = "steadfast.phase";

/// The word of a kind as it stands in the journal.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(tagged) => tagged["how"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// Who looks for what went wrong finds what has no good end: a rollback that failed, a deviation, no evidence.
fn run_status(journal: &Journal) -> Status {
    if let Some(first) = journal.not_undone().first() {
        return failed(format!("rollback failed, a fault may be left: {first}"));
    }
    let why = || journal.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match (&journal.ended, journal.verdict) {
        (Ended::Failed { error }, _) => failed(error),
        (Ended::Panicked { message }, _) => failed(format!("a closure panicked: {message}")),
        (_, Verdict::Deviated) => {
            let out = |evaluation: &Evaluation| {
                let check = evaluation.checks.iter().find(|check| check.outcome == "not-met")?;
                Some(format!("deviated: {}: {}", check.check, check.phrase))
            };
            let during = |e: &&Evaluation| e.verdict == Verdict::Deviated && e.phase != "before the method";
            failed(journal.evaluations.iter().filter(during).find_map(out).unwrap_or_else(|| "deviated".to_owned()))
        }
        (_, Verdict::Inconclusive) => failed(format!("inconclusive{}", why())),
        (_, Verdict::Met) => ok(),
        (_, Verdict::NotJudged) => Status::default(),
    }
}

fn verdict_status(evaluation: &Evaluation) -> Option<Status> {
    match evaluation.verdict {
        Verdict::Met => Some(ok()),
        Verdict::NotJudged => None,
        verdict => Some(failed(match &evaluation.reason {
            Some(reason) => format!("{verdict}: {reason}"),
            None => verdict.to_string(),
        })),
    }
}

fn judged_as(span: &mut Span, record: &CheckRecord) {
    span.attributes.push(text("steadfast.outcome", &record.outcome));
    span.attributes.push(text("steadfast.relation", &record.relation));
    span.attributes.extend(record.reason.as_ref().map(|reason| text("steadfast.reason", &reason.to_string())));
    if !record.warnings.is_empty() {
        span.attributes.push(list("steadfast.warnings", record.warnings.iter().cloned()));
    }
    span.status = match record.outcome.as_str() {
        "met" => Some(ok()),
        "not-applicable" => None,
        outcome => Some(failed(format!("{outcome}: {}", record.phrase))),
    };
}
