//! What is made of a run when its journal is stored, where outputs lie, and which runs belong together.
//!
//! Called by what a run is on at its beginning and its end, by a test's assertions, and by the command. It promises:
//! whatever a report says is made by `report`; merged files hold what one session has noted and nothing else. A test must
//! not fail, hang or end early because a report cannot be written: it is done on a thread of its own, waited for no longer
//! than [`WITHIN`], and what goes wrong is said on standard error.

#[cfg(all(test, feature = "cli"))]
mod alike;
mod assertions;
pub(crate) mod github;
mod index;
#[cfg(feature = "cli")]
mod last;
#[cfg(feature = "report")]
mod listing;
mod outputs;
mod session;
mod settings;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use settings::{Format, STEP_SUMMARY, Settings};

use crate::journal::{Journal, complain, write_atomically};
use crate::report::{Summary, junit, markdown};

#[cfg(feature = "cli")]
pub(crate) use index::Index;
#[cfg(feature = "cli")]
pub(crate) use last::Last;
#[cfg(feature = "cli")]
pub(crate) use outputs::found;
#[cfg(feature = "kubernetes")]
pub(crate) use outputs::{folder, root};

/// The files of a run beside its journal, by the words of the index, in the order in which they are linked.
const FILES: [(&str, &str); 4] =
    [("html", "report.html"), ("markdown", "report.md"), ("junit", "junit.xml"), ("summary", SUMMARY)];

/// The one that is always written: the index is made of it.
const SUMMARY: &str = "summary.json";

/// How long the end of a run waits for its reports, which take milliseconds unless a disk hangs.
const WITHIN: Duration = Duration::from_secs(5);

/// Where the outputs of this process lie, once a run has begun.
static ROOT: OnceLock<PathBuf> = OnceLock::new();

/// A run begins whose journal will be there. One outside of the outputs is the business of who put it there.
pub(crate) fn began(root: &Path, journal: &Path) {
    forget_older(journal);
    note_run(root, journal);
}

