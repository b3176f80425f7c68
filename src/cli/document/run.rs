//! `steadfast run`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::cluster::Chosen;
use super::said::Said;
use super::{Global, Source, view};
use crate::cli::Exit;
use crate::document::run::log::Level;
use crate::document::run::now::Now;
use crate::document::run::settings::{Dry, HypothesisStrategy, RollbackStrategy, Settings};
use crate::document::run::status::End;
use crate::document::run::{Assignment, run as conduct};
use crate::document::{Asked, Purpose};
use crate::experiment::Environment;
use crate::journal::Journal;

/// Runs a Chaos Toolkit experiment.
///
/// Faults are guarded, proved and undone whatever the experiment's own rollbacks do. Exit codes: 0 met or nothing to
/// judge, 1 deviated, 2 wrong usage or an invalid experiment, 3 inconclusive, 4 failed, 5 something was not rolled back,
/// 128 and the number of a signal that interrupted it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast run experiment.json
  steadfast run --cluster embedded experiment.json
  steadfast run --cluster kind --var front_url=http://localhost:30080/ experiment.yaml
  steadfast run --dry actions experiment.json")]
pub(crate) struct Options {
    #[command(flatten)]
    source: Source,
    /// The cluster: embedded, kind[:NAME], context:NAME or in-cluster [default: STEADFAST_CLUSTER, else the current
    /// context if it is a kind cluster of this machine or the lab's]
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Where the journal is written
    #[arg(long, value_name = "FILE", default_value = "./journal.json")]
    journal_path: PathBuf,
    /// Leaves out actions, probes, all activities, or the pauses
    #[arg(long, value_name = "MODE", value_parser = one_of(&Dry::NAMES))]
    dry: Option<Dry>,
    /// Runs it whatever is wrong with its form
    #[arg(long)]
    no_validation: bool,
    /// When the experiment's rollbacks are played; faults are undone in any case
    #[arg(long, value_name = "STRATEGY", value_parser = one_of(&RollbackStrategy::NAMES))]
    rollback_strategy: Option<RollbackStrategy>,
    /// When the hypothesis is judged
    #[arg(long, value_name = "STRATEGY", value_parser = strategies())]
    hypothesis_strategy: Option<HypothesisStrategy>,
    /// Seconds between two looks of a continuous hypothesis
    #[arg(long, value_name = "SECONDS", default_value = "1.0", value_parser = seconds)]
    hypothesis_frequency: Duration,
    /// Ends the method with the first look of a continuous hypothesis that misses
    #[arg(long)]
    fail_fast: bool,
    /// Leaves faults on unless the experiment's own rollbacks end them, as Chaos Toolkit does
    #[arg(long)]
    leave_faults: bool,
    /// Exits with 0 and 1 as Chaos Toolkit does
    #[arg(long)]
    ctk_exit_codes: bool,
    /// Tells only what goes wrong
    #[arg(long)]
    quiet: bool,
    /// Prints how it ended as JSON
    #[arg(long)]
    json: bool,
}

/// One of these, by its name.
fn one_of<T: Copy + Send + Sync + 'static>(all: &'static [(&'static str, T)]) -> impl TypedValueParser<Value = T> {
    let named = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name)).try_map(move |name| named(&name).ok_or("unknown"))
}

