//! `chaosk8s.actions` and `chaosk8s.probes`, the deprecated names of others.

use serde_json::{Value, json};

use super::super::{Answer, functions};
use super::deployment::{
    available_and_healthy, create_deployment, fully_available, not_fully_available, scale_deployment,
};
use super::pod::{Pick, all_pods_healthy, pod_is_not_available, read_pod_logs, terminate};
use super::service::{delete_service, secret_exists, service_is_initialized};
use super::{Call, DEPLOYMENT, REPLICA_SET, Stage, object, plain};

functions! { ACTIONS: "chaosk8s.actions", Action, cluster: true {
    start_microservice(spec_path; ns) = create_deployment;
    kill_microservice(name; ns, label_selector) = kill_microservice;
    remove_service_endpoint(name; ns) = delete_service;
    scale_microservice(name, replicas; ns) = scale_deployment;
} }

functions! { PROBES: "chaosk8s.probes", Probe, cluster: true {
    all_microservices_healthy(; ns) = all_pods_healthy;
    microservice_available_and_healthy(name; ns, label_selector) = available_and_healthy;
    microservice_is_not_available(name; ns, label_selector) = pod_is_not_available;
    service_endpoint_is_initialized(name; ns, label_selector) = service_is_initialized;
    deployment_is_fully_available(name; ns, label_selector, timeout) = fully_available;
    deployment_is_not_fully_available(name; ns, label_selector, timeout) = not_fully_available;
    read_microservices_logs(; name, last, ns, from_previous, label_selector, container_name) = read_pod_logs;
    secret_exists(name; ns, label_selector) = secret_exists;
} }

/// The Deployment of that name, or the set, or else the pods: what stands above the others takes them with it.
async fn kill_microservice(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (namespace, name) = (call.namespace()?, call.required("name")?);
    for of in [DEPLOYMENT, REPLICA_SET] {
        let workload = object(of, Some(&namespace), &name);
        if plain::find(stage.kubernetes(), &workload).await?.is_some() {
            stage.delete(workload).await?;
            return Ok(Value::Null);
        }
    }
    let selector = match call.value("label_selector") {
        Some(Value::String(text)) => text.replace("{name}", &name),
        _ => format!("name in ({name})"),
    };
    let arguments = json!({"label_selector": selector});
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let selector = Call { arguments: &arguments, ..call }.selector("label_selector")?.unwrap_or_default();
    terminate(&Pick::one(namespace, selector, None)?, None, stage).await?;
    Ok(Value::Null)
}
