//! Documents in whose midst something dies: it is told, what can be undone is, and it is no success.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use steadfast::clock::Stopwatch;
use tempfile::TempDir;

use super::lab::{self, Lab};
use super::{PATIENCE, Site, on_a_runtime};

/// An undo that nobody answers is tried for a while.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(180);

/// A document that is run against a lab.
struct Conducted {
    child: Child,
    folder: TempDir,
}

/// Back is cut off; then these are done.
fn experiment(then: &[Value]) -> Value {
    let networking = |func: &str, arguments: Value| json!({"type": "python", "module": "chaosk8s.networking.actions", "func": func, "arguments": arguments});
    let cut = json!({"type": "action", "name": "cut off back",
        "provider": networking("deny_all_ingress", json!({"label_selectors": {"app": "back"}}))});
    let mut method = vec![cut];
    method.extend(then.iter().cloned());
    json!({"title": "something dies", "description": "in its midst", "method": method})
}

fn shell(name: &str, script: &str) -> Value {
    json!({"type": "action", "name": name, "provider": {"type": "process", "path": "sh", "arguments": ["-c", script]}})
}

impl Conducted {
    /// Starts it; `sh` has a script that ends in the command's own line, or nothing.
    fn start(lab: &Lab, document: &Value, sh: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), lab, document, sh)
    }

    /// As [`start`](Self::start), with the ledgers of whoever was in this folder before.
    fn start_in(folder: TempDir, lab: &Lab, document: &Value, sh: &str) -> Self {
        fs::write(folder.path().join("experiment.json"), document.to_string()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{sh} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_steadfast")]);
        command.args(["run", "--cluster", "context:steadfast-lab", "experiment.json"]);
        command.args(document.get("controls").map(|_| "--allow-python")).env("PYTHONPATH", folder.path());
        command.current_dir(folder.path()).env("KUBECONFIG", &lab.kubeconfig).env("HOME", folder.path());
        command.env("STEADFAST_STATE_DIR", folder.path().join("state"));
        let out = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        let child = command.stdin(Stdio::null()).stdout(out("out")).stderr(out("err")).spawn().unwrap();
        Self { child, folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    fn waits_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let since = Stopwatch::start();
        while !holds(self) {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended before {what}: {}", self.said());
            assert!(since.elapsed() < PATIENCE, "{what} is not to be seen: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn has_written(&self, name: &str) -> bool {
        fs::read_to_string(self.folder.path().join(name)).is_ok_and(|text| text.ends_with('\n'))
    }

    /// How it ended, and its journal.
    fn ends(&mut self) -> (ExitStatus, Value) {
        let since = Stopwatch::start();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < GIVES_UP_WITHIN, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        let journal = fs::read_to_string(self.folder.path().join("journal.json")).unwrap();
        (status, serde_json::from_str(&journal).expect("the journal is whole"))
    }
}

impl Drop for Conducted {
    fn drop(&mut self) {
        // Where a test has failed: it is only to be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn statuses(journal: &Value, part: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = journal[part].as_array().into_iter().flatten();
    records.map(|record| (text(&record["activity"]["name"]), text(&record["status"]))).collect()
}

fn pair(name: &str, status: &str) -> (String, String) {
    (name.to_owned(), status.to_owned())
}

/// What is told of the last session of these outputs.
pub fn last_of(out: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    let told = command.args(["report", "--last", "--under"]).arg(out).output().unwrap();
    String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr)
}

#[test]
fn one_that_is_stopped_has_its_reports_and_one_that_is_killed_is_known() {
    let running = lab::start();
    let waits = experiment(&[shell("wait", "echo here > here; until test -e go; do sleep 0.02; done")]);
    let asks = "export STEADFAST_OUT=. STEADFAST_REPORT=html,junit,json NEXTEST_RUN_ID=one GITHUB_ACTIONS=;";
    let mut conducted = Conducted::start(&running.lab, &waits, asks);
    conducted.waits_until("the wait", |one| one.has_written("here"));
    conducted.signal(Signal::INT);
    assert_eq!(conducted.ends().0.code(), Some(130), "{}", conducted.said());
    for (file, says) in [
        ("report.html", "interrupted by SIGINT"),
        ("junit.xml", "interrupted by SIGINT"),
        ("summary.json", "\"ended\": \"interrupted\""),
    ] {
        let text = fs::read_to_string(conducted.folder.path().join(file)).unwrap_or_default();
        assert!(text.contains(says), "{file} does not say {says:?}: {text}");
    }

    let mut conducted = Conducted::start(&running.lab, &waits, asks);
    conducted.waits_until("the wait", |one| one.has_written("here"));
    conducted.signal(Signal::KILL);
    conducted.child.wait().unwrap();
    let told = last_of(conducted.folder.path());
    assert!(told.starts_with("The last run of tests (nextest-one) in "), "{told}");
    assert!(told.contains("not ended: something dies ("), "{told}");
    assert!(told.contains("The run has not ended as far as its journal knows"), "{told}");
    // Whoever waits is to end with this test.
    fs::write(conducted.folder.path().join("go"), "").unwrap();
}

#[test]
fn a_cluster_that_vanishes_is_told_with_what_may_be_left_on_it() {
    let mut running = lab::start();
    let document = experiment(&[shell("wait", "echo here > here; until test -e go; do sleep 0.02; done")]);
    let mut conducted = Conducted::start(&running.lab, &document, "");
    conducted.waits_until("the wait", |one| one.has_written("here"));
    kill(&mut running);
    fs::write(conducted.folder.path().join("go"), "").unwrap();
    let (status, journal) = conducted.ends();
    let said = conducted.said();
    assert_eq!((status.code(), &journal["x-steadfast"]["exit"]), (Some(5), &json!(5)), "{said}");
    assert_eq!(statuses(&journal, "run"), [pair("cut off back", "succeeded"), pair("wait", "succeeded")]);
    let undo = &journal["x-steadfast"]["journal"]["faults"][0]["undo"][0];
    assert_eq!(undo["outcome"], "leaked", "{undo}");
    assert!(undo["why"].as_str().is_some_and(|why| why.contains("undo it by hand")), "{undo}");
    assert!(said.contains("networkpolicy default/chaostoolkit-deny-all-ingress"), "{said}");
    assert!(said.contains("may be left: delete networkpolicy"), "{said}");
}

/// What is called after an activity that was cut.
const HANGS: &str = "
import time

def after_activity_control(context, **_):
    if context['name'] == 'wait':
        with open('hangs', 'w') as file:
            print(1, file=file)
        time.sleep(600)
";

/// Controls are called after what the first signal has cut, and one hangs: the next signal cuts it, and the fault goes.
#[test]
fn a_second_signal_cuts_what_controls_do_and_undoes_the_faults_of_a_document() {
    on_a_runtime(async {
        let site = Site::start().await;
        let mut document = experiment(&[shell("wait", "echo here > here; exec sleep 600")]);
        document["controls"] = json!([{"name": "hangs", "provider": {"type": "python", "module": "hangs"}}]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hangs.py"), HANGS).unwrap();
        let mut conducted = Conducted::start_in(folder, &site.running.lab, &document, "");
        conducted.waits_until("the wait", |one| one.has_written("here"));
        conducted.signal(Signal::TERM);
        conducted.waits_until("the control", |one| one.has_written("hangs"));
        assert_ne!(site.owned().await, Vec::<String>::new(), "the fault is on");
        conducted.signal(Signal::INT);
        let (status, journal) = conducted.ends();
        let said = conducted.said();
        assert_eq!((status.code(), &journal["status"]), (Some(143), &json!("interrupted")), "{said}");
        assert_eq!(site.owned().await, Vec::<String>::new(), "{said}");
    });
}

/// Neither the document nor a leash lives on: the next run that opens the cluster makes it again, out of the ledger.
#[test]
fn what_a_killed_document_has_deleted_is_made_again_by_the_next_run() {
    on_a_runtime(async {
        let site = Site::start().await;
        let services: Api<Service> = Api::namespaced(site.client.clone(), "default");
        let before = services.get("back").await.unwrap();
        let delete = json!({"type": "action", "name": "delete", "provider": {"type": "python",
            "module": "chaosk8s.service.actions", "func": "delete_service", "arguments": {"name": "back"}}});
        let wait = shell("wait", "echo here > here; exec sleep 600");
        let mut document = experiment(&[]);
        document["method"] = json!([delete, wait]);
        let mut conducted = Conducted::start(&site.running.lab, &document, "export STEADFAST_LEASH=off;");
        conducted.waits_until("the wait", |one| one.has_written("here"));
        assert!(services.get_opt("back").await.unwrap().is_none(), "it is deleted");
        conducted.child.kill().unwrap();
        conducted.child.wait().unwrap();
        let folder = std::mem::replace(&mut conducted.folder, tempfile::tempdir().unwrap());
        let mut next = Conducted::start_in(folder, &site.running.lab, &experiment(&[]), "");
        let (status, _) = next.ends();
        let said = next.said();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("make service default/back again"), "{said}");
        assert_eq!(services.get("back").await.unwrap().spec, before.spec);
        assert_eq!(site.owned().await, Vec::<String>::new(), "{said}");
    });
}

/// The document's own rollbacks are played after the first signal, and hang: the next one cuts them, and the fault goes.
#[test]
fn a_second_signal_cuts_the_rollbacks_of_a_document_and_undoes_its_faults() {
    on_a_runtime(async {
        let site = Site::start().await;
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let mut document = experiment(&[shell("wait", "echo here > here; exec sleep 600")]);
            document["runtime"] = json!({"rollbacks": {"strategy": "always"}});
            document["rollbacks"] = json!([shell("hang", "echo $$ > hangs; exec sleep 600")]);
            let mut conducted = Conducted::start(&site.running.lab, &document, "");
            conducted.waits_until("the wait", |one| one.has_written("here"));
            conducted.signal(signal);
            conducted.waits_until("the rollback", |one| one.has_written("hangs"));
            assert_ne!(site.owned().await, Vec::<String>::new(), "the fault is on");
            conducted.signal(signal);
            let (status, journal) = conducted.ends();
            let said = conducted.said();
            assert_eq!((status.code(), &journal["status"]), (Some(code), &json!("interrupted")), "{said}");
            assert_eq!(statuses(&journal, "rollbacks"), [pair("hang", "aborted")]);
            assert_eq!(site.owned().await, Vec::<String>::new(), "{said}");
        }
    });
}

#[test]
fn an_interrupted_document_says_how_it_ended_and_what_became_of_its_faults() {
    on_a_runtime(async {
        let site = Site::start().await;
        for as_json in [false, true] {
            let document = experiment(&[shell("wait", "echo here > here; exec sleep 600")]);
            let option = if as_json { "set -- \"$@\" --json;" } else { "" };
            let mut conducted = Conducted::start(&site.running.lab, &document, option);
            conducted.waits_until("the wait", |one| one.has_written("here"));
            conducted.signal(Signal::INT);
            let (status, _) = conducted.ends();
            assert_eq!(status.code(), Some(130), "{}", conducted.said());
            let out = fs::read_to_string(conducted.folder.path().join("out")).unwrap();
            if as_json {
                let told: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
                assert_eq!(
                    (&told["status"], &told["exit"], &told["left"]),
                    (&json!("interrupted"), &json!(130), &json!([]))
                );
                assert!(told["undone"][0].as_str().is_some_and(|one| one.contains("app=back")), "{told}");
            } else {
                assert_eq!(out, "verdict: inconclusive; journal: ./journal.json\n");
            }
            let said = conducted.said();
            assert!(said.contains("undone: ") && !said.contains("may be left"), "{said}");
        }
    });
}

#[test]
fn a_program_that_is_killed_is_in_the_journal_with_its_signal_and_the_fault_is_undone() {
    on_a_runtime(async {
        let site = Site::start().await;
        let document = experiment(&[shell("load", "echo $$ > pid; exec sleep 600"), shell("next", "echo next")]);
        let mut conducted = Conducted::start(&site.running.lab, &document, "");
        conducted.waits_until("its number", |one| one.has_written("pid"));
        assert_ne!(site.owned().await, Vec::<String>::new(), "the fault is on");
        let pid = fs::read_to_string(conducted.folder.path().join("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        let (status, journal) = conducted.ends();
        assert_eq!(status.code(), Some(0), "{}", conducted.said());
        let all = [pair("cut off back", "succeeded"), pair("load", "succeeded"), pair("next", "succeeded")];
        assert_eq!(statuses(&journal, "run"), all);
        assert_eq!(journal["run"][1]["output"]["status"], -9);
        assert_eq!(site.owned().await, Vec::<String>::new());
    });
}

/// No file of the process may be longer than this many blocks of 512 bytes: a disk that fills up in its midst.
const FULL: &str = "trap '' XFSZ; ulimit -f 64;";

#[test]
fn a_journal_that_cannot_be_written_is_told_and_the_fault_is_undone() {
    on_a_runtime(async {
        let site = Site::start().await;
        let document = experiment(&[shell("much", "head -c 65536 /dev/zero | tr '\\0' z")]);
        let mut conducted = Conducted::start(&site.running.lab, &document, FULL);
        let (status, journal) = conducted.ends();
        let said = conducted.said();
        assert!(status.code().is_some_and(|code| ![0, 1, 3].contains(&code)), "{status:?}: {said}");
        assert!(said.contains("journal.json") && said.contains("File too large"), "{said}");
        // What was there before is whole, and no success.
        assert_ne!(journal["status"], "completed");
        assert_eq!(site.owned().await, Vec::<String>::new(), "{said}");
    });
}

/// The lab dies, and nothing of it answers any more.
fn kill(lab: &mut lab::Running) {
    lab.killed = true;
    lab.child.kill().expect("it was running");
    lab.child.wait().expect("it has died");
}
