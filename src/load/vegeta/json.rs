//! Results as one JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::results::{Input, MOST_BYTES};
use super::{Record, ResultsError};

pub(super) struct Decoder<R> {
    input: Input<R>,
    line: Vec<u8>,
}

/// What a report needs; what else there is, is passed over.
#[derive(Deserialize)]
struct Figures<'a> {
    #[serde(default)]
    code: u16,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    latency: u64,
    #[serde(default)]
    bytes_out: u64,
    #[serde(default)]
    bytes_in: u64,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
}

/// The rest of a result.
#[derive(Deserialize)]
#[serde(default)]
struct Rest<'a> {
    #[serde(borrow)]
    attack: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    headers: Option<BTreeMap<String, Vec<String>>>,
}

impl Default for Rest<'_> {
    fn default() -> Self {
        Self { attack: "".into(), seq: 0, body: None, method: "".into(), url: "".into(), headers: None }
    }
}

impl<R: Read> Decoder<R> {
    pub fn new(input: Input<R>) -> Self {
        Self { input, line: Vec::new() }
    }

    pub fn read(&mut self, into: &mut Record, figures_only: bool) -> Result<bool, ResultsError> {
        loop {
            let begin = self.input.offset;
            self.input.line(&mut self.line)?;
            if self.line.is_empty() {
                return Ok(false);
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            if self.line.len() as u64 >= MOST_BYTES {
                let why = format!("a line of more than {MOST_BYTES} bytes");
                return Err(ResultsError::Malformed { offset: begin, why });
            }
            let decoded = decode(&self.line, into, figures_only);
            let offset = self.input.offset;
            return decoded.map(|()| true).map_err(|wrong| match wrong {
                Wrong::Json(error) if error.is_eof() && !self.line.ends_with(b"\n") => {
                    ResultsError::Cut { offset, begin, what: "a line of JSON" }
                }
                Wrong::Json(error) => ResultsError::Malformed {
                    offset: begin + error.column().saturating_sub(1) as u64,
                    // Its place in the line says less than the one in the stream.
                    why: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
                },
                Wrong::Field(why) => ResultsError::Malformed { offset: begin, why },
            });
        }
    }
}

enum Wrong {
    Json(serde_json::Error),
    Field(String),
}

fn decode(line: &[u8], into: &mut Record, figures_only: bool) -> Result<(), Wrong> {
    let figures: Figures<'_> = serde_json::from_slice(line).map_err(Wrong::Json)?;
    (into.timestamp, into.zone) =
        time(&figures.timestamp).ok_or_else(|| Wrong::Field(format!("{:?} is no timestamp", figures.timestamp)))?;
    (into.code, into.latency) = (figures.code, Duration::from_nanos(figures.latency));
    (into.bytes_out, into.bytes_in) = (figures.bytes_out, figures.bytes_in);
    into.error.push_str(&figures.error);
    if figures_only {
        return Ok(());
    }
    let rest: Rest<'_> = serde_json::from_slice(line).map_err(Wrong::Json)?;
    into.attack.push_str(&rest.attack);
    into.seq = rest.seq;
    if let Some(body) = rest.body {
        STANDARD
            .decode_vec(body.as_bytes(), &mut into.body)
            .map_err(|error| Wrong::Field(format!("its body is no base64: {error}")))?;
    }
    into.method.push_str(&rest.method);
    into.url.push_str(&rest.url);
    into.headers = rest.headers.unwrap_or_default();
    Ok(())
}

/// RFC 3339 with its zone.
fn time(text: &str) -> Option<(Timestamp, Offset)> {
    let at: Timestamp = text.parse().ok()?;
    let zone = match text.as_bytes().last_chunk() {
        Some([sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]) => {
            let digit = |byte: &u8| i32::from(byte.wrapping_sub(b'0'));
            let minutes = (digit(h1) * 10 + digit(h2)) * 60 + digit(m1) * 10 + digit(m2);
            Offset::from_seconds(if *sign == b'-' { -60 } else { 60 } * minutes).ok()?
        }
        _ => Offset::UTC,
    };
    Some((at, zone))
}

/// As RFC 3339, with as many digits of a second as it needs.
pub(super) fn time_text(at: Timestamp, zone: Offset) -> String {
    if zone == Offset::UTC { at.to_string() } else { at.display_with_offset(zone).to_string() }
}

#[derive(Serialize)]
struct Line<'a> {
    attack: &'a str,
    seq: u64,
    code: u16,
    timestamp: &'a str,
    latency: u64,
    bytes_out: u64,
    bytes_in: u64,
    error: &'a str,
    body: Option<&'a str>,
    method: &'a str,
    url: &'a str,
    headers: Option<&'a BTreeMap<String, Vec<String>>>,
}

pub(super) fn encode(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let body = (!record.body.is_empty()).then(|| STANDARD.encode(&record.body));
    let line = Line {
        attack: &record.attack,
        seq: record.seq,
        code: record.code,
        timestamp: &time_text(record.timestamp, record.zone),
        latency: nanoseconds(record.latency),
        bytes_out: record.bytes_out,
        bytes_in: record.bytes_in,
        error: &record.error,
        body: body.as_deref(),
        method: &record.method,
        url: &record.url,
        headers: (!record.headers.is_empty()).then_some(&record.headers),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// As Go counts them: it has no longer duration than 292 years.
#[expect(clippy::cast_possible_truncation, reason = "it is no more than i64::MAX")]
pub(super) fn nanoseconds(latency: Duration) -> u64 {
    latency.as_nanos().min(i64::MAX as u128) as u64
}
