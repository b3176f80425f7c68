//! `steadfast sweep`.

use std::io::{self, Write};
use std::process::ExitCode;

use super::Exit;
use crate::BoxError;
use crate::cluster::ClusterError;
use crate::cluster::{Life, RunOnCluster, SweepMode, SweepOfContext, Target, context_to_sweep, sweep_context};
use crate::kubernetes::Context;

/// Undoes what dead runs have left on a cluster.
///
/// What it undoes is proved ours: by a ledger of this user on this machine, or by the lease of a run in the cluster
/// that has ended. What runs have deleted and nothing replaces is made again at any age: a run that begins does so within
/// 24 h only. Of a run of another machine it waits up to 30 s to see whether that is still heard of. Exits with 5
/// if something could not be undone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast sweep --list
  steadfast sweep --dry-run
  steadfast sweep --context kind-steadfast --json")]
pub(super) struct Options {
    /// The context of the kubeconfig [default: that of STEADFAST_CLUSTER, else the current one, if it is a kind cluster of this machine or the lab's]
    #[arg(long, value_name = "NAME", conflicts_with = "cluster")]
    context: Option<String>,
    /// The cluster, as STEADFAST_CLUSTER names it: kind[:NAME], context:NAME or in-cluster
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<Target>,
    /// Says what it would undo, and undoes nothing
    #[arg(long, conflicts_with = "list")]
    dry_run: bool,
    /// Says what is on, since when and by whom, that of living runs too
    #[arg(long)]
    list: bool,
    /// Prints JSON instead of sentences
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BoxError::from);
    match runtime.and_then(|runtime| runtime.block_on(sweep(options))) {
        Ok(swept) => {
            for error in &swept.failed {
                eprintln!("steadfast sweep: {error}");
            }
            exit(&swept).map_or(ExitCode::SUCCESS, ExitCode::from)
        }
        Err(error) => {
            eprintln!("steadfast sweep: {error}");
            Exit::of(&*error).into()
        }
    }
}

/// What was not undone is told before what could not be looked at; `None` if all is well.
fn exit(swept: &SweepOfContext) -> Option<Exit> {
    if swept.runs.iter().flat_map(|run| &run.undone).any(|undone| !undone.outcome.is_clean()) {
        return Some(Exit::NotUndone);
    }
    swept.failed.first().map(|error| Exit::of(&**error))
}

async fn sweep(options: &Options) -> Result<SweepOfContext, BoxError> {
    let target = match (&options.context, &options.cluster) {
        (Some(name), _) => Some(Target::Context(name.clone())),
        (None, Some(target)) => Some(target.clone()),
        // Set or not, `embedded` names nothing that a sweep could find: then the current context is meant.
        (None, None) => Some(Target::from_env()?).filter(|target| *target != Target::Embedded),
    };
    let context = match target {
        Some(target) => context_to_sweep(&target).await?,
        None => Context::current().await.map_err(ClusterError::from)?,
    };
    let mode = match (options.list, options.dry_run) {
        (true, _) => SweepMode::List,
        (false, true) => SweepMode::DryRun,
        (false, false) => SweepMode::Undo,
    };
    let (name, server) = (context.name.clone(), context.server.clone());
    let swept = sweep_context(context, mode).await?;
    let runs = &swept.runs;
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(runs)?)?;
    } else {
        writeln!(out, "context {name} ({server})")?;
        if runs.is_empty() && swept.failed.is_empty() {
            writeln!(out, "  nothing is on, and no run holds anything")?;
        }
        for run in runs {
            tell(&mut out, run, mode)?;
        }
    }
    Ok(swept)
}

fn tell(out: &mut impl Write, run: &RunOnCluster, mode: SweepMode) -> io::Result<()> {
    let life = match run.life {
        Life::Alive => "alive, left alone",
        Life::Dead => "dead",
        Life::Unknown => "not known to be alive or dead",
    };
    // What the cluster says of others is untrusted text: nothing of it may drive the terminal.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    writeln!(
        out,
        "  run {} by {}, since {}: {life} ({})",
        plain(&run.run),
        plain(&run.by),
        plain(&run.since),
        plain(&run.proof)
    )?;
    let dead = run.life == Life::Dead;
    if run.undone.is_empty() {
        for on in &run.on {
            let word = if mode == SweepMode::DryRun && dead { "would undo" } else { "on" };
            writeln!(out, "    {word}: {}", plain(on))?;
        }
    }
    for undone in &run.undone {
        writeln!(out, "    {}: {}", plain(&undone.undo), plain(&undone.outcome.to_string()))?;
    }
    for left in &run.left_alone {
        writeln!(out, "    left alone: {}", plain(left))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Undone;
    use crate::rollback::UndoOutcome;

    #[test]
    fn what_is_not_undone_wins_over_what_could_not_be_looked_at() {
        let of = |outcomes: Vec<UndoOutcome>, failed: Vec<BoxError>| {
            let undone = outcomes.into_iter().map(|outcome| Undone { undo: "delete x".into(), outcome }).collect();
            let run = RunOnCluster {
                run: "r".into(),
                by: "me".into(),
                since: "now".into(),
                life: Life::Dead,
                proof: "a lease".into(),
                on: Vec::new(),
                undone,
                left_alone: Vec::new(),
            };
            exit(&SweepOfContext { runs: vec![run], failed }).map(|exit| exit as u8)
        };
        let leaked = || vec![UndoOutcome::Reverted, UndoOutcome::Leaked { why: "it is away".into() }];
        let failed = || vec!["the API is away".into()];
        assert_eq!(of(vec![UndoOutcome::Reverted], Vec::new()), None);
        assert_eq!(of(leaked(), Vec::new()), Some(5));
        assert_eq!(of(leaked(), failed()), Some(5));
        assert_eq!(of(vec![UndoOutcome::Reverted], failed()), Some(4));
    }
}
