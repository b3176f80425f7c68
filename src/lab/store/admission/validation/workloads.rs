//! What runs pods, and what watches over their number.

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{metadata, names, pod, selector};

/// The most pods of an indexed job at a time.
const INDEXED_LIMIT: i64 = 100_000;

const METRICS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// The template of pods that restart, for ever.
fn template(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let template = &spec["template"];
    let path = path.at("template");
    if !spec["selector"].is_null() || kind != "none" {
        let labels = &template["metadata"]["labels"];
        if !selector::takes(&spec["selector"], labels) && selector::is_readable(&spec["selector"]) {
            let why = "`selector` does not match template `labels`";
            errors.invalid(&path.at("metadata").at("labels"), labels, why);
        }
    }
    metadata::labels(&template["metadata"]["labels"], &path.at("labels"), errors);
    let path = path.at("spec");
    pod::spec(&template["spec"], &path, errors);
    if let Some(policy) = template["spec"]["restartPolicy"].as_str()
        && matches!(policy, "OnFailure" | "Never")
    {
        errors.not_supported(&path.at("restartPolicy"), json!(policy), &["Always"]);
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&path.at("activeDeadlineSeconds"), &why);
    }
}

fn selects(spec: &Value, path: &Path<'_>, suffix: &str, errors: &mut Errors) {
    let chosen = &spec["selector"];
    let path = path.at("selector");
    if chosen.is_null() {
        errors.required(&path, "");
        return;
    }
    selector::validate(chosen, &path, errors);
    if !selector::is_readable(chosen) {
        let message = format!("Invalid value: {}{suffix}", selector::shown(chosen));
        errors.add("FieldValueInvalid", path, message);
    }
}

