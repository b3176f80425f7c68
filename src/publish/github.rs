//! GitHub's step summary and annotations.
//!
//! A journal does not know what its test expects: one that expects a deviation passes. So what a run alone can say is
//! annotated by what it means whatever was expected: an error for what fails every test (something may be left behind),
//! a warning for what nobody can have wanted to find out (a run that broke off, a verdict that is not known), and nothing
//! for a deviation, which stands in the summary. That a verdict is not the expected one, `assert_verdict` knows, and it
//! knows the line: there it is an error.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::Location;
use std::path::Path;

use super::settings::on_github;
use crate::report::escape::{bounded, command_data, command_property};
use crate::report::junit::place;
use crate::report::{CaseResult, Headline, Summary, line, markdown};

/// GitHub drops a summary of more than 1 MiB whole.
const MOST_SUMMARY: u64 = 900 * 1024;

/// Ends a summary that would be too long.
const FULL: &str = "- More experiments are not listed here, since GitHub drops a summary of more than 1 MiB.\n";

/// The most letters of an annotation's message.
const MOST_MESSAGE: usize = 2_000;

/// Adds a run to the summary of this step.
///
/// # Errors
/// The file cannot be written.
pub(super) fn add_to_step_summary(path: &Path, summary: &Summary) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    // Tests run side by side, in processes of their own.
    file.lock()?;
    let length = file.seek(SeekFrom::End(0))?;
    let entry = markdown::entry(summary);
    // Only an empty line ends what another program has begun before, such as an element of HTML, whichever way it is left.
    let room = length + (entry.len() + FULL.len() + 4) as u64 <= MOST_SUMMARY;
    if ends_with(&mut file, length, FULL)? {
        return Ok(());
    }
    let lead = match () {
        () if length == 0 || ends_with(&mut file, length, "\n\n")? => "",
        () if ends_with(&mut file, length, "\n")? => "\n",
        () => "\n\n",
    };
    let entry = if room { entry.as_str() } else { FULL };
    file.write_all(format!("{lead}{entry}").as_bytes())
}

fn ends_with(file: &mut File, length: u64, end: &str) -> io::Result<bool> {
    let Some(at) = length.checked_sub(end.len() as u64) else { return Ok(false) };
    file.seek(SeekFrom::Start(at))?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    Ok(found == end.as_bytes())
}

/// The annotations of a run, each a line.
pub(crate) fn annotations(summary: &Summary) -> String {
    let mut out = String::new();
    let title = format!("{}: {}", summary.headline, line(&summary.experiment, 200));
    let location = summary.cases.iter().filter(|case| case.result > CaseResult::Skipped);
    let location = location.filter_map(|case| case.location.as_deref()).next();
    // A deviation is its test's business; that the run broke off behind it is not.
    let broke_off = !matches!(summary.ended.as_str(), "completed" | "gate-missed" | "stopped");
    match summary.headline {
        headline if headline.is_alarm() => {
            let message = format!("{}\n{}", summary.left.join("\n"), summary.sentence);
            annotate(&mut out, "error", &title, location, &message);
        }
        Headline::Met | Headline::NotJudged | Headline::Deviated if !broke_off => {}
        _ => annotate(&mut out, "warning", &title, location, &summary.sentence),
    }
    out
}

fn annotate(out: &mut String, level: &str, title: &str, location: Option<&str>, message: &str) {
    let _ = write!(out, "::{level} title={}", command_property(title));
    if let Some((file, line)) = location.and_then(place) {
        let _ = write!(out, ",file={},line={line}", command_property(&within_the_workspace(file)));
    }
    let _ = writeln!(out, "::{}", command_data(&bounded(message, MOST_MESSAGE)));
}

/// GitHub shows an annotation beside a line by its path from the repository's root.
fn within_the_workspace(file: &str) -> String {
    let (workspace, here) = (crate::variables::path("GITHUB_WORKSPACE"), std::env::current_dir());
    let (Some(workspace), Ok(here)) = (workspace, here) else { return file.to_owned() };
    below(&workspace, &here, file)
}

/// rustc tells a file from where cargo called it: the folder of the workspace, which is that of the package, where a test
/// runs, or one above it.
fn below(workspace: &Path, here: &Path, file: &str) -> String {
    let found = here.ancestors().map(|folder| folder.join(file)).find(|path| path.is_file());
    let found = found.as_deref().and_then(|path| path.strip_prefix(workspace).ok());
    found.map_or_else(|| file.to_owned(), |below| below.to_string_lossy().into_owned())
}

/// Prints annotations where GitHub reads them, past the capture of libtest, on lines of their own.
pub(super) fn print(annotations: &str) -> io::Result<()> {
    if annotations.is_empty() || !on_github() {
        return Ok(());
    }
    // libtest may have begun a line.
    io::stdout().lock().write_all(format!("\n{annotations}").as_bytes())
}

/// Annotates the line of an assertion on a verdict that fails.
pub(super) fn assertion_failed(experiment: &str, what: &str, at: &Location<'_>) {
    let mut out = String::new();
    let title = format!("{}: {}", line(what, 200), line(experiment, 200));
    let place = format!("{}:{}", at.file(), at.line());
    annotate(&mut out, "error", &title, Some(&place), what);
    // A closed standard output is nothing to fail of, least of all here.
    let _ = print(&out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_below_the_repository_is_part_of_a_files_path() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("crates/mine");
        std::fs::create_dir_all(package.join("tests")).unwrap();
        std::fs::write(package.join("tests/mine.rs"), "").unwrap();
        std::fs::write(root.path().join("crates/lib.rs"), "").unwrap();
        let told = |file: &str| below(root.path(), &package, file);
        assert_eq!(told("tests/mine.rs"), "crates/mine/tests/mine.rs");
        assert_eq!(told("lib.rs"), "crates/lib.rs", "of a folder above");
        assert_eq!(told("tests/others.rs"), "tests/others.rs", "nobody knows where that is");
        assert_eq!(told(&package.join("tests/mine.rs").to_string_lossy()), "crates/mine/tests/mine.rs");
    }

    #[test]
    fn each_entry_is_behind_an_empty_line_and_one_that_has_no_room_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("step.md");
        let summary = Summary::of(&crate::report::sample());
        let entry = markdown::entry(&summary);
        for (before, lead) in [("", ""), ("<details>\n", "\n"), ("<details>\n\n", ""), ("text", "\n\n")] {
            std::fs::write(&path, before).expect("written");
            add_to_step_summary(&path, &summary).expect("written");
            add_to_step_summary(&path, &summary).expect("written");
            let found = std::fs::read_to_string(&path).expect("a file");
            assert_eq!(found, format!("{before}{lead}{entry}\n{entry}"));
        }
        let full = "x".repeat(900 * 1024);
        std::fs::write(&path, &full).expect("written");
        add_to_step_summary(&path, &summary).expect("written");
        add_to_step_summary(&path, &summary).expect("written");
        assert!(std::fs::read_to_string(&path).expect("a file") == format!("{full}\n\n{FULL}"));
    }
}
