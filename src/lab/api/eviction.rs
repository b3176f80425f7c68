//! Eviction: a delete that asks the pod's disruption budget first.
//!
//! A pod that is pending, has ended or is already being deleted disturbs nobody: its budget is not asked. An unready
//! one is let go if enough others are ready, or if its budget says `AlwaysAllow`. Otherwise the budget must allow
//! one disruption more; it is counted here and at once, so that two evictions cannot spend the same allowance,
//! and the budget's controller finds the pod in `disruptedPods`. That controller keeps the rest of the status.

use std::time::Duration;

use serde_json::{Value, json};

use super::review::{self, Cause};
use super::{Answer, ApiService, Call, not_allowed};
use crate::clock::Timestamp;
use crate::kubernetes::Selector;
use crate::lab::resource::{NAMESPACES, POD_DISRUPTION_BUDGETS, PODS};
use crate::lab::status::Status;
use crate::lab::store::{Deletion, Object, Part, Preconditions, Propagation, seconds};

/// How often and how long the server tries again where a precondition does not hold: ten seconds in all.
const RETRIES: u32 = 20;
const RETRY_EVERY: Duration = Duration::from_millis(500);

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// The answer to `pods/NAME/eviction`.
pub(super) async fn answer(api: &ApiService, parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    let ["api", "v1", "namespaces", namespace, "pods", name, "eviction"] = *parts else { return None };
    Some(if call.method == "POST" { evict(api, namespace, name, call).await } else { Err(not_allowed()) })
}

async fn evict(api: &ApiService, namespace: &str, name: &str, call: &Call) -> Result<Answer, Status> {
    let eviction = review::decode(call, "policy/v1", "Eviction")?;
    let mut how = options(&eviction["deleteOptions"])?;
    how.dry_run |= call.dry_run()?;
    let sent = |field: &str| eviction["metadata"][field].as_str().unwrap_or_default();
    if !sent("namespace").is_empty() && sent("namespace") != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    api.store.get(&NAMESPACES, "", namespace)?;
    if sent("name") != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut tries = 1;
    loop {
        let pod = api.store.get(&PODS, namespace, name)?;
        if !disturbs_nobody(&pod) {
            spend(api, namespace, &pod, how.dry_run)?;
            remove(api, namespace, name, &pod, &how)?;
            break;
        }
        match remove(api, namespace, name, &pod, &how) {
            Ok(()) => break,
            Err(status) if status.code == 409 && tries < RETRIES => tries += 1,
            Err(status) => return Err(status),
        }
        api.clock.sleep(RETRY_EVERY).await;
    }
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Answer::Json(201, done))
}

/// What `deleteOptions` of an eviction say.
fn options(options: &Value) -> Result<Deletion, Status> {
    let refused = |field: &str, why: String| {
        Err(review::invalid(("meta.k8s.io", "DeleteOptions"), "", &[Cause::new(field, why)]))
    };
    let dry_run = review::texts(&options["dryRun"]);
    if dry_run.iter().any(|what| what != "All") {
        return refused("dryRun", format!("Unsupported value: {}: supported values: \"All\"", options["dryRun"]));
    }
    let propagation = match options["propagationPolicy"].as_str() {
        None => None,
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            let known = r#"supported values: "Foreground", "Background", "Orphan", "nil""#;
            return refused("propagationPolicy", format!("Unsupported value: {other:?}: {known}"));
        }
    };
    let text = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
    Ok(Deletion {
        preconditions: Preconditions { uid: text("uid"), resource_version: text("resourceVersion") },
        grace: options["gracePeriodSeconds"].as_i64(),
        propagation,
        dry_run: !dry_run.is_empty(),
    })
}

fn disturbs_nobody(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
    matches!(phase, "Pending" | "Succeeded" | "Failed") || !pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Takes one disruption from the pod's budget, if it has one.
fn spend(api: &ApiService, namespace: &str, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let budgets = api.store.list(&POD_DISRUPTION_BUDGETS, Some(namespace)).0;
    let labels = &pod["metadata"]["labels"];
    let over = |budget: &&Object| {
        let selector = &budget["spec"]["selector"];
        let matches = Selector::from_json(selector).is_ok_and(|selector| selector.matches(labels));
        !selector.is_null() && labels.as_object().is_some_and(|labels| !labels.is_empty()) && matches
    };
    let budgets: Vec<&Object> = budgets.iter().filter(over).collect();
    let budget = match budgets[..] {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, "", why));
        }
    };
    if !is_ready(pod) {
        let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
        let enough = count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy");
        if enough || budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" {
            return Ok(());
        }
    }
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let (pod, now) = (name(pod), api.clock.now());
    let spent = |before: &Value| decremented(before, &pod, now);
    let kind = &POD_DISRUPTION_BUDGETS;
    api.store.modify(kind, namespace, &name(budget), Part::Status, dry_run, spent).map(drop)
}

