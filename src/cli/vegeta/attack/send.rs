//! Sends a load and writes its results as they come.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;

use http::{HeaderMap, StatusCode};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plan::Plan;
use crate::cli::vegeta::{Output, failed, usage, written};
use crate::load::vegeta::{Encoder, Encoding, Record, Target};
use crate::load::{self, Outcome, Stop};

/// What a second signal exits with: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

pub(super) fn send(plan: Plan) -> Result<ExitCode, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Before anything else: a signal that comes early must not be lost.
    let (int, term) = {
        let _within = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let (load, records) = plan.load.records();
    let output = Output::create(&plan.output).map_err(usage)?;
    let attack = load.start().map_err(usage)?;
    let (stop, aborted) = (attack.stopper(), Arc::new(AtomicBool::new(false)));
    let told = aborted.clone();
    // It ends with the process.
    std::thread::spawn(move || runtime.block_on(obey(int, term, &stop, &told)));

    let mut encoder = Encoder::new(Encoding::Gob, output);
    let mut record = Record { attack: plan.name, ..Record::default() };
    loop {
        let batch = match records.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                // Nothing is there to write: whoever reads sees what there was.
                written(encoder.flush(), &plan.output)?;
                match records.recv() {
                    Ok(batch) => batch,
                    Err(_) => break,
                }
            }
        };
        for sent in batch {
            fill(&mut record, sent, &plan.targets);
            written(encoder.write(&record), &plan.output)?;
        }
    }
    written(encoder.flush(), &plan.output)?;
    if aborted.load(Ordering::Relaxed) {
        return Ok(INTERRUPTED.into());
    }
    let recording = attack.wait().map_err(failed)?;
    if recording.records_lost > 0 {
        let lost = recording.records_lost;
        return Err(failed(format!("{lost} results are not in {}, which took them too slowly", plan.output)));
    }
    if let Some(why) = recording.invalid() {
        eprintln!("steadfast vegeta: the attack did not keep its plan: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The first signal sends nothing more and waits for what is under way, the second waits for nothing.
async fn obey(mut int: Signal, mut term: Signal, stop: &Stop, aborted: &AtomicBool) {
    for signals in 1..=2 {
        tokio::select! {
            biased;
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        if signals == 1 {
            stop.stop();
        } else {
            aborted.store(true, Ordering::Relaxed);
            stop.abort();
        }
    }
}

/// A result in vegeta's fields. It was to be sent at its timestamp, and its latency counts from there.
pub(super) fn fill(record: &mut Record, sent: load::Record, targets: &[Target]) {
    let hit = &sent.hit;
    record.seq = hit.number;
    record.timestamp = sent.sent - hit.sent + hit.intended;
    record.latency = hit.latency();
    // As vegeta: what `-max-body` drops is not counted.
    (record.bytes_out, record.bytes_in) = (hit.bytes_out, hit.bytes.min(sent.body.len() as u64));
    record.code = match hit.outcome {
        Outcome::Status(status) => status,
        Outcome::NoAnswer(_) => 0,
    };
    record.error = match (&sent.error, hit.outcome) {
        (Some(error), _) => error.clone(),
        (None, Outcome::Status(200..400)) => String::new(),
        (None, Outcome::Status(status)) => status_line(status),
        (None, Outcome::NoAnswer(class)) => class.name().to_owned(),
    };
    record.method = sent.method.to_string();
    // As it was written, whatever detour it took.
    let place = usize::try_from(hit.number % (targets.len() as u64).max(1)).unwrap_or_default();
    record.url = targets.get(place).map_or_else(|| sent.url.to_string(), |target| target.url.clone());
    record.headers = canonical(&sent.headers);
    record.body = sent.body;
}

/// `503 Service Unavailable`.
fn status_line(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    format!("{status} {reason}").trim_end().to_owned()
}

/// Headers by Go's names: each word begins with a capital.
fn canonical(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(crate::http::canonical(name.as_str())).or_default().push(value);
    }
    all
}
