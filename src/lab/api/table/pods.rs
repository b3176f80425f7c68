//! The rows of pods.

use serde_json::{Value, json};

use super::age::since;
use super::{Cells, count, list, or_none, text};
use crate::clock::Timestamp;

/// What the containers of a pod say together.
#[derive(Default)]
struct Summary {
    ready: usize,
    restarts: u64,
    /// When a container last ended before it was started again; RFC 3339, which sorts as text.
    last: String,
}

impl Summary {
    fn restarted(&mut self, status: &Value) {
        self.restarts += count(&status["restartCount"]);
        let ended = text(&status["lastState"]["terminated"]["finishedAt"]);
        if ended > self.last.as_str() {
            ended.clone_into(&mut self.last);
        }
    }
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Cells {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let inits = list(&spec["initContainers"]);
    let sidecar = |name: &Value| inits.iter().any(|init| init["name"] == *name && init["restartPolicy"] == "Always");
    let sidecars = inits.iter().filter(|init| init["restartPolicy"] == "Always").count();
    let total = list(&spec["containers"]).len() + sidecars;

    let mut reason = text(&status["phase"]).to_owned();
    if !text(&status["reason"]).is_empty() {
        text(&status["reason"]).clone_into(&mut reason);
    }
    if list(&status["conditions"]).iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut reason);
    }

    let (mut all, mut lasting) = (Summary::default(), Summary::default());
    let mut waits = false;
    for (index, container) in list(&status["initContainerStatuses"]).iter().enumerate() {
        all.restarted(container);
        let lasts = sidecar(&container["name"]);
        if lasts {
            lasting.restarted(container);
        }
        let (terminated, waiting) = (&container["state"]["terminated"], text(&container["state"]["waiting"]["reason"]));
        if terminated.is_object() && count(&terminated["exitCode"]) == 0 {
            continue;
        }
        if lasts && container["started"] == true {
            lasting.ready += usize::from(container["ready"] == true);
            continue;
        }
        reason = if terminated.is_object() {
            format!("Init:{}", end(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", inits.len())
        };
        waits = true;
        break;
    }
    if waits && !holds(status, "Initialized") {
        all.ready = lasting.ready;
    } else {
        all = lasting;
        let mut running = false;
        for container in list(&status["containerStatuses"]).iter().rev() {
            all.restarted(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if state["terminated"].is_object() {
                reason = end(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                all.ready += 1;
            }
        }
        if running && reason == "Completed" {
            reason = if holds(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    let ended = ["Succeeded", "Failed"].contains(&text(&status["phase"]));
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        if status["reason"] == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !ended {
            "Terminating".clone_into(&mut reason);
        }
    }
    let restarts = if all.restarts != 0 && !all.last.is_empty() {
        format!("{} ({} ago)", all.restarts, since(&json!(all.last), now))
    } else {
        all.restarts.to_string()
    };
    let gates = list(&spec["readinessGates"]);
    let open = gates.iter().filter(|gate| holds(status, text(&gate["conditionType"]))).count();
    let gates = if gates.is_empty() { "<none>".to_owned() } else { format!("{open}/{}", gates.len()) };
    vec![
        json!(text(&pod["metadata"]["name"])),
        json!(format!("{}/{total}", all.ready)),
        json!(reason),
        json!(restarts),
        json!(since(&pod["metadata"]["creationTimestamp"], now)),
        json!(or_none(text(&status["podIPs"][0]["ip"]))),
        json!(or_none(text(&spec["nodeName"]))),
        json!(or_none(text(&status["nominatedNodeName"]))),
        json!(gates),
    ]
}

/// How a container ended: its reason, else its signal or exit code.
fn end(terminated: &Value) -> String {
    match (text(&terminated["reason"]), count(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", count(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn holds(status: &Value, condition: &str) -> bool {
    list(&status["conditions"]).iter().any(|c| c["type"] == condition && c["status"] == "True")
}

/// What the row of an ended pod says, so that `kubectl get --watch` and others can tell.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(spec: Value, status: Value, gone: bool) -> Vec<String> {
        let mut pod = json!({"metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": spec, "status": status});
        if gone {
            pod["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:02:00Z");
        }
        let cells = cells(&pod, Timestamp::from_second(100).expect("a valid instant"));
        cells.iter().map(|cell| cell.as_str().unwrap_or_default().to_owned()).collect()
    }

    fn one(state: Value, extra: Value) -> Value {
        let mut container = json!({"name": "c", "ready": false, "restartCount": 0, "state": state});
        json_patch::merge(&mut container, &extra);
        json!({"phase": "Running", "containerStatuses": [container]})
    }

    #[test]
    fn a_running_pod_and_one_that_nobody_has_placed() {
        let spec = json!({"nodeName": "n", "containers": [{"name": "c"}]});
        let mut status = one(json!({"running": {}}), json!({"ready": true}));
        status["podIPs"] = json!([{"ip": "10.244.0.5"}]);
        assert_eq!(
            row(spec, status, false),
            ["p", "1/1", "Running", "0", "100s", "10.244.0.5", "n", "<none>", "<none>",]
        );
        let pending = row(json!({"containers": [{"name": "c"}, {"name": "d"}]}), json!({"phase": "Pending"}), false);
        assert_eq!(pending[1..4], ["0/2", "Pending", "0"]);
        assert_eq!(pending[5..7], ["<none>", "<none>"]);
    }

    #[test]
    fn the_status_is_what_the_containers_say() {
        let spec = || json!({"containers": [{"name": "c"}]});
        let says = |state: Value| row(spec(), one(state, json!({})), false)[2].clone();
        assert_eq!(says(json!({"waiting": {"reason": "ErrImageNeverPull"}})), "ErrImageNeverPull");
        assert_eq!(says(json!({"terminated": {"reason": "Completed", "exitCode": 0}})), "Completed");
        assert_eq!(says(json!({"terminated": {"exitCode": 3}})), "ExitCode:3");
        assert_eq!(says(json!({"terminated": {"exitCode": 137, "signal": 9}})), "Signal:9");
        assert_eq!(says(json!({"waiting": {}})), "Running", "a wait without a reason says nothing");
        let evicted = json!({"phase": "Failed", "reason": "Evicted"});
        assert_eq!(row(spec(), evicted, false)[2], "Evicted");
    }

    #[test]
    fn restarts_tell_when_the_last_one_was() {
        let extra = json!({"restartCount": 4, "lastState": {"terminated": {"finishedAt": "1970-01-01T00:01:35Z"}}});
        let row = row(
            json!({"containers": [{"name": "c"}]}),
            one(json!({"waiting": {"reason": "CrashLoopBackOff"}}), extra),
            false,
        );
        assert_eq!(row[2..4], ["CrashLoopBackOff", "4 (5s ago)"]);
    }

    #[test]
    fn a_deleted_pod_is_terminating_unless_it_had_ended_or_its_node_is_lost() {
        let spec = || json!({"containers": [{"name": "c"}]});
        assert_eq!(row(spec(), json!({"phase": "Running"}), true)[2], "Terminating");
        assert_eq!(row(spec(), json!({"phase": "Succeeded"}), true)[2], "Succeeded");
        assert_eq!(row(spec(), json!({"phase": "Running", "reason": "NodeLost"}), true)[2], "Unknown");
    }

    #[test]
    fn init_containers_come_first_and_sidecars_count_as_containers() {
        let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]});
        let init = |second: Value| {
            let done = json!({"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}});
            let status = json!({"phase": "Pending", "initContainerStatuses": [done, second],
                "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "PodInitializing"}}}]});
            row(spec.clone(), status, false)[2].clone()
        };
        assert_eq!(init(json!({"name": "b", "state": {"running": {}}})), "Init:1/2");
        assert_eq!(
            init(json!({"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}})),
            "Init:CrashLoopBackOff"
        );
        assert_eq!(
            init(json!({"name": "b", "state": {"terminated": {"reason": "Error", "exitCode": 1}}})),
            "Init:Error"
        );

        let spec = json!({"initContainers": [{"name": "a", "restartPolicy": "Always"}], "containers": [{"name": "c"}]});
        let status = json!({"phase": "Running",
            "initContainerStatuses": [{"name": "a", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}}],
            "containerStatuses": [{"name": "c", "ready": true, "restartCount": 1, "state": {"running": {}}}]});
        assert_eq!(row(spec, status, false)[1..4], ["2/2", "Running", "3"]);
    }
}
