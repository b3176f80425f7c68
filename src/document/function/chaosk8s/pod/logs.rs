//! `read_pod_logs`.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::{Map, Value};

use super::super::super::{Answer, functions};
use super::pick::list;
use super::{Call, Failed, Stage};
use crate::document::when;
use crate::kubernetes::KubernetesError;

functions! { PROBES: "chaosk8s.pod.probes", Probe, cluster: true {
    read_pod_logs(; name, last, ns, from_previous, label_selector, container_name) = read_pod_logs;
} }

/// By pod, what it has written, each line with its time before it; those of several containers one after another.
pub(in super::super) async fn read_pod_logs(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let namespace = call.namespace()?;
    let selector = selector_of(&call)?;
    let now = stage.scene.clock.now();
    let since = match call.value("last") {
        None => None,
        Some(_) => {
            let last = call.required("last")?;
            let from = when::instant(&last, now).map_err(|why| Failed(format!("argument \"last\": {why}")))?;
            let seconds = now.duration_since(from).as_secs_f64().ceil();
            if seconds < 1.0 {
                return Err(Failed(format!("argument \"last\" is {last:?}: give a time that has passed, such as 30s")));
            }
            #[expect(clippy::cast_possible_truncation, reason = "the calendar has fewer seconds")]
            Some(seconds as i64)
        }
    };
    let (container, previous) = (call.text("container_name")?, call.flag("from_previous", false)?);
    let api: Api<Pod> = Api::namespaced(stage.kubernetes().client().clone(), &namespace);
    let mut logs = Map::new();
    for pod in list(&stage, &namespace, &selector).await? {
        let name = pod.metadata.name.unwrap_or_default();
        let own = pod.spec.into_iter().flat_map(|spec| spec.containers).map(|container| container.name);
        let containers = container.clone().map_or_else(|| own.collect(), |one| vec![one]);
        let mut text = String::new();
        for container in containers {
            let doing = format!("read the log of {namespace}/{name}, container {container}");
            let params = LogParams {
                container: Some(container),
                since_seconds: since,
                previous,
                timestamps: true,
                ..LogParams::default()
            };
            match api.logs(&name, &params).await {
                Ok(more) => text.push_str(&more),
                // It has gone since the list was read.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(KubernetesError::api(doing)(error).into()),
            }
        }
        logs.insert(name, Value::String(text));
    }
    Ok(Value::Object(logs))
}

/// The original's `name in ({name})`, into which it formats the name; without either it would ask for pods named None.
pub(crate) fn selector_of(call: &Call<'_>) -> Result<String, Failed> {
    let name = call.text("name")?;
    let selector = match (call.value("label_selector"), &name) {
        (Some(Value::String(text)), Some(name)) => text.replace("{name}", name),
        (Some(_), _) => call.selector("label_selector")?.unwrap_or_default().to_string(),
        (None, Some(name)) => format!("name in ({name})"),
        (None, None) => {
            let why = "neither name nor label_selector is given: give one, or `\"label_selector\": \"\"` for every pod";
            return Err(Failed(why.to_owned()));
        }
    };
    Ok(selector)
}
