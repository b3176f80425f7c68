//! Tests: one run in all formats.

use super::{Index, Last, github};
use crate::journal::{Ended, EventKind, FaultEnd, FinallyRecord, Journal, Verdict, capital};
use crate::report::{CaseResult, Headline, RollbackState, Summary, junit, markdown, sample};
use crate::rollback::UndoOutcome;

fn leaked() -> UndoOutcome {
    UndoOutcome::Leaked { why: "the API does not answer".into() }
}

fn step(run: bool, left_out: bool) -> FinallyRecord {
    FinallyRecord { name: "restore the quota".into(), crash_safe: true, run, left_out, error: None }
}

type Change = fn(&mut Journal);

/// Each way to come to each state of the rollback, for a run that ended.
const STATES: [(RollbackState, Change); 10] = [
    (RollbackState::NotNeeded, |journal| journal.faults.clear()),
    (RollbackState::Complete, |_| ()),
    (RollbackState::Left, |journal| (journal.faults[0].end, journal.faults[0].undo) = (FaultEnd::Left, vec![])),
    (RollbackState::Left, |journal| journal.finally = vec![step(false, true)]),
    (RollbackState::NotBack, |journal| {
        let last = journal.faults[0].sightings.last_mut().expect("it was looked at");
        (last.as_expected, last.saw) = (false, "still no answer".into());
        // What nobody saw come is not waited for.
        journal.faults[0].proved = true;
    }),
    (RollbackState::Partial, |journal| journal.faults[0].undo[0].outcome = leaked()),
    (RollbackState::Partial, |journal| {
        journal.faults[0].end = FaultEnd::None;
    }),
    (RollbackState::Failed, |journal| journal.faults[0].undo.iter_mut().for_each(|undo| undo.outcome = leaked())),
    (RollbackState::Unknown, |journal| journal.ended = Ended::Running),
    (RollbackState::Unknown, |journal| {
        journal.ended = Ended::Running;
        (journal.faults[0].end, journal.faults[0].undo) = (FaultEnd::None, vec![]);
    }),
];

fn endings() -> [Ended; 8] {
    [
        Ended::Running,
        Ended::Completed,
        Ended::GateMissed,
        Ended::Failed { error: "no".into() },
        Ended::Panicked { message: "no".into() },
        Ended::Interrupted { signal: "SIGINT".into() },
        Ended::Stopped { by: "p99".into() },
        Ended::Cancelled,
    ]
}

/// Each verdict; a "met" with and without what shows it.
const VERDICTS: [Change; 5] = [
    |journal| {
        journal.verdict = Verdict::Met;
        journal.evaluations[1].verdict = Verdict::Met;
        journal.evaluations[1].checks[1].outcome = "met".into();
    },
    |journal| (journal.verdict, journal.evaluations) = (Verdict::Met, vec![]),
    |journal| journal.verdict = Verdict::Deviated,
    |journal| journal.verdict = Verdict::Inconclusive,
    |journal| journal.verdict = Verdict::NotJudged,
];

/// Every state of a rollback with every way to end and every verdict.
fn all(mut each: impl FnMut(RollbackState, &Journal)) {
    for (state, change) in STATES {
        for ended in endings() {
            if (ended == Ended::Running) != (state == RollbackState::Unknown) {
                continue;
            }
            for verdict in VERDICTS {
                let mut journal = sample();
                verdict(&mut journal);
                journal.ended = ended.clone();
                change(&mut journal);
                each(state, &journal);
            }
        }
    }
}

