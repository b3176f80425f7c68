//! A run that is killed is an error in whatever is made of its session, and nothing of an older run stands for it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use steadfast::prelude::*;

use super::{finished, json, read, tests};
use crate::support::front_answers;

/// What a victim says, past libtest's capture, once its fault is on.
const ON: &str = "the fault is on";

/// Waits there to be killed if a file in its folder says so.
fn wait_where_asked() {
    if Path::new("wait").exists() {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n{ON}\n").as_bytes()).and_then(|()| out.flush()).expect("somebody reads");
        loop {
            std::thread::park();
        }
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests beside it"]
async fn may_wait(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let experiment = Experiment::new("may wait", front_answers(&cluster)).inject(cut);
    let experiment = experiment.act_with("wait", async |_| {
        wait_where_asked();
        Ok(())
    });
    experiment.run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests beside it"]
async fn waits_elsewhere(cluster: Cluster) -> steadfast::Result {
    let experiment = Experiment::new("waits elsewhere", front_answers(&cluster)).journal_path("kept/mine.json");
    let experiment = experiment.act_with("wait", async |_| {
        wait_where_asked();
        Ok(())
    });
    experiment.run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

const FORMATS: &str = "junit,markdown,html";

/// A session with one of these tests, to its end.
fn ends(out: &Path, test: &str, session: &str) {
    ends_with(FORMATS, out, test, session);
}

fn ends_with(formats: &str, out: &Path, test: &str, session: &str) {
    let mut command = tests(out, test);
    command.current_dir(out).env("STEADFAST_REPORT", formats).env("NEXTEST_RUN_ID", session);
    let (told, said) = finished(command);
    assert!(told.contains("1 passed"), "{told}{said}");
}

/// A session with one of these tests, which gets SIGKILL while it waits.
fn is_killed(out: &Path, test: &str, session: &str) {
    fs::write(out.join("wait"), "").expect("a file");
    let mut command = tests(out, test);
    command.current_dir(out).env("STEADFAST_REPORT", FORMATS).env("NEXTEST_RUN_ID", session);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == ON), "it ended before it waited");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    fs::remove_file(out.join("wait")).expect("a file");
}

const OTHER: &str = "report::endings::met";
const VICTIM: &str = "report::killed::may_wait";
const FOLDER: &str = "it.report.killed.may_wait";

/// The merged files have both, the victim as an error.
fn both_are_told(out: &Path) {
    let merged = json(out.join("summary.json"));
    let of = |folder: &str| {
        let all = merged["experiments"].as_array().expect("experiments");
        all.iter()
            .find(|one| one["folder"] == folder)
            .unwrap_or_else(|| panic!("{folder} is not in {merged:#}"))
            .clone()
    };
    let victim = of(FOLDER);
    assert_eq!((&victim["ended"], &victim["headline"]), (&"running".into(), &"not-ended".into()), "{victim:#}");
    assert!(victim["counts"]["errors"].as_u64() > Some(0), "{victim:#}");
    assert_eq!(victim["files"], serde_json::json!({"journal": "journal.json"}), "nothing old is linked");
    assert_eq!(of("it.report.endings.met")["headline"], "met");
    let junit = read(out.join("junit.xml"));
    assert_eq!(junit.matches("<testsuite ").count(), 2, "{junit}");
    assert!(junit.contains("<error message=\"the run has not ended"), "{junit}");
    assert!(!junit.contains(" errors=\"0\" skipped=\"0\" time=\"0.000\">\n  <testsuite "), "{junit}");
    let index = read(out.join("index.html"));
    assert!(index.contains("</span> not ended</td>") && index.contains("</span> met</td>"), "{index}");
}

#[test]
fn nothing_of_an_older_session_stands_for_a_run_that_was_killed() {
    let out = tempfile::tempdir().expect("a folder");
    ends(out.path(), VICTIM, "one");
    assert_eq!(json(out.path().join("summary.json"))["experiments"][0]["headline"], "met");
    assert!(out.path().join(FOLDER).join("junit.xml").is_file());
    is_killed(out.path(), VICTIM, "two");
    for name in ["summary.json", "junit.xml", "report.md", "report.html"] {
        assert!(!out.path().join(FOLDER).join(name).exists(), "{name} is of the older run");
    }
    ends(out.path(), OTHER, "two");
    both_are_told(out.path());
    // It is not kept as one that was killed either.
    ends(out.path(), VICTIM, "two");
    let merged = json(out.path().join("summary.json"));
    let words = merged["experiments"].as_array().expect("experiments").iter().map(|one| one["headline"].as_str());
    assert_eq!(words.collect::<Vec<_>>(), [Some("met"), Some("met")]);
}

#[test]
fn a_killed_run_is_told_where_nothing_was_before() {
    let out = tempfile::tempdir().expect("a folder");
    is_killed(out.path(), VICTIM, "one");
    ends(out.path(), OTHER, "one");
    both_are_told(out.path());
}

#[test]
fn what_somebody_else_wrote_beside_a_journal_stays() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().join(FOLDER);
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("summary.json"), "{\"mine\": 1}").expect("written");
    fs::write(folder.join("report.md"), "mine").expect("written");
    let mut command = tests(out.path(), VICTIM);
    command.current_dir(out.path());
    assert!(finished(command).0.contains("1 passed"));
    assert_eq!(read(folder.join("report.md")), "mine");
    assert_eq!(read(folder.join("summary.json")), "{\"mine\": 1}");
}

#[cfg(feature = "cli")]
#[test]
fn a_killed_run_whose_journal_lies_elsewhere_is_in_the_last_session() {
    let out = tempfile::tempdir().expect("a folder");
    ends(out.path(), OTHER, "one");
    is_killed(out.path(), "report::killed::waits_elsewhere", "two");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["report", "--last", "--under", "."]).current_dir(out.path());
    let (told, said) = finished(command);
    assert!(told.starts_with("The last run of tests (nextest-two) in "), "{told}{said}");
    assert!(told.contains("not ended: waits elsewhere") && told.contains("kept/mine.json"), "{told}");
    assert!(!told.contains("Merged: "), "the merged files are of another session: {told}");
}

/// Our own summary proves what it names, and nothing else.
#[test]
fn what_somebody_else_wrote_beside_our_reports_stays() {
    let out = tempfile::tempdir().expect("a folder");
    let foreign =
        [out.path().join(FOLDER).join("junit.xml"), out.path().join("index.html"), out.path().join("junit.xml")];
    for session in ["one", "two"] {
        ends_with("markdown", out.path(), VICTIM, session);
        for file in &foreign {
            assert_eq!(
                fs::read_to_string(file).ok(),
                (session == "two").then(|| "mine".to_owned()),
                "{}",
                file.display()
            );
            fs::write(file, "mine").expect("written");
        }
    }
    // Ours goes when it is asked for no more.
    ends(out.path(), VICTIM, "three");
    assert!(read(&foreign[0]).contains("<testsuite ") && read(&foreign[1]).contains("</html>"));
    ends_with("markdown", out.path(), VICTIM, "four");
    assert!(foreign.iter().all(|file| !file.exists()), "reports of an older run");
}
