//! The merged files in the root of the outputs: all experiments of the last session, in the order of their folders.
//!
//! Nobody is told that a session has ended, so each run's end makes them anew, under a lock: tests run side by side, in
//! processes of their own. What they hold is what the session has noted, so that nothing is lost whoever comes first, and
//! nothing of an older session is taken for a result of this one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::{Format, Settings};
use super::{FILES, SUMMARY, beside, session, summary_of};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::journal::{JournalError, write_atomically};
use crate::report::{Counts, SCHEMA_VERSION, Summary, junit, to_json};

/// All merged files.
pub(super) const MERGED: [&str; 3] = ["index.html", SUMMARY, "junit.xml"];

/// Who holds it writes the merged files.
const LOCK: &str = ".summary.lock";

/// How often it is tried to be had, and how long between: shorter in all than a run waits for its reports.
const LOOKS: u32 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The merged summary.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    /// The call of `cargo test` or of nextest that these belong to.
    pub(crate) session: String,
    /// What was written with it in the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) merged: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) experiments: Vec<Entry>,
}

/// One experiment of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The folder of its files, from the root.
    pub(crate) folder: String,
    /// The files that there are, by format.
    pub(crate) files: BTreeMap<String, String>,
    /// What it came to, without its cases.
    #[serde(flatten)]
    pub(crate) summary: Summary,
}

/// Makes the merged files anew, with the run of this journal.
///
/// # Errors
/// The lock or a file cannot be had.
pub(super) fn add(settings: &Settings, root: &Path, session: &str, journal: &Path) -> Result<(), BoxError> {
    fs::create_dir_all(root)?;
    let _lock = locked(root, LOOKS)?;
    let file = root.join(SUMMARY);
    // One that is torn or of another version is made anew of the summaries that it is of.
    let old = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Index>(&bytes).ok());
    let (mut merged, old) = match old {
        Some(old) if old.session == session && old.schema_version == SCHEMA_VERSION => (old.merged.clone(), Some(old)),
        old => {
            // What is not asked for any more would stay, as if it were of this session; what it has not written is not ours.
            for name in old.into_iter().flat_map(|old| old.merged) {
                let file = root.join(&name);
                // A journal in the root itself has its own reports there.
                if MERGED.contains(&name.as_str()) && file != beside(journal, &name) {
                    let _ = fs::remove_file(file);
                }
            }
            (Vec::new(), None)
        }
    };
    let asked = [
        ("index.html", cfg!(feature = "report") && settings.has(Format::Html)),
        ("junit.xml", settings.has(Format::Junit)),
    ];
    for (name, asked) in asked {
        if asked && !merged.iter().any(|known| known == name) {
            merged.push(name.to_owned());
        }
    }
    let known: BTreeMap<PathBuf, Entry> = old.into_iter().flat_map(|old| old.experiments).map(keyed).collect();
    let mut experiments = Vec::new();
    for path in in_order(session::noted(root, session).journals) {
        let below = path.strip_prefix(root).unwrap_or(&path);
        // What is known holds while its summary stands there, which a run that begins in its place takes away: no journal of
        // a long session is read again at each end.
        let known = known
            .get(below)
            .filter(|known| path != journal && RunOf::told(&path).is_some_and(|run| run.is_of(&known.summary)));
        experiments.extend(match known {
            Some(known) => Some(known.clone()),
            None => RunOf::read(&path).and_then(|run| entry(&path, below, &run)),
        });
    }
    let mut counts = Counts::default();
    experiments.iter().for_each(|entry| counts.add(entry.summary.counts));
    let index = Index { schema_version: SCHEMA_VERSION, session: session.to_owned(), merged, counts, experiments };
    write_atomically(&file, to_json(&index).as_bytes()).map_err(JournalError::in_outputs)?;
    #[cfg(feature = "report")]
    if settings.has(Format::Html) {
        write_atomically(&root.join("index.html"), super::listing::html(&index).as_bytes())
            .map_err(JournalError::in_outputs)?;
    }
    if settings.has(Format::Junit) {
        write_atomically(&root.join("junit.xml"), merged_junit(root, &index).as_bytes())
            .map_err(JournalError::in_outputs)?;
    }
    Ok(())
}

/// Waits for the lock as long as somebody who writes may take. The system takes it from a process that dies; one that
/// hangs keeps it, and the next run's end makes the files anew with all that are noted.
fn locked(root: &Path, looks: u32) -> Result<File, BoxError> {
    let path = root.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    for look in 0..looks {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if look + 1 < looks => std::thread::sleep(BETWEEN_LOOKS),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    let (path, waited) = (path.display(), BETWEEN_LOOKS * looks);
    Err(format!(
        "another process has held {path} for {waited:?}, so the merged files are as they were; \
         `steadfast report --last` reads the journals themselves"
    )
    .into())
}

#[cfg(feature = "cli")]
impl Index {
    /// Of these journals, told from a folder, with all their cases; of those elsewhere by the whole path.
    pub(crate) fn of<'a>(folder: &Path, told: impl Iterator<Item = (&'a Path, &'a Summary)>) -> Self {
        // An empty path is the working directory.
        let from = std::path::absolute(Path::new(".").join(folder)).ok();
        let entry = |(path, summary): (&Path, &Summary)| {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let below = from.as_deref().and_then(|from| whole.strip_prefix(from).ok()).unwrap_or(&whole);
            Entry { folder: folder_of(below), files: files_of(path), summary: summary.clone() }
        };
        let experiments: Vec<Entry> = told.map(entry).collect();
        let mut counts = Counts::default();
        experiments.iter().for_each(|entry| counts.add(entry.summary.counts));
        Self { schema_version: SCHEMA_VERSION, session: String::new(), merged: Vec::new(), counts, experiments }
    }

    /// As a page.
    pub(crate) fn to_html(&self) -> String {
        super::listing::html(self)
    }

    /// As indented JSON with a final newline.
    pub(crate) fn to_json(&self) -> String {
        to_json(self)
    }
}

