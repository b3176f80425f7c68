//! `steadfast vegeta`: vegeta 12's commands and flags.
//!
//! What vegeta accepts means the same here, but for what the README names. Where it would panic, hang or be silent there is an error; wrong usage
//! exits with 2, everything else that fails with 1.

mod attack;
mod encode;
mod flags;
mod inputs;
mod plot;
mod report;

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};

pub(super) use attack::beside;
pub(crate) use attack::described;
pub(super) use flags::go_style;

use super::Exit;

const EXAMPLES: &str = "\
Flags have one dash or two, and a value after `=` or a space: -rate=50/s, --rate 50/s, -keepalive=false.

Examples:
  echo 'GET http://127.0.0.1:8080/' > targets.txt
  steadfast vegeta attack -targets=targets.txt -rate=100 -duration=10s -output=results.gob
  steadfast vegeta report results.gob
  steadfast vegeta report -type='hist[0,1ms,10ms,100ms]' results.gob
  steadfast vegeta encode -to=csv results.gob > results.csv
  steadfast vegeta plot results.gob > plot.html
  steadfast vegeta attack -targets=targets.txt -duration=10s | steadfast vegeta report -every=1s";

/// HTTP load with vegeta 12's commands, flags, files and reports
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true, subcommand_negates_reqs = true)]
pub(super) struct Options {
    /// How many threads may send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    cpus: Option<u16>,
    /// Refused: profile this program from outside, as with perf
    #[arg(long, value_name = "KIND", hide = true)]
    profile: Option<String>,
    /// Prints the version
    #[arg(long)]
    version: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sends requests at a rate, and writes their results
    Attack(Box<attack::Options>),
    /// Reports on results: text, JSON, a histogram or a table of quantiles
    Report(report::Options),
    /// Draws results as one HTML file
    Plot(plot::Options),
    /// Writes results in another encoding
    Encode(encode::Options),
    /// Replaced by encode
    #[command(hide = true)]
    Dump(dump::Options),
}

mod dump {
    /// Whatever there is, the answer is the same.
    #[derive(Debug, clap::Args)]
    pub(super) struct Options {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        rest: Vec<std::ffi::OsString>,
    }
}

/// Runs a command.
pub(super) fn run(options: &Options) -> ExitCode {
    if options.profile.is_some() {
        return usage("-profile is not supported; profile this program from outside, as with perf");
    }
    if options.version {
        println!("Version: {}\nRuntime: steadfast, for vegeta 12", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match &options.verb {
        Some(Verb::Attack(attack)) => attack::run(attack, options.cpus),
        Some(Verb::Report(options)) => report::run(options),
        Some(Verb::Plot(options)) => plot::run(options),
        Some(Verb::Encode(options)) => encode::run(options),
        Some(Verb::Dump(_)) => {
            eprintln!("steadfast vegeta: dump has been replaced by encode: steadfast vegeta encode -to=json FILE");
            ExitCode::FAILURE
        }
        None => usage("give a command: attack, report, plot or encode"),
    }
}

/// The command that words mean.
fn parsed(words: &[String]) -> Result<Verb, String> {
    let line = ["steadfast", "vegeta"].into_iter().map(str::to_owned).chain(words.iter().cloned());
    let command = <super::Command as clap::CommandFactory>::command();
    let arguments = go_style(&command, line.map(std::ffi::OsString::from));
    let parsed = <super::Command as clap::Parser>::try_parse_from(arguments).map_err(|error| error.to_string())?;
    match parsed.verb {
        super::Verb::Vegeta(Options { verb: Some(verb), .. }) => Ok(verb),
        _ => Err("vegeta: give a command: attack, report, plot or encode".to_owned()),
    }
}

fn usage(why: impl Display) -> ExitCode {
    eprintln!("steadfast vegeta: {why}");
    Exit::Usage.into()
}

fn failed(why: impl Display) -> ExitCode {
    eprintln!("steadfast vegeta: {why}");
    ExitCode::FAILURE
}

/// Where a command writes to: a file, or standard output by the name `stdout`. Clones write to the same.
#[derive(Clone)]
struct Output(Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>);

impl Output {
    fn create(path: &str) -> Result<Self, String> {
        let out: Box<dyn Write + Send> = match path {
            "stdout" => Box::new(io::stdout()),
            _ => {
                let file = std::fs::File::create(Path::new(path));
                Box::new(file.map_err(|error| format!("failed to create {path}: {error}"))?)
            }
        };
        Ok(Self(Arc::new(Mutex::new(BufWriter::with_capacity(64 * 1024, out)))))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// What becomes of a command that could not write: a reader that went away is no error of ours to tell.
fn written(result: io::Result<()>, path: &str) -> Result<(), ExitCode> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => failed(format!("failed to write to {path}: {error}")),
    })
}