#[test]
fn all_formats_say_the_same_of_every_rollback_and_ending() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.json");
    let mut seen = std::collections::BTreeSet::new();
    all(|state, journal| {
        let (summary, headline) = (Summary::of(journal), journal.headline());
        let what = format!("{state:?} {:?} {:?}", journal.ended, journal.verdict);
        seen.insert(headline);
        assert_eq!((journal.rollback().state, summary.rollback, summary.headline), (state, state, headline), "{what}");
        let (word, mark) = (headline.to_string(), headline.mark());
        let (class, sign) = (mark.class(), mark.sign());
        let page = journal.report_html();
        let head = format!(
            "<header class=\"verdict {class}\">\n<p class=\"word\"><span aria-hidden=\"true\">{sign}</span> {}</p>",
            capital(&word)
        );
        assert!(page.contains(&head), "{what}");
        let rollback = format!("<dt>rollback</dt><dd><span class=\"badge {}\">", state.mark().class());
        assert!(page.contains(&rollback), "{what}");
        let report = markdown::report(&summary);
        assert!(report.lines().next().expect("a title").ends_with(&format!(": {word}")), "{what}: {report}");
        assert!(report.contains(&format!("- rollback: `{state}`\n")), "{what}: {report}");
        assert!(markdown::entry(&summary).starts_with(&format!("- **{word}** ")), "{what}");
        let file = junit::file(std::slice::from_ref(&summary));
        assert!(file.contains(&format!("<property name=\"headline\" value=\"{word}\"/>")), "{what}");
        assert!(file.contains(&format!("<property name=\"rollback\" value=\"{state}\"/>")), "{what}");
        let written = serde_json::to_value(&summary).expect("it serialises");
        assert_eq!(written["headline"], serde_json::to_value(headline).expect("a word"), "{what}");
        let list = Index::of(folder.path(), [(path.as_path(), &summary)].into_iter()).to_html();
        assert!(list.contains(&format!("<tr class=\"{class}\">")) && list.contains(&format!("</span> {word}</td>")));
        assert!(list.contains(&format!("<td>{state}</td>")), "{what}: {list}");
        journal.clone().write(&path).expect("it is stored");
        let last = Last::under(folder.path()).expect("a journal").text(true);
        assert!(last.lines().nth(1).expect("a line").starts_with(&format!("{word}: ")), "{what}: {last}");
        let told = github::annotations(&summary);
        let title = format!(" title={}%3A ", word.replace(',', "%2C"));
        assert!(told.is_empty() || told.contains(&title), "{what}: {told}");
        // Nothing that is not known to be well passes anywhere.
        let wrong = summary.cases.iter().filter(|case| case.result > CaseResult::Skipped).count();
        match headline {
            _ if headline.is_alarm() => {
                assert!(told.starts_with("::error ") && class == "bad" && wrong > 0, "{what}: {told}");
            }
            Headline::Met => assert!(told.is_empty() && class == "good", "{what}: {told}"),
            Headline::NotJudged => assert!(told.is_empty() && class == "none", "{what}: {told}"),
            Headline::Deviated => assert!(!told.contains("::error ") && class == "bad", "{what}: {told}"),
            _ => assert!(told.starts_with("::warning ") && class == "unknown" && wrong > 0, "{what}: {told}"),
        }
    });
    assert_eq!(seen.len(), 13, "each was come to: {seen:?}");
}

#[test]
fn what_may_be_left_is_told_whatever_else_was_found_and_what_is_left_by_choice_is_no_alarm() {
    all(|state, journal| {
        let (headline, rollback) = (journal.headline(), journal.rollback());
        let expected = match state {
            RollbackState::Failed => Some(Headline::RollbackFailed),
            RollbackState::Partial => Some(Headline::RollbackPartial),
            RollbackState::NotBack => Some(Headline::NotBack),
            RollbackState::Unknown if rollback.left.is_empty() => Some(Headline::NotEnded),
            RollbackState::Unknown => Some(Headline::MayBeLeft),
            RollbackState::NotNeeded | RollbackState::Complete | RollbackState::Left => None,
        };
        match expected {
            Some(expected) => assert_eq!(headline, expected),
            None => assert!(!headline.is_alarm(), "{state:?}: {headline}"),
        }
        if state == RollbackState::Left {
            let remedies = rollback.remedies.join("\n");
            assert!(!remedies.contains("sweep") && rollback.left.len() == 1, "{remedies}");
        }
    });
}

/// An older version wrote of what the strategy left out that it was not run, and nothing else.
#[test]
fn what_was_not_run_is_left_out_only_where_the_engine_came_to_it() {
    for (ended, left_out, state) in [
        (Ended::Completed, false, RollbackState::Left),
        (Ended::Failed { error: "no".into() }, false, RollbackState::Left),
        (Ended::Interrupted { signal: "SIGTERM".into() }, true, RollbackState::Left),
        (Ended::Interrupted { signal: "SIGTERM".into() }, false, RollbackState::Partial),
        (Ended::Cancelled, false, RollbackState::Partial),
    ] {
        let mut journal = sample();
        assert!(journal.events.iter().any(|event| event.kind == EventKind::MethodStarted));
        (journal.ended, journal.finally) = (ended.clone(), vec![step(false, left_out)]);
        assert_eq!(journal.rollback().state, state, "{ended:?} {left_out}");
    }
}
