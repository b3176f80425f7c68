//! Faults that create one object.

use futures_util::future::BoxFuture;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::BoxError;
use crate::experiment::{Applied, Armed, Mark};
use crate::kubernetes::{Kubernetes, KubernetesError, deletion, metadata};
use crate::rollback::{ObjectRef, RUN_LABEL};

/// An object with this spec and our marks, ready to be created, and its deletion as undo.
pub(super) fn arm(kubernetes: &Kubernetes, object: ObjectRef, spec: &Value, mark: &Mark) -> Result<Armed, BoxError> {
    arm_manifest(kubernetes, object, &json!({"spec": spec}), mark)
}

/// As [`arm`], of a whole manifest: what its metadata says stays, beside our marks.
pub(super) fn arm_manifest(
    kubernetes: &Kubernetes,
    object: ObjectRef,
    manifest: &Value,
    mark: &Mark,
) -> Result<Armed, BoxError> {
    let mut body = manifest.clone();
    (body["apiVersion"], body["kind"]) = (json!(object.api_version), json!(object.kind));
    add(&mut body["metadata"], metadata(mark, &object.name, object.namespace.as_deref()));
    let body: DynamicObject = serde_json::from_value(body)?;
    let api = kubernetes.objects(&object);
    let doing = format!("create {object}");
    let undo = vec![deletion(mark, object)];
    let apply = Box::new(move || -> BoxFuture<'static, Applied> {
        Box::pin(async move {
            let created = api.create(&PostParams::default(), &body).await;
            Ok(vec![created.map_err(KubernetesError::api(doing))?.metadata.uid])
        })
    });
    Ok(Armed { undo, apply })
}

/// Adds to what is there: keys to maps, items to lists, and in place of anything else.
fn add(to: &mut Value, more: Value) {
    match (to, more) {
        (Value::Object(to), Value::Object(more)) => {
            for (key, more) in more {
                add(to.entry(key).or_insert(Value::Null), more);
            }
        }
        (Value::Array(to), Value::Array(more)) => to.extend(more),
        (to, more) => *to = more,
    }
}

/// Refuses a name that something has already, and says whose that is.
pub(super) async fn refuse_existing(kubernetes: &Kubernetes, object: &ObjectRef) -> Result<(), KubernetesError> {
    let found = kubernetes.objects(object).get_opt(&object.name).await;
    let Some(found) = found.map_err(KubernetesError::api(format!("read {object}")))? else { return Ok(()) };
    let whose = match found.metadata.labels.unwrap_or_default().remove(RUN_LABEL) {
        Some(run) => format!("run {run} has made it; if that is dead, `steadfast sweep` undoes it"),
        None => {
            let ObjectRef { resource, name, namespace, .. } = object;
            let namespace = namespace.as_ref().map(|n| format!(" -n {n}")).unwrap_or_default();
            format!(
                "no run has made it; if it is a leftover that may go, `kubectl delete {resource} {name}{namespace}`"
            )
        }
    };
    Err(KubernetesError::Exists { object: object.to_string(), whose })
}
