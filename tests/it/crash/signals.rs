//! Signals, with the leash turned off: what undoes is the process itself.

use std::time::Duration;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;
use steadfast::clock::Stopwatch;
use steadfast::journal::{Ended, Journal};

use super::victim::Victim;
use super::{PATIENCE, Site, on_a_runtime};

const OFF: &[(&str, &str)] = &[("STEADFAST_LEASH", "off")];

/// nextest kills 10 s after its first signal.
const WITHIN: Duration = Duration::from_secs(8);

/// The policies that stand.
async fn policies(site: &Site) -> Vec<String> {
    let all = Api::<NetworkPolicy>::all(site.client.clone()).list(&Default::default()).await.unwrap();
    all.items.into_iter().filter_map(|policy| policy.metadata.name).collect()
}

/// The journal of the victim, whose signal it must know.
fn journal(site: &Site, signal: &str) -> Journal {
    let journal = Journal::read(&site.state.path().join("out/victim/journal.json")).unwrap();
    assert_eq!(journal.ended, Ended::Interrupted { signal: signal.into() }, "{}", journal.summary());
    assert_eq!(journal.not_undone(), Vec::<String>::new());
    journal
}

/// Lets a policy go only when it is told to.
async fn hold(site: &Site, name: &str, held: bool) {
    let finalizers = if held { json!(["example.com/hold"]) } else { json!(null) };
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let api: Api<NetworkPolicy> = Api::namespaced(site.client.clone(), "crash");
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[test]
fn each_signal_undoes_before_the_process_ends() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["experiments", "holds"] {
            for (signal, name, code) in
                [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
            {
                let mut victim = Victim::start(&site, part, "crash", OFF);
                victim.ready();
                assert_eq!(policies(&site).await.len(), 2, "{part}");
                let since = Stopwatch::start();
                victim.signal(signal);
                assert_eq!(victim.wait_held().code(), Some(code), "{part}");
                let took = since.elapsed();
                assert_eq!(policies(&site).await, Vec::<String>::new(), "{part}, {signal:?}");
                println!("{part}, {signal:?}: ended and undone after {took:?}");
                assert!(took < WITHIN, "{part}, {signal:?}: {took:?}");
                let journal = journal(&site, name);
                assert!(journal.faults.iter().all(|fault| !fault.undo.is_empty()), "{part}: {}", journal.summary());
            }
        }
    });
}

#[test]
fn a_second_signal_is_told_what_is_still_being_undone_and_cuts_nothing_short() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["experiments", "holds"] {
            let mut victim = Victim::start(&site, part, "crash", OFF);
            victim.ready();
            let stuck = policies(&site).await.pop().unwrap();
            hold(&site, &stuck, true).await;
            victim.signal(Signal::INT);
            let since = Stopwatch::start();
            let told = loop {
                victim.signal(Signal::INT);
                let said = std::fs::read_to_string(site.said("crash")).unwrap();
                if let Some(line) = said.lines().find(|line| line.contains("SIGINT again; still undoing: ")) {
                    break line.to_owned();
                }
                assert!(since.elapsed() < PATIENCE, "{part} says nothing of it: {said}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            assert!(told.contains("ingress") || told.contains("egress"), "{told}");
            hold(&site, &stuck, false).await;
            assert_eq!(victim.wait_held().code(), Some(130), "{part}");
            assert_eq!(policies(&site).await, Vec::<String>::new(), "{part}");
        }
    });
}

/// Reports are asked for.
const REPORTED: &[(&str, &str)] =
    &[OFF[0], ("STEADFAST_REPORT", "html,junit,json"), ("NEXTEST_RUN_ID", "one"), ("GITHUB_ACTIONS", "")];

#[test]
fn an_interrupted_run_has_its_reports_which_say_so() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["experiments", "holds"] {
            let mut victim = Victim::start(&site, part, "crash", REPORTED);
            victim.ready();
            victim.signal(Signal::INT);
            assert_eq!(victim.wait_held().code(), Some(130), "{part}");
            let folder = site.state.path().join("out/victim");
            for (file, says) in [
                ("report.html", "interrupted by SIGINT"),
                ("junit.xml", "interrupted by SIGINT"),
                ("summary.json", "\"ended\": \"interrupted\""),
                ("../index.html", "</span> interrupted</td>"),
            ] {
                let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
                assert!(text.contains(says), "{part}: {file} does not say {says:?}: {text}");
                std::fs::remove_file(folder.join(file)).unwrap();
            }
        }
    });
}

#[cfg(feature = "cli")]
#[test]
fn a_killed_run_is_told_as_begun_and_not_ended() {
    on_a_runtime(async {
        let site = Site::start().await;
        for (part, namespace) in [("experiments", "one"), ("holds", "other")] {
            site.namespace(namespace).await;
            let mut victim = Victim::start(&site, part, namespace, REPORTED);
            victim.ready();
            victim.killed();
            let out = site.state.path().join("out");
            let told = super::documents::last_of(&out);
            for says in [
                "The last run of tests (nextest-one) in ",
                ": 1 not ended\n",
                "not ended: killed (",
                "The run has not ended as far as its journal knows",
            ] {
                assert!(told.contains(says), "{part}: {says:?} is not in {told}");
            }
            std::fs::remove_dir_all(out).unwrap();
        }
    });
}

/// Wherever a run is when the signal comes, its journal says so, and nobody waits for what only looks.
#[test]
fn a_signal_in_any_part_of_a_run_is_journalled() {
    on_a_runtime(async {
        let site = Site::start().await;
        site.namespace("crash").await;
        for part in ["proves", "sees it gone", "recovers"] {
            let mut victim = Victim::start(&site, part, "crash", OFF);
            victim.ready();
            let since = Stopwatch::start();
            victim.signal(Signal::INT);
            assert_eq!(victim.wait_held().code(), Some(130), "{part}");
            // What only looks would take until the engines' time is up, which is 5 s.
            assert!(since.elapsed() < Duration::from_secs(4), "{part}: {:?}", since.elapsed());
            let journal = journal(&site, "SIGINT");
            assert_eq!(journal.faults[0].undo.len(), 1, "{part}: {}", journal.summary());
            assert_eq!(policies(&site).await, Vec::<String>::new(), "{part}");
        }
    });
}
