//! A whole experiment of ours by the real Chaos Toolkit and by `steadfast run`, on the same `steadfast lab`: their journals
//! are alike in every field but those that are named here.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::lab::{Lab, Said, start};
use super::{Outcome, file};

const DOCUMENT: &str = "lab-whole.json";

/// What may differ, by the end of its path, and why.
const MAY: [(&str, &str); 13] = [
    (".start", "a time"),
    (".end", "a time"),
    (".duration", "a time"),
    (".platform", "Python's own name of it"),
    (".chaoslib-version", "the version that is installed"),
    (".x-steadfast", "ours alone"),
    (".output.headers", "here names are written in title case, there as the server writes them"),
    (".output.body", "front says how long it took"),
    (".output.data.result", "samples, of other times"),
    (".output.stdout", "vegeta's report of itself"),
    (".output.stderr", "vegeta's report of itself"),
    (".tolerance.provider.arguments.value", "the original writes what was judged into its document"),
    (".dry", "null there, and here"),
];

/// The outputs whose names are those of pods, which a rollout would change; their texts are front's log.
const LOGS: &str = "what front said";

fn may(path: &str) -> bool {
    MAY.iter().any(|(end, _)| path.ends_with(end))
}

/// All that differs and may not.
fn unlike(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    if may(path) {
        return;
    }
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
                let path = format!("{path}.{name}");
                match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) => unlike(&path, ours, theirs, found),
                    _ if may(&path) => {}
                    (Some(_), None) => found.push(format!("{path}: only here")),
                    _ => found.push(format!("{path}: only there")),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                unlike(&format!("{path}[{number}]"), ours, theirs, found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours} here, {theirs} there")),
    }
}

/// Runs it in a folder of its own; its journal.
fn journal(lab: &Lab, program: &Path, arguments: &[&str]) -> Result<Value, libtest_mimic::Failed> {
    let folder = tempfile::tempdir()?;
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(DOCUMENT);
    fs::copy(document, folder.path().join("experiment.json"))?;
    fs::copy(file("growth.py"), folder.path().join("growth.py"))?;
    fs::write(folder.path().join("targets.txt"), format!("GET {}\n", lab.front))?;
    let mut command = lab.command(program);
    command.current_dir(folder.path()).env("PYTHONPATH", folder.path()).env("FRONT_URL", &lab.front);
    command.args(arguments).arg("experiment.json");
    // It deviates.
    Said::of(&command.output()?).bad(1)?;
    for made in ["customers.bin", "customers.html"] {
        if fs::metadata(folder.path().join(made))?.len() == 0 {
            return Err(format!("{made} is empty").into());
        }
    }
    Ok(serde_json::from_str(&fs::read_to_string(folder.path().join("journal.json"))?)?)
}

/// Takes front's log out of a journal; it must have one.
fn logged(journal: &mut Value) -> bool {
    let run = journal["run"].as_array_mut().into_iter().flatten();
    run.filter(|record| record["activity"]["name"] == LOGS).all(|record| {
        let logs = record["output"].take();
        logs.as_object()
            .is_some_and(|logs| logs.len() == 1 && logs.values().all(|log| log.to_string().contains("GET /")))
    })
}

pub fn whole(chaos: &Path) -> Outcome {
    // Its own: what others have counted would be seen in its windows.
    let running = start();
    let lab = &running.lab;
    let mut theirs = journal(lab, chaos, &["--no-version-check", "--no-log-file", "run"])?;
    let growth = r#"growth.none={"type": "growth", "at_most": 0}"#;
    let ours = ["run", "--cluster", "context:steadfast-lab", "--replace", growth];
    let mut ours = journal(lab, env!("CARGO_BIN_EXE_steadfast").as_ref(), &ours)?;
    if !logged(&mut ours) || !logged(&mut theirs) {
        return Err(format!("front's log: {ours:#}\n{theirs:#}").into());
    }
    let mut found = Vec::new();
    unlike("$", &ours, &theirs, &mut found);
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}
