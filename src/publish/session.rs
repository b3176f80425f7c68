//! Which runs belong together: those of one `cargo test`, or of one `cargo nextest run`.
//!
//! Nobody tells a test process which call it belongs to, and its runs may end side by side in many processes. nextest
//! names each of its runs in `NEXTEST_RUN_ID`. Else it is the nearest process above that is `cargo`, told from a later one
//! of that number by its start; else this process. Each run leaves one line with its journal's path in a file of that name
//! in the folder `.runs` of the outputs, when it begins and again when it has ended: so one that was killed is known too.
//! The last session is the file that was written last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folder in the outputs.
const FOLDER: &str = ".runs";

/// How many sessions are remembered.
const KEPT: usize = 20;

/// The session of this process.
pub(crate) fn of_this_process() -> String {
    if let Some(run) = crate::variables::text("NEXTEST_RUN_ID") {
        return format!("nextest-{run}");
    }
    match above("self", "cargo") {
        Some((pid, started)) => format!("cargo-{pid}-{started}"),
        None => format!("process-{}", std::process::id()),
    }
}

/// The nearest process above one that is called so, with its start.
fn above(pid: &str, called: &str) -> Option<(u32, String)> {
    let mut pid = stat(pid)?.parent;
    // A circle there cannot be, but what is read changes while it is read.
    for _ in 0..64 {
        let stat = stat(&pid.to_string())?;
        if stat.name == called {
            return Some((pid, stat.started));
        }
        pid = stat.parent;
    }
    None
}

struct Stat {
    name: String,
    parent: u32,
    started: String,
}

/// What `/proc` says of a process; nothing where there is none.
fn stat(pid: &str) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, behind) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<_> = behind.split_whitespace().collect();
    Some(Stat { name: name.to_owned(), parent: fields.get(1)?.parse().ok()?, started: (*fields.get(19)?).to_owned() })
}

/// Notes that a run with this journal, told from the root of the outputs, belongs to a session.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn note(root: &Path, session: &str, journal: &Path) -> io::Result<()> {
    add(root, session, &Note { journal: journal.to_string_lossy().into_owned(), asserted: None, held: false })
}

/// Notes what a test asserted of a journal, and whether that held.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn note_assertion(root: &Path, session: &str, journal: &Path, asserted: &str, held: bool) -> io::Result<()> {
    let journal = journal.to_string_lossy().into_owned();
    add(root, session, &Note { journal, asserted: Some(asserted.to_owned()), held })
}

/// One line of a session.
#[derive(Serialize, Deserialize)]
struct Note {
    journal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asserted: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
}

fn add(root: &Path, session: &str, note: &Note) -> io::Result<()> {
    let folder = root.join(FOLDER);
    let path = file_of(&folder, session);
    let append = || OpenOptions::new().append(true).open(&path);
    let mut file = match append() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&folder)?;
            forget_old(&folder);
            OpenOptions::new().create(true).append(true).open(&path)?
        }
        opened => opened?,
    };
    // One write for one line, so that lines of several processes do not mix.
    file.write_all(format!("{}\n", serde_json::to_string(note)?).as_bytes())
}

fn file_of(folder: &Path, session: &str) -> PathBuf {
    folder.join(file_name(session))
}

/// A session's name as a file's.
pub(crate) fn file_name(session: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    session.chars().map(plain).collect()
}

/// Files of sessions, the last written first.
fn sessions(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let written = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut all: Vec<_> = entries.filter_map(written).collect();
    all.sort();
    all.into_iter().rev().map(|(_, path)| path).collect()
}

fn forget_old(folder: &Path) {
    for old in sessions(folder).into_iter().skip(KEPT) {
        // It is in nobody's way.
        let _ = fs::remove_file(old);
    }
}

/// What a session has noted.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) journals: BTreeSet<PathBuf>,
    /// What a test asserted of a journal, and whether that held.
    pub(crate) asserted: BTreeMap<PathBuf, Vec<(String, bool)>>,
}

impl Session {
    /// One of these journals.
    #[cfg(feature = "cli")]
    pub(crate) fn of(journals: BTreeSet<PathBuf>) -> Self {
        Self { journals, asserted: BTreeMap::new() }
    }
}

/// What a session of these outputs has noted.
pub(crate) fn noted(root: &Path, session: &str) -> Session {
    read(root, &file_of(&root.join(FOLDER), session))
}

/// The last session of these outputs, with its name.
#[cfg(feature = "cli")]
pub(crate) fn last(root: &Path) -> Option<(String, Session)> {
    let file = sessions(&root.join(FOLDER)).into_iter().next()?;
    let name = file.file_name()?.to_string_lossy().into_owned();
    Some((name, read(root, &file)))
}

fn read(root: &Path, file: &Path) -> Session {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut session = Session::default();
    // A line that was torn by a full disk is nobody's journal.
    for note in text.lines().filter_map(|line| serde_json::from_str::<Note>(line).ok()) {
        let path = root.join(note.journal);
        match note.asserted {
            Some(asserted) => session.asserted.entry(path).or_default().push((asserted, note.held)),
            // A run that takes the place of another one of the session has nothing asserted of it yet.
            None => {
                session.asserted.remove(&path);
                session.journals.insert(path);
            }
        }
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_remembered_by_session_and_old_ones_forgotten() {
        let root = tempfile::tempdir().expect("a folder");
        for session in 0..30 {
            note(root.path(), &format!("cargo-1-{session}"), Path::new("a/journal.json")).expect("noted");
        }
        let left = sessions(&root.path().join(FOLDER)).len();
        assert!((KEPT..=KEPT + 1).contains(&left), "{left}");
        note(root.path(), "nextest-x/../y", Path::new("b/journal.json")).expect("noted");
        note(root.path(), "nextest-x/../y", Path::new("a\n/journal-2.json")).expect("noted");
        note(root.path(), "nextest-x/../y", Path::new("b/journal.json")).expect("noted");
        let journals: Vec<_> = noted(root.path(), "nextest-x/../y").journals.into_iter().collect();
        assert_eq!(journals, [root.path().join("a\n/journal-2.json"), root.path().join("b/journal.json")]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_above_is_found_by_its_name() {
        let name =
            stat("self").and_then(|own| stat(&own.parent.to_string())).map(|above| above.name).expect("a parent");
        let found = above("self", &name).map(|(pid, _)| pid);
        assert_eq!(found, stat("self").map(|own| own.parent));
        assert_eq!(above("self", "no such program"), None);
    }
}
