//! `steadfast vegeta encode`.

use std::process::ExitCode;

use clap::Args;

use super::inputs::{Inputs, STDIN};
use super::{Output, failed, usage, written};
use crate::load::vegeta::{Encoder, Encoding, Record};

const EXAMPLES: &str = "\
Examples:
  steadfast vegeta encode results.gob | jq .latency
  steadfast vegeta encode -to=csv -output=results.csv results.gob
  vegeta attack -targets=targets.txt -duration=10s | steadfast vegeta encode -to=json";

/// Writes results in another encoding; what they are in is found out
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct Options {
    /// The encoding to write: csv, gob or json
    #[arg(long, default_value = "json", value_name = "ENCODING")]
    to: Encoding,
    /// The file to write to
    #[arg(long, default_value = "stdout", value_name = "FILE")]
    output: String,
    /// Files of results
    #[arg(default_value = STDIN, value_name = "RESULTS")]
    files: Vec<String>,
}

pub(super) fn run(options: &Options) -> ExitCode {
    encode(options).unwrap_or_else(|code| code)
}

fn encode(options: &Options) -> Result<ExitCode, ExitCode> {
    // What cannot be read must not empty what is to be written.
    let inputs = Inputs::open(&options.files, false).map_err(usage)?;
    let output = Output::create(&options.output).map_err(usage)?;
    let mut inputs = inputs.flushing(&output);
    let mut encoder = Encoder::new(options.to, output);
    let mut record = Record::default();
    while inputs.read(&mut record) {
        written(encoder.write(&record), &options.output)?;
    }
    written(encoder.flush(), &options.output)?;
    Ok(match inputs.failures.as_slice() {
        [] => ExitCode::SUCCESS,
        failures => failed(failures.join("\nsteadfast vegeta: ")),
    })
}
