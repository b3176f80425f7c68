//! `steadfast validate`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::said::Said;
use super::{Global, Source};
use crate::cli::Exit;
use crate::document::invalid::Invalid;
use crate::document::{Asked, Loaded, Purpose};

/// Says everything that is wrong with the form of a Chaos Toolkit experiment, with file, line and column.
///
/// Exits with 0 if it is valid, else with 2.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast validate experiment.json
  steadfast validate --var-file staging.yaml experiment.yaml
  steadfast validate --json experiment.json")]
pub(crate) struct Options {
    #[command(flatten)]
    source: Source,
    /// Prints what is wrong as JSON: `valid`, `errors` and `warnings`, each with message, file, line, column and path
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, global: &Global) -> ExitCode {
    go(options, global).unwrap_or_else(|code| code)
}

fn go(options: &Options, global: &Global) -> Result<ExitCode, ExitCode> {
    global.enter()?;
    let said = Said::new(global, false)?;
    let runtime = super::runtime(false, &said)?;
    let asked = Asked { purpose: Purpose::Validate, ..options.source.asked(global, &said, true) };
    if options.json {
        return Ok(as_json(&runtime.block_on(crate::document::load(&asked))));
    }
    let loaded = runtime.block_on(super::load(&asked, &said))?;
    // A closed pipe must not turn a valid experiment into a failure.
    let _ = writeln!(std::io::stdout(), "{}: experiment syntax and semantic look valid", loaded.source.name);
    Ok(ExitCode::SUCCESS)
}

fn as_json(judged: &Result<Loaded, Vec<Invalid>>) -> ExitCode {
    let told = |all: &[Invalid]| all.iter().map(one).collect::<Value>();
    let (valid, errors, warnings) = match judged {
        Ok(loaded) => (true, json!([]), told(&loaded.warnings)),
        Err(errors) => (false, told(errors), json!([])),
    };
    let mut told = json!({"valid": valid, "errors": errors, "warnings": warnings});
    if let Ok(loaded) = judged {
        loaded.redact.redact_value(&mut told);
    }
    let _ = writeln!(std::io::stdout(), "{told:#}");
    if valid { Exit::Expected.into() } else { Exit::Usage.into() }
}

/// Where a line is not known it is 0.
fn one(invalid: &Invalid) -> Value {
    let Invalid { message, file, line, column, path } = invalid;
    json!({"message": message, "file": file, "line": line, "column": column, "path": path})
}
