//! A recording while it is made, by one thread.

use std::sync::Arc;
use std::time::Duration;

use super::hit::Hit;
use super::sample::Sample;
use super::spans::Span;
use super::tally::Tally;
use super::{Histogram, Recording, Rows};
use crate::clock::Timestamp;
use crate::experiment::Faults;

/// Counts what one thread sends.
pub(in crate::load) struct Recorder {
    recording: Recording,
    sample: Sample,
    tally: Arc<Tally>,
    faults: Option<Faults>,
    version: u64,
}

impl Recorder {
    pub(in crate::load) fn new(
        name: String,
        started: Timestamp,
        rate: f64,
        planned: Option<u64>,
        lasting: Duration,
        faults: Option<Faults>,
    ) -> Self {
        let recording = Recording {
            name,
            started,
            rate,
            planned,
            lasting,
            hits: Vec::new(),
            seconds: Rows::default(),
            spans: vec![Span::default()],
            pacing: Histogram::default(),
            not_sent: 0,
            retries: 0,
            connections: 0,
            records_lost: 0,
            stopped: false,
            errors: std::collections::BTreeMap::new(),
            other_errors: 0,
            faults: Vec::new(),
        };
        // No version is the first one: what was on before is heeded with the first request.
        Self { recording, sample: Sample::default(), tally: Arc::default(), faults, version: u64::MAX }
    }

    /// Counts where others read it meanwhile.
    pub(in crate::load) fn counting(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    /// Counts one request that has ended just now.
    pub(in crate::load) fn record(&mut self, hit: &Hit, error: Option<&str>) {
        self.heed_faults();
        let spans = &mut self.recording.spans;
        // The first one begins at 0.
        let place = spans.iter().rposition(|span| span.from <= hit.intended).unwrap_or(0);
        spans[place].record(hit);
        self.recording.seconds.record(hit);
        self.sample.record(hit);
        self.tally.count(hit.outcome.is_success());
        if let Some(error) = error {
            self.recording.error(error, 1);
        }
    }

    /// Cuts the time where a fault began or ended since the last look.
    ///
    /// Nothing recorded so far lies behind the cut: a fault's stamp is taken while it is being published, so what
    /// ended before this look was intended before the stamp.
    fn heed_faults(&mut self) {
        let Some(faults) = &self.faults else { return };
        if faults.version() == self.version {
            return;
        }
        let windows;
        (self.version, windows) = faults.windows();
        let stamps = windows.iter().flat_map(|window| [Some(window.requested), window.undone]).flatten();
        let mut cuts: Vec<_> = stamps.map(|stamp| self.recording.offset(stamp)).collect();
        cuts.sort_unstable();
        let last = self.recording.spans.last().map_or(Duration::ZERO, |span| span.from);
        cuts.dedup();
        self.recording.spans.extend(cuts.into_iter().filter(|cut| *cut > last).map(Span::starting));
        self.recording.faults = windows;
    }

    /// How late the generator woke.
    pub(in crate::load) fn woke(&mut self, late: Duration) {
        self.recording.pacing.record(late);
    }

    pub(in crate::load) fn not_sent(&mut self) {
        self.recording.not_sent += 1;
    }

    pub(in crate::load) fn retried(&mut self) {
        self.recording.retries += 1;
    }

    pub(in crate::load) fn connected(&mut self) {
        self.recording.connections += 1;
    }

    pub(in crate::load) fn lost_records(&mut self, count: u64) {
        self.recording.records_lost += count;
    }

    pub(in crate::load) fn stopped(&mut self) {
        self.recording.stopped = true;
    }

    /// The recording as it is at the end.
    pub(in crate::load) fn finish(mut self) -> Recording {
        self.heed_faults();
        self.recording.hits = self.sample.hits();
        self.recording
    }
}

#[cfg(test)]
impl Recording {
    /// A recording of these requests, for tests.
    pub(in crate::load) fn with_faults(name: &str, hits: &[Hit], faults: &[crate::journal::FaultWindow]) -> Self {
        let (lasting, faults) = (hits.last().map_or(Duration::ZERO, |hit| hit.intended), Faults::of(faults.to_vec()));
        let planned = Some(hits.len() as u64);
        let mut recorder = Recorder::new(name.to_owned(), Timestamp::UNIX_EPOCH, 1.0, planned, lasting, Some(faults));
        hits.iter().for_each(|hit| recorder.record(hit, None));
        recorder.finish()
    }
}