pub(super) fn deployment(deployment: &Value, errors: &mut Errors) {
    let (spec, path) = (&deployment["spec"], Path::Root.at("spec"));
    errors.at_least(&path.at("replicas"), &spec["replicas"], 0);
    selects(spec, &path, ": invalid label selector", errors);
    template(spec, "ReplicaSet", &path, errors);
    strategy(&spec["strategy"], &path.at("strategy"), errors);
    errors.at_least(&path.at("minReadySeconds"), &spec["minReadySeconds"], 0);
    errors.at_least(&path.at("revisionHistoryLimit"), &spec["revisionHistoryLimit"], 0);
    if let Some(seconds) = spec["progressDeadlineSeconds"].as_i64() {
        let path = path.at("progressDeadlineSeconds");
        errors.at_least(&path, &json!(seconds), 0);
        if seconds <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            errors.invalid(&path, seconds, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(strategy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str().unwrap_or_default() {
        "Recreate" => {
            if !rolling.is_null() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(&path.at("rollingUpdate"), why);
            }
        }
        "RollingUpdate" => {
            let path = path.at("rollingUpdate");
            share(&rolling["maxUnavailable"], &path.at("maxUnavailable"), errors);
            share(&rolling["maxSurge"], &path.at("maxSurge"), errors);
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let why = "may not be 0 when `maxSurge` is 0";
                errors.invalid(&path.at("maxUnavailable"), &rolling["maxUnavailable"], why);
            }
            at_most_all(&rolling["maxUnavailable"], &path.at("maxUnavailable"), errors);
        }
        other => {
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":null}}", json!(other));
            errors.not_supported(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

/// A number, or a percentage.
fn share(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::String(text) => errors.each(path, text, names::percent(text)),
        number => errors.at_least(path, number, 0),
    }
}

fn at_most_all(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse::<u64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.invalid(path, value, "must not be greater than 100%");
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.strip_suffix('%').is_some_and(|digits| digits.parse() == Ok(0_u64)),
        number => number.as_i64() == Some(0),
    }
}

pub(super) fn replica_set(set: &Value, errors: &mut Errors) {
    let (spec, path) = (&set["spec"], Path::Root.at("spec"));
    errors.at_least(&path.at("replicas"), &spec["replicas"], 0);
    errors.at_least(&path.at("minReadySeconds"), &spec["minReadySeconds"], 0);
    selects(spec, &path, ": invalid label selector", errors);
    template(spec, "ReplicaSet", &path, errors);
}

pub(super) fn stateful_set(set: &Value, errors: &mut Errors) {
    let (spec, path) = (&set["spec"], Path::Root.at("spec"));
    if let Some(policy) = spec["podManagementPolicy"].as_str()
        && !matches!(policy, "OrderedReady" | "Parallel")
    {
        errors.invalid_text(&path.at("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
    }
    let (strategy, at) = (&spec["updateStrategy"], path.at("updateStrategy"));
    match strategy["type"].as_str().unwrap_or_default() {
        "RollingUpdate" => {
            let at = at.at("rollingUpdate");
            errors.at_least(&at.at("partition"), &strategy["rollingUpdate"]["partition"], 0);
            share(&strategy["rollingUpdate"]["maxUnavailable"], &at.at("maxUnavailable"), errors);
        }
        "OnDelete" => {
            let rolling = &strategy["rollingUpdate"];
            if !rolling.is_null() {
                let shown = format!("{{\"Partition\":{},\"MaxUnavailable\":null}}", rolling["partition"]);
                errors.invalid(&at.at("rollingUpdate"), shown, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        other => {
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":null}}", json!(other));
            errors.invalid(&at, shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
    errors.at_least(&path.at("replicas"), &spec["replicas"], 0);
    errors.at_least(&path.at("minReadySeconds"), &spec["minReadySeconds"], 0);
    errors.at_least(&path.at("ordinals").at("start"), &spec["ordinals"]["start"], 0);
    selects(spec, &path, "", errors);
    template(spec, "StatefulSet", &path, errors);
}

pub(super) fn daemon_set(set: &Value, errors: &mut Errors) {
    let (spec, path) = (&set["spec"], Path::Root.at("spec"));
    selector::validate(&spec["selector"], &path.at("selector"), errors);
    template(spec, "DaemonSet", &path, errors);
    errors.at_least(&path.at("minReadySeconds"), &spec["minReadySeconds"], 0);
    let (strategy, at) = (&spec["updateStrategy"], path.at("updateStrategy"));
    match strategy["type"].as_str().unwrap_or_default() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (rolling, at) = (&strategy["rollingUpdate"], at.at("rollingUpdate"));
            share(&rolling["maxUnavailable"], &at.at("maxUnavailable"), errors);
            share(&rolling["maxSurge"], &at.at("maxSurge"), errors);
            match (is_zero(&rolling["maxUnavailable"]), is_zero(&rolling["maxSurge"])) {
                (true, true) => errors.required(&at.at("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
                (false, false) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    errors.invalid(&at.at("maxSurge"), &rolling["maxSurge"], why);
                }
                _ => {}
            }
        }
        other => {
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":null}}", json!(other));
            errors.not_supported(&at, shown, &["RollingUpdate", "OnDelete"]);
        }
    }
    errors.at_least(&path.at("revisionHistoryLimit"), &spec["revisionHistoryLimit"], 0);
}

pub(super) fn job(job: &Value, errors: &mut Errors) {
    let (spec, path) = (&job["spec"], Path::Root.at("spec"));
    own_pods(job, errors);
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        errors.at_least(&path.at(field), &spec[field], 0);
    }
    if let Some(manager) = spec["managedBy"].as_str()
        && !manager.contains('/')
    {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.invalid_text(&path.at("managedBy"), manager, why);
    }
    let indexed = spec["completionMode"] == "Indexed";
    errors.one_of(&path.at("completionMode"), &spec["completionMode"], &["NonIndexed", "Indexed"]);
    if indexed && spec["completions"].is_null() {
        errors.required(&path.at("completions"), "when completion mode is Indexed");
    }
    if let Some(parallelism) = spec["parallelism"].as_i64().filter(|p| indexed && *p > INDEXED_LIMIT) {
        let why = format!("must be less than or equal to {INDEXED_LIMIT} when completion mode is Indexed");
        errors.invalid(&path.at("parallelism"), parallelism, &why);
    }
    if let Some(limit) = spec["backoffLimitPerIndex"].as_i64().filter(|_| !indexed) {
        errors.invalid(&path.at("backoffLimitPerIndex"), limit, "requires indexed completion mode");
    }
    failures(&spec["podFailurePolicy"]["rules"], &path.at("podFailurePolicy").at("rules"), errors);
    let known = ["Failed", "TerminatingOrFailed"];
    errors.one_of(&path.at("podReplacementPolicy"), &spec["podReplacementPolicy"], &known);
    selector::validate(&spec["selector"], &path.at("selector"), errors);
    let at = path.at("template");
    metadata::labels(&spec["template"]["metadata"]["labels"], &at.at("labels"), errors);
    if !selector::takes(&spec["selector"], &spec["template"]["metadata"]["labels"]) {
        let labels = &spec["template"]["metadata"]["labels"];
        let why = "`selector` does not match template `labels`";
        errors.invalid(&at.at("metadata").at("labels"), labels, why);
    }
    let at = at.at("spec");
    pod::spec(&spec["template"]["spec"], &at, errors);
    match spec["template"]["spec"]["restartPolicy"].as_str().unwrap_or_default() {
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.required(&at.at("restartPolicy"), "valid values: \"OnFailure\", \"Never\""),
        other => errors.not_supported(&at.at("restartPolicy"), json!(other), &["OnFailure", "Never"]),
    }
}

/// A job selects the pods that carry its uid, unless it selects them by hand.
fn own_pods(job: &Value, errors: &mut Errors) {
    let (spec, path) = (&job["spec"], Path::Root.at("spec"));
    if spec["selector"].is_null() {
        errors.required(&path.at("selector"), "");
        return;
    }
    if spec["manualSelector"] == true {
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let (name, uid) = (&job["metadata"]["name"], &job["metadata"]["uid"]);
    let wanted = [
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
        ("controller-uid", uid),
        ("job-name", name),
    ];
    let at = path.at("template");
    let at = at.at("metadata");
    let at = at.at("labels");
    for (key, wanted) in wanted {
        let wanted = wanted.as_str().unwrap_or_default();
        match labels[key].as_str() {
            Some(there) if there == wanted => {}
            None => errors.required(&at.key(key), &format!("must be '{wanted}'")),
            Some(_) => errors.invalid(&at.key(key), labels, &format!("must be '{wanted}'")),
        }
    }
    if spec["selector"] != json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}) {
        errors.invalid(&path.at("selector"), selector::shown(&spec["selector"]), "`selector` not auto-generated");
    }
}

fn failures(rules: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, rule) in rules.as_array().into_iter().flatten().enumerate() {
        let path = path.item(index);
        errors.one_of(&path.at("action"), &rule["action"], &["Count", "FailIndex", "FailJob", "Ignore"]);
        if rule["onExitCodes"].is_null() && rule["onPodConditions"].is_null() {
            let message = "Invalid value: specifying one of OnExitCodes and OnPodConditions is required";
            errors.add("FieldValueInvalid", path, message.to_owned());
        }
    }
}

pub(super) fn budget(budget: &Value, errors: &mut Errors) {
    let (spec, path) = (&budget["spec"], Path::Root.at("spec"));
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let (min, max) = (&spec["minAvailable"], &spec["maxUnavailable"]);
        let shown = format!(
            "{{\"MinAvailable\":{min},\"Selector\":{},\"MaxUnavailable\":{max},\"UnhealthyPodEvictionPolicy\":{}}}",
            selector::shown(&spec["selector"]),
            spec["unhealthyPodEvictionPolicy"]
        );
        errors.invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        share(&spec[field], &path.at(field), errors);
        at_most_all(&spec[field], &path.at(field), errors);
    }
    let known = ["AlwaysAllow", "IfHealthyBudget"];
    errors.one_of(&path.at("unhealthyPodEvictionPolicy"), &spec["unhealthyPodEvictionPolicy"], &known);
    selector::validate(&spec["selector"], &path.at("selector"), errors);
}

pub(super) fn autoscaler(autoscaler: &Value, errors: &mut Errors) {
    let (spec, path) = (&autoscaler["spec"], Path::Root.at("spec"));
    let (min, max) = (&spec["minReplicas"], spec["maxReplicas"].as_i64().unwrap_or(0));
    errors.at_least(&path.at("minReplicas"), min, 1);
    if max < 1 {
        errors.invalid(&path.at("maxReplicas"), max, "must be greater than 0");
    }
    if min.as_i64().is_some_and(|min| max < min) {
        errors.invalid(&path.at("maxReplicas"), max, "must be greater than or equal to `minReplicas`");
    }
    let (target, at) = (&spec["scaleTargetRef"], path.at("scaleTargetRef"));
    for field in ["kind", "name"] {
        match target[field].as_str().unwrap_or_default() {
            "" => errors.required(&at.at(field), ""),
            name => errors.each(&at.at(field), name, names::path_segment(name)),
        }
    }
    let version = target["apiVersion"].as_str().unwrap_or_default();
    if version.is_empty() {
        errors.invalid_text(&at.at("apiVersion"), "", "apiVersion must specify API group");
    }
    for (index, metric) in spec["metrics"].as_array().into_iter().flatten().enumerate() {
        let at = path.at("metrics");
        let at = at.item(index);
        let kind = metric["type"].as_str().unwrap_or_default();
        let field = kind.chars().next().map(|first| first.to_ascii_lowercase().to_string() + &kind[first.len_utf8()..]);
        match field {
            Some(field) if METRICS.contains(&kind) => {
                if metric[&field].is_null() {
                    errors.required(&at.at(&field), "must populate information for the given metric source");
                }
            }
            _ => errors.not_supported(&at.at("type"), json!(kind), &METRICS),
        }
    }
}
