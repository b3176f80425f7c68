//! Storing and reading journals.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{JOURNAL_VERSION, Journal};

/// A journal that could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system says no.
    #[error("failed to {doing} {path}: {source}; set STEADFAST_OUT to a folder that can be written")]
    File {
        /// `write` or `read`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no journal.
    #[error("{path} is no journal: {why}")]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        why: String,
    },
    /// The journal is of a later version of this crate.
    #[error("{path} is a journal of version {version}, this steadfast reads up to {JOURNAL_VERSION}; use a newer one")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

impl Journal {
    /// The journal as indented JSON with a final newline.
    ///
    /// # Panics
    /// Never: all its parts serialise.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a journal holds nothing that JSON lacks");
        text.push('\n');
        text
    }

    /// Stores it at `path`: whole, or not at all.
    ///
    /// # Errors
    /// The folder or file cannot be written.
    pub fn write(&mut self, path: &Path) -> Result<(), JournalError> {
        write_atomically(path, self.to_json().as_bytes())?;
        self.path = Some(path.to_owned());
        Ok(())
    }

    /// It has been stored by somebody else, in another form.
    #[cfg(feature = "cli")]
    pub(crate) fn stored_at(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
    }

    /// Reads a stored journal.
    ///
    /// # Errors
    /// The file cannot be read, is no journal, or is of a later version.
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let text = std::fs::read_to_string(path).map_err(|source| JournalError::File {
            doing: "read",
            path: path.into(),
            source,
        })?;
        let mut journal = Self::of_text(&text, path)?;
        journal.path = Some(path.to_owned());
        Ok(journal)
    }

    /// The journal that the file at `path` holds.
    pub(crate) fn of_text(text: &str, path: &Path) -> Result<Self, JournalError> {
        let no_journal = |e: serde_json::Error| JournalError::NotAJournal { path: path.into(), why: e.to_string() };
        let value: serde_json::Value = serde_json::from_str(text).map_err(no_journal)?;
        let version = value["version"].as_u64().unwrap_or(0);
        if version > u64::from(JOURNAL_VERSION) {
            return Err(JournalError::TooNew { path: path.into(), version });
        }
        serde_json::from_value(value).map_err(no_journal)
    }
}

/// Writes a file so that a reader sees all of it or none, making its folder if needed. It does not wait for the
/// disk: what must survive a power cut is in the ledger.
///
/// # Errors
/// The folder or file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let write = || {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".steadfast-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        readable_as_usual(file.as_file())?;
        file.persist(path).map_err(|e| e.error)
    };
    write().map(drop).map_err(|source| JournalError::File { doing: "write", path: path.into(), source })
}

/// A temporary file is its owner's alone; an output may be read by the people that CI serves it to.
fn readable_as_usual(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_as_it_was_written() {
        for figure in [47.497_771_270_747_364, 0.492_951_287_220_395_55, 2.001_111_111_111_11e88] {
            let text = serde_json::to_string(&figure).expect("a number");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("a number"), figure, "{text}");
        }
    }

    #[test]
    fn what_is_no_journal_or_a_later_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.json");
        for (text, part) in [
            ("{", "is no journal: EOF"),
            ("{}", "is no journal: missing field"),
            ("[1]", "is no journal"),
            (r#"{"version": 99}"#, "is a journal of version 99, this steadfast reads up to"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = Journal::read(&path).expect_err("it is no journal of ours").to_string();
            assert!(error.contains(part) && error.contains("journal.json"), "{text}: {error}");
        }
    }
}
