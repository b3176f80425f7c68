//! Each request in full, for whoever writes it down: a bounded channel that never holds up the load.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::{HeaderMap, Method};

use super::recording::Hit;
use crate::clock::{Stopwatch, Timestamp};
use crate::journal::SpanId;

/// The most requests in one batch.
const BATCH: usize = 128;

/// The longest that a record waits for the next one.
const FLUSH: Duration = Duration::from_millis(100);

/// The most batches in the channel.
const BATCHES: usize = 512;

/// The most records that one thread holds back while the channel is full.
const HELD: usize = 100_000;

/// How long the last records wait for a reader that takes none.
const LAST: Duration = Duration::from_secs(5);

/// One request in full.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// What is counted of it.
    pub hit: Hit,
    /// When it was sent, by the wall clock.
    pub sent: Timestamp,
    /// Its span, where the run is traced: the system's own spans are below it.
    pub span: Option<SpanId>,
    /// Its method.
    pub method: Method,
    /// Where it went.
    pub url: Arc<str>,
    /// Why there was no answer, in words.
    pub error: Option<String>,
    /// The headers of the answer; empty without one.
    pub headers: HeaderMap,
    /// The answer's body, as much as the load [keeps](super::Load::keeping) of it.
    pub body: Vec<u8>,
}

/// The receiving end: batches of records, in the order in which each thread's requests ended. It ends when the
/// load has.
pub type Records = Receiver<Vec<Record>>;

pub(super) fn channel() -> (SyncSender<Vec<Record>>, Records) {
    sync_channel(BATCHES)
}

/// One thread's side of the channel.
pub(super) struct Outbox {
    channel: SyncSender<Vec<Record>>,
    batch: Vec<Record>,
    sent_at: Duration,
    lost: u64,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(channel: SyncSender<Vec<Record>>) -> Self {
        Self { channel, batch: Vec::new(), sent_at: Duration::ZERO, lost: 0, closed: false }
    }

    pub(super) fn put(&mut self, record: Record, now: Duration) {
        if self.closed {
            return;
        }
        if self.batch.len() >= HELD {
            self.lost += 1;
            return;
        }
        self.batch.push(record);
        if self.batch.len() >= BATCH || now.saturating_sub(self.sent_at) >= FLUSH {
            self.sent_at = now;
            match self.channel.try_send(std::mem::take(&mut self.batch)) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => self.batch = batch,
                // Nobody wants them any more.
                Err(TrySendError::Disconnected(_)) => self.closed = true,
            }
        }
    }

    /// Hands over the rest, waiting for room a while: the load is over. Answers with how many were lost.
    pub(super) fn finish(self) -> u64 {
        let (mut rest, waiting) = (self.batch, Stopwatch::start());
        while !rest.is_empty() && !self.closed {
            match self.channel.try_send(rest) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(batch)) if waiting.elapsed() >= LAST => {
                    return self.lost + batch.len() as u64;
                }
                Err(TrySendError::Full(batch)) => rest = batch,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.lost
    }
}
