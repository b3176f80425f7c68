//! The lines of a ledger: `CRC MAC JSON`.
//!
//! The checksum tells a line that was torn by a crash from a whole one; the MAC a line that somebody else wrote.
//! The MAC covers the run's name and the line's number too, so that no line can be moved or played again.

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Author, EntryId, Header, UNDO_VERSION, Undo, UndoOutcome};

/// What one line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(super) enum Record {
    /// The first line: whose ledger this is.
    Header(Header),
    /// A change is about to be made.
    Armed { entry: EntryId, version: u32, owner: String, name: String, undo: Vec<Value> },
    /// It was made, and the uids are known.
    Applied { entry: EntryId, version: u32, undo: Vec<Value> },
    /// It was undone, or left on purpose.
    Settled { entry: EntryId, outcomes: Vec<UndoOutcome>, left: bool },
}

/// Undos as a line holds them: plain JSON, so that one of an unknown kind can still be reported.
pub(super) fn to_values(undo: &[Undo]) -> Vec<Value> {
    undo.iter().map(|undo| serde_json::to_value(undo).unwrap_or_default()).collect()
}

/// The version of a line: the oldest that all its undos can be read by.
pub(super) fn version_of(undo: &[Undo]) -> u32 {
    undo.iter().map(Undo::version).max().unwrap_or(1)
}

/// The undos of a line, if all of them are of a version and kind that are known here. `by` is the line's entry: lines of
/// before a restoration named whose annotation it needs meant that of their own entry.
pub(super) fn from_values(version: u32, undo: &[Value], by: &Author) -> Result<Vec<Undo>, String> {
    if !(1..=UNDO_VERSION).contains(&version) {
        return Err(format!("its format has version {version}, this steadfast knows 1 to {UNDO_VERSION}"));
    }
    let read = |value: &Value| {
        if version == 1 && value["undo"] == "recreate" {
            let name = value["object"]["name"].as_str().unwrap_or_default();
            return Err(format!("its version 1 does not say in which namespace and when {name} was deleted"));
        }
        let mut undo = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        if let Undo::Restore { by: unsaid @ None, .. } = &mut undo
            && value.get("by").is_none()
        {
            *unsaid = Some(by.clone());
        }
        Ok(undo)
    };
    undo.iter().map(read).collect()
}

/// A line of a ledger, with its newline.
pub(super) fn write(key: &hmac::Key, run: &str, number: u64, record: &Record) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    let covered = format!("{} {json}", hex(hmac::sign(key, &bound(run, number, &json)).as_ref()));
    Ok(format!("{:08x} {covered}\n", crc32fast::hash(covered.as_bytes())))
}

/// Why a line is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Its checksum is wrong: it was torn, or the disk lies.
    Torn,
    /// Its checksum is right, but this user did not write it in this place.
    Foreign,
    /// It is ours, and of a kind that is not known here.
    Unknown(String),
}

/// The record of a line without its newline.
pub(super) fn read(key: &hmac::Key, run: Option<&str>, number: u64, line: &[u8]) -> Result<Record, Bad> {
    let line = std::str::from_utf8(line).map_err(|_| Bad::Torn)?;
    let (crc, covered) = line.split_once(' ').ok_or(Bad::Torn)?;
    if crc.len() != 8 || u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(covered.as_bytes())) {
        return Err(Bad::Torn);
    }
    let (mac, json) = covered.split_once(' ').ok_or(Bad::Foreign)?;
    let record: Result<Record, _> = serde_json::from_str(json);
    // The header names the run itself: it is checked against the file's name by the caller.
    let own = match &record {
        Ok(Record::Header(header)) => header.run.clone(),
        _ => String::new(),
    };
    let run = run.unwrap_or(&own);
    let mac = unhex(mac).ok_or(Bad::Foreign)?;
    hmac::verify(key, &bound(run, number, json), &mac).map_err(|_| Bad::Foreign)?;
    record.map_err(|error| Bad::Unknown(error.to_string()))
}

fn bound(run: &str, number: u64, json: &str) -> Vec<u8> {
    format!("{run}\n{number}\n{json}").into_bytes()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
