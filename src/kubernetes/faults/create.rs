//! Faults that create one object.

use futures_util::future::BoxFuture;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::BoxError;
use crate::experiment::{Applied, Armed, Mark};
use crate::kubernetes::{Kubernetes, KubernetesError, deletion, metadata};
use crate::rollback::ObjectRef;

/// An object with this spec and our marks, ready to be created, and its deletion as undo.
pub(super) fn arm(kubernetes: &Kubernetes, object: ObjectRef, spec: &Value, mark: &Mark) -> Result<Armed, BoxError> {
    let body: DynamicObject = serde_json::from_value(json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "metadata": metadata(mark, &object.name, object.namespace.as_deref()),
        "spec": spec,
    }))?;
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
