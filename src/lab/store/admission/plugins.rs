//! What admission plugins do to new objects: service accounts, priorities, tolerations.

use serde_json::{Map, Value, json};

use super::defaults;
use crate::lab::resource::{PODS, Resource, SERVICE_ACCOUNTS};
use crate::lab::status::Status;
use crate::lab::store::Store;

/// Where a container finds the credentials of its account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Seconds that a token is asked for, as the real plugin does.
const TOKEN_SECONDS: i64 = 3607;

fn forbidden(resource: &Resource, name: &str, why: &str) -> Status {
    let message = format!("{} {name:?} is forbidden: {why}", resource.qualified_plural());
    let details = json!({"name": name, "kind": resource.plural});
    Status { details: Some(details), ..Status::new(403, "Forbidden", message) }
}

/// Gives a new pod its account, its priority, and its tolerations of nodes that fail.
pub(super) fn pod(store: &Store, namespace: &str, name: &str, pod: &mut Value) -> Result<(), Status> {
    let Some(spec) = pod["spec"].as_object_mut() else { return Ok(()) };
    account(store, namespace, name, spec)?;
    priority(name, spec)?;
    defaults::toleration_seconds(spec);
    Ok(())
}

fn account(store: &Store, namespace: &str, name: &str, spec: &mut Map<String, Value>) -> Result<(), Status> {
    let named = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let account_name = named.unwrap_or("default").to_owned();
    let account = store.find(&SERVICE_ACCOUNTS, namespace, &account_name);
    // A namespace's own account comes with it, a moment later.
    if account.is_none() && account_name != "default" {
        let why = format!(
            "error looking up service account {namespace}/{account_name}: serviceaccount {account_name:?} not found"
        );
        return Err(forbidden(&PODS, name, &why));
    }
    spec.insert("serviceAccountName".to_owned(), json!(account_name));
    spec.insert("serviceAccount".to_owned(), json!(account_name));
    let of_account = |field: &str| account.as_ref().and_then(|account| account.get(field).cloned());
    if let Some(secrets) = of_account("imagePullSecrets") {
        spec.entry("imagePullSecrets").or_insert(secrets);
    }
    let mounts =
        spec.get("automountServiceAccountToken").cloned().or_else(|| of_account("automountServiceAccountToken"));
    if mounts != Some(json!(false)) {
        mount_token(store, spec);
    }
    Ok(())
}

fn mount_token(store: &Store, spec: &mut Map<String, Value>) {
    let volume = store.generated_name(&PODS, "", "kube-api-access-");
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount["mountPath"] != TOKEN_PATH) {
                mounts.push(json!({"mountPath": TOKEN_PATH, "name": volume, "readOnly": true}));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let namespace = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"});
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [namespace]}},
    ]);
    if let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": sources}}));
    }
}

fn priority(name: &str, spec: &mut Map<String, Value>) -> Result<(), Status> {
    let priority = match spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default() {
        "" => 0,
        "system-node-critical" => 2_000_001_000,
        "system-cluster-critical" => 2_000_000_000,
        other => {
            return Err(forbidden(&PODS, name, &format!("no PriorityClass with name {other} was found")));
        }
    };
    spec.insert("priority".to_owned(), json!(priority));
    spec.entry("preemptionPolicy").or_insert_with(|| json!("PreemptLowerPriority"));
    Ok(())
}

/// A binding names a role of a kind that there is, before anything else of it is looked at.
pub(super) fn binding(binding: &Value) -> Result<(), Status> {
    match binding["roleRef"]["kind"].as_str().unwrap_or_default() {
        "Role" | "ClusterRole" => Ok(()),
        other => Err(Status::new(500, "", format!("unsupported role reference kind: {other:?}"))),
    }
}
