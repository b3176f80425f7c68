//! Judged by tools that this project did not write: the lab by kubectl, the official Python client and Chaos
//! Toolkit, its Prometheus by a real one, `steadfast vegeta` by vegeta, reports by a browser, what tests leave together by
//! nextest. And what needs Docker and kind, in `kind`.
//!
//! Each needs a tool that a machine may not have; then it is ignored, and the reason is printed. `STEADFAST_REQUIRE`
//! (`kubectl,python,chaos,vegeta,prometheus,browser,xmllint,cargo-nextest,kind`) turns such an ignore into a failure.
//! `make lab-check` runs all of it.

mod alike;
mod attack;
mod browser;
mod cases;
mod chaos;
mod junit;
mod kind;
mod kind_crash;
mod kind_runs;
mod kubectl;
mod lab;
mod nextest;
mod originals;
mod promql;
mod python;
#[path = "../replay/mod.rs"]
mod replay;
mod vegeta;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// What a trial says in the end.
pub type Outcome = Result<(), Failed>;

/// A tool that a trial needs, by the name that `STEADFAST_REQUIRE` has for it.
pub struct Needs {
    tool: &'static str,
    /// Why it cannot be had, with the remedy.
    missing: Option<String>,
}

impl Needs {
    /// A tool that was found, or why it was not.
    pub fn new(tool: &'static str, found: Result<(), String>) -> Self {
        Self { tool, missing: found.err() }
    }

    fn required(&self) -> bool {
        let required = std::env::var("STEADFAST_REQUIRE").unwrap_or_default();
        required.split(',').any(|tool| tool.trim() == self.tool)
    }

    /// A trial that runs where the tool is, fails where it is required and missing, and is ignored elsewhere.
    pub fn trial(&self, name: &str, run: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
        match self.missing.clone() {
            None => Trial::test(name, run),
            Some(missing) if self.required() => Trial::test(name, move || Err(missing.into())),
            Some(_) => Trial::test(name, run).with_kind(format!("needs {}", self.tool)).with_ignored_flag(true),
        }
    }
}

/// The executable of this name on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A file of these trials.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name)
}

fn main() -> ExitCode {
    if let Ok(run) = std::env::var(kind_runs::RUN) {
        return kind_runs::main(&run);
    }
    let mut arguments = Arguments::from_args();
    // All of them share one lab, and two processors.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let (needs, trials): (Vec<_>, Vec<_>) = [
        kubectl::trials(),
        python::trials(),
        chaos::trials(),
        vegeta::trials(),
        junit::trials(),
        promql::trials(),
        cases::trials(),
        nextest::trials(),
        browser::trials(),
        kind::trials(),
    ]
    .into_iter()
    .unzip();
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    lab::end();
    kind::end();
    if conclusion.num_ignored > 0 {
        for (tool, missing) in needs.iter().filter_map(|n| Some((n.tool, n.missing.as_ref()?))) {
            println!("not run for want of {tool}: {missing}");
        }
    }
    conclusion.exit_code()
}
