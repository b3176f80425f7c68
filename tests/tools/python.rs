//! The official Python client: `client.py` makes the checks, each of them is a trial of its own here.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use super::lab::{Said, lab, unique};
use super::{Needs, Outcome, file, find};

/// `STEADFAST_PYTHON`, else `python3`.
fn interpreter() -> String {
    std::env::var("STEADFAST_PYTHON").unwrap_or("python3".into())
}

fn found() -> Result<(), String> {
    let remedy = "python3 -m venv V && V/bin/pip install kubernetes, then STEADFAST_PYTHON=V/bin/python";
    let python = interpreter();
    if !python.contains('/') && find(&python).is_none() {
        return Err(format!("no {python} on the PATH; {remedy}"));
    }
    let imported = Command::new(&python).args(["-c", "import kubernetes"]).stderr(Stdio::null()).status();
    if imported.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(format!("{python} has no package kubernetes; {remedy}"))
}

pub fn trials() -> (Needs, Vec<Trial>) {
    let needs = Needs::new("python", found());
    let listed = Command::new(interpreter()).arg(file("client.py")).arg("--list").output();
    let names = listed.map(|output| Said::of(&output).out).unwrap_or_default();
    let mut trials: Vec<Trial> = names.lines().map(|name| trial(&needs, name.to_owned())).collect();
    if trials.is_empty() {
        // Not even a Python to list them: one line stands for all.
        trials.push(needs.trial("python::client", || Err("client.py lists no checks".into())));
    }
    (needs, trials)
}

fn trial(needs: &Needs, name: String) -> Trial {
    let title = format!("python::{name}");
    let run = move || -> Outcome {
        let lab = lab();
        let mut command = lab.command(interpreter());
        command.arg(file("client.py")).args(["--image", &lab.image, "--namespace", &unique("python"), &name]);
        Said::of(&command.output()?).ok()?;
        Ok(())
    };
    needs.trial(&title, run)
}
