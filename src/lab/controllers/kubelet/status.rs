//! The status of a pod, from what its containers do.

use serde_json::{Map, Value, json};

/// What is known of one container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// As the specification names it, until it runs; then its whole name.
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) id: Option<String>,
    /// `waiting`, `running` or `terminated`, as in the API.
    pub(super) state: Value,
    /// The end of the run before, if there was one.
    pub(super) last: Option<Value>,
    pub(super) restarts: u64,
    pub(super) ready: bool,
    pub(super) started: bool,
    /// What it mounts, as its status tells.
    pub(super) mounts: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs to its end before the others start.
    Init,
    /// Starts in its place among the init containers and runs on beside the others.
    Sidecar,
    Regular,
}

impl Container {
    pub(super) fn new(spec: &Value, kind: Kind) -> Self {
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let mounts = spec["volumeMounts"].as_array().into_iter().flatten();
        let mounts: Vec<Value> = mounts
            .map(|mount| {
                let mut told = json!({"name": mount["name"], "mountPath": mount["mountPath"]});
                if mount["readOnly"] == true {
                    told["readOnly"] = json!(true);
                    told["recursiveReadOnly"] = json!("Disabled");
                }
                told
            })
            .collect();
        Self {
            name: text("name"),
            kind,
            image: text("image"),
            image_id: String::new(),
            id: None,
            state: json!({"waiting": {"reason": "PodInitializing"}}),
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            mounts: json!(mounts),
        }
    }

    fn exit_code(&self) -> Option<i64> {
        self.state["terminated"]["exitCode"].as_i64()
    }

    /// Whether an init container has done what the next one waits for.
    fn is_done(&self) -> bool {
        match self.kind {
            Kind::Init => self.exit_code() == Some(0),
            Kind::Sidecar => self.started,
            Kind::Regular => true,
        }
    }

    fn status(&self) -> Value {
        let mut status = Map::new();
        if let Some(id) = &self.id {
            status.insert("containerID".into(), json!(id));
        }
        status.insert("image".into(), json!(self.image));
        status.insert("imageID".into(), json!(self.image_id));
        let last = self.last.as_ref().map_or(json!({}), |last| json!({"terminated": last}));
        status.insert("lastState".into(), last);
        status.insert("name".into(), json!(self.name));
        status.insert("ready".into(), json!(self.ready));
        if self.id.is_some() {
            status.insert("resources".into(), json!({}));
        }
        status.insert("restartCount".into(), json!(self.restarts));
        status.insert("started".into(), json!(self.started));
        status.insert("state".into(), self.state.clone());
        if self.mounts.as_array().is_some_and(|mounts| !mounts.is_empty()) {
            status.insert("volumeMounts".into(), self.mounts.clone());
        }
        Value::Object(status)
    }
}

/// What the status of a pod is made of, beside its containers.
pub(super) struct Facts<'a> {
    pub(super) pod: &'a Value,
    pub(super) containers: &'a [Container],
    /// Empty until it has one.
    pub(super) ip: String,
    pub(super) host_ip: String,
    pub(super) start_time: &'a str,
    pub(super) now: &'a str,
    /// Every container has ended for good.
    pub(super) finished: bool,
    /// Why the kubelet ended it before its time: reason and message.
    pub(super) ended: Option<(&'a str, &'a str)>,
}

/// The new status of a pod.
pub(super) fn status(facts: &Facts<'_>) -> Value {
    let before = &facts.pod["status"];
    let mut status = before.as_object().cloned().unwrap_or_default();
    let phase = phase(facts);
    status.insert("phase".into(), json!(phase));
    let of = |init: bool| -> Vec<Value> {
        facts.containers.iter().filter(|c| (c.kind != Kind::Regular) == init).map(Container::status).collect()
    };
    let (init, regular) = (of(true), of(false));
    status.insert("containerStatuses".into(), json!(regular));
    if !init.is_empty() {
        status.insert("initContainerStatuses".into(), json!(init));
    }
    status.insert("hostIP".into(), json!(facts.host_ip));
    status.insert("hostIPs".into(), json!([{"ip": facts.host_ip}]));
    if !facts.ip.is_empty() {
        status.insert("podIP".into(), json!(facts.ip));
        status.insert("podIPs".into(), json!([{"ip": facts.ip}]));
    }
    status.insert("startTime".into(), json!(facts.start_time));
    if let Some(generation) = facts.pod["metadata"]["generation"].as_u64() {
        status.insert("observedGeneration".into(), json!(generation));
    }
    if let Some((reason, message)) = facts.ended {
        status.insert("reason".into(), json!(reason));
        status.insert("message".into(), json!(message));
    }
    status.insert("conditions".into(), conditions(facts, phase));
    Value::Object(status)
}