fn keyed(entry: Entry) -> (PathBuf, Entry) {
    let file = entry.files.get("journal").map(String::as_str).unwrap_or_default();
    (Path::new(&entry.folder).join(file), entry)
}

/// `journal-2.json` before `journal-10.json`.
pub(super) fn in_order(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let key = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (path.parent().map(Path::to_owned), name.len(), name)
    };
    let mut paths: Vec<_> = paths.into_iter().collect();
    paths.sort_by_cached_key(key);
    paths
}

/// Which run a journal is of.
#[derive(Deserialize)]
struct RunOf {
    run: Option<String>,
    started: Option<Timestamp>,
}

/// Of a document, whose `run` is a list of activities, its evidence says it.
#[derive(Deserialize)]
struct OfADocument {
    #[serde(rename = "x-steadfast")]
    ours: Evidence,
}

#[derive(Deserialize)]
struct Evidence {
    journal: RunOf,
}

impl RunOf {
    /// By the summary beside a journal.
    fn told(journal: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(beside(journal, SUMMARY)).ok()?).ok()
    }

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let document = serde_json::from_slice::<OfADocument>(&text).map(|document| document.ours.journal);
        document.or_else(|_| serde_json::from_slice(&text)).ok()
    }

    fn is_of(&self, summary: &Summary) -> bool {
        self.run == summary.run && self.started.map(|at| at.to_string()) == summary.started
    }
}

/// What a run came to by the summary that it wrote; by its journal where it wrote none, as one that was killed.
fn entry(journal: &Path, below: &Path, run: &RunOf) -> Option<Entry> {
    let written = fs::read(beside(journal, SUMMARY)).ok();
    let written = written.and_then(|text| serde_json::from_slice::<Summary>(&text).ok()).filter(|it| run.is_of(it));
    let files = match &written {
        Some(_) => files_of(journal),
        None => BTreeMap::from([("journal".to_owned(), name_of(journal))]),
    };
    let mut summary = written.or_else(|| summary_of(journal))?;
    (summary.cases, summary.written) = (Vec::new(), Vec::new());
    Some(Entry { folder: folder_of(below), files, summary })
}

/// The session that the merged files of these outputs are of.
#[cfg(feature = "cli")]
pub(super) fn merged_session(root: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Merged {
        session: String,
    }
    let text = fs::read(root.join(SUMMARY)).ok()?;
    Some(serde_json::from_slice::<Merged>(&text).ok()?.session)
}

fn folder_of(journal: &Path) -> String {
    journal.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files that there are of a journal.
fn files_of(journal: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (format, name) in FILES {
        let path = beside(journal, name);
        if path.is_file() {
            files.insert(format.to_owned(), name_of(&path));
        }
    }
    files.insert("journal".to_owned(), name_of(journal));
    files
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The suites of all experiments in one file, out of their own.
fn merged_junit(root: &Path, index: &Index) -> String {
    let (mut counts, mut seconds, mut suites) = (Counts::default(), 0.0, String::new());
    for (id, entry) in index.experiments.iter().enumerate() {
        let folder = root.join(&entry.folder);
        let written = entry.files.get("junit").and_then(|file| fs::read_to_string(folder.join(file)).ok());
        // One that was killed has left none; neither has one of a process that was not asked for it.
        let made = || {
            let summary = summary_of(&folder.join(entry.files.get("journal")?))?;
            Some(junit::file(std::slice::from_ref(&summary)))
        };
        let Some(suite) = written.or_else(made).and_then(|text| junit::suites_of(&text, id)) else { continue };
        counts.add(entry.summary.counts);
        seconds += entry.summary.seconds;
        suites += &suite;
    }
    junit::frame(counts, seconds, &suites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_with_the_lock_is_not_waited_for_and_who_lets_it_go_is() {
        let root = tempfile::tempdir().expect("a folder");
        let held = locked(root.path(), 1).expect("nobody has it");
        let why = locked(root.path(), 3).expect_err("somebody has it").to_string();
        assert!(why.contains(".summary.lock for 150ms") && why.contains("report --last"), "{why}");
        drop(held);
        locked(root.path(), 1).expect("it is free");
    }

    #[test]
    fn the_second_run_comes_before_the_tenth() {
        let paths = ["b/journal.json", "a/journal-10.json", "a/journal.json", "a/journal-2.json"].map(PathBuf::from);
        let expected = ["a/journal.json", "a/journal-2.json", "a/journal-10.json", "b/journal.json"].map(PathBuf::from);
        assert_eq!(in_order(paths), expected);
    }
}
