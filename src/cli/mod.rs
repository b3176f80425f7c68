//! The command.
//!
//! Prints results to standard output and problems to standard error; colours and other terminal codes are never
//! used, so that a log reads as a screen does. Exit codes: 0 as expected, 1 not, 2 wrong usage, 5 a fault may be left.

mod demo;
mod kind;
mod lab;
mod sweep;
mod vegeta;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// What wrong usage exits with.
const USAGE: u8 = 2;

/// Resilience experiments on Kubernetes: faults under load, always undone, with a verdict that needs evidence.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, about)]
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
