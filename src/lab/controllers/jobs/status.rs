//! How a Job stands, and how it ends.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::{Event, SOURCE, condition, stamp};
use crate::clock::Timestamp;
use crate::lab::store::seconds;

/// How a Job will end, or has ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    well: bool,
    reason: String,
    message: String,
}

impl Outcome {
    pub(super) fn failed(reason: &str, message: &str) -> Self {
        Self { well: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    pub(super) fn complete() -> Self {
        let message = "Reached expected number of succeeded pods".to_owned();
        Self { well: true, reason: "CompletionsReached".to_owned(), message }
    }

    /// What a Job is heading for already.
    pub(super) fn target(status: &Value) -> Option<Self> {
        let of = |kind: &str, well: bool| {
            let target = condition(status, kind).filter(|condition| condition["status"] == "True")?;
            let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
            Some(Self { well, reason: text("reason"), message: text("message") })
        };
        of("FailureTarget", false).or_else(|| of("SuccessCriteriaMet", true))
    }

    pub(super) fn aim(&self, status: &mut Value, now: Timestamp) {
        let kind = if self.well { "SuccessCriteriaMet" } else { "FailureTarget" };
        set_condition(status, kind, "True", &self.reason, &self.message, now);
    }

    pub(super) fn conclude(&self, status: &mut Value, now: Timestamp) {
        let kind = if self.well { "Complete" } else { "Failed" };
        set_condition(status, kind, "True", &self.reason, &self.message, now);
        if self.well {
            status["completionTime"] = json!(seconds(now));
        }
    }

    pub(super) fn event(&self) -> Event<'_> {
        if self.well {
            Event::normal(SOURCE, "Completed", "Job completed")
        } else {
            Event::warning(SOURCE, &self.reason, self.message.clone())
        }
    }
}

/// When the Job finished, if it has.
pub(super) fn finished(job: &Value) -> Option<Timestamp> {
    let mut ended = ["Complete", "Failed"].iter().filter_map(|kind| condition(&job["status"], kind));
    let ended = ended.find(|condition| condition["status"] == "True")?;
    Some(stamp(&ended["lastTransitionTime"]).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Sets a condition where its status differs.
pub(super) fn set_condition(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    if condition(status, kind).is_some_and(|before| before["status"] == value) {
        return;
    }
    let new = json!({
        "type": kind, "status": value, "reason": reason, "message": message,
        "lastProbeTime": seconds(now), "lastTransitionTime": seconds(now),
    });
    match status["conditions"].as_array_mut() {
        Some(conditions) => match conditions.iter_mut().find(|condition| condition["type"] == kind) {
            Some(before) => *before = new,
            None => conditions.push(new),
        },
        None => status["conditions"] = json!([new]),
    }
}

/// The indexes that are done; as text `0,2-4`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<i64>);

impl Indexes {
    pub(super) fn read(status: &Value) -> Self {
        let mut indexes = BTreeSet::new();
        for piece in status["completedIndexes"].as_str().unwrap_or_default().split(',') {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse()) {
                indexes.extend(first..=last);
            }
        }
        Self(indexes)
    }

    pub(super) fn insert(&mut self, index: Option<i64>) {
        self.0.extend(index);
    }

    pub(super) fn contains(&self, index: i64) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for index in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *index => *last = *index,
                _ => runs.push((*index, *index)),
            }
        }
        for (number, (first, last)) in runs.into_iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Two in a row are no range yet.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_runs() {
        let mut indexes = Indexes::default();
        for index in [5, 1, 0, 7, 8, 9] {
            indexes.insert(Some(index));
        }
        assert_eq!(indexes.to_string(), "0,1,5,7-9");
        assert_eq!(Indexes::read(&json!({"completedIndexes": "0,1,5,7-9"})), indexes);
        assert_eq!(Indexes::read(&json!({})), Indexes::default());
    }
}
