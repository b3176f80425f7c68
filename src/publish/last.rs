//! The last session of tests, one line an experiment: what failed first, with its reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::session::{self, Session};
use super::{FILES, SUMMARY, beside, index};
use crate::journal::capital;
use crate::journal::text::printed_lines;
use crate::report::{CaseResult, Headline, Summary, Told, line, read};

/// The most letters of a line, and the most reasons of one experiment.
const MOST: usize = 400;
const MOST_REASONS: usize = 5;

/// The most reasons for which something was not run.
const MOST_NOT_RUN: usize = 10;

/// The most experiments that are as they should be and have a line each; more are counted.
const MOST_LISTED: usize = 40;

/// A session that was read.
pub(crate) struct Last {
    /// Where it lies.
    root: PathBuf,
    /// Its name; none where all journals are told, of whichever they are.
    session: Option<String>,
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
        let (what, session, Session { journals, asserted }) = match session::last(&root) {
            Some((name, session)) => (format!("the last run of tests ({name})"), Some(name), session),
            None => ("all journals there, since no run is noted".to_owned(), None, Session::of(all_journals(&root))),
        };
        if journals.is_empty() {
            let root = root.display();
            return Err(format!(
                "{root} has no journal; run tests first, or name the folder of their outputs with --under"
            ));
        }
        let read = |path: &PathBuf| read(path).map_err(|error| error.to_string());
        let journals = super::index::in_order(journals).into_iter().map(|path| (path.clone(), read(&path))).collect();
        Ok(Self { root, session, what, journals, asserted })
    }

    /// Whether each journal could be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.journals.iter().all(|(_, told)| told.is_ok())
    }

    /// In lines; `each` has one for every experiment, however many there are.
    pub(crate) fn text(&self, each: bool) -> String {
        let mut out = String::new();
        self.write(&mut out, each).expect("writing to a string cannot fail");
        printed_lines(&out)
    }

    fn write(&self, out: &mut String, each: bool) -> std::fmt::Result {
        let told = self.journals.iter().filter_map(|(path, told)| Some((path, &told.as_ref().ok()?.1)));
        let mut told: Vec<_> = told.map(|(path, summary)| (self.rank(path, summary), path, summary)).collect();
        told.sort_by_key(|(rank, ..)| *rank);
        let torn: Vec<_> = self.journals.iter().filter_map(|(_, told)| told.as_ref().err()).collect();
        writeln!(out, "{} in {}: {}", capital(&self.what), self.root.display(), self.counted(&told, torn.len()))?;
        for why in torn {
            writeln!(out, "unreadable: {}", line(why, MOST))?;
        }
        let (fine, wrong): (Vec<_>, Vec<_>) = told.iter().partition(|(rank, _, summary)| rank.is_fine(summary));
        for (rank, path, summary) in &wrong {
            self.write_one(out, *rank, path, summary)?;
        }
        if each || fine.len() <= MOST_LISTED {
            for (rank, path, summary) in &fine {
                self.write_one(out, *rank, path, summary)?;
            }
        } else {
            writeln!(out, "{} experiments are as they should be; --verbose names each", fine.len())?;
        }
        write_not_run(out, &told)?;
        self.write_files(out)
    }

    fn counted(&self, told: &[(Rank, &PathBuf, &Summary)], torn: usize) -> String {
        let mut counts: BTreeMap<(Rank, String), usize> = BTreeMap::new();
        for (rank, _, summary) in told {
            let expected = if rank.expected { ", as asserted" } else { "" };
            *counts.entry((*rank, format!("{}{expected}", summary.headline))).or_default() += 1;
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
        let left = summary.headline.is_alarm();
        let expected = !left && !asserted.is_empty() && asserted.iter().all(|(_, held)| *held);
        let failed = asserted.iter().any(|(_, held)| !held);
        Rank { expected, settled: !left, unlike: !failed, headline: summary.headline }
    }

    fn write_one(&self, out: &mut String, rank: Rank, path: &Path, summary: &Summary) -> std::fmt::Result {
        let below = path.strip_prefix(&self.root).unwrap_or(path).display();
        let expected = if rank.expected { ", as asserted" } else { "" };
        let name = line(&summary.experiment, 120);
        write!(out, "{}{expected}: {name}", summary.headline)?;
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
            writeln!(out, "    {}: {}: {}", line(&case.phase, 40), line(&case.name, 120), line(&case.message, MOST))?;
        }
        if wrong.len() > MOST_REASONS {
            writeln!(out, "    and {} more in its journal", wrong.len() - MOST_REASONS)?;
        }
        Ok(())
    }

    /// Where the reports lie.
    fn write_files(&self, out: &mut String) -> std::fmt::Result {
        // Those of another session say nothing of this one.
        let of_this = |merged: String| self.session.as_ref().is_none_or(|name| session::file_name(&merged) == *name);
        let ours = index::merged_session(&self.root).is_some_and(of_this);
        let merged = index::MERGED.iter().filter(|_| ours);
        let merged = merged.map(|name| self.root.join(name)).filter(|path| path.is_file());
        let merged: Vec<_> = merged.map(|path| path.display().to_string()).collect();
        let of_one = FILES.map(|(_, name)| name);
        let has = |name: &&&str| self.journals.iter().any(|(path, _)| beside(path, name).is_file());
        // It is for programs.
        let told = |name: &&&str| **name != SUMMARY;
        let of_one: Vec<_> = of_one.iter().filter(told).filter(has).copied().collect();
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
    headline: Headline,
}

