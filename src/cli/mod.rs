//! The command.
//!
//! Prints results to standard output and problems to standard error; there are no colours and no
//! view but those of a run on a terminal, so that a log reads as a screen does. Exit codes stand in `Exit`, and in docs/command.md.

mod completions;
mod demo;
mod document;
mod kind;
mod lab;
mod report;
mod sweep;
mod terminal;
mod vegeta;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[cfg(test)]
pub(crate) use vegeta::described;

use crate::clock::BadSeed;
use crate::cluster::{ClusterError, KindError};
use crate::experiment::ExperimentError;

/// What the command exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// As expected.
    Expected = 0,
    /// Not as expected: for an experiment, it deviated.
    Deviated = 1,
    /// The command line, a file or a variable is wrong: to be called in another way.
    Usage = 2,
    /// There is no evidence either way.
    Inconclusive = 3,
    /// It could not be done: the cluster does not answer, refuses the user, a file cannot be written.
    Failed = 4,
    /// A fault may be left.
    NotUndone = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// By what went wrong.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(ExperimentError::NotUndone { .. }) = error.downcast_ref() {
            return Self::NotUndone;
        }
        if error.is::<BadSeed>() || error.downcast_ref().is_some_and(KindError::is_usage) {
            return Self::Usage;
        }
        let usage = error.downcast_ref().is_some_and(ClusterError::is_usage);
        if usage { Self::Usage } else { Self::Failed }
    }
}

const EXAMPLES: &str = "Examples:
  steadfast demo
  steadfast validate experiment.json
  steadfast plan --cluster kind experiment.json
  steadfast run --cluster kind experiment.json
  steadfast export --rust -o tests/front.rs experiment.json";

/// Resilience experiments on Kubernetes: faults under load, always undone, with a verdict that needs evidence.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, about, after_help = EXAMPLES, color = clap::ColorChoice::Never)]
struct Command {
    #[command(flatten)]
    global: document::Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs lab4 of the Chaos Toolkit demos on the embedded lab, in virtual time, and tells what happens.
    #[command(after_help = "Examples:\n  steadfast demo")]
    Demo,
    /// Runs a Chaos Toolkit experiment, without Python.
    Run(document::run::Options),
    /// Says what is wrong with a Chaos Toolkit experiment.
    Validate(document::validate::Options),
    /// Says what a Chaos Toolkit experiment would do, and to what, and touches nothing.
    Plan(document::plan::Options),
    /// Makes a Rust test of a Chaos Toolkit experiment.
    Export(document::export::Options),
    /// Runs the embedded lab with the shop on loopback ports, for kubectl and other clients, until SIGINT or SIGTERM.
    ///
    /// When it is ready it prints one line of JSON: kubeconfig, api, prometheus, front, image.
    Lab(lab::Options),
    /// Makes or deletes a kind cluster for tests.
    Kind(kind::Options),
    /// Undoes what dead runs have left on a cluster; `--list` says what is on.
    Sweep(sweep::Options),
    /// Tells stored journals to people and to CI, or what the last run of tests came to.
    Report(report::Options),
    /// HTTP load with vegeta 12's commands, flags, files and reports.
    Vegeta(vegeta::Options),
    /// Prints what a shell needs to complete this command.
    Completions(completions::Options),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = vegeta::go_style(&Command::command(), std::env::args_os());
    let Command { global, verb } = Command::parse_from(arguments);
    match verb {
        Verb::Run(options) => document::run::run(&options, &global),
        Verb::Validate(options) => document::validate::run(&options, &global),
        Verb::Export(options) => document::export::run(&options, &global),
        Verb::Plan(options) => document::plan::run(&options, &global),
        Verb::Demo => demo::run(),
        Verb::Lab(options) => lab::run(&options),
        Verb::Kind(options) => kind::run(&options),
        Verb::Sweep(options) => sweep::run(&options),
        Verb::Report(options) => report::run(&options),
        Verb::Vegeta(options) => vegeta::run(&options),
        Verb::Completions(options) => completions::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxError;
    use crate::experiment::Experiment;

    /// The commands below one that have no examples, with their names.
    fn without_examples(command: &mut clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if !examples.contains(&path[1..]) {
            found.push(path.clone());
        }
        // `help` is clap's own.
        for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            without_examples(below, &path, found);
        }
    }

    #[test]
    fn every_command_has_examples() {
        let mut found = Vec::new();
        without_examples(&mut Command::command(), "", &mut found);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn the_command_line_is_sound_and_completes_in_each_shell() {
        Command::command().debug_assert();
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Command::command(), "steadfast", &mut script);
            let script = String::from_utf8(script).expect("a text");
            assert!(script.contains("rollback-strategy") && script.contains("export"), "{shell}");
        }
    }

    /// By the codes of docs/command.md.
    #[test]
    fn each_error_has_its_code() {
        let text = String::new;
        let left = std::sync::Mutex::new(None);
        crate::block_on(async |cluster| {
            let journal = Experiment::without_hypothesis("x").run(&cluster).await?;
            *left.lock().unwrap() = Some(ExperimentError::NotUndone { journal: Box::new(journal) });
            Ok(())
        });
        let left = left.into_inner().unwrap().expect("it ran");
        let cases: Vec<(BoxError, u8)> = vec![
            (ClusterError::UnknownTarget { text: text() }.into(), 2),
            (KindError::BadName { name: text() }.into(), 2),
            (ClusterError::Kind(KindError::BadName { name: text() }).into(), 2),
            (ClusterError::Kind(KindError::PortTaken { port: text(), name: text() }).into(), 4),
            (KindError::NoImage { name: text(), why: text() }.into(), 4),
            (std::io::Error::other("x").into(), 4),
            (left.into(), 5),
        ];
        for (error, code) in cases {
            assert_eq!(Exit::of(&*error) as u8, code, "{error}");
        }
    }
}
