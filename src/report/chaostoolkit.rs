//! Journals in Chaos Toolkit's form: those of the original, and those of `steadfast run`, which have our evidence with them.
//!
//! Either becomes a [`Journal`], so that every format tells it. Of the original's it has what is there to be had: checks,
//! activities, rollbacks, and the verdict that docs/deviations.md has for how it ended. The original looks at no fault, so
//! there is none in it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::clock::{Time, Timestamp};
use crate::journal::{
    CheckRecord, Ended, Evaluation, FinallyRecord, Journal, Reason, Source, StepRecord, StepStatus, Verdict, WATCHED,
};

/// Where the evidence of this crate is.
const OURS: &str = "x-steadfast";

/// Whether a document has this form.
pub(super) fn is_one(document: &Value) -> bool {
    document.get("steady_states").is_some() && document.get("experiment").is_some_and(Value::is_object)
}

/// Whether our evidence is with it.
pub(super) fn is_ours(document: &Value) -> bool {
    document[OURS]["journal"].is_object()
}

/// A journal in this form.
///
/// # Errors
/// Our evidence is not what it should be.
pub(super) fn journal(document: &Value) -> Result<Journal, serde_json::Error> {
    let mut journal: Journal = if is_ours(document) {
        serde_json::from_value(document[OURS]["journal"].clone())?
    } else {
        of_the_original(document)
    };
    // Evidence of an older version does not say so.
    journal.source = if is_ours(document) { Source::Document } else { Source::ChaosToolkit };
    let mut evaluations = evaluations(document);
    if !evaluations.is_empty() {
        doubt(&mut evaluations, &journal.evaluations);
        journal.evaluations = evaluations;
    }
    journal.hypothesis =
        document["experiment"]["steady-state-hypothesis"]["title"].as_str().map(str::to_owned).or(journal.hypothesis);
    journal.steps = records(&document["run"]).map(|record| step(document, record)).collect();
    let (passed_over, run): (Vec<_>, Vec<_>) =
        records(&document["rollbacks"]).partition(|record| not_done(document, record).is_some());
    // Where nothing was rolled back nothing is left to be: it is told among the steps that are not done.
    let passed_over = passed_over.into_iter().map(|record| step(document, record));
    journal.steps.extend(passed_over.map(|step| StepRecord { kind: "rollback".to_owned(), ..step }));
    journal.finally = run.into_iter().map(rollback).collect();
    Ok(journal)
}

