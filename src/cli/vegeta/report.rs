//! `steadfast vegeta report`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::inputs::{Inputs, STDIN};
use super::{Output, failed, usage, written};
use crate::cli::terminal;
use crate::load::vegeta::report::{Buckets, Layout, Metrics};
use crate::load::vegeta::{Record, parse_duration};

const EXAMPLES: &str = "\
The JSON has vegeta's fields; what is added or corrected stands under its key `steadfast`.

Examples:
  steadfast vegeta report results.gob
  steadfast vegeta report -type=json -buckets='[0,10ms,100ms]' first.gob second.csv
  steadfast vegeta report -type='hist[0,10ms,100ms]' results.gob
  vegeta attack -targets=targets.txt | steadfast vegeta report -every=1s";

/// Moves a terminal to its top, emptied.
const CLEAR: &str = "\x1b[2J\x1b[0;0H";

/// Reports on results
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct Options {
    /// What to report: text, json, hist[BUCKETS] or hdrplot
    #[arg(long = "type", default_value = "text", value_name = "TYPE")]
    layout: String,
    /// Buckets of the latencies, for json and hist, such as [0,1ms,10ms]
    #[arg(long, value_name = "BUCKETS")]
    buckets: Option<Buckets>,
    /// Reports so often while results come; 0 is at the end only
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    every: Duration,
    /// The file to write to
    #[arg(long, default_value = "stdout", value_name = "FILE")]
    output: String,
    /// Files of results
    #[arg(default_value = STDIN, value_name = "RESULTS")]
    files: Vec<String>,
}

pub(super) fn run(options: &Options) -> ExitCode {
    report(options).unwrap_or_else(|code| code)
}

fn report(options: &Options) -> Result<ExitCode, ExitCode> {
    let layout = match (options.layout.as_str(), &options.buckets) {
        ("hist", Some(buckets)) => Layout::Histogram(buckets.clone()),
        (layout, _) => layout.parse().map_err(usage)?,
    };
    let buckets = match &layout {
        Layout::Histogram(own) => Some(options.buckets.as_ref().unwrap_or(own)),
        _ => options.buckets.as_ref(),
    };
    let mut inputs = Inputs::open(&options.files, true).map_err(usage)?;
    let mut output = Output::create(&options.output).map_err(usage)?;
    let metrics = Arc::new(Mutex::new(Metrics::new(buckets.cloned())));
    let (tell, told) = oneshot::channel();
    let counted = metrics.clone();
    // A thread, because reading cannot be interrupted: a signal must be answered though nothing comes.
    std::thread::spawn(move || {
        let mut record = Record::default();
        while inputs.read(&mut record) {
            locked(&counted).add(&record);
        }
        drop(tell.send(inputs.failures));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let clears = options.output == "stdout" && terminal::redraws(&io::stdout());
    let mut write = |every: bool| {
        if every && clears {
            output.write_all(CLEAR.as_bytes())?;
        }
        layout.write(&locked(&metrics), &mut output)?;
        output.flush()
    };
    let failures = runtime.block_on(follow(told, options.every, &mut write));
    let failures = failures.map_err(|error| written(Err(error), &options.output).err().unwrap_or(ExitCode::FAILURE))?;
    // Without a single result a report would say nothing but zeros.
    if failures.is_empty() || locked(&metrics).requests() > 0 {
        written(write(!options.every.is_zero()), &options.output)?;
    }
    Ok(match failures.as_slice() {
        [] => ExitCode::SUCCESS,
        failures => failed(failures.join("\nsteadfast vegeta: ")),
    })
}

/// Waits for the end of the results or for a signal, reporting every so often. Answers with what could not be read.
async fn follow(
    mut told: oneshot::Receiver<Vec<String>>,
    every: Duration,
    write: &mut impl FnMut(bool) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            biased;
            _ = int.recv() => return Ok(Vec::new()),
            _ = term.recv() => return Ok(Vec::new()),
            failures = &mut told => return Ok(failures.unwrap_or_else(|_| vec!["the reading thread panicked".to_owned()])),
            () = tokio::time::sleep(every), if !every.is_zero() => write(true)?,
        }
    }
}

fn locked(metrics: &Mutex<Metrics>) -> MutexGuard<'_, Metrics> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}
