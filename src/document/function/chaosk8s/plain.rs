//! Changes that nobody undoes: where a document leaves them, and in its own rollbacks. In a plan none is made.

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::Failed;
use super::Stage;
use crate::kubernetes::{Kubernetes, KubernetesError, ObjectPatch, refuse_protected};
use crate::rollback::{ObjectRef, RUN_LABEL};

/// An object as it is.
pub(super) async fn read(kubernetes: &Kubernetes, object: &ObjectRef) -> Result<Value, Failed> {
    let found = kubernetes.objects(object).get(&object.name).await;
    value(object, found.map_err(KubernetesError::api(format!("read {object}")))?)
}

/// An object as it is, if it is there.
pub(super) async fn find(kubernetes: &Kubernetes, object: &ObjectRef) -> Result<Option<Value>, Failed> {
    let found = kubernetes.objects(object).get_opt(&object.name).await;
    let found = found.map_err(KubernetesError::api(format!("read {object}")))?;
    found.map(|found| value(object, found)).transpose()
}

/// An object as it is after what a function has done to it; in a plan, nothing.
pub(super) async fn done(stage: &Stage<'_>, object: &ObjectRef) -> Result<Value, Failed> {
    match stage.planned() {
        Some(_) => Ok(Value::Null),
        None => read(stage.kubernetes(), object).await,
    }
}

/// Creates an object as its manifest says.
pub(super) async fn create(stage: &Stage<'_>, object: &ObjectRef, manifest: &Value) -> Result<Value, Failed> {
    admit(object)?;
    if let Some(planned) = stage.planned() {
        planned.left(format!("create {object}"));
        return Ok(Value::Null);
    }
    let kubernetes = stage.kubernetes();
    let mut body = manifest.clone();
    (body["apiVersion"], body["kind"]) = (json!(object.api_version), json!(object.kind));
    body["metadata"]["name"] = json!(object.name);
    if let Some(namespace) = &object.namespace {
        body["metadata"]["namespace"] = json!(namespace);
    }
    let body: DynamicObject = serde_json::from_value(body).map_err(|error| Failed(format!("{object}: {error}")))?;
    let created = kubernetes.objects(object).create(&PostParams::default(), &body).await;
    value(object, created.map_err(KubernetesError::api(format!("create {object}")))?)
}

/// Changes an object.
pub(super) async fn patch(stage: &Stage<'_>, object: &ObjectRef, patch: &ObjectPatch) -> Result<Value, Failed> {
    admit(object)?;
    if let Some(planned) = stage.planned() {
        planned.left(format!("change {object}"));
        return Ok(Value::Null);
    }
    Ok(stage.kubernetes().patch_object(object, patch, false).await?)
}

/// Deletes an object as the original does, which waits for nothing. What a run of this crate has made is that run's.
pub(super) async fn delete(stage: &Stage<'_>, object: &ObjectRef) -> Result<(), Failed> {
    admit(object)?;
    let api = stage.kubernetes().objects(object);
    let found = api.get(&object.name).await.map_err(KubernetesError::api(format!("delete {object}")))?;
    if let Some(run) = found.metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL)) {
        return Err(Failed(format!(
            "{object} is not deleted, for run {run} has made it; if that is dead, `steadfast sweep` undoes it"
        )));
    }
    if let Some(planned) = stage.planned() {
        planned.left(format!("delete {object}"));
        return Ok(());
    }
    let preconditions = Some(Preconditions { uid: found.metadata.uid, resource_version: None });
    let deleted = api.delete(&object.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
    deleted.map_err(KubernetesError::api(format!("delete {object}")))?;
    Ok(())
}

/// Refuses what belongs to the cluster itself, whoever undoes it.
fn admit(object: &ObjectRef) -> Result<(), Failed> {
    let namespace = if object.kind == "Namespace" { Some(&object.name) } else { object.namespace.as_ref() };
    Ok(refuse_protected(namespace.map_or("", String::as_str))?)
}

fn value(object: &ObjectRef, stored: DynamicObject) -> Result<Value, Failed> {
    serde_json::to_value(stored).map_err(|error| Failed(format!("{object}: {error}")))
}
