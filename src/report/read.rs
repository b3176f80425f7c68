//! Reading journals of any kind, for the command.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::chaostoolkit;
use super::summary::Summary;
use crate::journal::{Journal, JournalError};
use crate::redaction::shapes::Shapes;
use crate::redaction::value::{redact, redact_document};

/// A journal, and what it comes to.
pub(crate) type Told = (Journal, Summary);

/// A journal of any kind: ours, one of `steadfast run`, or one of Chaos Toolkit.
///
/// # Errors
/// The file cannot be read, is torn, is no journal, or is of a later version.
pub(crate) fn read(path: &Path) -> Result<Told, JournalError> {
    let failed = |source| JournalError::File { doing: "read", path: path.into(), source };
    let text = fs::read(path).map_err(failed)?;
    // Chaos Toolkit writes in the encoding of its locale.
    let document = serde_json::from_str::<Value>(&String::from_utf8_lossy(&text));
    let Some(mut document) = document.ok().filter(chaostoolkit::is_one) else {
        let journal = Journal::read(path)?;
        let summary = Summary::of(&journal);
        return Ok((journal, summary));
    };
    let not_ours = |error| JournalError::not_read(path, &error);
    if !chaostoolkit::is_ours(&document) {
        // Chaos Toolkit hides nothing, and others than who ran it read reports.
        redact_document(&mut document["experiment"], &Shapes::new());
        redact(&mut document, &Shapes::new());
    }
    let mut journal = chaostoolkit::journal(&document).map_err(not_ours)?;
    journal.path = Some(path.to_owned());
    let summary = Summary::of(&journal);
    Ok((journal, summary))
}
