//! Fixtures in containers: `make containers`. Without a Docker engine, or without the feature `testcontainers`, each
//! trial is ignored, and the reason is printed; `STEADFAST_REQUIRE=docker` turns that into a failure.

#[cfg(feature = "testcontainers")]
mod prometheus;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let missing = docker().err();
    let required =
        std::env::var("STEADFAST_REQUIRE").unwrap_or_default().split(',').any(|tool| tool.trim() == "docker");
    let trial = Trial::test("a_prometheus_scrapes_what_runs_here", {
        let missing = missing.clone();
        move || missing.map_or_else(scrapes, |missing| Err(missing.into()))
    });
    let trial = trial.with_kind("needs docker").with_ignored_flag(missing.is_some() && !required);
    let conclusion = libtest_mimic::run(&Arguments::from_args(), vec![trial]);
    if let Some(missing) = missing.filter(|_| conclusion.num_ignored > 0) {
        println!("not run for want of docker: {missing}");
    }
    conclusion.exit_code()
}

/// Whether these trials can speak to an engine, or why not.
fn docker() -> Result<(), String> {
    if !cfg!(feature = "testcontainers") {
        return Err("built without the feature `testcontainers`; `make containers` has it".to_owned());
    }
    match Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("no engine answers: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("docker cannot be run: {error}; install it")),
    }
}

#[cfg(feature = "testcontainers")]
fn scrapes() -> Result<(), Failed> {
    prometheus::scrapes()
}

#[cfg(not(feature = "testcontainers"))]
fn scrapes() -> Result<(), Failed> {
    Err("built without the feature `testcontainers`".into())
}
