//! `chaosk8s.networking`.

use serde_json::{Value, json};

use super::super::{Answer, Failed, functions};
use super::objects::name_of;
use super::{Call, INGRESS, NETWORK_POLICY, Stage, manifest, object, plain};
use crate::kubernetes::{Direction, ObjectPatch};

/// The names that the original gives to its policies: by them its removals find them.
const DENY_INGRESS: &str = "chaostoolkit-deny-all-ingress";
const DENY_EGRESS: &str = "chaostoolkit-deny-all-egress";
const ALLOW_DNS: &str = "chaostoolkit-allow-dns";

functions! { ACTIONS: "chaosk8s.networking.actions", Action, cluster: true {
    deny_all_ingress(; label_selectors, ns) = deny_all_ingress;
    remove_deny_all_ingress(; ns) = remove_deny_all_ingress;
    deny_all_egress(; label_selectors, ns) = deny_all_egress;
    remove_deny_all_egress(; ns) = remove_deny_all_egress;
    allow_dns_access(; label_selectors, ns) = allow_dns_access;
    remove_allow_dns_access(; ns) = remove_allow_dns_access;
    create_network_policy(; spec, spec_path, ns) = create_network_policy;
    remove_network_policy(name; ns) = remove_network_policy;
    create_ingress(spec_path; ns) = create_ingress;
    delete_ingress(name; ns) = delete_ingress;
    update_ingress(name, spec; ns) = update_ingress;
} }

functions! { PROBES: "chaosk8s.networking.probes", Probe, cluster: true {
    ingress_exists(name; ns) = ingress_exists;
} }

async fn deny_all_ingress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    deny(call, stage, Direction::Ingress).await
}

async fn deny_all_egress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    deny(call, stage, Direction::Egress).await
}

async fn remove_deny_all_ingress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    remove(&call.namespace()?, DENY_INGRESS, stage).await
}

async fn remove_deny_all_egress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    remove(&call.namespace()?, DENY_EGRESS, stage).await
}

/// Without selectors it is the whole namespace, as its name says, and the cap does not count.
async fn deny(call: Call<'_>, stage: Stage<'_>, direction: Direction) -> Answer {
    let namespace = call.namespace()?;
    let selector = call.selector("label_selectors")?.unwrap_or_default();
    let (name, kind) = match direction {
        Direction::Ingress => (DENY_INGRESS, "Ingress"),
        Direction::Egress => (DENY_EGRESS, "Egress"),
    };
    let policy = object(NETWORK_POLICY, Some(&namespace), name);
    if stage.plain {
        let manifest = json!({"spec": {"podSelector": selector.to_json(), "policyTypes": [kind]}});
        plain::create(&stage, &policy, &manifest).await?;
        return Ok(Value::Null);
    }
    let pods = stage.kubernetes().pods(&namespace, &selector.to_string()).at_most_percent(100);
    let mut fault = match direction {
        Direction::Ingress => pods.deny_ingress(),
        Direction::Egress => pods.deny_egress(),
    };
    fault = fault.named(name);
    if let Some(why) = stage.trust {
        fault = fault.trust_without_proof(why);
    }
    stage.inject_made(fault, policy).await?;
    Ok(Value::Null)
}

/// Ends the document's own fault, if it has made a policy of that name; otherwise deletes whatever has it, unless that
/// is another run's.
async fn remove(namespace: &str, name: &str, stage: Stage<'_>) -> Answer {
    let policy = object(NETWORK_POLICY, Some(namespace), name);
    if !stage.end(&policy).await? {
        plain::delete(&stage, &policy).await?;
    }
    Ok(Value::Null)
}

/// Traffic to DNS passes, whatever else is denied.
async fn allow_dns_access(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let selector = call.selector("label_selectors")?.unwrap_or_default();
    let ports = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
    let egress = json!([{"to": [{"namespaceSelector": {}}], "ports": ports}]);
    let spec = json!({"podSelector": selector.to_json(), "policyTypes": ["Egress"], "egress": egress});
    let namespace = call.namespace()?;
    let mut stage = stage;
    if stage.guards.holds(&object(NETWORK_POLICY, Some(&namespace), DENY_EGRESS)) {
        // It only lets through what the denial cuts, and that is what is proved.
        stage.trust = stage.trust.or(Some("the denial of egress beside it has a proof of its own"));
    }
    stage.create(object(NETWORK_POLICY, Some(&namespace), ALLOW_DNS), json!({"spec": spec})).await?;
    Ok(Value::Null)
}

async fn remove_allow_dns_access(call: Call<'_>, stage: Stage<'_>) -> Answer {
    remove(&call.namespace()?, ALLOW_DNS, stage).await
}

/// The manifest of `spec_path`, or `spec`, which is a whole manifest too.
async fn create_network_policy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let manifest = match (call.text("spec_path")?, call.map("spec")?) {
        (Some(path), _) => manifest::of_file(&path)?,
        (None, Some(spec)) => Value::Object(spec.clone()),
        (None, None) => return Err(Failed("neither spec nor spec_path is given: give one".to_owned())),
    };
    let (policy, manifest) = manifest::named(NETWORK_POLICY, Some(&call.namespace()?), manifest)?;
    stage.create(policy, manifest).await?;
    Ok(Value::Null)
}

async fn remove_network_policy(call: Call<'_>, stage: Stage<'_>) -> Answer {
    stage.delete(object(NETWORK_POLICY, Some(&call.namespace()?), &call.required("name")?)).await?;
    Ok(Value::Null)
}

async fn create_ingress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let (ingress, manifest) = manifest::of_call(&call, INGRESS, true)?;
    stage.create(ingress, manifest).await?;
    Ok(Value::Null)
}

async fn delete_ingress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    stage.delete(object(INGRESS, Some(&call.namespace()?), &call.required("name")?)).await?;
    Ok(Value::Null)
}

async fn update_ingress(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let ingress = object(INGRESS, Some(&call.namespace()?), &call.required("name")?);
    let spec = call.map("spec")?.ok_or_else(|| Failed("argument \"spec\" is missing: give a patch".to_owned()))?;
    stage.change(ingress, ObjectPatch::Strategic(Value::Object(spec.clone()))).await?;
    Ok(Value::Null)
}

async fn ingress_exists(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let name = call.required("name")?;
    let all = stage.list(INGRESS, Some(&call.namespace()?), "").await?;
    Ok(json!(all.iter().any(|found| name_of(found) == name)))
}
