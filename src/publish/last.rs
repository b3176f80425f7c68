//! The last session of tests, one line an experiment: what failed first, with its reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::beside;
use super::session::{self, Session};
use crate::report::markdown::headline;
use crate::report::{CaseResult, Summary, Told, line, read};

/// The most letters of a line, and the most reasons of one experiment.
const MOST: usize = 400;
const MOST_REASONS: usize = 5;

/// A session that was read.
pub(crate) struct Last {
    /// Where it lies.
    root: PathBuf,
    /// Which one it is, in words.
    what: String,
    /// Its journals, whole or not, in the order of their names.
    pub(crate) journals: Vec<(PathBuf, Result<Told, String>)>,
    /// What a test asserted of a journal, and whether that held.
    asserted: BTreeMap<PathBuf, Vec<(String, bool)>>,
}

impl Last {
    /// The last session of these outputs; where none is noted, as in what CI kept of them, all journals there.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn under(root: &Path) -> Result<Self, String> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let (what, Session { journals, asserted }) = match session::last(&root) {
            Some((name, session)) => (format!("the last run of tests ({name})"), session),
            None => ("all journals there, since no run is noted".to_owned(), Session::of(all_journals(&root))),
        };
        if journals.is_empty() {
            let root = root.display();
            return Err(format!(
                "{root} has no journal; run tests first, or name the folder of their outputs with --under"
            ));
        }
        let read = |path: &PathBuf| read(path).map_err(|error| error.to_string());
        let journals = super::index::in_order(journals).into_iter().map(|path| (path.clone(), read(&path))).collect();
        Ok(Self { root, what, journals, asserted })
    }

    /// Whether each journal could be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.journals.iter().all(|(_, told)| told.is_ok())
    }

    /// In lines.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("writing to a string cannot fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let told = self.journals.iter().filter_map(|(path, told)| Some((path, &told.as_ref().ok()?.1)));
        let mut told: Vec<_> = told.map(|(path, summary)| (self.rank(path, summary), path, summary)).collect();
        told.sort_by_key(|(rank, ..)| *rank);
        let torn: Vec<_> = self.journals.iter().filter_map(|(_, told)| told.as_ref().err()).collect();
        writeln!(out, "{} in {}: {}", capital(&self.what), self.root.display(), self.counted(&told, torn.len()))?;
        for why in torn {
            writeln!(out, "unreadable: {}", line(why, MOST))?;
        }
        for (rank, path, summary) in &told {
            self.write_one(out, *rank, path, summary)?;
        }
        self.write_files(out)
    }

    fn counted(&self, told: &[(Rank, &PathBuf, &Summary)], torn: usize) -> String {
        let mut counts: BTreeMap<(Rank, String), usize> = BTreeMap::new();
        for (rank, _, summary) in told {
            let expected = if rank.expected { ", as asserted" } else { "" };
            *counts.entry((*rank, format!("{}{expected}", headline(summary)))).or_default() += 1;
        }
        let mut parts: Vec<_> = counts.into_iter().map(|((_, what), count)| format!("{count} {what}")).collect();
        if torn > 0 {
            parts.insert(0, format!("{torn} unreadable"));
        }
        parts.join("; ")
    }

    fn rank(&self, path: &Path, summary: &Summary) -> Rank {
        let asserted = self.asserted.get(path).map_or(&[][..], Vec::as_slice);
        // A fault that may be left nobody can have expected, whatever a test says to it.
        let left = !summary.not_undone.is_empty() || !summary.not_back.is_empty();
        let expected = !left && !asserted.is_empty() && asserted.iter().all(|(_, held)| *held);
        let failed = asserted.iter().any(|(_, held)| !held);
        Rank { expected, settled: !left, unlike: !failed, urgency: summary.urgency() }
    }

    fn write_one(&self, out: &mut String, rank: Rank, path: &Path, summary: &Summary) -> std::fmt::Result {
        let below = path.strip_prefix(&self.root).unwrap_or(path).display();
        let expected = if rank.expected { ", as asserted" } else { "" };
        let name = line(&summary.experiment, 120);
        write!(out, "{}{expected}: {name}", headline(summary))?;
        writeln!(out, " ({} of {} cases as they should be) {below}", passed(summary), summary.counts.cases)?;
        if rank.expected {
            return Ok(());
        }
        for (asserted, _) in self.asserted.get(path).into_iter().flatten().filter(|(_, held)| !held) {
            writeln!(out, "    its test failed: {}", line(asserted, MOST))?;
        }
        let wrong = summary.wrong();
        if !wrong.is_empty() || !summary.is_clean() {
            writeln!(out, "    {}", line(&summary.sentence, MOST))?;
        }
        for case in wrong.iter().take(MOST_REASONS) {
            writeln!(out, "    {}: {}: {}", case.phase, line(&case.name, 120), line(&case.message, MOST))?;
        }
        if wrong.len() > MOST_REASONS {
            writeln!(out, "    and {} more in its journal", wrong.len() - MOST_REASONS)?;
        }
        let skipped = summary.cases.iter().filter(|case| case.result == CaseResult::Skipped);
        let reasons: BTreeSet<_> = skipped.map(|case| line(&case.message, MOST).into_owned()).collect();
        for reason in reasons {
            writeln!(out, "    {} not run: {reason}", summary.counts.skipped)?;
        }
        Ok(())
    }

    /// Where the reports lie.
    fn write_files(&self, out: &mut String) -> std::fmt::Result {
        let merged = ["index.html", "summary.json", "junit.xml"].map(|name| self.root.join(name));
        let merged: Vec<_> =
            merged.iter().filter(|path| path.is_file()).map(|path| path.display().to_string()).collect();
        let of_one = ["report.html", "report.md", "junit.xml"];
        let has = |name: &&&str| self.journals.iter().any(|(path, _)| beside(path, name).is_file());
        let of_one: Vec<_> = of_one.iter().filter(has).copied().collect();
        if !merged.is_empty() {
            writeln!(out, "Merged: {}", merged.join(", "))?;
        }
        if !of_one.is_empty() {
            writeln!(out, "Beside the journals: {}", of_one.join(", "))?;
        }
        if merged.is_empty() && of_one.is_empty() {
            writeln!(
                out,
                "No reports are there; `steadfast report JOURNAL -o report.md` makes one, STEADFAST_REPORT=junit,markdown all."
            )?;
        }
        writeln!(out, "Tests that cargo ignores leave no journal: `cargo test` names them, with their reasons.")
    }
}

/// What comes first: what no test has asserted as it is; of that what may be left, what an assertion failed on, and then by
/// what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    expected: bool,
    settled: bool,
    unlike: bool,
    urgency: u8,
}

fn passed(summary: &Summary) -> u64 {
    let counts = summary.counts;
    counts.cases - counts.failed - counts.errors - counts.skipped
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The journals of the folders in a folder, and its own.
fn all_journals(root: &Path) -> BTreeSet<PathBuf> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_journal = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("journal") && name.ends_with(".json")
    };
    let below = entries(root).into_iter().filter(|path| path.is_dir()).flat_map(|folder| entries(&folder));
    below.chain(entries(root)).filter(is_journal).collect()
}
