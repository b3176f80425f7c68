//! `steadfast report`.

mod compare;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Exit;
use crate::journal::{JournalError, write_atomically};
use crate::publish::{Index, Last, found, github};
use crate::report::compare::Limits;
use crate::report::{Summary, Told, junit, markdown, read};

/// Tells stored journals to people and to CI, or what the last run of tests came to.
///
/// Reads journals of tests, of `steadfast run`, and of Chaos Toolkit, whose faults nobody has looked at. The last run of
/// tests is the last call of `cargo test` or nextest that left a journal; what its tests have asserted of a verdict counts
/// as expected. Exits with 0 whatever the journals say, and with 4 if one cannot be read or the output not be written; with
/// `--fail-on-regression` also with 1 for a regression, and with 3 if that cannot be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast report journal.json
  steadfast report -o report.html journal.json
  steadfast report -o junit.xml target/steadfast/*/journal*.json
  steadfast report --format markdown journal.json
  steadfast report --baseline main.json --fail-on-regression 10% journal.json
  steadfast report --baseline main.json --fail-on-regression 10%,success=0.5% -o changes.md journal.json
  steadfast report --last
  steadfast report --last --under artifacts/steadfast -o summary.json")]
pub(super) struct Options {
    /// The journals
    #[arg(value_name = "JOURNAL", required_unless_present = "last", conflicts_with = "last")]
    journals: Vec<PathBuf>,
    /// The last run of tests: what failed first, then a line for each experiment, or their number where it is great
    #[arg(long)]
    last: bool,
    /// With --last, a line for each experiment, however many there are
    #[arg(short, long, requires = "last")]
    verbose: bool,
    /// The folder of the outputs of tests [default: STEADFAST_OUT, else steadfast in the target folder of the command, of CARGO_TARGET_DIR, or of the workspace]
    #[arg(long, value_name = "FOLDER", requires = "last")]
    under: Option<PathBuf>,
    /// Tells what changed since this older journal of the same experiment
    #[arg(long, value_name = "JOURNAL", conflicts_with = "last")]
    baseline: Option<PathBuf>,
    /// By how much figures may be worse than the baseline's, beyond their noise; for one kind as latency=20%, with commas
    #[arg(long, value_name = "PERCENT", requires = "baseline")]
    fail_on_regression: Option<Limits>,
    /// The file that is written, in the format of its extension: .html, .xml, .md, .json or .txt [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format, whatever the extension [default: text]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    /// A page; of several journals a list
    Html,
    Junit,
    Markdown,
    Json,
    /// Annotations of a workflow of GitHub
    Github,
}

impl Format {
    fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => Ok(Self::Html),
            Some("xml") => Ok(Self::Junit),
            Some("md") => Ok(Self::Markdown),
            Some("json") => Ok(Self::Json),
            Some("txt") => Ok(Self::Text),
            _ => Err(format!(
                "the extension of {} means no format (.html, .xml, .md, .json and .txt do); say --format",
                path.display()
            )),
        }
    }
}

/// Does it.
pub(super) fn run(options: &Options) -> ExitCode {
    let format = match (options.format, &options.output) {
        (Some(format), _) => format,
        (None, None) => Format::Text,
        (None, Some(path)) => match Format::of(path) {
            Ok(format) => format,
            Err(why) => return told_why(&why, Exit::Usage),
        },
    };
    if let Some(baseline) = &options.baseline {
        return compare::run(options, baseline, format);
    }
    let (text, whole) = if options.last { last(options, format) } else { Ok(of_each(options, format)) }
        .unwrap_or_else(|why| (Err(why), false));
    let text = match text {
        Ok(text) => text,
        Err(why) => return told_why(&why, Exit::Failed),
    };
    match write(options, &text) {
        Ok(()) if whole => ExitCode::SUCCESS,
        Ok(()) => Exit::Failed.into(),
        Err(error) => told_why(&error.to_string(), Exit::Failed),
    }
}

/// To the file that was asked for, else to standard output.
fn write(options: &Options, text: &str) -> Result<(), JournalError> {
    match &options.output {
        Some(path) => write_atomically(path, text.as_bytes()).map(|()| {
            // Who closes the pipe has read enough.
            let _ = writeln!(io::stdout(), "{}", path.display());
        }),
        None => {
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(())
        }
    }
}

fn told_why(why: &str, exit: Exit) -> ExitCode {
    eprintln!("steadfast report: {why}");
    exit.into()
}

/// What is written, and whether every journal is in it.
type Written = (Result<String, String>, bool);

fn last(options: &Options, format: Format) -> Result<Written, String> {
    let root = options.under.clone().unwrap_or_else(found);
    let last = Last::under(&root)?;
    let whole = last.is_whole();
    if format == Format::Text {
        return Ok((Ok(last.text(options.verbose)), whole));
    }
    let mut told = Vec::new();
    for (path, read) in last.journals {
        match read {
            Ok(read) => told.push((path, read)),
            Err(why) => eprintln!("steadfast report: {why}"),
        }
    }
    let from = folder(options).unwrap_or(root);
    Ok((Ok(in_format(format, &from, &told)), whole))
}

/// The folder of what is written, from which its links lead; none to standard output.
fn folder(options: &Options) -> Option<PathBuf> {
    options.output.as_deref().map(|file| file.parent().unwrap_or(Path::new("")).to_owned())
}

fn of_each(options: &Options, format: Format) -> Written {
    let journals = &options.journals;
    let mut told = Vec::new();
    for path in journals {
        match read(path) {
            Ok(read) => told.push((path.clone(), read)),
            Err(error) => eprintln!("steadfast report: {error}"),
        }
    }
    if told.is_empty() {
        return (Err("there is nothing to report".to_owned()), false);
    }
    (Ok(in_format(format, &folder(options).unwrap_or_default(), &told)), told.len() == journals.len())
}

fn in_format(format: Format, from: &Path, told: &[(PathBuf, Told)]) -> String {
    let index = || Index::of(from, told.iter().map(|(path, (_, summary))| (path.as_path(), summary)));
    let summaries: Vec<Summary> = told.iter().map(|(_, (_, summary))| summary.clone()).collect();
    match format {
        Format::Text => summaries.iter().map(|summary| summary.text.as_str()).collect::<Vec<_>>().join("\n"),
        Format::Html => match told {
            [(_, (journal, _))] => journal.report_html(),
            _ => index().to_html(),
        },
        Format::Junit => junit::file(&summaries),
        Format::Markdown => markdown::reports(&summaries),
        Format::Github => summaries.iter().map(github::annotations).collect(),
        Format::Json => match &summaries[..] {
            [one] => one.to_json(),
            _ => index().to_json(),
        },
    }
}
