//! Results into a gob stream.

use super::UNIX_FROM_YEAR_ONE;
use super::types::{BYTES, INT, STRING, UINT};
use crate::load::vegeta::Record;

// The numbers that Go gives to the types of a program's first stream.
const RESULT: i64 = 64;
const TIME: i64 = 65;
const VALUES: i64 = 66;
const HEADERS: i64 = 67;

const FIELDS: [(&str, i64); 12] = [
    ("Attack", STRING),
    ("Seq", UINT),
    ("Code", UINT),
    ("Timestamp", TIME),
    ("Latency", INT),
    ("BytesOut", UINT),
    ("BytesIn", UINT),
    ("Error", STRING),
    ("Body", BYTES),
    ("Method", STRING),
    ("URL", STRING),
    ("Headers", HEADERS),
];

/// Turns records into messages; the first brings the types with it.
#[derive(Default)]
pub(in crate::load::vegeta) struct Encoder {
    defined: bool,
    scratch: Vec<u8>,
}

impl Encoder {
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        if !self.defined {
            definitions(out);
            self.defined = true;
        }
        self.scratch.clear();
        int(RESULT, &mut self.scratch);
        value(record, &mut self.scratch);
        bytes(&self.scratch, out);
    }
}

fn definitions(out: &mut Vec<u8>) {
    // Field 3 of a definition is a struct: its name and number, its fields.
    define(RESULT, 3, "Result", out, |message| {
        uint(1, message);
        uint(FIELDS.len() as u64, message);
        for (name, of) in FIELDS {
            uint(1, message);
            bytes(name.as_bytes(), message);
            uint(1, message);
            int(of, message);
            uint(0, message);
        }
    });
    // Field 5 is a type that encodes itself, field 4 a map with key and value, field 2 a slice with its element.
    define(TIME, 5, "Time", out, |_| {});
    define(HEADERS, 4, "Header", out, |message| {
        uint(1, message);
        int(STRING, message);
        uint(1, message);
        int(VALUES, message);
    });
    define(VALUES, 2, "", out, |message| {
        uint(1, message);
        int(STRING, message);
    });
}

fn define(number: i64, kind: u64, name: &str, out: &mut Vec<u8>, rest: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    int(-number, &mut message);
    uint(kind, &mut message);
    uint(1, &mut message);
    if name.is_empty() {
        uint(2, &mut message);
    } else {
        uint(1, &mut message);
        bytes(name.as_bytes(), &mut message);
        uint(1, &mut message);
    }
    int(number, &mut message);
    uint(0, &mut message);
    rest(&mut message);
    message.extend([0, 0]);
    bytes(&message, out);
}

/// The fields that are not zero, each after the distance from the one before.
fn value(record: &Record, out: &mut Vec<u8>) {
    let mut last = 0;
    let mut field = |number: u64, is_there: bool, out: &mut Vec<u8>| {
        if is_there {
            uint(number - last, out);
            last = number;
        }
        is_there
    };
    for (number, text) in [(1, record.attack.as_bytes())] {
        if field(number, !text.is_empty(), out) {
            bytes(text, out);
        }
    }
    for (number, figure) in [(2, record.seq), (3, record.code.into())] {
        if field(number, figure != 0, out) {
            uint(figure, out);
        }
    }
    field(4, true, out);
    time(record, out);
    let latency = i64::try_from(record.latency.as_nanos()).unwrap_or(i64::MAX);
    if field(5, latency != 0, out) {
        int(latency, out);
    }
    for (number, figure) in [(6, record.bytes_out), (7, record.bytes_in)] {
        if field(number, figure != 0, out) {
            uint(figure, out);
        }
    }
    let texts = [record.error.as_bytes(), &record.body, record.method.as_bytes(), record.url.as_bytes()];
    for (number, text) in (8..).zip(texts) {
        if field(number, !text.is_empty(), out) {
            bytes(text, out);
        }
    }
    if field(12, !record.headers.is_empty(), out) {
        uint(record.headers.len() as u64, out);
        for (name, values) in &record.headers {
            bytes(name.as_bytes(), out);
            uint(values.len() as u64, out);
            for value in values {
                bytes(value.as_bytes(), out);
            }
        }
    }
    out.push(0);
}

fn time(record: &Record, out: &mut Vec<u8>) {
    // Go's seconds are whole and its nanoseconds positive; jiff's share a sign.
    let (mut seconds, mut nanoseconds) = (record.timestamp.as_second(), record.timestamp.subsec_nanosecond());
    if nanoseconds < 0 {
        seconds -= 1;
        nanoseconds += 1_000_000_000;
    }
    let zone = record.zone.seconds();
    let (minutes, rest) = (zone / 60, zone % 60);
    // -1 says UTC; so does a zone that has this very distance, which Go cannot write either.
    let minutes = if zone == 0 { -1 } else { i16::try_from(minutes).unwrap_or(-1) };
    let seconds_of_zone = i8::try_from(rest).unwrap_or(0);
    out.push(if seconds_of_zone == 0 { 15 } else { 16 });
    out.push(if seconds_of_zone == 0 { 1 } else { 2 });
    out.extend((seconds + UNIX_FROM_YEAR_ONE).to_be_bytes());
    out.extend(nanoseconds.to_be_bytes());
    out.extend(minutes.to_be_bytes());
    if seconds_of_zone != 0 {
        out.extend(seconds_of_zone.to_be_bytes());
    }
}

fn uint(value: u64, out: &mut Vec<u8>) {
    match u8::try_from(value) {
        Ok(byte) if byte <= 0x7f => out.push(byte),
        _ => {
            let zeros = (value.leading_zeros() / 8) as usize;
            let digits = &value.to_be_bytes()[zeros..];
            #[expect(clippy::cast_possible_truncation, reason = "there are at most eight")]
            out.push((digits.len() as u8).wrapping_neg());
            out.extend(digits);
        }
    }
}

fn int(value: i64, out: &mut Vec<u8>) {
    let bits = value.cast_unsigned() << 1;
    uint(if value < 0 { !bits } else { bits }, out);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    uint(value.len() as u64, out);
    out.extend_from_slice(value);
}