/// The budget with one disruption less.
fn decremented(budget: &Value, pod: &str, now: Timestamp) -> Result<Value, Status> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let status = &budget["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let refused = |why: String, wait: Option<u64>| {
        let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
        if let Some(seconds) = wait {
            details["retryAfterSeconds"] = json!(seconds);
        }
        Err(Status { details: Some(details), ..Status::new(429, "TooManyRequests", REFUSED) })
    };
    if count("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return refused(format!("The disruption budget {name} is still being processed by the server."), Some(10));
    }
    let allowed = count("disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return Err(Status::forbidden(&POD_DISRUPTION_BUDGETS, name, why));
    }
    let position = |status: &Value| {
        status["conditions"].as_array().and_then(|all| all.iter().position(|c| c["type"] == "DisruptionAllowed"))
    };
    if allowed == 0 {
        let condition = position(status).map_or(&Value::Null, |at| &status["conditions"][at]);
        if condition["reason"] == "SyncFailed" {
            let why = condition["message"].as_str().unwrap_or_default();
            return refused(
                format!(
                    "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
                ),
                None,
            );
        }
        let (needs, has) = (count("desiredHealthy"), count("currentHealthy"));
        return refused(
            format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently"),
            None,
        );
    }
    let mut after = budget.clone();
    after["status"]["disruptionsAllowed"] = json!(allowed - 1);
    if allowed == 1
        && let Some(at) = position(status)
    {
        let condition = &mut after["status"]["conditions"][at];
        if condition["status"] != "False" {
            condition["lastTransitionTime"] = json!(seconds(now));
        }
        condition["status"] = json!("False");
        condition["reason"] = json!("InsufficientPods");
        condition["message"] = json!("");
    }
    after["status"]["disruptedPods"][pod] = json!(seconds(now));
    Ok(after)
}

/// Says on the pod why it goes, and deletes it.
fn remove(api: &ApiService, namespace: &str, name: &str, pod: &Value, how: &Deletion) -> Result<(), Status> {
    let check = Deletion { dry_run: true, ..how.clone() };
    api.store.remove(&PODS, namespace, name, &check)?;
    if how.dry_run {
        return Ok(());
    }
    let mut how = how.clone();
    if pod["metadata"]["deletionTimestamp"].is_null() {
        let (uid, now) = (pod["metadata"]["uid"].clone(), seconds(api.clock.now()));
        let marked = api.store.modify(&PODS, namespace, name, Part::Status, false, |before| {
            let mut after = before.clone();
            if after["metadata"]["uid"] == uid {
                mark(&mut after, &now);
            }
            Ok(after)
        })?;
        if how.preconditions.resource_version.is_some() {
            how.preconditions.resource_version = marked["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        }
    }
    api.store.remove(&PODS, namespace, name, &how).map(drop)
}

fn mark(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    });
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(all) => {
            all.retain(|c| c["type"] != "DisruptionTarget");
            all.push(condition);
        }
        None => *conditions = json!([condition]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn budget(allowed: i64, observed: i64) -> Value {
        let condition =
            json!({"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": ""});
        json!({"metadata": {"name": "b", "generation": 2}, "status": {
            "observedGeneration": observed, "disruptionsAllowed": allowed, "desiredHealthy": 3, "currentHealthy": 2,
            "conditions": [condition]}})
    }

    #[test]
    fn the_last_disruption_closes_the_budget() {
        let after = decremented(&budget(2, 2), "p", at()).unwrap();
        assert_eq!(after["status"]["disruptionsAllowed"], 1);
        assert_eq!(after["status"]["disruptedPods"], json!({"p": "2026-01-01T00:00:00Z"}));
        assert_eq!(after["status"]["conditions"][0]["status"], "True");
        let after = decremented(&budget(1, 2), "p", at()).unwrap();
        assert_eq!(after["status"]["conditions"][0]["status"], "False");
        assert_eq!(after["status"]["conditions"][0]["reason"], "InsufficientPods");
    }

    #[test]
    fn a_spent_or_unseen_budget_refuses() {
        let cause = |status: &Status| status.details.as_ref().unwrap()["causes"][0]["message"].clone();
        let spent = decremented(&budget(0, 2), "p", at()).unwrap_err();
        assert_eq!((spent.code, spent.reason), (429, "TooManyRequests"));
        assert_eq!(cause(&spent), "The disruption budget b needs 3 healthy pods and has 2 currently");
        let unseen = decremented(&budget(1, 1), "p", at()).unwrap_err();
        assert_eq!(unseen.code, 429);
        assert_eq!(cause(&unseen), "The disruption budget b is still being processed by the server.");
        assert_eq!(unseen.details.unwrap()["retryAfterSeconds"], 10);
        assert_eq!(decremented(&budget(-1, 2), "p", at()).unwrap_err().code, 403);
    }

    #[test]
    fn who_disturbs_nobody_needs_no_budget() {
        assert!(disturbs_nobody(&json!({"status": {"phase": "Pending"}})));
        assert!(disturbs_nobody(&json!({"status": {"phase": "Failed"}})));
        assert!(!disturbs_nobody(&json!({"status": {"phase": "Running"}})));
        let leaving =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}});
        assert!(disturbs_nobody(&leaving));
    }
}
