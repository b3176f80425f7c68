//! Results as CSV: twelve columns, no header row.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use csv::{ByteRecord, Position, QuoteStyle, Reader, ReaderBuilder, WriterBuilder};
use jiff::Timestamp;

use super::json::nanoseconds;
use super::results::{Input, MOST_BYTES};
use super::{Record, ResultsError};

const COLUMNS: usize = 12;

pub(super) struct Decoder<R> {
    reader: Reader<Watched<R>>,
    row: ByteRecord,
}

/// Knows what was read last and whether that is inside of quotes, and stops a row that does not end.
struct Watched<R> {
    input: Input<R>,
    last: u8,
    quoted: bool,
    row_begins: u64,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.offset.saturating_sub(self.row_begins) > MOST_BYTES {
            return Err(io::Error::other(format!("a row of more than {MOST_BYTES} bytes")));
        }
        let read = self.input.read(into)?;
        if let Some(last) = into[..read].last() {
            self.last = *last;
            self.quoted ^= into[..read].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        }
        Ok(read)
    }
}

impl<R: Read> Decoder<R> {
    pub fn new(input: Input<R>) -> Self {
        let watched = Watched { input, last: 0, quoted: false, row_begins: 0 };
        let reader =
            ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(64 * 1024).from_reader(watched);
        Self { reader, row: ByteRecord::with_capacity(1024, COLUMNS) }
    }

    pub fn read(&mut self, into: &mut Record, figures_only: bool) -> Result<bool, ResultsError> {
        let begin = self.reader.position().byte();
        self.reader.get_mut().row_begins = begin;
        let read = self.reader.read_byte_record(&mut self.row);
        let end = self.reader.position().byte();
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                let source = match error.into_kind() {
                    csv::ErrorKind::Io(source) => source,
                    other => io::Error::other(format!("{other:?}")),
                };
                return Err(ResultsError::Read { offset: self.reader.get_ref().input.offset, source });
            }
        }
        // Every row ends its line: without that, its last column may be half a column.
        let watched = self.reader.get_ref();
        if end == watched.input.offset && (watched.quoted || !matches!(watched.last, b'\n' | b'\r')) {
            return Err(ResultsError::Cut { offset: end, begin, what: "a row of CSV" });
        }
        let offset = self.row.position().map_or(begin, Position::byte);
        decode(&self.row, into, figures_only).map(|()| true).map_err(|why| ResultsError::Malformed { offset, why })
    }
}

fn decode(row: &ByteRecord, into: &mut Record, figures_only: bool) -> Result<(), String> {
    if row.len() != COLUMNS {
        return Err(format!("a row of {} columns; a result has {COLUMNS}", row.len()));
    }
    let text = |column: usize| String::from_utf8_lossy(&row[column]);
    let nanoseconds: i64 = number(row, 0, "timestamp")?;
    into.timestamp = Timestamp::from_nanosecond(nanoseconds.into()).map_err(|error| error.to_string())?;
    into.code = number(row, 1, "status")?;
    into.latency = Duration::from_nanos(number(row, 2, "latency")?);
    into.bytes_out = number(row, 3, "number of bytes out")?;
    into.bytes_in = number(row, 4, "number of bytes in")?;
    into.error.push_str(&text(5));
    if figures_only {
        return Ok(());
    }
    STANDARD.decode_vec(&row[6], &mut into.body).map_err(|error| format!("its body is no base64: {error}"))?;
    into.attack.push_str(&text(7));
    into.seq = number(row, 8, "number")?;
    into.method.push_str(&text(9));
    into.url.push_str(&text(10));
    let headers = STANDARD.decode(&row[11]).map_err(|error| format!("its headers are no base64: {error}"))?;
    into.headers = header_lines(&String::from_utf8_lossy(&headers))?;
    Ok(())
}

fn number<T: std::str::FromStr>(row: &ByteRecord, column: usize, what: &str) -> Result<T, String> {
    str::from_utf8(&row[column]).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("column {} is {:?}, which is no {what}", column + 1, row[column].escape_ascii().to_string())
    })
}

/// `Name: value` lines up to an empty one.
fn header_lines(block: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in block.split("\r\n").take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no header"))?;
        headers.entry(name.to_owned()).or_default().push(value.trim().to_owned());
    }
    Ok(headers)
}

pub(super) fn encode(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let mut headers = String::new();
    for (name, values) in &record.headers {
        for value in values {
            headers.extend([name, ": ", value.replace(['\r', '\n'], " ").trim(), "\r\n"]);
        }
    }
    if !headers.is_empty() {
        headers.push_str("\r\n");
    }
    // Before 1678 and after 2262 there are more nanoseconds than Go's integer holds; there it wraps around too.
    #[expect(clippy::cast_possible_truncation, reason = "said above")]
    let timestamp = record.timestamp.as_nanosecond() as i64;
    let mut writer = WriterBuilder::new().quote_style(QuoteStyle::Necessary).from_writer(out);
    writer.write_record([
        timestamp.to_string().as_bytes(),
        record.code.to_string().as_bytes(),
        nanoseconds(record.latency).to_string().as_bytes(),
        record.bytes_out.to_string().as_bytes(),
        record.bytes_in.to_string().as_bytes(),
        record.error.as_bytes(),
        STANDARD.encode(&record.body).as_bytes(),
        record.attack.as_bytes(),
        record.seq.to_string().as_bytes(),
        record.method.as_bytes(),
        record.url.as_bytes(),
        STANDARD.encode(headers).as_bytes(),
    ])?;
    writer.flush()
}
