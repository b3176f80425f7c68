//! The things that had to be so in a run, each as one case with what came of it.

use std::collections::BTreeMap;

use super::summary::{Case, CaseResult, ended, seconds};
use crate::journal::{
    CheckRecord, Ended, Evaluation, FaultEnd, FaultRecord, Journal, StepRecord, StepStatus, Verdict, WATCHED,
};

/// The phases in which a hypothesis may be judged, in their order, with the words of the journal.
const JUDGED: [(&str, &str); 4] = [
    ("before", "before the method"),
    ("method", WATCHED),
    ("during", "under the fault"),
    ("after", "after the rollback"),
];

/// All cases of a journal, in the order of the run.
pub(super) fn of(journal: &Journal) -> Vec<Case> {
    let mut cases = Vec::new();
    for (phase, words) in JUDGED {
        if phase == "after" {
            cases.extend(faults(journal));
            cases.extend(failed_steps(journal));
            cases.extend(undos(journal));
        }
        cases.extend(judged(journal, phase, words));
    }
    // A phase of a later version is told by its own words.
    for evaluation in journal.evaluations.iter().filter(|e| JUDGED.iter().all(|(_, words)| *words != e.phase)) {
        cases.extend(evaluation.checks.iter().map(|check| checked(&evaluation.phase, check, evaluation)));
    }
    cases.extend(safeguards(journal));
    cases.push(run(journal));
    apart(&mut cases);
    cases
}

fn case(phase: &str, name: &str, result: CaseResult, message: impl Into<String>) -> Case {
    let (phase, name) = (phase.to_owned(), name.to_owned());
    Case { phase, name, result, message: message.into(), seconds: 0.0, location: None, judged: false }
}

/// The checks of the hypothesis in one phase; of repeated judgements the worst of each check.
fn judged(journal: &Journal, phase: &str, words: &str) -> Vec<Case> {
    let evaluations: Vec<_> = journal.evaluations.iter().filter(|e| e.phase == words).collect();
    if evaluations.is_empty() {
        return not_reached(journal, phase);
    }
    let mut cases: Vec<Case> = Vec::new();
    for evaluation in evaluations {
        for (at, check) in evaluation.checks.iter().enumerate() {
            let next = checked(phase, check, evaluation);
            match cases.get_mut(at).filter(|known| known.name == next.name) {
                None => cases.push(next),
                Some(known) => {
                    let seconds = known.seconds + next.seconds;
                    if next.result > known.result || known.result == CaseResult::Skipped {
                        *known = next;
                    }
                    known.seconds = seconds;
                }
            }
        }
    }
    cases
}

fn checked(phase: &str, check: &CheckRecord, evaluation: &Evaluation) -> Case {
    let result = match check.outcome.as_str() {
        "met" => CaseResult::Passed,
        "not-met" => CaseResult::Failed,
        "not-applicable" => CaseResult::Skipped,
        // Inconclusive, or a word of a later version: not known to hold.
        _ => CaseResult::Error,
    };
    let mut message = check.phrase.clone();
    if let Some(why) = &check.reason {
        let why = why.to_string();
        if !message.contains(&why) {
            message = if message.is_empty() { why } else { format!("{message}: {why}") };
        }
    }
    for warning in &check.warnings {
        message += &format!("; warning: {warning}");
    }
    let seconds = seconds(evaluation.ended.duration_since(evaluation.started));
    Case { seconds, judged: true, ..case(phase, &check.check, result, message) }
}

/// The checks of a phase that the run did not come to, as far as they are known by another phase.
fn not_reached(journal: &Journal, phase: &str) -> Vec<Case> {
    // Repeated judgement, recovery and a hypothesis itself are the user's choice: nobody misses what was not asked for.
    let Some(known) = journal.evaluations.first() else { return Vec::new() };
    let not_asked_for = matches!(journal.ended, Ended::Completed) && journal.verdict == Verdict::NotJudged;
    if phase != "during" || not_asked_for {
        return Vec::new();
    }
    // A run that stopped at the first deviation has judged all that it was to judge.
    let watched = journal.evaluations.iter().any(|e| e.phase == WATCHED);
    if watched && matches!(journal.ended, Ended::Completed) {
        return Vec::new();
    }
    let why = format!("not reached: {}", why_ended(journal));
    known.checks.iter().map(|check| case(phase, &check.check, CaseResult::Skipped, why.clone())).collect()
}

