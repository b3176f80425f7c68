//! What two runs came to: verdicts, recoveries, rollbacks, checks; and what else tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Figure, Meaning, Row, Shown};
use crate::clock::Time;
use crate::journal::{Ended, Journal, Source, Verdict};
use crate::report::RollbackState;

/// What is known of something that holds or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Holds,
    Not,
    /// It was not asked for.
    Unasked,
    No,
}

pub(super) fn rows(old: &Journal, new: &Journal) -> Vec<Row> {
    let mut rows = vec![verdict(Figure::Verdict, [found(old), found(new)])];
    if [old.recovered, new.recovered] != [Verdict::NotJudged; 2] {
        rows.push(verdict(Figure::Recovered, [old.recovered, new.recovered]));
    }
    let states = [old, new].map(|journal| journal.rollback().state);
    rows.push(row(Figure::Rollback, "", states.map(|state| Some((undone(state), state.to_string())))));
    rows.extend(checks(old, new));
    rows
}

/// The verdict; of a run that was cut before it had one, that nothing is known.
fn found(journal: &Journal) -> Verdict {
    let to_its_end = matches!(journal.ended, Ended::Completed | Ended::GateMissed | Ended::Stopped { .. });
    if journal.verdict == Verdict::NotJudged && !to_its_end { Verdict::Inconclusive } else { journal.verdict }
}

fn verdict(figure: Figure, verdicts: [Verdict; 2]) -> Row {
    let known = |verdict| match verdict {
        Verdict::Met => Known::Holds,
        Verdict::Deviated => Known::Not,
        Verdict::NotJudged => Known::Unasked,
        Verdict::Inconclusive => Known::No,
    };
    row(figure, "", verdicts.map(|verdict| Some((known(verdict), verdict.to_string()))))
}

fn undone(state: RollbackState) -> Known {
    match state {
        RollbackState::NotNeeded | RollbackState::Complete => Known::Holds,
        RollbackState::NotBack | RollbackState::Partial | RollbackState::Failed => Known::Not,
        RollbackState::Left => Known::Unasked,
        RollbackState::Unknown => Known::No,
    }
}

/// Whoever was sure that it holds and is not any more is worse off, whatever has come instead.
fn row(figure: Figure, subject: &str, seen: [Option<(Known, String)>; 2]) -> Row {
    let shown = |side: &Option<(Known, String)>| side.as_ref().map(|(_, word)| Shown::Word(word.clone()));
    let sides = (shown(&seen[0]), shown(&seen[1]));
    let meaning = match (&seen[0], &seen[1]) {
        (Some((old, was)), Some((new, is))) => match (old, new) {
            (Known::Holds, Known::Holds) | (Known::Not, Known::Not) | (Known::Unasked, Known::Unasked) => Meaning::Same,
            (Known::Holds, Known::Not | Known::No) => Meaning::Worse,
            (Known::Not | Known::No, Known::Holds) => Meaning::Better,
            (Known::No, Known::No) => return Row::unknown(figure, subject, sides, "neither run knows".to_owned()),
            _ => return Row::unknown(figure, subject, sides, format!("{is} cannot be compared with {was}")),
        },
        (None, _) => return Row::unknown(figure, subject, sides, "the old run has nothing to compare with".to_owned()),
        (_, None) => return Row::unknown(figure, subject, sides, "the new run does not have it".to_owned()),
    };
    Row { figure, subject: subject.to_owned(), old: sides.0, new: sides.1, change: None, noise: None, meaning }
}

/// By phase, check, and which of equal ones: the worst outcome of all judgements.
type Outcomes = BTreeMap<(usize, String, usize), (Known, String)>;

fn checks(old: &Journal, new: &Journal) -> Vec<Row> {
    // The phases in the order in which they are first met, in both runs alike.
    let mut phases: Vec<String> = Vec::new();
    let sides = [old, new].map(|journal| outcomes(journal, &mut phases));
    let keys: BTreeSet<_> = sides.iter().flat_map(|side| side.keys()).collect();
    let rows = keys.into_iter().map(|key| {
        let subject = format!("{}, {}", key.1, phases[key.0]);
        row(Figure::Check, &subject, [sides[0].get(key).cloned(), sides[1].get(key).cloned()])
    });
    rows.collect()
}

fn outcomes(journal: &Journal, phases: &mut Vec<String>) -> Outcomes {
    let mut all = Outcomes::new();
    for evaluation in &journal.evaluations {
        let phase = phases.iter().position(|phase| *phase == evaluation.phase).unwrap_or_else(|| {
            phases.push(evaluation.phase.clone());
            phases.len() - 1
        });
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for check in &evaluation.checks {
            let number = seen.entry(&check.check).and_modify(|number| *number += 1).or_default();
            let known = match check.outcome.as_str() {
                "met" => Known::Holds,
                "not-met" => Known::Not,
                "not-applicable" => Known::Unasked,
                // Inconclusive, or a word of a later version.
                _ => Known::No,
            };
            let next = (known, check.outcome.clone());
            let worst = all.entry((phase, check.check.clone(), *number)).or_insert_with(|| next.clone());
            if rank(next.0) > rank(worst.0) {
                *worst = next;
            }
        }
    }
    all
}

fn rank(known: Known) -> u8 {
    match known {
        Known::Unasked => 0,
        Known::Holds => 1,
        Known::No => 2,
        Known::Not => 3,
    }
}

/// What else is not the same, in words.
pub(super) fn differences(old: &Journal, new: &Journal) -> Vec<String> {
    let mut all = Vec::new();
    let mut differs = |what: &str, old: &str, new: &str| {
        if old != new {
            all.push(format!("{what}: was {old}, is {new}"));
        }
    };
    differs("conducted by", conductor(old), conductor(new));
    if [old, new].iter().all(|journal| journal.source != Source::ChaosToolkit) {
        differs("seed", &old.seed.0.to_string(), &new.seed.0.to_string());
    }
    differs("cluster", &old.cluster, &new.cluster);
    let time = |time| if time == Time::Virtual { "virtual" } else { "real" };
    differs("time", time(old.time), time(new.time));
    let title = |journal: &Journal| journal.hypothesis.clone().unwrap_or_else(|| "none".to_owned());
    differs("hypothesis", &title(old), &title(new));
    let [was, is] = [old, new].map(steps);
    if was != is {
        let gone = was.iter().filter(|step| !is.contains(step)).map(|step| format!("step only of the old run: {step}"));
        let come = is.iter().filter(|step| !was.contains(step)).map(|step| format!("step only of the new run: {step}"));
        let moved: Vec<String> = gone.chain(come).collect();
        all.extend(if moved.is_empty() { vec!["steps: another order".to_owned()] } else { moved });
    }
    all
}

fn conductor(journal: &Journal) -> &'static str {
    match journal.source {
        Source::Steadfast => "an experiment in Rust",
        Source::Document => "steadfast run",
        Source::ChaosToolkit => "Chaos Toolkit, which looks at no fault",
    }
}

/// The steps as the experiment has them, done or not.
fn steps(journal: &Journal) -> Vec<String> {
    journal.steps.iter().map(|step| format!("{} {}", step.kind, step.name)).collect()
}
