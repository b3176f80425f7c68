//! `chaosk8s.service`, `chaosk8s.secret`, `chaosk8s.namespace` and `chaosk8s.event`.

use serde_json::{Value, json};

use super::super::{Answer, Failed, functions};
use super::objects::{get, name_of, told};
use super::ready::unless;
use super::{Call, NAMESPACE, SECRET, SERVICE, Stage, manifest, object};

functions! { ACTIONS: "chaosk8s.service.actions", Action, cluster: true {
    create_service_endpoint(spec_path; ns) = create_service_endpoint;
    delete_service(name; ns) = delete_service;
} }

functions! { PROBES: "chaosk8s.service.probes", Probe, cluster: true {
    service_is_initialized(; name, ns, label_selector, raise_if_service_not_initialized) = service_is_initialized;
} }

functions! { SECRET_ACTIONS: "chaosk8s.secret.actions", Action, cluster: true {
    create_secret(spec_path; ns) = create_secret;
    delete_secret(name; ns) = delete_secret;
} }

functions! { SECRET_PROBES: "chaosk8s.secret.probes", Probe, cluster: true {
    secret_exists(name; ns, label_selector) = secret_exists;
} }

functions! { NAMESPACE_ACTIONS: "chaosk8s.namespace.actions", Action, cluster: true {
    create_namespace(; name, spec_path) = create_namespace;
    delete_namespace(name; ) = delete_namespace;
} }

functions! { NAMESPACE_PROBES: "chaosk8s.namespace.probes", Probe, cluster: true {
    namespace_exists(name; ) = namespace_exists;
} }

functions! { EVENT_PROBES: "chaosk8s.event.probes", Probe, cluster: true {
    get_events(; label_selector, field_selector, limit) = get_events;
} }

async fn create_service_endpoint(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = manifest::of_call(&call, SERVICE, true)?;
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

pub(super) async fn delete_service(call: Call<'_>, stage: Stage<'_>) -> Answer {
    stage.delete(object(SERVICE, Some(&call.namespace()?), &call.required("name")?)).await?;
    Ok(Value::Null)
}

/// That it exists: of its endpoints the original says nothing.
pub(super) async fn service_is_initialized(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (namespace, raise) = (call.namespace()?, call.flag("raise_if_service_not_initialized", true)?);
    if stage.matching(&call, SERVICE, &namespace).await?.is_empty() {
        return unless(raise, format!("no service in namespace {namespace} matches {}", told(&call)));
    }
    Ok(json!(true))
}

async fn create_secret(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = manifest::of_call(&call, SECRET, true)?;
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

/// Only where it is left: to bring it back its data would have to be written down.
async fn delete_secret(call: Call<'_>, stage: Stage<'_>) -> Answer {
    stage.delete(object(SECRET, Some(&call.namespace()?), &call.required("name")?)).await?;
    Ok(Value::Null)
}

pub(super) async fn secret_exists(call: Call<'_>, stage: Stage<'_>) -> Answer {
    Ok(json!(!stage.matching(&call, SECRET, &call.namespace()?).await?.is_empty()))
}

async fn create_namespace(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (object, manifest) = match (call.text("name")?, call.value("spec_path")) {
        (Some(name), _) => (object(NAMESPACE, None, &name), json!({})),
        (None, Some(_)) => manifest::of_call(&call, NAMESPACE, false)?,
        (None, None) => return Err(Failed("neither name nor spec_path is given: give one".to_owned())),
    };
    stage.create(object, manifest).await?;
    Ok(Value::Null)
}

/// Only one that the document has made, or where it is left.
async fn delete_namespace(call: Call<'_>, stage: Stage<'_>) -> Answer {
    stage.delete(object(NAMESPACE, None, &call.required("name")?)).await?;
    Ok(Value::Null)
}

async fn namespace_exists(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let name = call.required("name")?;
    let all = stage.list(NAMESPACE, None, "").await?;
    Ok(json!(all.iter().any(|found| name_of(found) == name)))
}

/// The list as the API gives it, of all namespaces.
async fn get_events(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let mut pairs = vec![("limit", call.count("limit")?.unwrap_or(100).to_string())];
    for (argument, parameter) in [("label_selector", "labelSelector"), ("field_selector", "fieldSelector")] {
        if let Some(selector) = call.text(argument)? {
            pairs.push((parameter, selector));
        }
    }
    get(&stage, "/apis/events.k8s.io/v1/events", &pairs, "list the events of the cluster").await
}
