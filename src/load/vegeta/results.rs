//! Streams of results in whichever encoding.

use std::fmt;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Write};
use std::str::FromStr;

use super::{Record, csv, gob, json};

/// No record may be longer: as much as Go's gob reads.
pub(super) const MOST_BYTES: u64 = 1 << 30;

const BUFFER: usize = 256 * 1024;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Go's own, vegeta's default.
    Gob,
    /// One object a line.
    Json,
    /// Twelve columns without a header row.
    Csv,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gob => "gob",
            Self::Json => "json",
            Self::Csv => "csv",
        })
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gob" => Ok(Self::Gob),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(format!("unknown encoding {text:?}; give csv, gob or json")),
        }
    }
}

/// Why results could not be read. What was read before stays true.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// Reading itself failed.
    #[error("failed to read the results at byte {offset}: {source}")]
    Read {
        /// How far they were read.
        offset: u64,
        /// The system's error.
        source: io::Error,
    },
    /// They end in the middle of a record.
    #[error("the results are cut off at byte {offset}, in the middle of {what} that begins at byte {begin}")]
    Cut {
        /// Where they end.
        offset: u64,
        /// Where what is cut begins.
        begin: u64,
        /// What is cut.
        what: &'static str,
    },
    /// They are not what their encoding asks for.
    #[error("the results are malformed at byte {offset}: {why}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What was expected and what was found.
        why: String,
    },
    /// They begin as no encoding does.
    #[error("the results are neither gob, JSON nor CSV: they begin with {}", .begin.escape_ascii())]
    Unknown {
        /// How they begin.
        begin: Vec<u8>,
    },
    /// There are none.
    #[error("there are no results: the input is empty")]
    Empty,
}

/// Bytes with their place in the stream.
pub(super) struct Input<R> {
    inner: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    /// How many bytes were taken.
    pub offset: u64,
}

impl<R: Read> Input<R> {
    fn failed(&self, source: io::Error) -> ResultsError {
        ResultsError::Read { offset: self.offset, source }
    }

    /// The next byte, or none at the end.
    pub fn byte(&mut self) -> Result<Option<u8>, ResultsError> {
        let next = self.inner.fill_buf().map(|bytes| bytes.first().copied());
        match next {
            Ok(Some(byte)) => {
                self.inner.consume(1);
                self.offset += 1;
                Ok(Some(byte))
            }
            Ok(None) => Ok(None),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => self.byte(),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Replaces `into` by the next `length` bytes, or by as many as there are.
    pub fn message(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), ResultsError> {
        into.clear();
        // It grows as bytes come, not as a length promises.
        let read = (&mut self.inner).take(length).read_to_end(into);
        self.offset += into.len() as u64;
        read.map(drop).map_err(|source| self.failed(source))
    }

    /// Replaces `into` by the next line with its end, or by what there is.
    pub fn line(&mut self, into: &mut Vec<u8>) -> Result<(), ResultsError> {
        into.clear();
        let read = (&mut self.inner).take(MOST_BYTES).read_until(b'\n', into);
        self.offset += into.len() as u64;
        read.map(drop).map_err(|source| self.failed(source))
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads results one by one.
pub struct Decoder<R> {
    kind: Kind<R>,
    figures_only: bool,
}

enum Kind<R> {
    Gob(Box<gob::Decoder<R>>),
    Json(json::Decoder<R>),
    Csv(Box<csv::Decoder<R>>),
}

impl<R: Read> Decoder<R> {
    /// Finds out the encoding from how the results begin.
    ///
    /// # Errors
    /// If there is nothing, or something else.
    pub fn detect(mut results: R) -> Result<Self, ResultsError> {
        let mut begin = Vec::new();
        (&mut results)
            .take(2)
            .read_to_end(&mut begin)
            .map_err(|source| ResultsError::Read { offset: begin.len() as u64, source })?;
        let encoding = match begin.as_slice() {
            [] => return Err(ResultsError::Empty),
            // A type definition: its length is more than a byte holds, or its negative number follows.
            [first, ..] if *first > 0x7f => Encoding::Gob,
            [_, second] if *second >= 0x7f => Encoding::Gob,
            [b'{' | b' ' | b'\t' | b'\r' | b'\n', ..] => Encoding::Json,
            [b'0'..=b'9' | b'-' | b'"', ..] => Encoding::Csv,
            _ => return Err(ResultsError::Unknown { begin }),
        };
        let inner = BufReader::with_capacity(BUFFER, Cursor::new(begin).chain(results));
        let input = Input { inner, offset: 0 };
        let kind = match encoding {
            Encoding::Gob => Kind::Gob(Box::new(gob::Decoder::new(input))),
            Encoding::Json => Kind::Json(json::Decoder::new(input)),
            Encoding::Csv => Kind::Csv(Box::new(csv::Decoder::new(input))),
        };
        Ok(Self { kind, figures_only: false })
    }

    /// Leaves `attack`, `seq`, `body`, `method`, `url` and `headers` empty: a report needs none of them.
    #[must_use]
    pub fn figures_only(mut self) -> Self {
        self.figures_only = true;
        self
    }

    /// The encoding that was found.
    pub fn encoding(&self) -> Encoding {
        match self.kind {
            Kind::Gob(_) => Encoding::Gob,
            Kind::Json(_) => Encoding::Json,
            Kind::Csv(_) => Encoding::Csv,
        }
    }

    /// Replaces `record` by the next one; false at the end.
    ///
    /// # Errors
    /// If the results are malformed or cut off; what was read before is whole.
    pub fn read(&mut self, record: &mut Record) -> Result<bool, ResultsError> {
        record.clear();
        match &mut self.kind {
            Kind::Gob(decoder) => decoder.read(record, self.figures_only),
            Kind::Json(decoder) => decoder.read(record, self.figures_only),
            Kind::Csv(decoder) => decoder.read(record, self.figures_only),
        }
    }
}

/// Writes results one by one, each with one call of `write`.
pub struct Encoder<W> {
    encoding: Encoding,
    out: W,
    gob: gob::Encoder,
    scratch: Vec<u8>,
}

impl<W: Write> Encoder<W> {
    /// Writes in an encoding.
    pub fn new(encoding: Encoding, out: W) -> Self {
        Self { encoding, out, gob: gob::Encoder::default(), scratch: Vec::new() }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If that fails.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.scratch.clear();
        match self.encoding {
            Encoding::Gob => self.gob.encode(record, &mut self.scratch),
            Encoding::Json => json::encode(record, &mut self.scratch)?,
            Encoding::Csv => csv::encode(record, &mut self.scratch)?,
        }
        self.out.write_all(&self.scratch)
    }

    /// Flushes what is below.
    ///
    /// # Errors
    /// If that fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