impl Rank {
    /// Whether there is nothing to explain: its test has asserted it as it is, or nothing of it is wrong or unknown.
    fn is_fine(self, summary: &Summary) -> bool {
        self.expected || self.settled && self.unlike && summary.is_clean()
    }
}

/// What was not run, by its reasons, the most frequent first.
fn write_not_run(out: &mut String, told: &[(Rank, &PathBuf, &Summary)]) -> std::fmt::Result {
    let mut reasons: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (_, _, summary) in told {
        // What was judged and does not apply was run.
        let skipped = summary.cases.iter().filter(|case| case.result == CaseResult::Skipped && !case.judged);
        let mut here: BTreeMap<String, usize> = BTreeMap::new();
        for case in skipped {
            *here.entry(line(&case.message, MOST).into_owned()).or_default() += 1;
        }
        for (reason, cases) in here {
            let counts = reasons.entry(reason).or_default();
            *counts = (counts.0 + cases, counts.1 + 1);
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (cases, _))| std::cmp::Reverse(*cases));
    for (reason, (cases, experiments)) in reasons.iter().take(MOST_NOT_RUN) {
        let of = if *experiments == 1 { "1 experiment".to_owned() } else { format!("{experiments} experiments") };
        writeln!(out, "Not run: {cases} cases of {of}: {reason}")?;
    }
    if reasons.len() > MOST_NOT_RUN {
        writeln!(out, "Not run for {} more reasons: see the journals", reasons.len() - MOST_NOT_RUN)?;
    }
    Ok(())
}

fn passed(summary: &Summary) -> u64 {
    let counts = summary.counts;
    counts.cases - counts.failed - counts.errors - counts.skipped
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Ended, FinallyRecord, Verdict};

    #[test]
    fn many_that_are_as_they_should_be_are_counted_and_what_failed_is_told_all_the_same() {
        let root = tempfile::tempdir().expect("a folder");
        let wrote = |number: usize, change: &dyn Fn(&mut crate::journal::Journal)| {
            let mut journal = crate::report::sample();
            journal.experiment = format!("number {number}");
            journal.evaluations.iter_mut().for_each(|evaluation| {
                evaluation.verdict = Verdict::Met;
                evaluation.checks.iter_mut().for_each(|check| check.outcome = "met".into());
            });
            journal.verdict = Verdict::Met;
            change(&mut journal);
            let folder = root.path().join(format!("test{number}"));
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("journal.json"), journal.to_json()).expect("written");
        };
        (0..MOST_LISTED).for_each(|number| wrote(number, &|_| ()));
        wrote(98, &|journal| journal.ended = Ended::Failed { error: "no luck".into() });
        let told = |each| Last::under(root.path()).expect("journals").text(each);
        assert_eq!(told(false).matches("\nmet: number ").count(), MOST_LISTED);
        wrote(99, &|journal| {
            // What was judged and does not apply was run; what the strategy leaves out was not.
            journal.evaluations[0].checks[0].outcome = "not-applicable".into();
            let (name, error) = ("tidy".to_owned(), None);
            let left_out = FinallyRecord { name, crash_safe: true, run: false, left_out: true, error };
            journal.finally = vec![left_out.clone(), left_out];
        });
        let text = told(false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("1 experiment failed; 41 met"), "{text}");
        assert!(lines[1].starts_with("experiment failed: number 98"), "what failed comes first: {text}");
        assert!(text.contains("\n41 experiments are as they should be; --verbose names each\n"), "{text}");
        assert!(!text.contains("number 7 "), "{text}");
        let not_run: Vec<_> = lines.iter().filter(|line| line.starts_with("Not run: ")).collect();
        assert_eq!(not_run, [&"Not run: 2 cases of 1 experiment: the rollback strategy left it out"], "{text}");
        assert_eq!(told(true).matches("\nmet: number ").count(), MOST_LISTED + 1);
    }
}
