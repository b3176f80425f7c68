//! What CI reads of experiments: by a variable alone, whoever runs the tests.

#[cfg(feature = "cli")]
mod command;
mod endings;
mod killed;
#[cfg(feature = "cli")]
mod schema;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Every ending that a test of this binary can come to by itself.
const ENDINGS: [&str; 8] =
    ["met", "deviated", "twice_and_unexpected", "gate_missed", "unproved", "panics", "left", "hostile"];

/// All endings, or the one of this name, in a process of its own.
fn child(out: &Path, ending: &str) -> Command {
    tests(out, &format!("report::endings::{ending}"))
}

/// Ignored tests in a process of their own: their outputs in this folder, and nothing else asked for.
fn tests(out: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    for variable in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "STEADFAST_REPORT", "STEADFAST_SEED"]
    {
        command.env_remove(variable);
    }
    // The libtest of this process passes no variable on that would turn its capture off.
    command.env("STEADFAST_OUT", out).env_remove("RUST_TEST_NOCAPTURE").env_remove("RUST_TEST_THREADS");
    command.arg("--ignored").arg(name);
    command
}

fn finished(mut command: Command) -> (String, String) {
    let Output { stdout, stderr, .. } = command.output().expect("it runs");
    (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn folder(ending: &str) -> String {
    format!("it.report.endings.{ending}")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&read(path)).expect("JSON")
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by a_test_that_fails_of_an_error_shows_what_its_run_came_to"]
async fn fails_of_an_error(cluster: steadfast::prelude::Cluster) -> steadfast::Result {
    use steadfast::prelude::*;
    let experiment = Experiment::new("breaks off", crate::support::front_answers(&cluster));
    let failing = experiment.act_with("warm the cache", async |_| Err("the cache is cold".into()));
    failing.run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

#[test]
fn a_test_that_fails_of_an_error_shows_what_its_run_came_to() {
    let out = tempfile::tempdir().expect("a folder");
    let (told, _) = finished(tests(out.path(), "report::fails_of_an_error"));
    assert!(told.contains("0 passed; 1 failed") && told.contains("warm the cache"), "{told}");
    let summary = "breaks off: inconclusive\n";
    assert!(told.contains(summary) && told.contains("  Before the method (from"), "{told}");
    // Who fails of a rollback or of an assertion says it once.
    let (told, _) = finished(child(out.path(), "twice_and_unexpected"));
    assert_eq!(told.matches("twice: met\n").count(), 1, "{told}");
}

#[test]
fn nothing_is_written_beside_the_journal_unless_it_is_asked_for() {
    let out = tempfile::tempdir().expect("a folder");
    let command = child(out.path(), "met");
    let (told, said) = finished(command);
    assert!(told.contains("test result: ok. 1 passed"), "{told}{said}");
    assert_eq!(said, "", "a test that passes says nothing");
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).expect("a folder").map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(out.path()), [".runs", "it.report.endings.met"]);
    assert_eq!(names(&out.path().join(folder("met"))), ["journal.json"]);
}

#[test]
fn an_unknown_format_is_told_once_and_fails_nothing() {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = child(out.path(), "");
    command.env("STEADFAST_REPORT", "junit,sarif").arg("--nocapture");
    let (told, said) = finished(command);
    assert!(told.contains("7 passed; 1 failed"), "as without it: {told}");
    let known =
        "asks for the report \"sarif\", which there is not; known are junit, markdown, html, github, json, none";
    assert_eq!(said.matches(known).count(), 1, "{said}");
    assert!(out.path().join(folder("met")).join("junit.xml").is_file(), "the others count");
}

#[cfg(feature = "report")]
#[test]
fn a_file_of_the_package_asks_for_formats_and_the_variable_wins() {
    let package = tempfile::tempdir().expect("a folder");
    let out = tempfile::tempdir().expect("a folder");
    let with = |text: &str, variable: &str| {
        fs::write(package.path().join("steadfast.toml"), text).expect("written");
        let mut command = child(out.path(), "met");
        command.current_dir(package.path()).env("STEADFAST_REPORT", variable).arg("--nocapture");
        let (told, said) = finished(command);
        assert!(told.contains("1 passed"), "{told}{said}");
        let made = ["junit.xml", "report.md"].map(|name| {
            let path = out.path().join(folder("met")).join(name);
            let made = path.is_file();
            let _ = fs::remove_file(path);
            made
        });
        (made, said)
    };
    assert_eq!(with("[report]\nformats = [\"junit\"]\n", ""), ([true, false], String::new()));
    assert_eq!(with("[report]\nformats = [\"junit\"]\n", "markdown"), ([false, true], String::new()));
    assert_eq!(with("[replace]\n", ""), ([false, false], String::new()));
    for (text, part) in [
        ("[report]\nformats = [\"sarif\"]", "asks for the report \"sarif\", which there is not"),
        ("[report]\nformat = [\"junit\"]", "has \"format\", which means nothing"),
        ("[report]\nformats = 1", "is no list of texts"),
        ("[report", "steadfast.toml: TOML parse error"),
    ] {
        let (made, said) = with(text, "");
        assert!(made == [false, false] && said.contains(part), "{text}: {said}");
    }
}

#[test]
fn each_ending_is_told_in_each_format_and_in_the_merged_files() {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = child(out.path(), "");
    command.env("STEADFAST_REPORT", "junit,markdown,json,html");
    let (told, _) = finished(command);
    assert!(told.contains("7 passed; 1 failed"), "{told}");
    let told = |ending: &str, verdict: &str, ended: &str, counts: [u64; 4]| {
        let folder = out.path().join(folder(ending));
        let summary = json(folder.join("summary.json"));
        assert_eq!((summary["verdict"].as_str(), summary["ended"].as_str()), (Some(verdict), Some(ended)), "{ending}");
        let names = ["cases", "failed", "errors", "skipped"];
        assert_eq!(names.map(|name| summary["counts"][name].as_u64().unwrap()), counts, "{ending}: {summary:#}");
        let junit = read(folder.join("junit.xml"));
        let [tests, failures, errors, skipped] = counts;
        let head = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
        assert_eq!(junit.matches(&head).count(), 2, "{ending}: {junit}");
        assert_eq!(junit.matches("<testcase ").count() as u64, tests, "{ending}");
        assert_eq!(junit.matches("<failure ").count() as u64, failures, "{ending}");
        assert_eq!(junit.matches("<error ").count() as u64, errors, "{ending}");
        assert_eq!(junit.matches("<skipped ").count() as u64, skipped, "{ending}");
        let markdown = read(folder.join("report.md"));
        assert!(markdown.contains(": ") && markdown.len() < 60 * 1024, "{ending}");
        (summary, junit, markdown)
    };
    let (summary, junit, markdown) = told("met", "met", "completed", [7, 0, 0, 0]);
    assert_eq!(summary["cases"][0]["name"], "GET http://front.default/: status 200");
    assert!(junit.contains("classname=\"it.report.endings.met.front answers.during\""), "{junit}");
    assert!(junit.contains("file=\"tests/it/report/endings.rs\" line=\""), "{junit}");
    assert!(junit.contains("name=\"delete networkpolicy default/steadfast-&lt;run&gt;-2\""), "{junit}");
    assert!(markdown.starts_with("## `front answers`: met\n"), "{markdown}");
    let (_, junit, _) = told("deviated", "deviated", "completed", [7, 1, 0, 0]);
    assert!(junit.contains("<failure message=\"") && junit.contains("type=\"not met\""), "{junit}");
    told("twice_and_unexpected", "met", "completed", [4, 0, 0, 0]);
    assert_eq!(json(out.path().join(folder("twice_and_unexpected")).join("summary-2.json"))["experiment"], "twice");
    let (_, junit, _) = told("gate_missed", "inconclusive", "gate-missed", [4, 1, 1, 2]);
    assert!(junit.contains("not reached: the hypothesis did not hold before the method"), "{junit}");
    let (_, junit, _) = told("unproved", "inconclusive", "completed", [7, 0, 2, 0]);
    assert!(junit.contains("not proved"), "{junit}");
    let (_, junit, _) = told("panics", "inconclusive", "panicked", [4, 0, 1, 2]);
    assert!(junit.contains("<error message=\"over a wire\""), "{junit}");
    let (summary, _, markdown) = told("left", "met", "completed", [6, 1, 0, 0]);
    assert_eq!(summary["notUndone"].as_array().map(Vec::len), Some(1));
    assert!(markdown.contains(": rollback partial\n") && markdown.contains("**may be left behind**"), "{markdown}");

    let merged = json(out.path().join("summary.json"));
    let rows: Vec<_> = merged["experiments"].as_array().unwrap().iter().map(|row| row["folder"].as_str()).collect();
    let mut expected: Vec<_> = ENDINGS.iter().map(|ending| folder(ending)).collect();
    expected.push(folder("twice_and_unexpected"));
    expected.sort();
    assert_eq!(rows, expected.iter().map(|row| Some(row.as_str())).collect::<Vec<_>>());
    if cfg!(feature = "report") {
        let index = read(out.path().join("index.html"));
        assert_eq!(index.matches("<tr class=").count(), ENDINGS.len() + 1);
        for ending in ENDINGS {
            assert!(index.contains(&format!("href=\"./{}/report.html\"", folder(ending))), "{index}");
            assert!(out.path().join(folder(ending)).join("report.html").is_file(), "{ending}");
        }
    }
    let junit = read(out.path().join("junit.xml"));
    assert_eq!(junit.matches("<testsuite ").count(), ENDINGS.len() + 1);
    for id in 0..=ENDINGS.len() {
        assert_eq!(junit.matches(&format!(" id=\"{id}\"")).count(), 1, "{junit}");
    }
}

/// As under nextest: nobody is told when all have ended.
#[test]
fn processes_side_by_side_lose_nothing() {
    let out = tempfile::tempdir().expect("a folder");
    let start = |ending: &str| -> Child {
        let mut command = child(out.path(), ending);
        command.env("STEADFAST_REPORT", "junit").env("NEXTEST_RUN_ID", "one");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
    };
    let mut children: Vec<_> = ENDINGS.iter().map(|ending| start(ending)).collect();
    for child in &mut children {
        child.wait().expect("it ends");
    }
    let merged = json(out.path().join("summary.json"));
    assert_eq!(merged["experiments"].as_array().map(Vec::len), Some(ENDINGS.len() + 1));
    assert_eq!(read(out.path().join("junit.xml")).matches("<testsuite ").count(), ENDINGS.len() + 1);
    // Another session begins anew: what is old is no result of it.
    let mut next = child(out.path(), "met");
    next.env("STEADFAST_REPORT", "junit").env("NEXTEST_RUN_ID", "two");
    finished(next);
    assert_eq!(json(out.path().join("summary.json"))["experiments"].as_array().map(Vec::len), Some(1));
    assert_eq!(read(out.path().join("junit.xml")).matches("<testsuite ").count(), 1);
}

#[test]
fn github_is_told_by_itself_of_what_fails_every_test() {
    let out = tempfile::tempdir().expect("a folder");
    let listed = out.path().join("step.md");
    fs::write(&listed, "## Another step\nof ours").expect("a file");
    let mut command = child(out.path(), "");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &listed);
    let (told, _) = finished(command);
    let annotations: Vec<_> = told.lines().filter(|line| line.starts_with("::")).collect();
    let errors: Vec<_> = annotations.iter().filter(|line| line.starts_with("::error")).collect();
    // What is left, and the one assertion that fails; a deviation that is expected is none.
    assert_eq!(errors.len(), 2, "{told}");
    let left = errors.iter().find(|line| line.contains("title=rollback partial")).expect("told");
    assert!(left.starts_with("::error title=rollback partial%3A held,file=tests/it/report/endings.rs,line="), "{left}");
    let failed = errors.iter().find(|line| line.contains("expected the verdict deviated")).expect("told");
    assert!(failed.contains(",file=tests/it/report/endings.rs,line=37::"), "{failed}");
    let warnings = annotations.iter().filter(|line| line.starts_with("::warning")).count();
    assert_eq!((warnings, annotations.len()), (4, 6), "{annotations:#?}");

    let listed = read(listed);
    assert!(listed.starts_with("## Another step\nof ours\n\n- "), "{listed}");
    assert_eq!(listed.lines().filter(|line| line.starts_with("- **")).count(), ENDINGS.len() + 1, "{listed}");
    // Files are what is asked for alone.
    assert!(!out.path().join(folder("met")).join("summary.json").exists());

    let mut none = child(out.path(), "left");
    none.env("GITHUB_ACTIONS", "true").env("STEADFAST_REPORT", "none");
    assert!(!finished(none).0.contains("::error title=rollback"));
}

