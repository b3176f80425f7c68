//! JUnit XML of hostile journals, judged by xmllint against a schema of what its readers have in common.

use std::process::Command;
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;
use steadfast::cluster::{Target, run_test_on};
use steadfast::prelude::*;

use super::{Needs, Outcome, file, find};

const HOSTILE: &str = "]]></system-out><b>\u{1}\u{b}\u{fffe}\r\n\t\u{202e}\"'&amp;[[ATTACHMENT|/x]]";

pub fn trials() -> (Needs, Vec<Trial>) {
    let remedy = "no xmllint on the PATH: install libxml2-utils";
    let needs = Needs::new("xmllint", find("xmllint").map(drop).ok_or(remedy.to_owned()));
    let trials = vec![
        needs.trial("junit::is_of_the_schema", is_of_the_schema),
        needs.trial("junit::the_schema_sees_what_is_wrong", sees_what_is_wrong),
    ];
    (needs, trials)
}

/// The journals of experiments that end in several ways.
fn journals() -> Result<Vec<String>, String> {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let keep = paths.clone();
    let done = run_test_on(&Target::Embedded, "tools::junit", async |cluster| {
        steadfast::shop(&cluster).await?;
        let front = || http::get(cluster.namespace("default").service("front").url("/"));
        let cut = || cluster.namespace("default").pods("app=back").deny_ingress();
        let twice = Hypothesis::new(HOSTILE).check(front().expect(status(200))).check(front().expect(status(200)));
        let says = Hypothesis::new(HOSTILE).check(front().expect(contains(HOSTILE)));
        let fresh = Hypothesis::new("fresh").check(front().expect(not(contains("error"))));
        for experiment in [
            Experiment::new("met", twice).inject(cut()).inject(cut()),
            Experiment::new(HOSTILE, says).inject(cut()),
            Experiment::new("deviated", fresh).inject(cut()),
            Experiment::without_hypothesis("nothing"),
        ] {
            let journal = experiment.run(&cluster).await?;
            let path = journal.path().expect("it is stored").to_string_lossy().into_owned();
            keep.lock().expect("nobody panicked").push(path);
        }
        Ok(())
    });
    done.map_err(|error| error.to_string())?;
    Ok(std::mem::take(&mut paths.lock().expect("nobody panicked")))
}

fn xmllint(path: &std::path::Path) -> Result<(), String> {
    let schema = file("junit.xsd");
    let output = Command::new("xmllint").arg("--noout").arg("--schema").arg(schema).arg(path).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn is_of_the_schema() -> Outcome {
    let folder = tempfile::tempdir()?;
    let merged = folder.path().join("junit.xml");
    let journals = journals()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    let output = command.arg("report").arg("-o").arg(&merged).args(&journals).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    xmllint(&merged)?;
    let text = std::fs::read_to_string(&merged)?;
    let suites = text.matches("<testsuite ").count();
    if suites == journals.len() { Ok(()) } else { Err(format!("{suites} suites").into()) }
}

fn sees_what_is_wrong() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("junit.xml");
    let journals = journals()?;
    let output =
        Command::new(env!("CARGO_BIN_EXE_steadfast")).args(["report", "--format", "junit"]).args(&journals).output()?;
    let whole = String::from_utf8(output.stdout)?;
    std::fs::write(&path, &whole)?;
    xmllint(&path)?;
    for (part, wrong) in [
        ("T00:00", "Z00:00"),
        ("id=\"1\"", "id=\"0\""),
        ("</properties>", "</properties><system-err></system-err>"),
        (" classname=", " class="),
        ("&#10;", "\u{1}"),
    ] {
        std::fs::write(&path, whole.replacen(part, wrong, 1))?;
        if xmllint(&path).is_ok() {
            return Err(format!("{wrong} for {part} is valid").into());
        }
    }
    Ok(())
}