/// As kubelet's `getPhase`.
fn phase(facts: &Facts<'_>) -> &'static str {
    let before = facts.pod["status"]["phase"].as_str();
    match before {
        // There is no way back.
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let policy = facts.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
    let of = |init: bool| facts.containers.iter().filter(move |c| (c.kind != Kind::Regular) == init);
    let init_failed = of(true).any(|c| c.kind == Kind::Init && c.exit_code().is_some_and(|code| code != 0));
    if facts.ended.is_some() || (init_failed && policy == "Never") {
        return "Failed";
    }
    let stopped = |c: &Container| c.exit_code().is_some() || (!c.state["waiting"].is_null() && c.last.is_some());
    let succeeded = of(false).all(|c| c.exit_code() == Some(0));
    if facts.finished {
        return if succeeded { "Succeeded" } else { "Failed" };
    }
    if !of(true).all(Container::is_done) && of(false).all(|c| c.exit_code().is_none() && c.state["running"].is_null()) {
        return "Pending";
    }
    if of(false).any(|c| !c.state["waiting"].is_null() && !stopped(c)) {
        return "Pending";
    }
    if of(false).any(|c| !c.state["running"].is_null()) || policy == "Always" {
        return "Running";
    }
    match (succeeded, policy) {
        (true, _) => "Succeeded",
        (false, "Never") => "Failed",
        (false, _) => "Running",
    }
}

fn conditions(facts: &Facts<'_>, phase: &str) -> Value {
    let Facts { pod, containers, now, .. } = facts;
    let finished = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let names = |of: Vec<&Container>| of.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
    let incomplete: Vec<&Container> = containers.iter().filter(|c| !c.is_done()).collect();
    let unready: Vec<&Container> = containers.iter().filter(|c| c.kind != Kind::Init && !c.ready).collect();
    type Told = (&'static str, bool, Option<&'static str>, Option<String>);
    let initialized: Told = if incomplete.is_empty() {
        ("Initialized", true, finished.filter(|_| phase == "Succeeded"), None)
    } else {
        let message = format!("containers with incomplete status: [{}]", names(incomplete));
        ("Initialized", false, Some("ContainersNotInitialized"), Some(message))
    };
    let unready_message = || Some(format!("containers with unready status: [{}]", names(unready.clone())));
    let containers_ready: Told = match finished {
        Some(reason) => ("ContainersReady", false, Some(reason), None),
        None if unready.is_empty() => ("ContainersReady", true, None, None),
        None => ("ContainersReady", false, Some("ContainersNotReady"), unready_message()),
    };
    let gates = closed_gates(pod);
    let ready: Told = match (containers_ready.1, gates.is_empty()) {
        (true, true) => ("Ready", true, None, None),
        (true, false) => ("Ready", false, Some("ReadinessGatesNotReady"), Some(gates.join(", "))),
        (false, _) => ("Ready", false, containers_ready.2, containers_ready.3.clone()),
    };
    let sandbox: Told = ("PodReadyToStartContainers", finished.is_none() && !facts.ip.is_empty(), None, None);
    let scheduled: Told = ("PodScheduled", true, None, None);
    let old: Vec<Value> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let own = [sandbox, initialized, ready, containers_ready, scheduled];
    let is_own = |condition: &Value| own.iter().any(|(kind, ..)| condition["type"] == *kind);
    // Others have theirs, and keep them.
    let mut all: Vec<Value> = old.iter().filter(|condition| !is_own(condition)).cloned().collect();
    for (kind, holds, reason, message) in &own {
        let status = if *holds { "True" } else { "False" };
        let before = old.iter().find(|condition| condition["type"] == *kind);
        let since = before.filter(|before| before["status"] == status).map(|before| &before["lastTransitionTime"]);
        let mut condition = Map::new();
        condition.insert("lastProbeTime".into(), Value::Null);
        condition.insert("lastTransitionTime".into(), since.cloned().unwrap_or_else(|| json!(now)));
        if let Some(message) = message {
            condition.insert("message".into(), json!(message));
        }
        if let Some(generation) = pod["metadata"]["generation"].as_u64() {
            condition.insert("observedGeneration".into(), json!(generation));
        }
        if let Some(reason) = reason {
            condition.insert("reason".into(), json!(reason));
        }
        condition.insert("status".into(), json!(status));
        condition.insert("type".into(), json!(kind));
        all.push(Value::Object(condition));
    }
    json!(all)
}

/// What keeps a pod whose containers are ready from being ready.
fn closed_gates(pod: &Value) -> Vec<String> {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    gates
        .filter_map(|gate| {
            let kind = gate["conditionType"].as_str()?;
            match conditions.iter().find(|condition| condition["type"] == kind).and_then(|c| c["status"].as_str()) {
                Some("True") => None,
                Some(status) => {
                    Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {status}"))
                }
                None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            }
        })
        .collect()
}