/// Why there was no more, in words.
fn why_ended(journal: &Journal) -> String {
    match (&journal.ended, &journal.reason) {
        (Ended::GateMissed, Some(why)) => why.to_string(),
        (Ended::GateMissed, None) => "the hypothesis did not hold before the method".to_owned(),
        (other, _) => ended(other).1.unwrap_or_else(|| "the run ended before".to_owned()),
    }
}

/// Steps that failed and did not end the run, as a document's do: of those that end it, the run's own case tells.
fn failed_steps(journal: &Journal) -> Vec<Case> {
    let ended = !matches!(journal.ended, Ended::Completed | Ended::GateMissed);
    let steps = journal.steps.iter().filter(|step| !ended && step.kind != "inject");
    let failed = steps.filter_map(|step| Some((step, error_of(&step.status)?)));
    let told = |(step, error)| Case { location: located(step), ..case("method", &step.name, CaseResult::Error, error) };
    failed.map(told).collect()
}

/// For each fault the step that injected it, as far as one is known.
fn steps_of(journal: &Journal) -> Vec<Option<usize>> {
    let mut left: Vec<usize> = (0..journal.steps.len()).filter(|at| journal.steps[*at].kind == "inject").collect();
    let mut of = |fault: &FaultRecord| {
        let at = left.iter().position(|step| journal.steps[*step].name == fault.window.fault)?;
        Some(left.remove(at))
    };
    journal.faults.iter().map(&mut of).collect()
}

/// Each fault: applied, and proved to bite. First those that steps injected, or would have, in their order.
fn faults(journal: &Journal) -> Vec<Case> {
    let of = steps_of(journal);
    let step = |(at, step): (usize, &StepRecord)| match of.iter().position(|known| *known == Some(at)) {
        Some(fault) => injected(journal, &journal.faults[fault], Some(step)),
        None => not_injected(journal, step),
    };
    let steps = journal.steps.iter().enumerate().filter(|(_, step)| step.kind == "inject").map(step);
    let alone = journal.faults.iter().zip(&of).filter(|(_, step)| step.is_none());
    steps.chain(alone.map(|(fault, _)| injected(journal, fault, None))).collect()
}

fn injected(journal: &Journal, fault: &FaultRecord, step: Option<&StepRecord>) -> Case {
    let on = format!("on {}", fault.targets.join(", "));
    let unlike = fault.sightings.iter().filter(|sighting| !sighting.as_expected && !is_after(sighting.when));
    let unlike = unlike.map(|sighting| sighting.saw.clone()).next_back();
    let failed = step.and_then(|step| error_of(&step.status));
    let (result, message) = match (&fault.end, &fault.trusted, failed) {
        (FaultEnd::Early { by }, ..) => (CaseResult::Error, format!("ended early: {by}")),
        (_, _, Some(error)) => (CaseResult::Error, error),
        (_, Some(why), _) => (CaseResult::Passed, format!("{on}; believed without proof: {why}")),
        _ if fault.proved => (CaseResult::Passed, on),
        _ => (CaseResult::Error, format!("not proved to bite: {}", unlike.unwrap_or_else(|| fault.remedy.clone()))),
    };
    let until = fault.window.undo_requested.or(fault.window.undone).unwrap_or(journal.finished);
    let from = fault.window.effective.unwrap_or(fault.window.requested);
    let mut case = case("fault", &named(journal, &fault.window.fault), result, message);
    case.seconds = seconds(until.duration_since(from));
    case.location = step.and_then(located);
    case
}

fn is_after(when: crate::journal::SightingTime) -> bool {
    when == crate::journal::SightingTime::After
}

fn not_injected(journal: &Journal, step: &StepRecord) -> Case {
    let (result, message) = match error_of(&step.status) {
        Some(error) => (CaseResult::Error, error),
        None if step.status == StepStatus::NotRun => {
            (CaseResult::Skipped, format!("not reached: {}", why_ended(journal)))
        }
        None => (CaseResult::Skipped, "stopped before anything was made of it".to_owned()),
    };
    Case { location: located(step), ..case("fault", &named(journal, &step.name), result, message) }
}

fn located(step: &StepRecord) -> Option<String> {
    Some(step.location.clone()).filter(|location| !location.is_empty())
}

fn error_of(status: &StepStatus) -> Option<String> {
    match status {
        StepStatus::Failed { error } => Some(error.clone()),
        StepStatus::Panicked { message } => Some(format!("panicked: {message}")),
        StepStatus::Succeeded | StepStatus::Stopped | StepStatus::NotRun => None,
    }
}

