//! `steadfast plan`.

use std::io::Write;
use std::process::ExitCode;

use super::cluster::Chosen;
use super::said::{Said, printable};
use super::{Global, Source};
use crate::cli::Exit;
use crate::document::plan::{Question, plan};
use crate::experiment::Environment;

/// Says what a Chaos Toolkit experiment would do, and to what.
///
/// It reads the cluster and writes nothing; neither probes nor programs are run. Exit codes: 0, 2 wrong usage or an invalid
/// experiment, 3 an activity would fail, or rights are missing, 4 the cluster does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast plan --cluster embedded experiment.json
  steadfast plan --cluster kind --json experiment.yaml")]
pub(crate) struct Options {
    #[command(flatten)]
    source: Source,
    /// The cluster: embedded, kind[:NAME], context:NAME or in-cluster [default: STEADFAST_CLUSTER, else the current
    /// context if it is a kind cluster of this machine or the lab's]
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// As for `run`: faults stay on unless the experiment's own rollbacks end them
    #[arg(long)]
    leave_faults: bool,
    /// Prints it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, global: &Global) -> ExitCode {
    go(options, global).unwrap_or_else(|code| code)
}

fn go(options: &Options, global: &Global) -> Result<ExitCode, ExitCode> {
    global.enter()?;
    let said = Said::new(global, true)?;
    let loading = super::runtime(false, &said)?;
    let loaded = loading.block_on(super::load(&options.source.asked(global, &said, true), &said))?;
    drop(loading);
    let chosen = Chosen::of(options.cluster.as_deref(), loaded.needs_cluster())
        .map_err(|error| said.failed(&error.to_string(), Exit::Usage))?;
    let runtime = super::runtime(chosen.is_virtual(), &said)?;
    runtime.block_on(async {
        let cluster = chosen.open().await.map_err(|error| said.failed(&error.to_string(), Exit::of(error.inner())))?;
        let clock = cluster.as_ref().map_or_else(crate::clock::Clock::real, Environment::clock);
        said.keeps(loaded.redact.clone(), clock);
        let question = Question { loaded: &loaded, cluster: cluster.as_ref(), leave_faults: options.leave_faults };
        let plan = plan(question).await.map_err(|error| said.failed(&error.to_string(), Exit::of(&error)))?;
        let text = if options.json {
            let mut told = plan.to_json();
            loaded.redact.redact_value(&mut told);
            format!("{told:#}\n")
        } else {
            printable(&loaded.redact.redact(&plan.to_string()))
        };
        // Who closes the pipe has read enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(if plan.fails() { Exit::Inconclusive.into() } else { Exit::Expected.into() })
    })
}
