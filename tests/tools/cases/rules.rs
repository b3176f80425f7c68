//! The rules of docs/deviations.md, by what they cover. A case has no excuse of its own.

use serde_json::Value;

use crate::replay::compare::Difference;
use crate::replay::{Case, Seen};

/// The rule that covers a difference.
pub fn covering(case: &Case, seen: &Seen, difference: &Difference) -> Option<&'static str> {
    RULES.iter().find(|(_, covers)| covers(case, seen, difference)).map(|(name, _)| *name)
}

type Covers = fn(&Case, &Seen, &Difference) -> bool;

/// In the order in which they are asked.
const RULES: &[(&str, Covers)] = &[
    ("missed-gate", |case, seen, difference| {
        gate_missed(case)
            && match difference.field {
                "exit_code" => seen.code == 3,
                "status" => difference.got == "failed",
                _ => false,
            }
    }),
    ("rollback-failed", |case, seen, difference| {
        let failed = pairs(case.field("rollbacks")).iter().any(|pair| pair[1] != "succeeded");
        failed && difference.field == "exit_code" && seen.code == 5
    }),
    ("journal-always", |case, _, difference| {
        // It was killed: what it had written is there.
        difference.field == "journal_written" && case.field("signal")["signal"] == "SIGKILL"
    }),
    ("no-crash", |case, seen, difference| {
        // The original died of it, without a journal or with half of one; here it is refused, or in the journal.
        let died =
            ["uncaught", "logged_traceback", "journal_parse_error"].iter().any(|key| case.expected.get(key).is_some());
        let told = seen.code == 2 || seen.journal.is_some();
        died && case.field("status").is_null() && told && matches!(difference.field, "exit_code" | "journal_written")
    }),
    ("no-vault", |case, seen, difference| {
        seen.said.contains("Vault")
            && seen.code == 2
            && matches!(difference.field, "exit_code" | "journal_written")
            && case.name.contains("vault")
    }),
    ("json-only", |_, seen, difference| {
        seen.said.contains("NaN and Infinity are no JSON")
            && matches!(difference.field, "exit_code" | "journal_written")
    }),
    ("exit-codes", |case, seen, difference| {
        difference.field == "exit_code"
            && seen.code
                == match case.field("status").as_str() {
                    // Refused before anything was run.
                    None if seen.journal.is_none() => 2,
                    Some("aborted") => 4,
                    Some("interrupted") => 128 + signal(case),
                    Some("failed") if gate_missed(case) => 3,
                    _ => return false,
                }
    }),
    ("guarded-faults", |case, seen, difference| {
        // An action did not do what it was to do, by its own account; its record is the original's.
        let told = seen.journal.as_ref().map(|journal| pairs(&journal["run"])).unwrap_or_default();
        let unproved = told.iter().any(|record| record["x-steadfast"]["unproved"].is_string());
        unproved && case.field("status") == "completed" && difference.field == "exit_code" && seen.code == 3
    }),
    ("during-deviation", |case, seen, difference| {
        case.field("steady_states")["during"]["any_unmet"] == true && difference.field == "exit_code" && seen.code == 1
    }),
    ("status-always", |_, _, difference| {
        let (expected, got) = (pairs(&difference.expected), pairs(&difference.got));
        matches!(difference.field, "activities" | "rollbacks")
            && expected.len() == got.len()
            && expected.iter().zip(&got).all(|(expected, got)| {
                expected == got
                    || (expected[0] == got[0] && expected[1].is_null() && (got[1] == "failed" || got[1] == "aborted"))
            })
    }),
    ("interruption-stops", |case, _, difference| {
        let (expected, got) = (pairs(&difference.expected), pairs(&difference.got));
        let stopped = |got: &Value| got[1] == "aborted";
        case.field("status") == "interrupted"
            && match difference.field {
                "activities" => {
                    // What was under way is told as aborted; what had ended before stays as it was.
                    let alike = |(expected, got): (&Value, &Value)| expected == got || stopped(got);
                    !got.is_empty() && got.len() <= expected.len() && expected.iter().zip(&got).all(alike)
                }
                "outputs" => difference.got.as_array().into_iter().flatten().any(Value::is_null),
                _ => false,
            }
    }),
    ("redaction", |_, _, difference| {
        difference.field == "outputs" && difference.got.to_string().contains("[redacted]")
    }),
    ("utf-8", |case, _, difference| {
        // The original took ASCII for UTF-16.
        let note = case.field("note").as_str().unwrap_or_default();
        let guessed = case.expected.to_string().chars().any(|c| ('\u{3000}'..'\u{e000}').contains(&c));
        let known = ["083-", "136-", "436-", "437-"].iter().any(|number| case.name.starts_with(number));
        matches!(difference.field, "steady_states" | "outputs" | "exit_code" | "status")
            && (guessed || known || note.contains("charset"))
    }),
    ("dry-is-dry", |case, _, difference| {
        let text = std::fs::read_to_string(case.document());
        text.is_ok_and(|text| text.contains("\"dry\""))
            && matches!(difference.field, "files_present" | "files_absent" | "outputs" | "exit_code")
    }),
    ("probe-tolerance", |case, seen, difference| {
        // What judges has not ended well, which the original does not look at.
        let judge = seen
            .journal
            .as_ref()
            .map(|journal| journal["steady_states"]["before"]["probes"][0]["x-steadfast"]["tolerance"].to_string());
        let against =
            judge.is_some_and(|why| why.contains("the tolerance's process") || why.contains("the tolerance's request"));
        against
            && case.field("steady_states")["before"]["steady_state_met"] == true
            && difference.field != "files_present"
    }),
    ("missing-program", |_, _, difference| {
        difference.field == "outputs" && difference.expected.to_string().contains("None: not found")
    }),
];

fn gate_missed(case: &Case) -> bool {
    case.field("steady_states")["before"]["steady_state_met"] == false
}

fn pairs(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The number of the signal that a case sends.
fn signal(case: &Case) -> i32 {
    match case.field("signal")["signal"].as_str() {
        Some("SIGINT") | None => 2,
        Some("SIGHUP") => 1,
        Some("SIGUSR1") => 10,
        Some("SIGUSR2") => 12,
        Some(_) => 15,
    }
}
