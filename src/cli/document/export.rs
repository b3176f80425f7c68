//! `steadfast export`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::said::Said;
use super::{Global, Source};
use crate::cli::Exit;
use crate::document::export::{Wanted, rust};
use crate::document::run::log::Level;
use crate::document::{Asked, Purpose};
use crate::journal::write_atomically;

/// Makes a Rust test of a Chaos Toolkit experiment.
///
/// The test does what `steadfast run` does, in the builder's form, and comes to the same verdict. Configuration is put in
/// as it is now; secrets never are. What has nothing like it in the builder is a comment, and the test is ignored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast export --rust experiment.json
  steadfast export --rust --setup steadfast::shop -o tests/front.rs experiment.yaml")]
pub(crate) struct Options {
    #[command(flatten)]
    source: Source,
    /// As a test in Rust, the one form that there is
    #[arg(long, required = true)]
    rust: bool,
    /// Where it is written; standard output if it is left out
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The verdict that the test asserts
    #[arg(long, value_name = "VERDICT", default_value = "met")]
    expect: Expected,
    /// A function that sets the cluster up, such as steadfast::shop
    #[arg(long, value_name = "FUNCTION", value_parser = path)]
    setup: Option<String>,
    /// The kind of cluster that alone will do: elsewhere the test is ignored
    #[arg(long, value_name = "CLUSTER", value_parser = ["embedded", "kind"])]
    needs: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Expected {
    Met,
    Deviated,
    Inconclusive,
}

/// The path of a function.
fn path(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if text.split("::").all(is_name) { Ok(text.to_owned()) } else { Err("give the path of a function".to_owned()) }
}

pub(crate) fn run(options: &Options, global: &Global) -> ExitCode {
    go(options, global).unwrap_or_else(|code| code)
}

fn go(options: &Options, global: &Global) -> Result<ExitCode, ExitCode> {
    global.enter()?;
    let said = Said::new(global, true)?;
    let runtime = super::runtime(false, &said)?;
    let asked = Asked { purpose: Purpose::Export, ..options.source.asked(global, &said, true) };
    let loaded = runtime.block_on(super::load(&asked, &said))?;
    said.keeps(loaded.redact.clone(), crate::clock::Clock::real());
    let verdict = match options.expect {
        Expected::Met => "Met",
        Expected::Deviated => "Deviated",
        Expected::Inconclusive => "Inconclusive",
    };
    let wanted = Wanted {
        verdict,
        setup: options.setup.as_deref(),
        needs: options.needs.as_deref(),
        describe: crate::cli::vegeta::described,
    };
    let text = rust(&loaded, &wanted);
    match &options.output {
        Some(path) => write_atomically(path, text.as_bytes()).map_err(|error| {
            said.line(Level::Error, &error.to_string());
            ExitCode::from(Exit::Failed)
        })?,
        None => {
            // Who closes the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(ExitCode::SUCCESS)
}
