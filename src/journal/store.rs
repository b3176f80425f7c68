//! Storing and reading journals.

use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{JOURNAL_VERSION, Journal};

/// How many links may lead to a file, as with Linux.
const MOST_LINKS: usize = 40;

/// A journal that could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system says no, in the folder for outputs.
    #[error("failed to write {path}: {source}; set STEADFAST_OUT to a folder that can be written")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file system says no.
    #[error("failed to {doing} {path}: {source}")]
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
    /// The file ends in the midst of a journal.
    #[error("{path} is cut off (line {line}): what wrote it did not come to its end")]
    CutOff {
        /// The file.
        path: PathBuf,
        /// The last line.
        line: usize,
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

impl JournalError {
    /// What could not be written is in the folder for outputs.
    pub(crate) fn in_outputs(self) -> Self {
        match self {
            Self::File { path, source, doing: "write" } => Self::Output { path, source },
            other => other,
        }
    }

    /// What was read at `path` is no JSON, or none of a journal.
    pub(crate) fn not_read(path: &Path, error: &serde_json::Error) -> Self {
        let path = path.to_owned();
        if error.is_eof() {
            return Self::CutOff { path, line: error.line() };
        }
        Self::NotAJournal { path, why: error.to_string() }
    }
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
        let no_journal = |error| JournalError::not_read(path, &error);
        let value: serde_json::Value = serde_json::from_str(text).map_err(no_journal)?;
        if !value.is_object() {
            let why = "a journal is an object of JSON".to_owned();
            return Err(JournalError::NotAJournal { path: path.into(), why });
        }
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
/// A symbolic link stays, and what it leads to is written. What is there and is no regular file, such as a device or a pipe, is
/// written as it is.
///
/// # Errors
/// The folder or file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    written(path, bytes).map_err(|source| JournalError::File { doing: "write", path: path.into(), source })
}

fn written(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = match place(path)? {
        Place::File(path) => path,
        Place::Other => return opened(path)?.write_all(bytes),
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".steadfast-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    readable_as_usual(file.as_file())?;
    file.persist(&path).map_err(|e| e.error).map(drop)
}

/// What is no regular file, to be appended to: an open file that it stands for may have something in it. To open a pipe
/// that nobody reads would wait for a reader, without end.
fn opened(path: &Path) -> std::io::Result<std::fs::File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::empty()).map_err(|error| match error {
        Errno::NXIO => std::io::Error::other("nobody reads this pipe; let its reader begin first"),
        error => error.into(),
    })?;
    // A reader that is slow is waited for.
    rustix::fs::fcntl_setfl(&file, flags)?;
    Ok(file.into())
}

/// What a path leads to.
enum Place {
    /// A regular file, or none yet.
    File(PathBuf),
    /// Something that a new file must not take the place of.
    Other,
}

fn place(path: &Path) -> std::io::Result<Place> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok(Place::Other);
    }
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Ok(Place::File(path));
        }
        // `/dev/stdout` and the like lead to a file that is open already.
        if path.starts_with("/proc") {
            return Ok(Place::Other);
        }
        let leads_to = std::fs::read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("")).join(leads_to);
    }
    Err(std::io::Error::other(format!("it leads over more than {MOST_LINKS} links")))
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
            ("", "is cut off (line 1)"),
            ("{\n\"version\":", "is cut off (line 2)"),
            ("x", "is no journal: expected value"),
            ("{}", "is no journal: missing field"),
            ("[1]", "is no journal: a journal is an object"),
            (r#"{"version": 99}"#, "is a journal of version 99, this steadfast reads up to"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = Journal::read(&path).expect_err("it is no journal of ours").to_string();
            assert!(error.contains(part) && error.contains("journal.json"), "{text}: {error}");
        }
    }

    #[test]
    fn links_stay_and_what_is_no_regular_file_is_written_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("far")).expect("a folder");
        std::fs::write(at("far/file"), "old").expect("a file");
        for (link, to) in [("link", "far/file"), ("link-of-link", "link"), ("to-nothing", "far/new")] {
            std::os::unix::fs::symlink(to, at(link)).expect("a link");
        }
        for (link, file, text) in
            [("link", "far/file", "1"), ("link-of-link", "far/file", "2"), ("to-nothing", "far/new", "3")]
        {
            write_atomically(&at(link), text.as_bytes()).expect("it is written");
            assert_eq!(std::fs::read_to_string(at(file)).expect("it is there"), text);
            assert!(std::fs::symlink_metadata(at(link)).expect("it is there").is_symlink(), "{link} stays");
        }
        std::os::unix::fs::symlink("round", at("round")).expect("a link");
        let error = write_atomically(&at("round"), b"").expect_err("it leads nowhere").to_string();
        assert!(error.contains("round: it leads over more than 40 links"), "{error}");

        let pipe = at("pipe");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        let error = write_atomically(&pipe, b"to nobody").expect_err("nobody reads it").to_string();
        assert!(error.contains("failed to write ") && error.contains("/pipe: nobody reads this pipe"), "{error}");
        let reader = rustix::fs::open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("it is opened");
        // Were it replaced, nobody would ever open the pipe for its reader.
        write_atomically(&pipe, b"through").expect("it is written");
        let stays = std::os::unix::fs::FileTypeExt::is_fifo(
            &std::fs::symlink_metadata(&pipe).expect("it is there").file_type(),
        );
        assert!(stays, "the pipe stays");
        let read = std::io::read_to_string(std::fs::File::from(reader));
        assert_eq!(read.expect("it is read"), "through");

        let error = write_atomically(&at("far"), b"").expect_err("it is a folder").to_string();
        assert!(
            error.contains("failed to write") && error.contains("far") && !error.contains("STEADFAST_OUT"),
            "{error}"
        );
    }
}
