//! Chaos Toolkit documents on the command line: `run`, `validate`, `plan` and `export`.

mod cluster;
mod said;
mod view;

pub(super) mod export;
pub(super) mod plan;
pub(super) mod run;
pub(super) mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use super::Exit;
use crate::document::{Asked, Loaded, Purpose};

/// A Chaos Toolkit experiment, and what it is given from outside.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The experiment: a .json, .yaml or .yml file, or an http(s) URL
    source: String,
    /// Replaces a value of the experiment's configuration; TYPE is str, int, float, bool, json or bytes
    #[arg(long = "var", value_name = "NAME[:TYPE]=VALUE")]
    vars: Vec<String>,
    /// A .json or .yaml file with `configuration` and `secrets` that replace the experiment's, or a file of environment
    /// variables
    #[arg(long, value_name = "FILE")]
    var_file: Vec<PathBuf>,
    /// Takes a native function for a Python one: `--replace 'module.func={"type": "growth", "at_most": 0}'`
    #[arg(long, value_name = "MODULE.FUNC=JSON")]
    replace: Vec<String>,
    /// Calls Python functions and controls that are not built in with this machine's Python
    #[arg(long)]
    allow_python: bool,
    /// Refuses activities that run programs
    #[arg(long)]
    no_process: bool,
    /// Fetches the experiment without verifying the server's certificate
    #[arg(long)]
    no_verify_tls: bool,
    /// Controls for every part of the experiment, as Chaos Toolkit's settings have them
    #[arg(long, value_name = "FILE")]
    control_file: Vec<PathBuf>,
}

/// What Chaos Toolkit takes before its command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of Chaos Toolkit, before the command")]
pub(super) struct Global {
    /// Tells more
    #[arg(long)]
    verbose: bool,
    /// Goes to this folder first; paths are relative to it
    #[arg(long, value_name = "DIR")]
    change_dir: Option<PathBuf>,
    /// Chaos Toolkit's settings [default: ~/.chaostoolkit/settings.yaml]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Also writes what is told to this file, appending
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// From which level on the log file is written
    #[arg(long, value_name = "LEVEL", default_value = "debug", value_parser = ["debug", "info", "warning", "error"])]
    log_file_level: String,
    /// How lines are told
    #[arg(long, value_name = "FORMAT", default_value = "string", value_parser = ["string", "json"])]
    log_format: String,
    /// Accepted: there is no log file without --log-file
    #[arg(long, hide = true)]
    no_log_file: bool,
    /// Accepted: no version is ever asked for
    #[arg(long, hide = true)]
    no_version_check: bool,
}

impl Global {
    /// Goes where it says.
    fn enter(&self) -> Result<(), ExitCode> {
        let Some(folder) = &self.change_dir else { return Ok(()) };
        std::env::set_current_dir(folder).map_err(|error| {
            eprintln!("steadfast: failed to go to {}: {error}", folder.display());
            Exit::Usage.into()
        })
    }
}

impl Source {
    fn asked<'a>(&'a self, global: &'a Global, said: &said::Said, validates: bool) -> Asked<'a> {
        Asked {
            source: &self.source,
            vars: &self.vars,
            var_files: &self.var_file,
            replace: &self.replace,
            allow_python: self.allow_python,
            no_process: self.no_process,
            verify_tls: !self.no_verify_tls,
            control_files: &self.control_file,
            settings: global.settings.as_deref(),
            validates,
            purpose: Purpose::Look,
            log: said.log(),
        }
    }
}

/// Loads a document, or says all that is wrong with it.
async fn load(asked: &Asked<'_>, said: &said::Said) -> Result<Loaded, ExitCode> {
    match crate::document::load(asked).await {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                said.line(crate::document::run::log::Level::Warning, &warning.to_string());
            }
            Ok(loaded)
        }
        Err(errors) => {
            for error in &errors {
                said.line(crate::document::run::log::Level::Error, &error.to_string());
            }
            Err(Exit::Usage.into())
        }
    }
}

/// A runtime on this thread; in virtual time without I/O, since a paused clock jumps whenever it waits for the real world.
fn runtime(virtual_time: bool, said: &said::Said) -> Result<tokio::runtime::Runtime, ExitCode> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if virtual_time {
        builder.enable_time().start_paused(true);
    } else {
        builder.enable_all();
    }
    builder.build().map_err(|error| {
        said.line(crate::document::run::log::Level::Error, &error.to_string());
        Exit::Failed.into()
    })
}