/// Each rollback: undone, and verified.
fn undos(journal: &Journal) -> Vec<Case> {
    let mut cases = Vec::new();
    for (fault, step) in journal.faults.iter().zip(steps_of(journal)) {
        let location = step.and_then(|step| located(&journal.steps[step]));
        let case = |name: &str, result, message: String| Case {
            location: location.clone(),
            ..case("undo", name, result, message)
        };
        for undo in &fault.undo {
            let result = if undo.outcome.is_clean() { CaseResult::Passed } else { CaseResult::Failed };
            cases.push(case(&named(journal, &undo.undo), result, undo.outcome.to_string()));
        }
        let back = format!("back as before {}", named(journal, &fault.window.fault));
        if let Some(last) = fault.lingers() {
            cases.push(case(&back, CaseResult::Failed, last.saw.clone()));
        }
        if fault.end == FaultEnd::None {
            let on = format!("end of {}", named(journal, &fault.window.fault));
            cases.push(match journal.ended {
                Ended::Running => case(&on, CaseResult::Error, "on when this was written".to_owned()),
                _ => case(&on, CaseResult::Failed, "still on when the run ended".to_owned()),
            });
        }
    }
    for step in &journal.finally {
        cases.push(match (&step.error, step.run) {
            (Some(error), _) => case("undo", &step.name, CaseResult::Failed, error.clone()),
            (None, true) => case("undo", &step.name, CaseResult::Passed, ""),
            (None, false) if journal.leaves_out(step) => {
                case("undo", &step.name, CaseResult::Skipped, "the rollback strategy left it out")
            }
            (None, false) if !journal.reached_method() => {
                case("undo", &step.name, CaseResult::Skipped, "not reached: the method did not run")
            }
            (None, false) => case("undo", &step.name, CaseResult::Error, "not run"),
        });
    }
    cases
}

fn safeguards(journal: &Journal) -> Vec<Case> {
    let judged = |safeguard: &crate::journal::SafeguardRecord| {
        let (result, message) = match (&safeguard.broken, safeguard.held_at) {
            (Some(breach), _) if breach.look.outcome == "not-met" => (CaseResult::Failed, breach.look.phrase.clone()),
            (Some(breach), _) => (CaseResult::Error, breach.look.phrase.clone()),
            (None, Some(_)) => {
                (CaseResult::Passed, format!("held at {} looks", safeguard.looks.saturating_sub(safeguard.unknown)))
            }
            (None, None) if safeguard.looks == 0 => (CaseResult::Skipped, "not reached".to_owned()),
            (None, None) => (CaseResult::Error, "was never seen to hold".to_owned()),
        };
        let location = Some(safeguard.location.clone()).filter(|location| !location.is_empty());
        Case { location, ..case("safeguard", &safeguard.check, result, message) }
    };
    journal.safeguards.iter().map(judged).collect()
}

/// The run itself. Whatever leaves nobody knowing is an error here, if nowhere else.
fn run(journal: &Journal) -> Case {
    let (how, error) = ended(&journal.ended);
    let reason = journal.reason.as_ref().map(ToString::to_string);
    let (result, message) = match (&journal.ended, error) {
        (Ended::Completed | Ended::GateMissed | Ended::Stopped { .. }, _)
            if journal.verdict == Verdict::Inconclusive =>
        {
            (CaseResult::Error, reason.unwrap_or_else(|| "inconclusive".to_owned()))
        }
        (Ended::Completed, _) if journal.verdict == Verdict::Met && !journal.shows_met() => {
            (CaseResult::Error, "the journal says met, but does not hold what shows it".to_owned())
        }
        (Ended::Completed, _) => (CaseResult::Passed, format!("{how}: {}", journal.verdict)),
        (Ended::Stopped { .. }, error) if journal.verdict == Verdict::Deviated => {
            (CaseResult::Passed, error.unwrap_or_default())
        }
        (_, error) => (CaseResult::Error, error.or(reason).unwrap_or_else(|| how.to_owned())),
    };
    let seconds = seconds(journal.finished.duration_since(journal.started));
    Case { seconds, ..case("run", "comes to a verdict", result, message) }
}

/// Without the run's name: the case of the next run is the same one.
fn named(journal: &Journal, name: &str) -> String {
    if journal.run.is_empty() { name.to_owned() } else { name.replace(&journal.run, "<run>") }
}

