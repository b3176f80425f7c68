//! Documents of our own in `tests/documents`, each with what is expected of it: the command runs them.

mod secrets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::replay::{Case, Program, Seen, Server, differences};

/// How many are run at a time: most of them wait.
const SIDE_BY_SIDE: usize = 4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents")
}

/// `STEADFAST_CASE` names a part of the names of those that are run.
#[test]
fn every_document_does_what_is_expected_of_it() {
    let only = std::env::var("STEADFAST_CASE").unwrap_or_default();
    let cases: Vec<_> = Case::all(&folder()).into_iter().filter(|case| case.name.contains(&only)).collect();
    assert!(!cases.is_empty(), "no document is called {only:?}");
    let server = Server::start(folder());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            match Seen::of(case, &Program::ours(), &server.served) {
                Err(error) => wrong.push(format!("{}: {error}", case.name)),
                Ok(seen) => {
                    let found = differences(case, &seen, &server.served);
                    wrong.extend(found.iter().map(|one| format!("{}: {one}\n    {}", case.name, seen.last_words())));
                }
            }
        }
        wrong
    };
    let mut wrong: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it compares")).collect()
    });
    wrong.sort();
    assert!(wrong.is_empty(), "{} documents:\n{}", cases.len(), wrong.join("\n"));
}

/// The rules of docs/deviations.md.
fn rules() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deviations.md")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("## "));
    names.filter(|name| !name.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn every_rule_has_a_document_and_every_document_is_expected_something_of() {
    let cases = Case::all(&folder());
    assert!(cases.len() >= 60, "{} documents", cases.len());
    let shown: BTreeSet<_> = cases.iter().filter_map(|case| case.field("rule").as_str()).map(str::to_owned).collect();
    assert_eq!(shown, rules());
    let mut files: BTreeSet<_> = cases.iter().map(Case::document).filter(|file| file.starts_with(folder())).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        let expected = file.to_string_lossy().ends_with(".expected.json");
        assert!(expected || files.remove(&file), "nothing is expected of {}", file.display());
    }
    for case in cases {
        let source = case.field("source").is_string();
        assert!(source || case.document().is_file(), "{}: there is no document", case.name);
        for field in ["exit_code", "journal_written"] {
            assert!(!case.field(field).is_null(), "{}: no {field}", case.name);
        }
        assert_eq!(case.field("journal_written") == true, case.field("status").is_string(), "{}: status", case.name);
        // Who refuses says where, and why.
        assert!(case.field("status").is_string() || case.field("said").is_array(), "{}: said", case.name);
    }
}
