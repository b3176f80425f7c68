//! `steadfast report`.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use serde_json::{Value, json};

use super::schema::wrong;
use super::{ENDINGS, child, finished, folder, is_harmless, json as read_json, read};

/// The command with these arguments in this folder: exit code, standard output, standard error.
fn report(within: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("report").args(arguments).current_dir(within).env_remove("STEADFAST_OUT");
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn schema() -> Value {
    read_json(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/summary.schema.json"))
}

#[test]
fn the_last_run_is_told_what_failed_first() {
    let out = tempfile::tempdir().expect("a folder");
    let run = |ending: &str, session: &str| {
        let mut command = child(out.path(), ending);
        command.env("NEXTEST_RUN_ID", session).env("STEADFAST_REPORT", if session == "old" { "" } else { "junit" });
        finished(command);
    };
    run("", "old");
    for ending in ENDINGS.iter().filter(|ending| **ending != "unproved") {
        run(ending, "new");
    }
    let (code, told, said) = report(out.path(), &["--last", "--under", "."]);
    assert_eq!((code, said.as_str()), (0, ""), "{told}");
    let lines: Vec<_> = told.lines().collect();
    let head = "1 rollback partial; 1 met; 1 experiment failed; 1 deviated, as asserted; \
2 gate missed, as asserted; 2 met, as asserted";
    assert!(lines[0].starts_with("The last run of tests (nextest-new) in ") && lines[0].contains(head), "{}", lines[0]);
    assert!(lines[1].starts_with("rollback partial: held (5 of 6 cases as they should be) it.report"), "{told}");
    assert!(lines[3].contains("undo: delete networkpolicy default/steadfast-<run>-2: unverified"), "{told}");
    let twice = lines.iter().position(|line| line.starts_with("met: twice ")).expect("it is told");
    assert_eq!(lines[twice + 1], "    its test failed: expected the verdict deviated");
    assert!(told.contains("\nNot run: 2 cases of 1 experiment: not reached: over a wire\n"), "{told}");
    assert!(told.contains("\nMerged: ") && told.contains("\nBeside the journals: junit.xml\n"), "{told}");
    assert!(!told.contains("unproved"), "it was not run: {told}");

    // Of what CI kept of it, without what says which run it was.
    fs::remove_dir_all(out.path().join(".runs")).expect("removed");
    let (_, told, _) = report(out.path(), &["--last", "--under", "."]);
    assert!(told.starts_with("All journals there, since no run is noted in ") && told.contains("unproved"), "{told}");

    let torn = out.path().join(folder("met")).join("journal.json");
    let whole = read(&torn);
    fs::write(&torn, &whole[..whole.len() / 2]).expect("written");
    let (code, told, _) = report(out.path(), &["--last", "--under", "."]);
    assert_eq!(code, 4);
    assert_eq!(told.lines().filter(|line| line.starts_with("unreadable: ")).count(), 1, "{told}");
    assert!(told.lines().nth(1).expect("a line").contains("journal.json is cut off (line "), "{told}");
    let (code, _, said) = report(out.path(), &["--last", "--under", "nowhere"]);
    assert!(code == 4 && said.contains("nowhere has no journal; run tests first"), "{said}");
}

#[test]
fn a_journal_that_was_never_finished_says_so_in_each_format() {
    let out = tempfile::tempdir().expect("a folder");
    finished(child(out.path(), "deviated"));
    let path = out.path().join(folder("deviated")).join("journal.json");
    let mut journal = read_json(&path);
    journal["ended"] = json!({"how": "running"});
    journal["verdict"] = json!("not-judged");
    fs::write(&path, journal.to_string()).expect("written");
    let path = path.to_str().expect("a text");
    for (format, part) in [
        ("html", "<!doctype html>"),
        ("text", "The run has not ended."),
        ("junit", "<error message=\"the run has not ended"),
        ("markdown", ": not ended\n"),
        ("json", "\"ended\": \"running\""),
        ("github", "::warning title=not ended%3A "),
    ] {
        let (code, told, said) = report(out.path(), &["--format", format, path]);
        assert!(code == 0 && told.contains(part), "{format}: {told}{said}");
    }
}

#[test]
fn what_a_journal_says_moves_no_terminal_and_is_no_command() {
    let out = tempfile::tempdir().expect("a folder");
    let evil = "::error file=x::y\u{1b}]52;c;aGk=\u{7}\n::error::z\n##[error]w";
    let mut journal = read_json(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/sample.json"));
    for place in [
        "/experiment",
        "/hypothesis",
        "/evaluations/0/phase",
        "/evaluations/0/checks/0/check",
        "/evaluations/0/checks/0/phrase",
        "/faults/0/fault",
        "/faults/0/sightings/0/saw",
        "/faults/0/undo/0/undo",
        "/faults/0/targets/0",
    ] {
        *journal.pointer_mut(place).unwrap_or_else(|| panic!("{place} is there")) = json!(evil);
    }
    journal["evaluations"][0]["checks"][0]["outcome"] = json!("not-met");
    journal["ended"] = json!({"how": "failed", "error": evil});
    fs::create_dir(out.path().join("a")).expect("a folder");
    fs::write(out.path().join("a/journal.json"), journal.to_string()).expect("written");
    for arguments in [&["a/journal.json"][..], &["--format", "text", "a/journal.json"], &["--last", "--under", "."]] {
        let (code, told, said) = report(out.path(), arguments);
        assert!(code == 0 && is_harmless(&told) && said.is_empty(), "{arguments:?}: {told:?} {said:?}");
        assert!(told.contains("::error file=x::y"), "it is told all the same: {told}");
    }
}

#[test]
fn files_are_made_by_their_extension_and_say_where_they_are() {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = child(out.path(), "");
    command.env("STEADFAST_REPORT", "json");
    finished(command);
    let journals: Vec<_> = ENDINGS.iter().map(|ending| folder(ending) + "/journal.json").collect();
    let mut journals: Vec<_> = journals.iter().map(String::as_str).collect();
    for (file, part) in [
        ("all.html", "</span> rollback partial</td><td>held<br>"),
        ("all.xml", "<testsuite name=\"front answers\""),
        ("all.md", "## `front without back`: deviated"),
        ("all.json", "\"experiments\": ["),
        ("all.txt", "front answers: met"),
    ] {
        let (code, told, said) = report(out.path(), &[&["-o", file], &journals[..]].concat());
        assert_eq!((code, told.trim_end(), said.as_str()), (0, file, ""));
        assert!(read(out.path().join(file)).contains(part), "{file}");
        let again = read(out.path().join(file));
        report(out.path(), &[&["-o", file], &journals[..]].concat());
        assert_eq!(read(out.path().join(file)), again, "equal journals, equal bytes");
    }
    // Wherever the page lies, its links lead to what is there.
    fs::create_dir(out.path().join("lists")).expect("a folder");
    let whole = out.path().join(journals[0]).to_string_lossy().into_owned();
    for (page, journals) in
        [("all.html", &journals[..2]), ("lists/all.html", &journals[..2]), ("two.html", &[&*whole, journals[1]])]
    {
        report(out.path(), &[&["-o", page], journals].concat());
        let page = out.path().join(page);
        let text = read(&page);
        let links: Vec<_> = text.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(links.len() >= 2, "{text}");
        for link in links {
            assert!(page.parent().expect("a folder").join(link).is_file(), "{} links {link}", page.display());
        }
    }
    let (code, _, said) = report(out.path(), &["-o", "all.pdf", journals[0]]);
    assert!(code == 2 && said.contains("all.pdf means no format"), "{said}");
    assert_eq!(report(out.path(), &[]).0, 2);
    assert_eq!(report(out.path(), &["--under", "."]).0, 2);

    // What cannot be read is told, and the others are there all the same.
    journals.push("none.json");
    let (code, told, said) = report(out.path(), &[&["--format", "json"], &journals[..]].concat());
    assert_eq!(code, 4);
    assert!(said.contains("failed to read none.json") && said.lines().count() == 1, "{said}");
    let schema = schema();
    let index: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(index["experiments"].as_array().map(Vec::len), Some(ENDINGS.len()));
    assert_eq!(wrong(&schema, &index), [""; 0]);
    assert_eq!(wrong(&schema, &read_json(out.path().join("summary.json"))), [""; 0]);
    for ending in ENDINGS {
        let summary = read_json(out.path().join(folder(ending)).join("summary.json"));
        assert_eq!(wrong(&schema, &summary), [""; 0]);
    }
    // The check itself sees what is wrong.
    let mut summary = read_json(out.path().join(folder("met")).join("summary.json"));
    assert_eq!(wrong(&schema, &summary), [""; 0]);
    summary["extra"] = json!(1);
    summary["verdict"] = json!("fine");
    summary["counts"]["cases"] = json!(-1);
    assert!(wrong(&schema, &summary).len() > 1);
}

#[test]
fn journals_of_documents_have_their_activities_beside_our_evidence() {
    let out = tempfile::tempdir().expect("a folder");
    let document = json!({
        "title": "back is cut off", "description": "d",
        "steady-state-hypothesis": {"title": "front answers", "probes": [{"type": "probe", "name": "front",
            "tolerance": 200, "provider": {"type": "http", "url": "http://localhost:30080/"}}]},
        "method": [{"type": "action", "name": "cut", "provider": {"type": "python", "module": "chaosk8s.networking.actions",
            "func": "deny_all_ingress", "arguments": {"label_selectors": {"app": "back"}, "ns": "default"}}}],
        "rollbacks": [{"type": "action", "name": "tidy", "provider": {"type": "http", "url": "http://127.0.0.1:1/"}}],
    });
    fs::write(out.path().join("experiment.json"), document.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["run", "--cluster", "embedded", "experiment.json"]).current_dir(out.path());
    command.env("STEADFAST_STATE_DIR", out.path().join("state")).env("STEADFAST_REPORT", "junit");
    let ran = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(out.path().join("junit.xml").is_file(), "beside its journal: {said}");
    assert!(!out.path().join("target").exists(), "and nothing elsewhere");
    let (code, told, said) = report(out.path(), &["--format", "json", "journal.json"]);
    assert_eq!(code, 0, "{said}");
    let summary: Value = serde_json::from_str(&told).expect("JSON");
    let cases = summary["cases"].as_array().expect("cases");
    let of = |phase: &str| -> Vec<&str> {
        cases.iter().filter(|case| case["phase"] == phase).filter_map(|case| case["name"].as_str()).collect()
    };
    assert_eq!((of("before"), of("during")), (vec!["front"], vec!["front"]), "{told}");
    assert!(of("fault").len() == 1 && of("undo").contains(&"tidy"), "{told}");
    assert_eq!(summary["notUndone"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!((&summary["source"], &summary["verdict"]), (&json!("steadfast"), &json!("met")), "{told}");
}

/// The method itself ends its fault before the hypothesis is judged: what held then is no evidence, and no format has it so.
#[test]
fn a_document_whose_fault_is_over_has_no_check_that_passed_under_it() {
    let out = tempfile::tempdir().expect("a folder");
    let action = |name: &str, func: &str, arguments: Value, wait: u64| {
        json!({"type": "action", "name": name, "pauses": {"after": wait}, "provider": {"type": "python",
            "module": "chaosk8s.networking.actions", "func": func, "arguments": arguments}})
    };
    let policy = json!({"metadata": {"name": "isolate-back"}, "spec": {"podSelector": {"matchLabels": {"app": "back"}},
        "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "middle"}}}]}]}});
    let document = json!({
        "title": "back was isolated", "description": "d",
        "steady-state-hypothesis": {"title": "front answers", "probes": [{"type": "probe", "name": "front",
            "tolerance": 200, "provider": {"type": "http", "url": "http://localhost:30080/"}}]},
        "method": [
            action("isolate", "create_network_policy", json!({"spec": policy}), 5),
            action("connect", "remove_network_policy", json!({"name": "isolate-back"}), 5),
        ],
    });
    fs::write(out.path().join("experiment.json"), document.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["run", "--cluster", "embedded", "experiment.json"]).current_dir(out.path());
    let ran = command.env("STEADFAST_STATE_DIR", out.path().join("state")).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let (_, told, problems) = report(out.path(), &["--format", "json", "journal.json"]);
    let summary: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{problems}{said}"));
    assert_eq!(summary["verdict"], "inconclusive", "{told}{said}");
    let cases = summary["cases"].as_array().expect("cases");
    let of = |phase: &str| -> Vec<&str> {
        cases.iter().filter(|case| case["phase"] == phase).filter_map(|case| case["result"].as_str()).collect()
    };
    assert_eq!((of("before"), of("during")), (vec!["passed"], vec!["error"]), "{told}");
    let (_, text, _) = report(out.path(), &["journal.json"]);
    assert!(text.contains("no fault was on when it looked") && !text.contains("While "), "{text}");
}

/// A tolerance on series has its words and its series there, and the attack its figures around the fault.
#[test]
fn a_document_is_told_with_its_series_and_its_load() {
    let out = tempfile::tempdir().expect("a folder");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/lab-growth-deviated.json");
    fs::write(out.path().join("targets.txt"), "GET http://localhost:30080/\n").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["run", "--cluster", "embedded"]).arg(document).current_dir(out.path());
    let ran = command.env("STEADFAST_STATE_DIR", out.path().join("state")).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let (code, page, problems) = report(out.path(), &["--format", "html", "journal.json"]);
    assert_eq!((code, problems.as_str()), (0, ""), "{said}");
    let section = |id: &str| {
        let from = page.find(&format!("<section id=\"{id}\">")).expect("a section");
        &page[from..][..page[from..].find("</section>").expect("its end")]
    };
    let judged = section("hypothesis");
    assert!(judged.contains("was a growth of ") && judged.contains("expected at most 0"), "{judged}");
    assert!(judged.contains("Series of this judgement") && judged.contains("pod=front-"), "{judged}");
    assert!(judged.contains("class=\"spark\""), "its series belong to it: {judged}");
    let numbers = section("numbers");
    assert!(numbers.contains("around deny ingress to pods app=back in default"), "{numbers}");
    let head = "<th scope=\"col\">before</th><th scope=\"col\">during</th>";
    assert!(numbers.contains(head) && numbers.contains(">99 %</th>"), "{numbers}");
    assert!(section("time").contains("evaluated under the fault"), "its window is drawn");
}

#[test]
fn a_document_without_a_cluster_has_its_reports_too() {
    let out = tempfile::tempdir().expect("a folder");
    let document = json!({
        "title": "true is true", "description": "d",
        "steady-state-hypothesis": {"title": "it is", "probes": [{"type": "probe", "name": "true",
            "tolerance": 0, "provider": {"type": "process", "path": "true"}}]},
        "method": [],
    });
    fs::write(out.path().join("experiment.json"), document.to_string()).expect("written");
    let run = |asked: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["run", "experiment.json"]).current_dir(out.path()).env_remove("GITHUB_ACTIONS");
        command.env_remove("GITHUB_STEP_SUMMARY").env("STEADFAST_REPORT", asked).env_remove("STEADFAST_OUT");
        let ran = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
        let made = ["junit.xml", "report.html", "summary.json"].map(|file| {
            let path = out.path().join(file);
            let made = fs::read_to_string(&path).is_ok_and(|text| text.contains("true is true"));
            let _ = fs::remove_file(path);
            made
        });
        (made, said)
    };
    assert_eq!(run("").0, [false; 3]);
    let (made, said) = run("junit,html,json");
    assert_eq!(made, [true; 3], "{said}");
    fs::write(out.path().join("steadfast.toml"), "[report]\nformats = [\"junit\"]\n").expect("written");
    let (made, said) = run("");
    assert_eq!(made, [true, false, true], "{said}");
}

#[test]
fn the_originals_journals_say_what_can_be_said() {
    let out = tempfile::tempdir().expect("a folder");
    let probe = json!({"activity": {"type": "probe", "name": "p"}, "output": "</x>|`a", "status": "succeeded",
        "tolerance_met": true, "start": "2026-01-01T00:00:00+00:00", "end": "2026-01-01T00:00:01+00:00", "duration": 1.0});
    let state = json!({"steady_state_met": true, "probes": [probe]});
    let journal = json!({
        "chaoslib-version": "1.44.0", "platform": "x", "node": "host", "start": "2026-01-01T00:00:00+00:00",
        "end": "2026-01-01T00:00:10+00:00", "duration": 10.0, "status": "completed", "deviated": false,
        "experiment": {"title": "t", "dry": null}, "rollbacks": [],
        "steady_states": {"before": state, "after": state, "during": []},
        "run": [{"activity": {"type": "action", "name": "a"}, "status": "succeeded", "output": null}],
    });
    fs::write(out.path().join("journal.json"), journal.to_string()).expect("written");
    let (code, told, said) = report(out.path(), &["journal.json"]);
    assert!(code == 0 && said.is_empty(), "{said}");
    assert!(!told.contains("SEED"), "{told}");
    assert!(told.contains("t: met") && told.contains("Nothing shows whether its actions had an effect"), "{told}");
    let (_, told, _) = report(out.path(), &["--format", "json", "journal.json"]);
    let summary: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(summary["source"], "chaos-toolkit");
    assert_eq!(summary["sentence"], "After a method whose effects nobody has looked at, p was </x>|`a.");
    assert_eq!((&summary["seed"], &summary["run"]), (&Value::Null, &Value::Null));
    assert_eq!(wrong(&schema(), &summary), [""; 0]);
    let (_, page, _) = report(out.path(), &["--format", "html", "journal.json"]);
    assert!(page.contains("After a method whose effects nobody has looked at, p was"), "{page}");
    for untrue in ["SEED", "Without any fault", "steadfast run", "<dt>seed</dt>"] {
        assert!(!page.contains(untrue), "{untrue}: {page}");
    }
    // Compared with a run of Rust's own.
    let sample = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/sample.json"));
    let mut ours: Value = serde_json::from_str(&sample).expect("a journal");
    (ours["experiment"], ours["seed"]) = (json!("t"), json!(7));
    fs::write(out.path().join("ours.json"), ours.to_string()).expect("written");
    let (_, told, _) = report(out.path(), &["--baseline", "ours.json", "journal.json"]);
    assert!(told.contains("conducted by: was an experiment in Rust, is Chaos Toolkit"), "{told}");
    assert!(!told.contains("seed:") && told.contains("\n  run of 2026-01-01T00:00:00Z, compared with run "), "{told}");
}

/// Chaos Toolkit writes down what probes return, and an experiment with its secrets, as they are.
#[test]
fn what_the_original_does_not_hide_no_report_shows() {
    let out = tempfile::tempdir().expect("a folder");
    let output = json!({"status": 200, "headers": {"Set-Cookie": "session=S3CRET", "Server": "shown"},
        "body": "api_key=S3CRET-too", "password": "S3CRET"});
    let failed = ["Traceback\n", "chaoslib.exceptions.ActivityFailed: no luck at http://me:S3CRET@host/\n"];
    let record = |kind: &str, output: &Value| {
        json!({"activity": {"type": kind, "name": "p", "provider": {"secrets": ["s"], "arguments": {"token": "S3CRET"}}},
            "output": output, "status": if output.is_null() { "failed" } else { "succeeded" }, "exception": failed,
            "tolerance_met": true, "start": "2026-01-01T00:00:00", "end": "2026-01-01T00:00:01"})
    };
    let state = json!({"steady_state_met": true, "probes": [record("probe", &output)]});
    let journal = json!({
        "chaoslib-version": "1.44.0", "start": "2026-01-01T00:00:00", "end": "2026-01-01T00:00:10", "status": "completed",
        "deviated": false, "experiment": {"title": "t", "secrets": {"s": {"plain": "S3CRET"}}, "dry": null},
        "steady_states": {"before": state, "after": state}, "run": [record("action", &Value::Null)], "rollbacks": [],
    });
    fs::write(out.path().join("journal.json"), journal.to_string()).expect("written");
    for format in ["text", "html", "junit", "markdown", "json", "github"] {
        let (_, told, _) = report(out.path(), &["--format", format, "journal.json"]);
        assert!(!told.contains("S3CRET"), "{format}: {told}");
        let carried = told.rsplit_once("base64,").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
        let carried = base64::engine::general_purpose::STANDARD.decode(carried).expect("base64");
        assert!(!String::from_utf8_lossy(&carried).contains("S3CRET"), "{format}");
        assert!(told.contains("no luck"), "{format}: {told}");
    }
}

#[test]
fn a_regression_against_a_baseline_has_its_exit_code() {
    let out = tempfile::tempdir().expect("a folder");
    let sample = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/sample.json"));
    let old: Value = serde_json::from_str(&sample).expect("a journal");
    let (mut met, mut other) = (old.clone(), old.clone());
    met["verdict"] = json!("met");
    other["experiment"] = json!("another");
    let mut unknown = old.clone();
    (unknown["verdict"], unknown["reason"]) = (json!("inconclusive"), json!({"reason": "not-a-number", "what": "x"}));
    // As `steadfast run` stores it.
    let stored = json!({
        "chaoslib-version": "1.44.0", "experiment": {"title": old["experiment"], "method": []}, "status": "completed",
        "start": "2026-01-01T00:00:00", "end": "2026-01-01T00:00:01", "deviated": true, "steady_states": {}, "run": [],
        "x-steadfast": {"version": 1, "exit": 1, "journal": met},
    });
    for (name, journal) in [("old", &old), ("met", &met), ("other", &other), ("unknown", &unknown), ("stored", &stored)]
    {
        fs::write(out.path().join(format!("{name}.json")), journal.to_string()).expect("written");
    }
    for (arguments, code, says) in [
        ("--baseline old.json --fail-on-regression 10% old.json", 0, "no regression"),
        ("--baseline met.json --fail-on-regression 10% old.json", 1, "REGRESSION  verdict: met → deviated"),
        ("--baseline stored.json --fail-on-regression 10% old.json", 1, "REGRESSION  verdict: met → deviated"),
        ("--baseline met.json old.json", 0, "worse       verdict: met → deviated"),
        ("--baseline met.json --fail-on-regression 10% unknown.json", 1, "met → inconclusive"),
        ("--baseline unknown.json --fail-on-regression 10% unknown.json", 3, "not decided"),
        ("--baseline old.json --format markdown met.json", 0, "| better | verdict |"),
        ("--baseline old.json --format json met.json", 0, "\"schemaVersion\": 1"),
        ("--baseline old.json --format junit met.json", 2, "a comparison is told as text, markdown or json"),
        ("--baseline other.json old.json", 2, "are of different experiments"),
        ("--baseline old.json met.json old.json", 2, "is compared with one journal"),
        ("--baseline none.json old.json", 4, "none.json"),
        ("--baseline old.json --fail-on-regression 10 old.json", 2, "give a percentage such as 10%"),
        ("--fail-on-regression 10% old.json", 2, "--baseline"),
    ] {
        let (exit, told, said) = report(out.path(), &arguments.split(' ').collect::<Vec<_>>());
        assert!(exit == code && (told.contains(says) || said.contains(says)), "{arguments}: {exit}\n{told}{said}");
    }
    let (exit, told, _) = report(out.path(), &["--baseline", "met.json", "-o", "changes.md", "old.json"]);
    assert_eq!((exit, told.as_str()), (0, "changes.md\n"));
    assert!(read(out.path().join("changes.md")).contains("| worse | verdict | – | `met` | `deviated` |"));
}
