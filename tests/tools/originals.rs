//! The documents of `tests/documents` by the real Chaos Toolkit: where none of the rules of docs/deviations.md applies it
//! does what is expected of ours, by that file's table of ends; and where one applies it does otherwise.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::Outcome;
use super::replay::{Case, Program, Seen, Server, differences};

/// Our words in an expectation, of which the original knows nothing.
const OURS: [&str; 4] = ["said", "not_said", "verdict", "faults"];

/// Rules that the table of ends tells exactly.
const OF_THE_TABLE: [&str; 2] = ["missed-gate", "exit-codes"];

/// What a document asks that the original has not got.
fn is_ours_alone(case: &Case) -> bool {
    let ours = ["--cluster", "--replace", "--no-process", "--ctk-exit-codes"];
    case.field("args").as_array().into_iter().flatten().any(|word| ours.iter().any(|ours| word == ours))
}

/// What is expected of the original, by the table of ends.
fn of_the_original(case: &Case) -> Case {
    let mut expected = case.expected.clone();
    let missed = expected["steady_states"]["before"]["steady_state_met"] == false;
    let probes = expected["steady_states"]["before"]["probes"].as_array();
    let failed = probes.into_iter().flatten().any(|probe| probe[1] == "failed");
    if missed && !failed {
        expected["status"] = json!("completed");
    }
    let status = expected["status"].as_str();
    let code = match (case.field("exit_code").as_i64(), status) {
        (Some(0), _) => 0,
        _ if missed && !failed => 0,
        _ => 1,
    };
    expected["exit_code"] = json!(code);
    let expected = expected.as_object_mut().expect("a mapping");
    OURS.iter().for_each(|ours| drop(expected.remove(*ours)));
    Case { name: case.name.clone(), expected: Value::Object(expected.clone()), folder: case.folder.clone() }
}

/// What is wrong with a document, in words.
fn judged(case: &Case, chaos: &Path, server: &Server) -> Option<String> {
    let rule = case.field("rule").as_str().filter(|rule| !OF_THE_TABLE.contains(rule));
    let original = of_the_original(case);
    let seen = match Seen::of(&original, &Program { path: chaos.to_owned(), is_ours: false }, &server.served) {
        Ok(seen) => seen,
        Err(error) => return Some(format!("{}: {error}", case.name)),
    };
    // A usage error is 2 there, everything else that it refuses is 1.
    let found: Vec<_> = differences(&original, &seen, &server.served)
        .into_iter()
        .filter(|one| !(one.field == "exit_code" && seen.code == 2 && case.field("exit_code") == 2))
        .map(|one| one.to_string())
        .collect();
    match rule {
        None if found.is_empty() => None,
        None => Some(format!("{}: {}\n    {}", case.name, found.join("\n  "), seen.last_words())),
        Some(rule) if found.is_empty() => {
            Some(format!("{}: {rule} is a rule for nothing: the original agrees", case.name))
        }
        Some(_) => None,
    }
}

pub fn agree(chaos: &Path) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let only = std::env::var("STEADFAST_CASE").unwrap_or_default();
    let all = Case::all(&folder).into_iter().filter(|case| case.name.contains(&only));
    let cases: Vec<_> = all.filter(|case| !is_ours_alone(case)).collect();
    let (server, next) = (Server::start(folder), AtomicUsize::new(0));
    let work = || {
        let mut wrong = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(judged(case, chaos, &server));
        }
        wrong
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it compares")).collect()
    });
    println!("{} documents by the real Chaos Toolkit", cases.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