/// CI keeps a case by phase and name: equal ones are numbered.
fn apart(cases: &mut [Case]) {
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for case in cases {
        let number = seen.entry((case.phase.clone(), case.name.clone())).or_default();
        *number += 1;
        if *number > 1 {
            case.name = format!("{} ({number})", case.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::super::{Headline, junit, markdown};
    use super::*;
    use crate::journal::Reason;
    use crate::publish::github;

    /// Each way to end, in each format: nothing that broke off or is not known passes for a success.
    #[test]
    fn each_ending_is_an_error_of_the_run_unless_it_came_to_a_verdict() {
        let unknown = || Some(Reason::EndedBefore { why: "it was over".into() });
        for (ended, verdict, reason, result, headline, annotated) in [
            (Ended::Completed, Verdict::Met, None, CaseResult::Passed, "met", false),
            (Ended::Completed, Verdict::Deviated, None, CaseResult::Passed, "deviated", false),
            (Ended::Completed, Verdict::NotJudged, None, CaseResult::Passed, "not judged", false),
            (Ended::Completed, Verdict::Inconclusive, unknown(), CaseResult::Error, "inconclusive", true),
            (Ended::GateMissed, Verdict::Inconclusive, unknown(), CaseResult::Error, "gate missed", true),
            (Ended::Running, Verdict::NotJudged, None, CaseResult::Error, "not ended", true),
            (Ended::Cancelled, Verdict::Met, None, CaseResult::Error, "interrupted", true),
            (Ended::Failed { error: "no".into() }, Verdict::Deviated, None, CaseResult::Error, "deviated", true),
            (
                Ended::Panicked { message: "no".into() },
                Verdict::Inconclusive,
                unknown(),
                CaseResult::Error,
                "experiment failed",
                true,
            ),
            (
                Ended::Interrupted { signal: "SIGINT".into() },
                Verdict::Inconclusive,
                unknown(),
                CaseResult::Error,
                "interrupted",
                true,
            ),
            (
                Ended::Stopped { by: "a safeguard".into() },
                Verdict::Inconclusive,
                unknown(),
                CaseResult::Error,
                "stopped",
                true,
            ),
            (Ended::Stopped { by: "x".into() }, Verdict::Deviated, None, CaseResult::Passed, "deviated", false),
        ] {
            let mut journal = crate::report::sample();
            (journal.ended, journal.verdict, journal.reason) = (ended.clone(), verdict, reason);
            if verdict == Verdict::Met {
                journal.evaluations[1].verdict = Verdict::Met;
                journal.evaluations[1].checks[1].outcome = "met".into();
            }
            let summary = Summary::of(&journal);
            let run = summary.cases.last().expect("a case");
            assert_eq!((run.phase.as_str(), run.result), ("run", result), "{ended:?}");
            assert_eq!(summary.headline.to_string(), headline);
            assert!(markdown::report(&summary).contains(&format!(": {headline}\n")), "{ended:?}");
            let errors = junit::file(std::slice::from_ref(&summary)).matches("<error ").count();
            assert_eq!(errors, usize::from(result == CaseResult::Error), "{ended:?}");
            assert_eq!(github::annotations(&summary).starts_with("::warning "), annotated, "{ended:?}");
        }
    }

    #[test]
    fn what_may_be_left_is_a_failure_and_an_error_on_github_whatever_the_verdict() {
        let mut journal = crate::report::sample();
        journal.verdict = Verdict::Met;
        let why = "held by a\nfinalizer".to_owned();
        journal.faults[0].undo[0].outcome = crate::rollback::UndoOutcome::Leaked { why };
        let summary = Summary::of(&journal);
        assert!(summary.cases.iter().any(|case| case.phase == "undo" && case.result == CaseResult::Failed));
        assert_eq!(summary.headline, Headline::RollbackPartial);
        let told = github::annotations(&summary);
        assert!(told.starts_with("::error title=rollback partial%3A ") && told.lines().count() == 1, "{told}");
        assert!(told.contains("held by a finalizer%0A"), "{told}");
    }

    #[test]
    fn equal_names_of_a_phase_are_numbered_and_the_run_has_no_name_in_them() {
        let mut journal = crate::report::sample();
        let twice = journal.evaluations[0].checks[0].clone();
        journal.evaluations[0].checks.push(twice);
        journal.steps[0].kind = "inject".into();
        journal.steps[0].name = format!("a fault of {}", journal.run);
        let cases = of(&journal);
        let mut names: Vec<_> = cases.iter().map(|case| (case.phase.clone(), case.name.clone())).collect();
        let count = names.len();
        assert!(names.iter().any(|(_, name)| name.ends_with(" (2)")));
        assert!(names.iter().all(|(_, name)| !name.contains(&journal.run)));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
