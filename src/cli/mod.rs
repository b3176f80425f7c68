//! The command.
//!
//! Prints results to standard output and problems to standard error; colours and other terminal codes are never
//! used, so that a log reads as a screen does. Exit codes stand in `Exit`, and in docs/command.md.

mod demo;
mod kind;
mod lab;
mod sweep;
mod vegeta;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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

/// Resilience experiments on Kubernetes: faults under load, always undone, with a verdict that needs evidence.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, about, color = clap::ColorChoice::Never)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs lab4 of the Chaos Toolkit demos on the embedded lab, in virtual time, and tells what happens.
    Demo,
    /// Runs the embedded lab with the shop on loopback ports, for kubectl and other clients, until SIGINT or SIGTERM.
    ///
    /// When it is ready it prints one line of JSON: kubeconfig, api, prometheus, front, image.
    Lab(lab::Options),
    /// Makes or deletes a kind cluster for tests.
    Kind(kind::Options),
    /// Undoes what dead runs have left on a cluster; `--list` says what is on.
    Sweep(sweep::Options),
    /// HTTP load with vegeta 12's commands, flags, files and reports.
    Vegeta(vegeta::Options),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = vegeta::go_style(&Command::command(), std::env::args_os());
    match Command::parse_from(arguments).verb {
        Verb::Demo => demo::run(),
        Verb::Lab(options) => lab::run(&options),
        Verb::Kind(options) => kind::run(&options),
        Verb::Sweep(options) => sweep::run(&options),
        Verb::Vegeta(options) => vegeta::run(&options),
    }
}
