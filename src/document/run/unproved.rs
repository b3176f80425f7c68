//! Actions that do not show that they did what they were to do: a system that stood it has not stood anything then.

use serde_json::Value;

use super::Conductor;
use super::activity::Place;
use crate::document::activity::{Activity, Kind};
use crate::document::function::REMEDY;
use crate::document::provider::{Providers, Trouble};
use crate::journal::Reason;

/// What the journal keeps of it beside the record, under a key of ours.
pub(super) type Remark = (&'static str, String);

impl Conductor {
    /// Keeps what an activity of the method leaves unproved, unless the document trusts it. How it ended in the journal is
    /// the original's.
    pub(super) fn weigh(&self, activity: &Activity<'_>, place: Place, done: &Result<Value, Trouble>) -> Option<Remark> {
        let is_fault = Providers::is_fault(activity);
        if place != Place::Method || !(is_fault || activity.kind() == Some(Kind::Action)) {
            return None;
        }
        let fault = activity.name().into_owned();
        if let (true, Err(Trouble::Failed(why))) = (is_fault, done) {
            // It was not injected, so that there is nothing to trust in.
            self.state().faults_failed.push(Reason::FaultNotProved { fault, why: why.clone() });
            return None;
        }
        let why = match done {
            Err(trouble) => format!("it failed: {trouble}"),
            Ok(output) => unsuccessful(self.providers.carrying_out(activity), output)?,
        };
        if let Some(trust) = activity.trust() {
            return Some(("trusted", trust.to_owned()));
        }
        self.state().unproved.push(Reason::FaultNotProved { fault, why: format!("{why}; {REMEDY}") });
        Some(("unproved", why))
    }
}

/// What an output says against an action's having done what it was to do: the exit code of a program, of one in a pod too,
/// or the status of an answer. To the original all of them are successes.
fn unsuccessful(provider: &Value, output: &Value) -> Option<String> {
    let status = output["status"].as_i64();
    match provider["type"].as_str()? {
        "process" => match status {
            Some(0) => None,
            Some(code @ 1..) => Some(format!("it ended with exit code {code}")),
            Some(signal) => Some(format!("it was ended by signal {}", -signal)),
            None => Some("how it ended is not known".to_owned()),
        },
        "http" => status.filter(|status| *status >= 400).map(|status| format!("it was answered with status {status}")),
        _ => {
            let mut pods = output.as_array()?.iter();
            let (pod, code) = pods.find_map(|one| {
                let code = one["exit_code"].as_i64().filter(|code| *code != 0)?;
                Some((one["pod_name"].as_str()?, code))
            })?;
            Some(format!("its command ended with exit code {code} in pod {pod}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_output_may_speak_against_success() {
        let of = |kind: &str, output: Value| unsuccessful(&json!({"type": kind}), &output);
        assert_eq!(of("process", json!({"status": 0})), None);
        assert_eq!(of("process", json!({"status": 9})).as_deref(), Some("it ended with exit code 9"));
        assert_eq!(of("process", json!({"status": -9})).as_deref(), Some("it was ended by signal 9"));
        assert_eq!(of("http", json!({"status": 302})), None);
        assert_eq!(of("http", json!({"status": 503})).as_deref(), Some("it was answered with status 503"));
        let ended = |code: u64| json!([{"pod_name": "a", "exit_code": 0}, {"pod_name": "b", "exit_code": code}]);
        assert_eq!(of("python", ended(0)), None);
        assert_eq!(of("python", ended(3)).as_deref(), Some("its command ended with exit code 3 in pod b"));
        assert_eq!(of("python", json!({"status": 500})), None, "what a function returns is its own");
    }
}