fn records(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

/// Python's form has an offset, or none and means UTC.
fn instant(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

/// The hypothesis of the original is judged after the method, while what that did is still on.
fn evaluations(document: &Value) -> Vec<Evaluation> {
    let states = &document["steady_states"];
    let during = records(&states["during"]).map(|state| (WATCHED, state));
    let all = std::iter::once(("before the method", &states["before"])).chain(during);
    let all = all.chain(std::iter::once(("under the fault", &states["after"])));
    all.filter(|(_, state)| state.is_object()).map(|(phase, state)| evaluation(document, phase, state)).collect()
}

fn evaluation(document: &Value, phase: &str, state: &Value) -> Evaluation {
    let checks: Vec<_> = records(&state["probes"]).map(|probe| judged(document, probe)).collect();
    let passed_over = checks.iter().find(|check| check.outcome == "not-applicable");
    let (verdict, reason) = match (state["steady_state_met"].as_bool(), passed_over) {
        // What no probe has seen is not met.
        (Some(true), None) if checks.is_empty() => (Verdict::NotJudged, None),
        (Some(true), None) if checks.iter().all(|check| check.outcome == "met") => (Verdict::Met, None),
        (Some(true), Some(_)) if is_dry(document) => (Verdict::NotJudged, None),
        (Some(true), Some(check)) => {
            let (what, why) = (check.check.clone(), check.phrase.clone());
            (Verdict::Inconclusive, Some(Reason::NoData { what, why }))
        }
        (Some(false), _) => (Verdict::Deviated, None),
        _ => (Verdict::Inconclusive, None),
    };
    let bounds: Vec<_> = records(&state["probes"]).flat_map(|probe| [&probe["start"], &probe["end"]]).collect();
    let mut instants: Vec<_> = bounds.into_iter().filter_map(instant).collect();
    instants.sort();
    let start = instant(&document["start"]).unwrap_or_default();
    let started = instants.first().copied().unwrap_or(start);
    let ended = instants.last().copied().unwrap_or(started);
    Evaluation { phase: phase.to_owned(), started, ended, attempts: 1, verdict, reason, checks }
}

/// What the engine made of the same looks counts where it is worse: a probe's record does not say that no fault was on
/// any more, nor what else the engine had against it.
fn doubt(told: &mut [Evaluation], engine: &[Evaluation]) {
    let mut looks: BTreeMap<&str, VecDeque<&Evaluation>> = BTreeMap::new();
    for evaluation in engine {
        looks.entry(&evaluation.phase).or_default().push_back(evaluation);
    }
    for evaluation in told {
        let Some(found) = looks.get_mut(&*evaluation.phase).and_then(VecDeque::pop_front) else { continue };
        // Nothing is worse where nothing was to be judged.
        let worse =
            evaluation.verdict != Verdict::NotJudged && evaluation.verdict.worse(found.verdict) != evaluation.verdict;
        if worse || (evaluation.verdict == found.verdict && evaluation.reason.is_none()) {
            (evaluation.verdict, evaluation.reason) = (found.verdict, found.reason.clone());
        }
        let over = found.checks.iter().any(|check| check.faults_over);
        let unknown = found.checks.iter().find(|check| check.faults_over && check.outcome == "inconclusive");
        for check in &mut evaluation.checks {
            check.faults_over = over;
            if let (Some(unknown), "met") = (unknown, &*check.outcome) {
                check.outcome.clone_from(&unknown.outcome);
                check.reason.clone_from(&unknown.reason);
                check.phrase = format!("{}, but {}", check.phrase, unknown.phrase);
            }
        }
    }
}

/// Whether the run was to leave things out.
fn is_dry(document: &Value) -> bool {
    !document["experiment"]["dry"].is_null()
}

/// Why an activity was not done, if it was passed over: to either it has succeeded all the same.
fn not_done(document: &Value, record: &Value) -> Option<&'static str> {
    if is_ours(document) {
        return record[OURS]["skipped"].is_string().then_some("not done: it was to be dry");
    }
    let activity = &record["activity"];
    // In the original an activity's own `dry` has it done.
    let asked = activity["dry"].is_null() && record["status"] == "succeeded";
    let kinds: &[&str] = match document["experiment"]["dry"].as_str() {
        Some("probes") => &["probe"],
        Some("actions") => &["action"],
        Some("activities") => &["probe", "action"],
        _ => &[],
    };
    let passed_over = asked && activity["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
    passed_over.then_some("not done: the run was dry")
}

/// A probe of the hypothesis. What was passed over, or not held against its tolerance, is no evidence either way.
fn judged(document: &Value, probe: &Value) -> CheckRecord {
    let unheeded = !is_ours(document) && is_dry(document) && probe["status"] == "succeeded";
    let why = not_done(document, probe)
        .or_else(|| unheeded.then_some("not judged: in a dry run Chaos Toolkit heeds no tolerance"));
    let check = check(probe);
    match why {
        Some(why) => CheckRecord { outcome: "not-applicable".to_owned(), phrase: why.to_owned(), ..check },
        None => check,
    }
}

fn check(probe: &Value) -> CheckRecord {
    let failed = probe["status"] != "succeeded";
    let outcome = match probe["tolerance_met"].as_bool() {
        Some(true) if !failed => "met",
        Some(false) if !failed => "not-met",
        _ => "inconclusive",
    };
    let seen = || format!("was {}", super::text::line(&text(&probe["output"]), 300));
    // What the tolerance itself says tells more than the answer that it was given.
    let said = probe[OURS]["tolerance"].as_str();
    let phrase = match said {
        _ if failed => why(probe),
        Some(said) if said.starts_with("was ") || outcome == "inconclusive" => said.to_owned(),
        Some(said) => format!("{}: {said}", seen()),
        None => seen(),
    };
    let mut evidence = probe["output"].clone();
    let mut reason = None;
    if let Some(found) = probe[OURS]["evidence"].as_object() {
        let unknown = found.get("unknown").filter(|_| outcome == "inconclusive");
        reason = unknown.and_then(|unknown| serde_json::from_value(unknown.clone()).ok());
        let mut found = found.clone();
        found.insert("answer".to_owned(), evidence);
        evidence = Value::Object(found);
    }
    CheckRecord {
        check: text(&probe["activity"]["name"]),
        outcome: outcome.to_owned(),
        phrase,
        relation: String::new(),
        reason,
        evidence,
        from: instant(&probe["start"]),
        to: instant(&probe["end"]),
        faults_over: false,
        warnings: Vec::new(),
        infos: Vec::new(),
    }
}

/// What an activity failed of: the last line of its traceback.
fn why(record: &Value) -> String {
    let last = records(&record["exception"]).last().map(text).unwrap_or_default();
    let last = last.trim().trim_start_matches("chaoslib.exceptions.ActivityFailed: ").to_owned();
    match (last.is_empty(), record["status"].as_str()) {
        (false, _) => last,
        (true, Some(status)) => status.to_owned(),
        (true, None) => "cut before its end".to_owned(),
    }
}

fn step(document: &Value, record: &Value) -> StepRecord {
    let activity = &record["activity"];
    let kind = match (activity["background"].as_bool(), activity["type"].as_str()) {
        (Some(true), _) => "background",
        (_, Some("probe")) => "observe",
        _ => "act",
    };
    let passed_over = not_done(document, record);
    let status = match record["status"].as_str() {
        _ if passed_over.is_some() => StepStatus::NotRun,
        Some("succeeded") => StepStatus::Succeeded,
        Some("failed") => StepStatus::Failed { error: why(record) },
        _ => StepStatus::Stopped,
    };
    StepRecord {
        kind: kind.to_owned(),
        name: text(&activity["name"]),
        location: String::new(),
        started: instant(&record["start"]).filter(|_| passed_over.is_none()),
        ended: instant(&record["end"]).filter(|_| passed_over.is_none()),
        status,
        output: record["output"].clone(),
        warnings: Vec::new(),
        infos: passed_over.into_iter().map(str::to_owned).collect(),
    }
}

fn rollback(record: &Value) -> FinallyRecord {
    let error = (record["status"] != "succeeded").then(|| why(record));
    FinallyRecord { name: text(&record["activity"]["name"]), crash_safe: false, run: true, left_out: false, error }
}

fn of_the_original(document: &Value) -> Journal {
    let started = instant(&document["start"]).unwrap_or_default();
    let finished = instant(&document["end"]).unwrap_or(started);
    let (ended, verdict, reason) = found(document);
    let cluster = format!("Chaos Toolkit on {}", text(&document["node"]));
    let begun = Journal::begun(&text(&document["experiment"]["title"]), cluster, Time::Real, started);
    Journal { finished, ended, verdict, reason, ..begun }
}

/// The original's ends, by the table in docs/deviations.md.
fn found(document: &Value) -> (Ended, Verdict, Option<Reason>) {
    let evaluations = evaluations(document);
    let of = |phase: &str| evaluations.iter().find(|evaluation| evaluation.phase == phase);
    let before = of("before the method").filter(|gate| !matches!(gate.verdict, Verdict::Met | Verdict::NotJudged));
    let unknown = |ended: Ended, why: String| {
        let reason = Reason::EndedBefore { why };
        (ended, Verdict::Inconclusive, Some(reason))
    };
    let deviated = document["deviated"] == true;
    if let (Some(gate), false) = (before, deviated) {
        let missed = gate.checks.iter().find(|check| check.outcome != "met");
        let (check, phrase) = missed.map(|check| (check.check.clone(), check.phrase.clone())).unwrap_or_default();
        return (Ended::GateMissed, Verdict::Inconclusive, Some(Reason::GateMissed { check, phrase }));
    }
    match document["status"].as_str() {
        Some("interrupted") => {
            let (ended, verdict, reason) =
                unknown(Ended::Interrupted { signal: "a signal".to_owned() }, "it was interrupted".to_owned());
            return if deviated { (ended, Verdict::Deviated, None) } else { (ended, verdict, reason) };
        }
        Some("completed" | "failed") if deviated => return (Ended::Completed, Verdict::Deviated, None),
        Some("completed") => {}
        other => {
            let how = other.unwrap_or("without a status");
            return unknown(Ended::Failed { error: format!("it ended {how}") }, format!("it ended {how}"));
        }
    }
    let failed = records(&document["run"]).find(|record| record["status"] != "succeeded");
    let action = failed.filter(|record| record["activity"]["type"] == "action");
    if let Some(action) = action {
        let (fault, why) = (text(&action["activity"]["name"]), why(action));
        return (Ended::Completed, Verdict::Inconclusive, Some(Reason::FaultNotProved { fault, why }));
    }
    let judged = of("under the fault").or_else(|| of(WATCHED)).map(|evaluation| evaluation.verdict);
    let all = evaluations.iter().filter(|evaluation| evaluation.phase != "before the method");
    let worst = all.fold(judged, |worst, evaluation| worst.map(|worst| worst.worse(evaluation.verdict)));
    match worst {
        _ if is_dry(document) => (Ended::Completed, Verdict::NotJudged, None),
        None => (Ended::Completed, Verdict::NotJudged, None),
        Some(Verdict::Inconclusive) => unknown(Ended::Completed, "a probe could not be judged".to_owned()),
        Some(verdict) => (Ended::Completed, verdict, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(met: bool) -> Value {
        json!({"activity": {"type": "probe", "name": "p"}, "output": 1, "status": "succeeded", "tolerance_met": met,
            "start": "2026-01-01T00:00:00.5+00:00", "end": "2026-01-01T00:00:01", "duration": 0.5})
    }

    fn state(met: bool) -> Value {
        json!({"steady_state_met": met, "probes": [probe(met)]})
    }

    fn document(change: Value) -> Value {
        let mut document = json!({
            "chaoslib-version": "1.44.0", "platform": "x", "node": "host", "start": "2026-01-01T00:00:00+00:00",
            "end": "2026-01-01T00:00:10+00:00", "duration": 10.0, "status": "completed", "deviated": false,
            "experiment": {"title": "t", "dry": null, "steady-state-hypothesis": {"title": "h"}},
            "steady_states": {"before": state(true), "after": state(true), "during": []}, "rollbacks": [],
            "run": [{"activity": {"type": "action", "name": "a"}, "status": "succeeded", "output": null}],
        });
        for (key, value) in change.as_object().expect("an object") {
            document[key] = value.clone();
        }
        document
    }

    /// Row by row of docs/deviations.md, and what is no evidence.
    #[test]
    fn the_originals_ends_are_ours() {
        let failed = |kind: &str| {
            json!({"activity": {"type": kind, "name": "x"}, "status": "failed",
            "exception": ["Traceback\n", "chaoslib.exceptions.ActivityFailed: no luck\n"]})
        };
        let gate = json!({"before": state(false), "after": null, "during": []});
        let unjudged = json!({"before": state(true), "after": null, "during": []});
        let empty = json!({"before": {"steady_state_met": true, "probes": []},
            "after": {"steady_state_met": true, "probes": []}, "during": []});
        let after = json!({"before": state(true), "after": state(false), "during": []});
        let cut = json!({"before": state(true), "after": {"steady_state_met": null, "probes": []}, "during": []});
        for (change, verdict, ended) in [
            (json!({}), "met", "completed"),
            (json!({"steady_states": gate}), "inconclusive", "gate-missed"),
            (json!({"steady_states": gate, "status": "failed"}), "inconclusive", "gate-missed"),
            (json!({"steady_states": after, "deviated": true}), "deviated", "completed"),
            (json!({"steady_states": after, "deviated": true, "status": "failed"}), "deviated", "completed"),
            (json!({"status": "aborted"}), "inconclusive", "failed"),
            (json!({"status": null}), "inconclusive", "failed"),
            (json!({"status": "interrupted"}), "inconclusive", "interrupted"),
            (json!({"run": [failed("action")]}), "inconclusive", "completed"),
            (json!({"run": [failed("probe")]}), "met", "completed"),
            (json!({"rollbacks": [failed("action")]}), "met", "completed"),
            (json!({"steady_states": unjudged}), "not judged", "completed"),
            (json!({"steady_states": empty}), "not judged", "completed"),
            (json!({"steady_states": cut}), "inconclusive", "completed"),
            (json!({"experiment": {"title": "t", "dry": "actions"}}), "not judged", "completed"),
        ] {
            let journal = journal(&document(change.clone())).expect("a journal");
            let (how, _) = super::super::summary::ended(&journal.ended);
            assert_eq!((journal.verdict.to_string().as_str(), how), (verdict, ended), "{change}");
            assert_eq!(journal.not_undone().len(), usize::from(change.get("rollbacks").is_some()), "{change}");
        }
    }

    /// What `steadfast run` adds to a probe: the words of its tolerance, and what they rest on.
    #[test]
    fn a_tolerance_of_ours_has_its_own_words_and_evidence() {
        let of = |met: Value, said: &str, evidence: Value| {
            let mut one = probe(true);
            one["tolerance_met"] = met;
            one["output"] = json!({"status": "success"});
            one["x-steadfast"] = json!({"tolerance": said, "evidence": evidence});
            check(&one)
        };
        let grew = of(json!(false), "was a growth of 3, expected at most 0", json!({"total": 3.0, "series": [{}]}));
        assert_eq!(grew.phrase, "was a growth of 3, expected at most 0");
        assert_eq!(grew.evidence, json!({"total": 3.0, "series": [{}], "answer": {"status": "success"}}));
        let missed = of(json!(false), "1 is not in range", Value::Null);
        assert_eq!(missed.phrase, "was {\"status\":\"success\"}: 1 is not in range");
        assert_eq!(missed.evidence, json!({"status": "success"}));
        let unknown = json!({"known": {"total": 0}, "unknown": {"reason": "no-data", "what": "up", "why": "none"}});
        let unknown = of(json!(null), "no data for up: none; expected at most 0", unknown);
        assert_eq!(unknown.phrase, "no data for up: none; expected at most 0");
        assert_eq!(unknown.reason, Some(Reason::NoData { what: "up".into(), why: "none".into() }));
    }

    /// What was passed over has succeeded, and its tolerance is met, to the original and in our own journals' form of it.
    #[test]
    fn what_was_not_done_is_told_as_such() {
        let with = |kind: &str, skipped: bool| {
            let mut record = probe(true);
            record["activity"]["type"] = json!(kind);
            if skipped {
                record["x-steadfast"] = json!({"skipped": "dry"});
            }
            record
        };
        let run = |dry: Value, skipped: bool| {
            let state = json!({"steady_state_met": true, "probes": [with("probe", skipped)]});
            document(json!({"experiment": {"title": "t", "dry": dry, "steady-state-hypothesis": {"title": "h"}},
                "steady_states": {"before": state, "after": state, "during": []},
                "run": [with("action", skipped)], "rollbacks": [with("action", skipped)]}))
        };
        let ours = |mut document: Value, verdict: &str| {
            let mut evidence = serde_json::to_value(crate::report::sample()).expect("JSON");
            (evidence["verdict"], evidence["reason"], evidence["faults"]) = (json!(verdict), Value::Null, json!([]));
            evidence["evaluations"] = json!([]);
            document["x-steadfast"] = json!({"journal": evidence});
            document
        };
        for (document, outcome, verdict, status) in [
            (run(Value::Null, false), "met", Verdict::Met, StepStatus::Succeeded),
            (run(json!("probes"), false), "not-applicable", Verdict::NotJudged, StepStatus::Succeeded),
            (run(json!("actions"), false), "not-applicable", Verdict::NotJudged, StepStatus::NotRun),
            (run(json!("activities"), false), "not-applicable", Verdict::NotJudged, StepStatus::NotRun),
            (run(json!("pause"), false), "not-applicable", Verdict::NotJudged, StepStatus::Succeeded),
            (ours(run(json!("pause"), false), "met"), "met", Verdict::Met, StepStatus::Succeeded),
            (
                ours(run(json!("activities"), true), "not-judged"),
                "not-applicable",
                Verdict::NotJudged,
                StepStatus::NotRun,
            ),
            (ours(run(Value::Null, true), "inconclusive"), "not-applicable", Verdict::Inconclusive, StepStatus::NotRun),
        ] {
            let journal = journal(&document).expect("a journal");
            let after = &journal.evaluations[1];
            let check = &after.checks[0];
            let dry = &document["experiment"]["dry"];
            assert_eq!((check.outcome.as_str(), after.verdict), (outcome, verdict), "{dry}: {}", check.phrase);
            assert_eq!(check.phrase.starts_with("not "), outcome != "met", "{}", check.phrase);
            let done = status == StepStatus::Succeeded;
            assert_eq!((&journal.steps[0].status, journal.finally.len()), (&status, usize::from(done)), "{dry}");
            let told = journal.steps.iter().filter(|step| step.kind == "rollback").count();
            assert_eq!(told, usize::from(!done), "{dry}");
            assert_eq!(journal.rollback().left, [""; 0], "{dry}");
            let summary = super::super::summary::Summary::of(&journal);
            let passed = |phase: &str| {
                let cases = summary.cases.iter().filter(|case| case.phase == phase);
                cases.filter(|case| case.result == super::super::summary::CaseResult::Passed).count()
            };
            assert_eq!(passed("during"), usize::from(outcome == "met"), "{dry}");
            assert_eq!(passed("undo"), usize::from(done), "{dry}");
        }
    }

    /// The records of the probes say `met`, each time; the engine had something against the last look.
    #[test]
    fn what_the_engine_had_against_a_look_is_told() {
        let look = |phase: &str, verdict: &str, outcome: &str, over: bool| {
            let reason = json!({"reason": "window-too-short", "what": "h", "why": "no fault was on when it looked"});
            let reason = if verdict == "inconclusive" { reason } else { Value::Null };
            json!({"phase": phase, "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:01Z", "attempts": 1,
                "verdict": verdict, "reason": reason, "checks": [{"check": "h", "outcome": outcome, "phrase": "it cannot see",
                "relation": "", "reason": reason, "evidence": null, "faults_over": over}]})
        };
        for (verdict, outcome, over) in
            [("inconclusive", "inconclusive", true), ("met", "met", true), ("met", "met", false)]
        {
            let mut document = document(
                json!({"steady_states": {"before": state(true), "after": state(true), "during": [state(true)]}}),
            );
            let mut evidence = serde_json::to_value(crate::report::sample()).expect("JSON");
            evidence["evaluations"] = json!([
                look("before the method", "met", "met", false),
                look(WATCHED, "met", "met", false),
                look("under the fault", verdict, outcome, over),
            ]);
            document["x-steadfast"] = json!({"journal": evidence});
            let journal = journal(&document).expect("a journal");
            let [before, during, after] = &*journal.evaluations else { panic!("{:?}", journal.evaluations) };
            for early in [before, during] {
                assert_eq!((early.verdict, &early.reason), (Verdict::Met, &None));
                assert_eq!((&*early.checks[0].outcome, early.checks[0].faults_over), ("met", false));
            }
            let check = &after.checks[0];
            assert_eq!(
                (after.verdict, &*check.outcome, check.faults_over),
                (if verdict == "met" { Verdict::Met } else { Verdict::Inconclusive }, outcome, over)
            );
            assert_eq!((after.reason.is_some(), check.reason.is_some()), (verdict != "met", verdict != "met"));
            let phrase = if verdict == "met" { "was 1" } else { "was 1, but it cannot see" };
            assert_eq!((&*check.check, &*check.phrase), ("p", phrase), "the probe's own");
        }
    }

    #[test]
    fn checks_and_activities_keep_their_names_and_times() {
        let journal = journal(&document(json!({}))).expect("a journal");
        assert_eq!(journal.hypothesis.as_deref(), Some("h"));
        assert_eq!(journal.evaluations[1].phase, "under the fault");
        assert_eq!(journal.evaluations[1].checks[0].phrase, "was 1");
        assert_eq!(journal.offset(journal.evaluations[0].ended), "1.0 s");
        assert_eq!((journal.steps[0].kind.as_str(), journal.steps[0].name.as_str()), ("act", "a"));
    }
}