#[test]
fn what_the_system_says_is_nobodys_markup() {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = child(out.path(), "hostile");
    command.env("STEADFAST_REPORT", "junit,markdown").env("GITHUB_ACTIONS", "true");
    let (told, said) = finished(command);
    assert!(told.contains("1 passed"), "{told}{said}");
    assert!(told.lines().all(|line| !line.starts_with("::error")), "{told}");
    let folder = out.path().join(folder("hostile"));
    let junit = read(folder.join("junit.xml"));
    assert_eq!(junit.matches("<system-out>").count(), 1);
    assert!(!junit.contains("[[ATTACHMENT"), "{junit}");
    assert!(!junit.contains("]]>") && !junit.contains("<b>") && !junit.contains('\u{1}'), "{junit}");
    let markdown = read(folder.join("report.md"));
    for line in markdown.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
    // Outside of code, nothing is left that GitHub would look at.
    let outside: String = markdown.split("<details>").next().unwrap().lines().map(without_code).collect();
    for part in ["<b>", "@all", "#1", "http:", "www.", "::error"] {
        assert!(!outside.contains(part), "{part} in {outside}");
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by what_the_system_says_is_obeyed_by_nobody_who_reads_what_is_printed"]
async fn fails_of_what_a_system_says(cluster: steadfast::prelude::Cluster) -> steadfast::Result {
    use steadfast::prelude::*;
    let failing = Experiment::new(endings::HOSTILE, crate::support::front_answers(&cluster));
    let failing = failing.act_with(endings::HOSTILE, async |_| Err(endings::HOSTILE.into()));
    failing.run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by what_the_system_says_is_obeyed_by_nobody_who_reads_what_is_printed"]
async fn fails_of_an_assertion_on_what_a_system_says(cluster: steadfast::prelude::Cluster) -> steadfast::Result {
    use steadfast::prelude::*;
    let service = cluster.namespace("default").service("front");
    let says = Hypothesis::new(endings::HOSTILE).check(http::get(service.url("/")).expect(contains(endings::HOSTILE)));
    let title = format!("::error::{}", endings::HOSTILE);
    Experiment::new(title, says).run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

/// Nothing that moves a terminal, and no line that GitHub takes for a command.
fn is_harmless(printed: &str) -> bool {
    !printed.contains(['\u{1b}', '\u{7}', '\u{1}'])
        && printed.lines().all(|line| !line.trim_start().starts_with("::") && !line.contains("##["))
}

#[test]
fn what_the_system_says_is_obeyed_by_nobody_who_reads_what_is_printed() {
    let out = tempfile::tempdir().expect("a folder");
    let (told, said) = finished(tests(out.path(), "report::fails_of"));
    assert!(told.contains("0 passed; 3 failed"), "{told}{said}");
    assert!(is_harmless(&told) && is_harmless(&said), "{told:?}{said:?}");
    assert!(told.contains("| ::error::") || told.contains("|   ::error"), "it is told all the same: {told}");
}

/// The line without its code spans.
fn without_code(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(at) = rest.find('`') {
        out.push_str(&rest[..at]);
        let fence = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (fence, behind) = rest[at..].split_at(fence);
        rest = match behind.find(&format!("{fence} ")).or_else(|| behind.find(fence)) {
            Some(end) => &behind[end + fence.len()..],
            None => behind,
        };
    }
    out + rest
}
