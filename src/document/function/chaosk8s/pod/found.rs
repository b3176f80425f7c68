//! `should_be_found_in_logs`, a tolerance of `read_pod_logs`.

use regex::Regex;
use serde_json::json;

use super::super::super::{Answer, Failed, functions};
use super::{Call, Stage};

functions! { PROBES: "chaosk8s.pod.probes", Probe, cluster: false {
    should_be_found_in_logs(pattern; all_containers, value) = should_be_found_in_logs;
} }

/// Whether a pattern is found in the log of each pod, or of one.
async fn should_be_found_in_logs(call: Call<'_>, _: Stage<'_>) -> Answer {
    let (text, all) = (call.required("pattern")?, call.flag("all_containers", true)?);
    let pattern = Regex::new(&text).map_err(|error| Failed(format!("argument \"pattern\": {error}")))?;
    let Some(logs) = call.map("value")?.filter(|logs| !logs.is_empty()) else {
        return Err(Failed("there are no logs to look in: no pod was found, or none was read".to_owned()));
    };
    let mut missing = Vec::new();
    for (pod, log) in logs {
        if !log.as_str().is_some_and(|log| pattern.is_match(log)) {
            missing.push(pod.as_str());
        }
    }
    if missing.is_empty() || (!all && missing.len() < logs.len()) {
        return Ok(json!(true));
    }
    Err(Failed(format!("{text:?} is not found in the log of {}", missing.join(", "))))
}
