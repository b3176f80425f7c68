//! One result, as vegeta 12 records it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

/// One request and how it ended: the twelve fields of vegeta's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The attack's name.
    pub attack: String,
    /// The hit's number, from 0.
    pub seq: u64,
    /// The status; 0 without an answer.
    pub code: u16,
    /// When it was sent.
    pub timestamp: Timestamp,
    /// The zone that the timestamp is written in. CSV has none, and is read as UTC.
    pub zone: Offset,
    /// From the sending to the end of the body.
    pub latency: Duration,
    /// The length of the request's body.
    pub bytes_out: u64,
    /// The length of the answer's body, as far as it was kept.
    pub bytes_in: u64,
    /// Empty, or what went wrong: the status line's text from 400 on, or why there was no answer.
    pub error: String,
    /// The answer's body, as far as it was kept.
    pub body: Vec<u8>,
    /// The request's method.
    pub method: String,
    /// The request's URL.
    pub url: String,
    /// The answer's headers.
    pub headers: BTreeMap<String, Vec<String>>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            attack: String::new(),
            seq: 0,
            code: 0,
            timestamp: Timestamp::UNIX_EPOCH,
            zone: Offset::UTC,
            latency: Duration::ZERO,
            bytes_out: 0,
            bytes_in: 0,
            error: String::new(),
            body: Vec::new(),
            method: String::new(),
            url: String::new(),
            headers: BTreeMap::new(),
        }
    }
}

impl Record {
    /// Whether vegeta counts it as a success: a status from 200 to 399.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Empties it, keeping what its texts have allocated.
    pub(super) fn clear(&mut self) {
        let Self {
            attack,
            seq,
            code,
            timestamp,
            zone,
            latency,
            bytes_out,
            bytes_in,
            error,
            body,
            method,
            url,
            headers,
        } = self;
        for text in [attack, error, method, url] {
            text.clear();
        }
        (*seq, *code, *latency, *bytes_out, *bytes_in) = (0, 0, Duration::ZERO, 0, 0);
        (*timestamp, *zone) = (Timestamp::UNIX_EPOCH, Offset::UTC);
        body.clear();
        headers.clear();
    }
}
