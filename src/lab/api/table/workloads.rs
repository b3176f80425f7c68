//! The rows of what makes pods, and of what watches over them.

use serde_json::{Value, json};

use super::age::{human, since};
use super::{Cells, count, labels, list, name, none_if_empty, selector, text};
use crate::clock::Timestamp;

/// The names and the images of a template's containers.
fn containers(object: &Value) -> [Value; 2] {
    let containers = list(&object["spec"]["template"]["spec"]["containers"]);
    let all = |field: &str| containers.iter().map(|c| text(&c[field])).collect::<Vec<_>>().join(",");
    [json!(all("name")), json!(all("image"))]
}

fn row(first: impl IntoIterator<Item = Value>, object: &Value) -> Cells {
    first.into_iter().chain(containers(object)).collect()
}

/// Replicas that were not stated are one.
fn desired(object: &Value) -> u64 {
    object["spec"]["replicas"].as_u64().unwrap_or(1)
}

fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Cells {
    let status = &object["status"];
    let ready = format!("{}/{}", count(&status["readyReplicas"]), desired(object));
    let [updated, available] = ["updatedReplicas", "availableReplicas"].map(|field| json!(count(&status[field])));
    let mut cells = row([name(object), json!(ready), updated, available, age(object, now)], object);
    cells.push(json!(selector(&object["spec"]["selector"])));
    cells
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Cells {
    let status = &object["status"];
    let [current, ready] = ["replicas", "readyReplicas"].map(|field| json!(count(&status[field])));
    let mut cells = row([name(object), json!(desired(object)), current, ready, age(object, now)], object);
    cells.push(json!(none_if_empty(selector(&object["spec"]["selector"]))));
    cells
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Cells {
    let ready = format!("{}/{}", count(&object["status"]["readyReplicas"]), desired(object));
    row([name(object), json!(ready), age(object, now)], object)
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Cells {
    let fields = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    let mut first = vec![name(object)];
    first.extend(fields.map(|field| json!(count(&object["status"][field]))));
    first.push(json!(labels(&object["spec"]["template"]["spec"]["nodeSelector"])));
    first.push(age(object, now));
    let mut cells = row(first, object);
    cells.push(json!(none_if_empty(selector(&object["spec"]["selector"]))));
    cells
}

pub(super) fn job(object: &Value, now: Timestamp) -> Cells {
    let (spec, status) = (&object["spec"], &object["status"]);
    let holds = |kind: &str| list(&status["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True");
    let state = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if !object["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else {
        let others = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
        others.into_iter().find(|kind| holds(kind)).unwrap_or("Running")
    };
    let done = count(&status["succeeded"]);
    let completions = match (spec["completions"].as_u64(), count(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel @ 2..) => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    };
    let stamp = |field: &str| text(&status[field]).parse::<Timestamp>().ok();
    let duration = stamp("startTime")
        .map(|start| human(stamp("completionTime").unwrap_or(now).duration_since(start)))
        .unwrap_or_default();
    let first = [name(object), json!(state), json!(completions), json!(duration), age(object, now)];
    let mut cells = row(first, object);
    cells.push(json!(none_if_empty(selector(&spec["selector"]))));
    cells
}

pub(super) fn disruption_budget(object: &Value, now: Timestamp) -> Cells {
    let bound = |field: &str| match &object["spec"][field] {
        Value::Null => "N/A".to_owned(),
        Value::String(share) => share.clone(),
        number => number.to_string(),
    };
    vec![
        name(object),
        json!(bound("minAvailable")),
        json!(bound("maxUnavailable")),
        json!(count(&object["status"]["disruptionsAllowed"])),
        age(object, now),
    ]
}

pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Cells {
    let spec = &object["spec"];
    let target = &spec["scaleTargetRef"];
    vec![
        name(object),
        json!(format!("{}/{}", text(&target["kind"]), text(&target["name"]))),
        json!(metrics(list(&spec["metrics"]), list(&object["status"]["currentMetrics"]))),
        json!(spec["minReplicas"].as_u64().map_or("<unset>".to_owned(), |least| least.to_string())),
        json!(count(&spec["maxReplicas"])),
        json!(count(&object["status"]["currentReplicas"])),
        age(object, now),
    ]
}

/// The metrics of an autoscaler as `current/target`, two of them at most.
fn metrics(wanted: &[Value], seen: &[Value]) -> String {
    const SHOWN: usize = 2;
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let quantity = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let one = |(index, metric): (usize, &Value)| {
        let part = match text(&metric["type"]) {
            "External" => "external",
            "Pods" => "pods",
            "Object" => "object",
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            _ => return "<unknown type>".to_owned(),
        };
        let (metric, target) = (&metric[part], &metric[part]["target"]);
        let current = seen.get(index).map_or(&Value::Null, |seen| &seen[part]["current"]);
        let shown = |field: &str| quantity(&current[field]).unwrap_or_else(|| "<unknown>".to_owned());
        let average = quantity(&target["averageValue"]);
        match (part, average) {
            ("resource" | "containerResource", Some(target)) => {
                format!("{}: {}/{target}", text(&metric["name"]), shown("averageValue"))
            }
            ("resource" | "containerResource", None) => {
                let percent = |value: &Value, none: &str| value.as_u64().map_or(none.to_owned(), |p| format!("{p}%"));
                let current = percent(&current["averageUtilization"], "<unknown>");
                format!("{}: {current}/{}", text(&metric["name"]), percent(&target["averageUtilization"], "<auto>"))
            }
            ("pods", target) => format!("{}/{}", shown("averageValue"), target.unwrap_or_else(|| "0".to_owned())),
            (_, Some(target)) => format!("{}/{target} (avg)", shown("averageValue")),
            (_, None) => format!("{}/{}", shown("value"), quantity(&target["value"]).unwrap_or_else(|| "0".to_owned())),
        }
    };
    let shown: Vec<String> = wanted.iter().enumerate().take(SHOWN).map(one).collect();
    match wanted.len() {
        0..=SHOWN => shown.join(", "),
        all => format!("{} + {} more...", shown.join(", "), all - SHOWN),
    }
}

pub(super) fn scale(object: &Value, now: Timestamp) -> Cells {
    let [wanted, there] = ["spec", "status"].map(|part| json!(count(&object[part]["replicas"])));
    vec![name(object), wanted, there, age(object, now)]
}

pub(super) fn controller_revision(object: &Value, now: Timestamp) -> Cells {
    let owner = list(&object["metadata"]["ownerReferences"]).iter().find(|owner| owner["controller"] == true);
    let owner = owner.map_or("<none>".to_owned(), |owner| {
        let kind = text(&owner["kind"]).to_lowercase();
        let group = text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
        let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
        format!("{kind}/{}", text(&owner["name"]))
    });
    vec![name(object), json!(owner), json!(count(&object["revision"])), age(object, now)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a valid instant")
    }

    #[test]
    fn a_deployment_counts_what_it_has_against_what_it_wants() {
        let template = json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}});
        let mut object = json!({
            "metadata": {"name": "d", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "d"}}, "template": template},
            "status": {"readyReplicas": 1, "updatedReplicas": 3},
        });
        let row = deployment(&object, at(130));
        assert_eq!(
            row,
            [json!("d"), json!("1/3"), json!(3), json!(0), json!("2m10s"), json!("a,b"), json!("i,j"), json!("app=d"),]
        );
        object["status"] = json!({});
        assert_eq!(deployment(&object, at(0))[1..4], [json!("0/3"), json!(0), json!(0)]);
    }

    #[test]
    fn a_job_tells_its_state_and_how_long_it_took() {
        let job = |spec: Value, status: Value| {
            let row = job(&json!({"metadata": {"name": "j"}, "spec": spec, "status": status}), at(90));
            [1, 2, 3].map(|index| row[index].as_str().unwrap_or_default().to_owned())
        };
        let start = "1970-01-01T00:00:30Z";
        let done = json!({"startTime": start, "completionTime": "1970-01-01T00:00:40Z", "succeeded": 1,
            "conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(job(json!({"completions": 1}), done), ["Complete", "1/1", "10s"]);
        assert_eq!(job(json!({"parallelism": 3}), json!({"startTime": start})), ["Running", "0/1 of 3", "60s"]);
        assert_eq!(job(json!({}), json!({})), ["Running", "0/1", ""]);
        let suspended = json!({"conditions": [{"type": "Suspended", "status": "True"}]});
        assert_eq!(job(json!({"completions": 2}), suspended)[0], "Suspended");
    }

    #[test]
    fn an_autoscaler_shows_two_targets_at_most() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
        assert_eq!(metrics(&[], &[]), "<none>");
        assert_eq!(metrics(std::slice::from_ref(&cpu), &[]), "cpu: <unknown>/80%");
        let seen = json!({"resource": {"current": {"averageUtilization": 12}}});
        assert_eq!(metrics(&[cpu.clone(), pods.clone(), pods], &[seen]), "cpu: 12%/80%, <unknown>/10 + 1 more...");
    }

    #[test]
    fn a_budget_says_which_bound_it_has() {
        let row = disruption_budget(&json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": "25%"}}), at(0));
        assert_eq!(row[1..4], [json!("N/A"), json!("25%"), json!(0)]);
    }
}