/// Removes the reports of an older run whose journal lay here: nobody shall take them for those of this one, also where it
/// is killed. Files that we have not written stay.
fn forget_older(journal: &Path) {
    #[derive(serde::Deserialize)]
    struct Older {
        #[serde(rename = "schemaVersion")]
        _version: u32,
        journal: String,
        #[serde(default)]
        written: Vec<String>,
    }
    let older = std::fs::read(beside(journal, SUMMARY)).ok();
    let older = older.and_then(|text| serde_json::from_slice::<Older>(&text).ok());
    let Some(older) = older.filter(|older| journal.file_name().is_some_and(|name| *name == *older.journal)) else {
        return;
    };
    for (_, name) in FILES {
        let file = beside(journal, name);
        let ours = file.file_name().is_some_and(|name| older.written.iter().any(|ours| *name == **ours));
        if ours || name == SUMMARY {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Notes that a run belongs to the session of this process.
fn note_run(root: &Path, journal: &Path) {
    let Some((root, told)) = below(root, journal) else { return };
    // Of a test process there is but one.
    let _ = ROOT.set(root.clone());
    if let Err(error) = session::note(&root, session_here(), &told) {
        static ONCE: Once = Once::new();
        // The journal will say it again if it cannot be written either.
        ONCE.call_once(|| complain(&format!("failed to note the run in {}: {error}", root.display())));
    }
}

/// What a test has asserted of a journal, and whether that held: for who reads the session afterwards.
fn note_assertion(journal: &Journal, asserted: &str, held: bool) {
    // Of a journal that no run of this process has made, nobody reads it.
    let (Some(root), Some(path)) = (ROOT.get(), journal.path()) else { return };
    let Some((root, told)) = below(root, path) else { return };
    // Whoever could not note the run has said so.
    let _ = session::note_assertion(&root, session_here(), &told, asserted, held);
}

/// The root, and the journal's path from there.
fn below(root: &Path, journal: &Path) -> Option<(PathBuf, PathBuf)> {
    let (root, journal) = (std::path::absolute(root).ok()?, std::path::absolute(journal).ok()?);
    let below = journal.strip_prefix(&root).ok()?.to_owned();
    Some((root, below))
}

fn session_here() -> &'static str {
    static SESSION: OnceLock<String> = OnceLock::new();
    SESSION.get_or_init(session::of_this_process)
}

/// A run has ended whose journal is stored. The outputs of all runs lie in `root`.
pub(crate) fn ended(root: &Path, journal: &Journal) {
    let (settings, complaints) = Settings::from_env();
    static ONCE: Once = Once::new();
    ONCE.call_once(|| complaints.iter().for_each(|what| say(what)));
    let Some(path) = journal.path().map(Path::to_owned) else { return };
    note_run(root, &path);
    if settings.formats.is_empty() {
        return;
    }
    let (root, journal) = (root.to_owned(), journal.clone());
    let (sender, done) = channel();
    let work = move || {
        // Nobody may wait any more.
        let _ = sender.send(publish(&settings, &root, &path, journal));
    };
    if let Err(error) = std::thread::Builder::new().name("steadfast-report".to_owned()).spawn(work) {
        return complain(&format!("no report is written: {error}"));
    }
    match done.recv_timeout(WITHIN) {
        Ok(complaints) => complaints.iter().for_each(complain),
        Err(RecvTimeoutError::Timeout) => complain(&format!("the reports are not written after {WITHIN:?}")),
        // It has said why on standard error.
        Err(RecvTimeoutError::Disconnected) => complain("writing the reports panicked"),
    }
}

/// Says on standard error, past the capture of libtest, what no test fails of and nobody would see of one that passes.
fn say(what: &str) {
    // libtest may have begun a line.
    let _ = io::stderr()
        .lock()
        .write_all(format!("\nsteadfast: {}\n", crate::journal::text::printed_lines(what)).as_bytes());
}

/// Writes what is asked for, as far as it goes, and says what did not go.
fn publish(settings: &Settings, root: &Path, path: &Path, journal: Journal) -> Vec<String> {
    let (journal, summary) = told(path, journal);
    let mut complaints = Vec::new();
    if settings.has(Format::Github) {
        let annotated = github::print(&github::annotations(&summary));
        let listed =
            crate::variables::path(STEP_SUMMARY).map_or(Ok(()), |path| github::add_to_step_summary(&path, &summary));
        for error in [annotated, listed].into_iter().filter_map(Result::err) {
            complaints.push(format!("failed to tell GitHub of {:?}: {error}", journal.experiment));
        }
    }
    if !settings.has_files() {
        return complaints;
    }
    for (file, text) in files(settings, path, &journal, summary) {
        if let Err(error) = write_atomically(&file, text.as_bytes()) {
            complaints.push(error.in_outputs().to_string());
        }
    }
    let Some((root, below)) = below(root, path) else { return complaints };
    if let Err(error) = index::add(settings, &root, session_here(), &root.join(below)) {
        complaints.push(format!("failed to write the index of {}: {error}", root.display()));
    }
    complaints
}

/// What the journal at a path comes to.
pub(super) fn summary_of(path: &Path) -> Option<Summary> {
    #[cfg(feature = "cli")]
    return Some(crate::report::read(path).ok()?.1);
    #[cfg(not(feature = "cli"))]
    Some(Summary::of(&Journal::read(path).ok()?))
}

/// What a run came to. `steadfast run` stores more than its evidence: what the document's own activities did.
#[cfg(feature = "cli")]
fn told(path: &Path, journal: Journal) -> (Journal, Summary) {
    let directed = journal.source == crate::journal::Source::Document;
    let whole = if directed { crate::report::read(path).ok() } else { None };
    whole.unwrap_or_else(|| {
        let summary = Summary::of(&journal);
        (journal, summary)
    })
}

/// What a run came to.
#[cfg(not(feature = "cli"))]
fn told(_: &Path, journal: Journal) -> (Journal, Summary) {
    let summary = Summary::of(&journal);
    (journal, summary)
}

/// What is asked for of a run, and where it is written. The summary is always among them and comes first: it says which
/// files are ours.
fn files(settings: &Settings, path: &Path, journal: &Journal, mut summary: Summary) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    #[cfg(feature = "report")]
    if settings.has(Format::Html) {
        files.push((beside(path, "report.html"), journal.report_html()));
    }
    #[cfg(not(feature = "report"))]
    let _ = journal;
    if settings.has(Format::Markdown) {
        files.push((beside(path, "report.md"), markdown::report(&summary)));
    }
    if settings.has(Format::Junit) {
        files.push((beside(path, "junit.xml"), junit::file(std::slice::from_ref(&summary))));
    }
    let names = files.iter().filter_map(|(file, _)| Some(file.file_name()?.to_string_lossy().into_owned()));
    summary.written = names.collect();
    files.insert(0, (beside(path, SUMMARY), summary.to_json()));
    files
}

/// The file of that name for one journal: `journal-2.json` has `junit-2.xml`, `front.json` has `front-junit.xml`.
fn beside(journal: &Path, name: &str) -> PathBuf {
    let stem = journal.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let number = stem.strip_prefix("journal").filter(|rest| rest.is_empty() || rest.starts_with('-'));
    let name = match number {
        Some(number) => format!("{base}{number}.{extension}"),
        None => format!("{stem}-{name}"),
    };
    journal.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_their_journal() {
        for (journal, file) in [
            ("a/journal.json", "a/junit.xml"),
            ("a/journal-2.json", "a/junit-2.xml"),
            ("front.json", "front-junit.xml"),
            ("journals.json", "journals-junit.xml"),
        ] {
            assert_eq!(beside(Path::new(journal), "junit.xml"), Path::new(file));
        }
    }
}