/// Those of the command: `skip` is for a document to say.
fn strategies() -> impl TypedValueParser<Value = HypothesisStrategy> {
    let of_the_command = HypothesisStrategy::NAMES.iter().filter(|(_, strategy)| *strategy != HypothesisStrategy::Skip);
    let value = |(name, strategy): &(&'static str, HypothesisStrategy)| {
        let value = PossibleValue::new(*name);
        if *strategy == HypothesisStrategy::Continuously { value.alias(HypothesisStrategy::MISSPELT) } else { value }
    };
    PossibleValuesParser::new(of_the_command.map(value))
        .try_map(|name| HypothesisStrategy::named(&name).ok_or("unknown"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds, such as 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "give a number of seconds that is not negative".to_owned())
}

pub(crate) fn run(options: &Options, global: &Global) -> ExitCode {
    go(options, global).unwrap_or_else(|code| code)
}

fn go(options: &Options, global: &Global) -> Result<ExitCode, ExitCode> {
    global.enter()?;
    let said = Said::new(global, options.quiet)?;
    let loading = super::runtime(false, &said)?;
    let asked = options.source.asked(global, &said, !options.no_validation);
    let asked = Asked { purpose: Purpose::Run, ..asked };
    let loaded = loading.block_on(super::load(&asked, &said))?;
    drop(loading);
    let needed = loaded.needs_cluster();
    let chosen =
        Chosen::of(options.cluster.as_deref(), needed).map_err(|error| said.failed(&error.to_string(), Exit::Usage))?;
    let runtime = super::runtime(chosen.is_virtual(), &said)?;
    let settings = options.settings(loaded.strategies);
    runtime.block_on(async {
        let cluster = chosen.open().await.map_err(|error| said.failed(&error.to_string(), Exit::of(error.inner())))?;
        let clock = cluster.as_ref().map_or_else(crate::clock::Clock::real, Environment::clock);
        said.keeps(loaded.redact.clone(), clock.clone());
        if let Some(cluster) = &cluster {
            said.line(Level::Info, &format!("On {}", Environment::describe(cluster)));
        }
        let (journal, log) = (options.journal_path.clone(), said.log());
        let hides = said.clone();
        let hides = Box::new(move |redact| hides.hides(redact));
        let (now, attack) = (Now::default(), crate::cli::vegeta::beside);
        said.sees(now.clone());
        let looker = (!chosen.is_virtual()).then(|| (now.clone(), clock));
        let told = options.teller(said.clone());
        let ended = Box::new(move |end, evidence: &Journal| told.tell(end, evidence));
        let assignment = Assignment { loaded, settings, cluster, journal, attack, log, now, ended, hides };
        let looked_at = async {
            match &looker {
                Some((now, clock)) => view::keep(&said, now, clock).await,
                // Virtual time is over before anybody has looked.
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = conduct(assignment) => ended,
            never = looked_at => match never {},
        };
        said.view_ends();
        match ended {
            Ok(end) => Ok(options.teller(said).code(end).into()),
            Err(error) => Err(said.failed(&error.to_string(), Exit::of(&error))),
        }
    })
}

impl Options {
    /// An option of the command wins over what the document and Chaos Toolkit's settings say.
    fn settings(&self, (hypothesis, rollbacks): (HypothesisStrategy, RollbackStrategy)) -> Settings {
        Settings {
            hypothesis: self.hypothesis_strategy.unwrap_or(hypothesis),
            rollbacks: self.rollback_strategy.unwrap_or(rollbacks),
            frequency: self.hypothesis_frequency,
            fail_fast: self.fail_fast,
            dry: self.dry,
            leave_faults: self.leave_faults,
            original_codes: self.ctk_exit_codes,
        }
    }

    fn teller(&self, said: Said) -> Teller {
        Teller { said, json: self.json, original_codes: self.ctk_exit_codes, journal: self.journal_path.clone() }
    }
}

/// Says how a run ended.
struct Teller {
    said: Said,
    json: bool,
    original_codes: bool,
    journal: PathBuf,
}

impl Teller {
    fn code(&self, end: End) -> u8 {
        if self.original_codes { end.original_code() } else { end.code() }
    }

    fn tell(&self, end: End, evidence: &Journal) {
        self.said.view_ends();
        let of = |faults: &[String]| faults.iter().map(|fault| self.said.shown(fault)).collect::<Vec<_>>();
        let (undone, left) = (of(&evidence.undone()), of(&evidence.rollback().left));
        for (level, what, faults) in [(Level::Info, "undone", &undone), (Level::Warning, "may be left", &left)] {
            if !faults.is_empty() {
                self.said.line(level, &format!("{what}: {}", faults.join("; ")));
            }
        }
        let line = if self.json {
            let told = json!({
                "status": end.journal_status().name(), "deviated": end.deviated, "verdict": end.verdict,
                "exit": self.code(end), "journal": self.journal, "undone": undone, "left": left,
            });
            told.to_string()
        } else {
            format!("verdict: {}; journal: {}", end.verdict, self.journal.display())
        };
        // A closed pipe must not turn a verdict into a crash.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
