//! What runs pods: Deployments, their like, and Jobs.

use serde_json::{Map, Value, json};

use super::{inner, maps, or, pod, there};

/// The labels that tie a pod to its job; the first pair is the older one.
const JOB_LABELS: [(&str, &str); 2] =
    [("controller-uid", "job-name"), ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")];

fn template(spec: &mut Map<String, Value>) {
    let Some(template) = inner(spec, "template") else { return };
    inner(template, "metadata");
    if let Some(spec) = inner(template, "spec") {
        pod::spec(spec);
    }
}

pub(super) fn deployment(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "replicas", || json!(1));
    or(spec, "revisionHistoryLimit", || json!(10));
    or(spec, "progressDeadlineSeconds", || json!(600));
    if let Some(strategy) = inner(spec, "strategy") {
        or(strategy, "type", || json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            or(rolling, "maxSurge", || json!("25%"));
            or(rolling, "maxUnavailable", || json!("25%"));
        }
    }
    template(spec);
}

pub(super) fn replica_set(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "replicas", || json!(1));
    // A set without a template is asked for one.
    template(spec);
}

pub(super) fn stateful_set(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "replicas", || json!(1));
    or(spec, "revisionHistoryLimit", || json!(10));
    or(spec, "podManagementPolicy", || json!("OrderedReady"));
    or(spec, "serviceName", || json!(""));
    if let Some(strategy) = inner(spec, "updateStrategy") {
        or(strategy, "type", || json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            or(rolling, "partition", || json!(0));
        }
    }
    if let Some(retention) = inner(spec, "persistentVolumeClaimRetentionPolicy") {
        or(retention, "whenDeleted", || json!("Retain"));
        or(retention, "whenScaled", || json!("Retain"));
    }
    for claim in maps(spec, "volumeClaimTemplates") {
        or(claim, "apiVersion", || json!("v1"));
        or(claim, "kind", || json!("PersistentVolumeClaim"));
        if let Some(spec) = inner(claim, "spec") {
            or(spec, "volumeMode", || json!("Filesystem"));
        }
        if let Some(status) = inner(claim, "status") {
            or(status, "phase", || json!("Pending"));
        }
    }
    template(spec);
}

pub(super) fn daemon_set(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "revisionHistoryLimit", || json!(10));
    if let Some(strategy) = inner(spec, "updateStrategy") {
        or(strategy, "type", || json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            or(rolling, "maxUnavailable", || json!(1));
            or(rolling, "maxSurge", || json!(0));
        }
    }
    template(spec);
}

pub(super) fn job(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    or(spec, "parallelism", || json!(1));
    let per_index = spec.contains_key("backoffLimitPerIndex");
    or(spec, "backoffLimit", || json!(if per_index { i64::from(i32::MAX) } else { 6 }));
    or(spec, "completionMode", || json!("NonIndexed"));
    or(spec, "suspend", || json!(false));
    or(spec, "manualSelector", || json!(false));
    let replaces = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    or(spec, "podReplacementPolicy", || json!(replaces));
    if let Some(policy) = there(spec, "podFailurePolicy") {
        for rule in maps(policy, "rules") {
            for condition in maps(rule, "onPodConditions") {
                or(condition, "status", || json!("True"));
            }
        }
    }
    template(spec);
    // A new job's labels are its template's.
    let labels = spec["template"]["metadata"].get("labels").cloned();
    if let (Some(labels), Some(metadata)) = (labels, inner(object, "metadata")) {
        or(metadata, "labels", || labels);
    }
}

/// Ties the pods of a new job to it by its uid, unless it selects them by hand.
pub(in crate::lab::store::admission) fn own_job_pods(job: &mut Value, name: &str, uid: &str) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    for (of_uid, of_name) in JOB_LABELS {
        for (key, value) in [(of_uid, uid), (of_name, name)] {
            if labels[key].is_null() {
                labels[key] = json!(value);
            }
        }
    }
    let labels = labels.clone();
    job["spec"]["selector"]["matchLabels"][JOB_LABELS[1].0] = json!(uid);
    if job["metadata"]["labels"].is_null() {
        job["metadata"]["labels"] = labels;
    }
}

pub(super) fn autoscaler(object: &mut Map<String, Value>) {
    let Some(spec) = inner(object, "spec") else { return };
    or(spec, "minReplicas", || json!(1));
    or(spec, "metrics", || {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
    });
    let Some(behavior) = there(spec, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = inner(behavior, "scaleUp") {
        or(up, "stabilizationWindowSeconds", || json!(0));
        or(up, "selectPolicy", || json!("Max"));
        or(up, "policies", || json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]));
    }
    if let Some(down) = inner(behavior, "scaleDown") {
        or(down, "selectPolicy", || json!("Max"));
        or(down, "policies", || json!([percent]));
    }
}
