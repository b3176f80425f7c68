//! Reading a ledger that somebody left.

use std::fmt;

use ring::hmac;

use super::line::{self, Bad, Record};
use super::{Author, Header, OpenEntry, UndoOutcome};

/// What a ledger says, as far as it can be believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Whose it is; `None` if even that cannot be believed.
    pub header: Option<Header>,
    /// What is still to be undone, oldest first.
    pub open: Vec<OpenEntry>,
    /// What could not be believed.
    pub complaints: Vec<Complaint>,
    /// The number of lines, for one to be appended.
    pub(super) lines: u64,
    /// Whether the last line lacks its end.
    pub(super) torn: bool,
}

/// Something in a ledger that is not acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Complaint {
    /// A line that was cut off by a crash: its change was never made, or an undo not written down.
    Torn {
        /// The line's number, from 1.
        line: u64,
    },
    /// A line that this user did not write there.
    Foreign {
        /// The line's number, from 1.
        line: u64,
    },
    /// An entry of a version or kind that this crate does not know.
    Unknown {
        /// The line's number, from 1.
        line: u64,
        /// What is not known.
        why: String,
    },
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { line } => write!(f, "line {line} was cut off"),
            Self::Foreign { line } => write!(f, "line {line} was not written by this user in this place"),
            Self::Unknown { line, why } => {
                write!(f, "line {line} is not known to this version: {why}; use the steadfast that wrote it")
            }
        }
    }
}

/// Reads the bytes of the ledger of `run`. Never panics, never believes a line that is not whole and ours.
#[must_use]
pub(super) fn read(bytes: &[u8], run: &str, key: &hmac::Key) -> Reading {
    let mut reading = Reading { torn: !bytes.is_empty() && !bytes.ends_with(b"\n"), ..Reading::default() };
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for (number, bytes) in whole.split(|byte| *byte == b'\n').enumerate() {
        let number = number as u64;
        reading.lines = number + 1;
        let line = number + 1;
        let known = (number > 0).then_some(run);
        // A torn last line may have lost nothing but its newline; then it is whole.
        match line::read(key, known, number, bytes) {
            Ok(record) => reading.take(record, run, line),
            Err(Bad::Torn) => reading.complaints.push(Complaint::Torn { line }),
            Err(Bad::Foreign) => reading.complaints.push(Complaint::Foreign { line }),
            Err(Bad::Unknown(why)) => reading.complaints.push(Complaint::Unknown { line, why }),
        }
    }
    reading
}

impl Reading {
    fn take(&mut self, record: Record, run: &str, line: u64) {
        match record {
            Record::Header(header) if line == 1 && header.run == run => self.header = Some(header),
            Record::Header(_) => self.complaints.push(Complaint::Foreign { line }),
            Record::Armed { entry, version, owner, name, undo } => {
                let by = Author { run: run.to_owned(), owner };
                match line::from_values(version, &undo, &by) {
                    Ok(undo) => self.open.push(OpenEntry { entry, owner: by.owner, name, undo, applied: false }),
                    Err(why) => self.complaints.push(Complaint::Unknown { line, why }),
                }
            }
            Record::Applied { entry, version, undo } => {
                let open = self.open.iter_mut().find(|open| open.entry == entry);
                let owner = open.as_ref().map(|open| open.owner.clone()).unwrap_or_default();
                match (line::from_values(version, &undo, &Author { run: run.to_owned(), owner }), open) {
                    (Ok(undo), Some(open)) => (open.undo, open.applied) = (undo, true),
                    (Ok(_), None) => {}
                    (Err(why), _) => self.complaints.push(Complaint::Unknown { line, why }),
                }
            }
            Record::Settled { entry, outcomes, .. } => {
                if outcomes.iter().all(UndoOutcome::is_clean) {
                    self.open.retain(|open| open.entry != entry);
                }
            }
        }
    }
}
