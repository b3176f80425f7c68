//! What a run of a document has done so far: the records of its activities, in the order in which they began.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;

/// How an activity ended. One that was cut by a signal has none until the journal is stored, which calls it aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
}

/// One activity that has begun.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As the document defines it.
    pub(crate) activity: Value,
    pub(crate) output: Value,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<(Timestamp, Duration)>,
    pub(crate) ending: Option<Ending>,
    /// Why it failed.
    pub(crate) exception: Option<String>,
    /// Of a probe of the hypothesis: whether its tolerance is met, `None` where that is not known.
    pub(crate) tolerance: Option<Option<bool>>,
    /// What else is known of it, under a key of our own.
    pub(crate) remarks: Map<String, Value>,
    /// The whole of it as a control changed it.
    changed: Option<Value>,
}

impl Record {
    /// One that begins.
    pub(crate) fn of(activity: Value, started: Timestamp) -> Self {
        Self {
            activity,
            output: Value::Null,
            started,
            ended: None,
            ending: None,
            exception: None,
            tolerance: None,
            remarks: Map::new(),
            changed: None,
        }
    }

    /// Takes over what a control made of it: its output and how it ended count from here on.
    pub(crate) fn take_over(&mut self, changed: Value) {
        if !changed.is_object() {
            return;
        }
        self.output = changed["output"].clone();
        self.ending = match changed["status"].as_str() {
            Some("succeeded") => Some(Ending::Succeeded),
            Some("failed") => Some(Ending::Failed),
            _ => self.ending,
        };
        self.changed = Some(changed);
    }

    pub(crate) fn name(&self) -> &str {
        self.activity["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn to_json(&self) -> Value {
        let status = match self.ending {
            Some(Ending::Succeeded) => "succeeded",
            Some(Ending::Failed) => "failed",
            None => "aborted",
        };
        let mut record = self.changed.clone().unwrap_or_else(|| {
            json!({
                "activity": self.activity, "output": self.output, "start": instant(self.started), "status": status,
            })
        });
        if self.changed.is_none() {
            self.tell_the_end(&mut record);
        }
        if let Some(met) = self.tolerance {
            record["tolerance_met"] = json!(met);
        }
        if !self.remarks.is_empty() {
            record["x-steadfast"] = Value::Object(self.remarks.clone());
        }
        record
    }

    fn tell_the_end(&self, record: &mut Value) {
        if let Some(why) = &self.exception {
            record["exception"] = json!([format!("chaoslib.exceptions.ActivityFailed: {why}\n")]);
        }
        if let Some((ended, took)) = self.ended {
            record["end"] = json!(instant(ended));
            record["duration"] = json!(took.as_secs_f64());
        }
    }
}

/// An instant as Chaos Toolkit writes it: ISO 8601 in UTC, to the microsecond.
pub(crate) fn instant(at: Timestamp) -> String {
    let whole = at.as_nanosecond() % 1_000_000_000 == 0;
    at.strftime(if whole { "%Y-%m-%dT%H:%M:%S+00:00" } else { "%Y-%m-%dT%H:%M:%S.%6f+00:00" }).to_string()
}

/// Records that grow while others read them.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Vec<Record>>);

impl Records {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends one that begins; its number.
    pub(crate) fn begin(&self, activity: Value, started: Timestamp) -> usize {
        let mut records = self.lock();
        records.push(Record::of(activity, started));
        records.len() - 1
    }

    /// Takes over what a control made of all of them; none is lost by that.
    pub(crate) fn take_over(&self, changed: Value) {
        let Value::Array(changed) = changed else { return };
        for (record, changed) in self.lock().iter_mut().zip(changed) {
            if record.to_json() != changed {
                record.take_over(changed);
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        self.lock().iter().map(Record::to_json).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_control_makes_of_a_record_counts() {
        let records = Records::default();
        let number = records.begin(json!({"name": "a"}), Timestamp::UNIX_EPOCH);
        let mut changed = records.lock()[number].to_json();
        changed["status"] = json!("succeeded");
        changed["output"] = json!(2);
        changed["extra"] = json!("added");
        records.take_over(json!([changed]));
        let mut records = records.lock();
        assert_eq!((records[0].ending, &records[0].output), (Some(Ending::Succeeded), &json!(2)));
        records[0].tolerance = Some(Some(true));
        let told = records[0].to_json();
        assert_eq!(
            (&told["extra"], &told["tolerance_met"], &told["status"]),
            (&json!("added"), &json!(true), &json!("succeeded"))
        );
    }
}
