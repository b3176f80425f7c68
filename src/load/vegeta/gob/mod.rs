//! Results in Go's gob: a stream that describes its types and then holds values of them.

mod read;
mod types;
mod write;

pub(super) use read::Decoder;
pub(super) use write::Encoder;

/// Seconds from the first of January of year 1, where Go's times begin, to 1970.
const UNIX_FROM_YEAR_ONE: i64 = 62_135_596_800;
