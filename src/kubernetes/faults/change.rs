//! What faults share that change an object which was there before.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::BoxError;
use crate::experiment::{Applied, Armed, Mark, Right};
use crate::kubernetes::undo::merge;
use crate::kubernetes::{Kubernetes, KubernetesError, copies};
use crate::rollback::{Author, Field, ORIGINAL_ANNOTATION, ObjectRef, Original, Undo};

/// What the plan says of such a fault.
pub(super) const COVERED: &str =
    "changes an existing object: covered by engine, drop, signals, leash and sweep, not by the dead-man's switch";

/// How often the change is tried again when somebody else writes the object without touching its fields.
const ATTEMPTS: usize = 5;

/// The rights to change an object, and to change it back.
pub(super) fn rights(object: &ObjectRef) -> Vec<Right> {
    let mut rights = rights_to(object, &["get", "list", "patch"]);
    if let Some(namespace) = object.namespace.as_deref().filter(|_| copies::of(object)) {
        rights.extend(copies::rights(namespace));
    }
    rights
}

/// The rights to do this with an object.
pub(super) fn rights_to(object: &ObjectRef, verbs: &[&str]) -> Vec<Right> {
    let group = object.api_version.split_once('/').map_or("", |(group, _)| group);
    let right = |verb: &&str| Right {
        verb: (*verb).to_owned(),
        group: group.to_owned(),
        resource: object.resource.clone(),
        namespace: object.namespace.clone(),
    };
    verbs.iter().map(right).collect()
}

/// The object as it is now.
///
/// # Errors
/// There is none of that name; the error lists those that there are.
pub(super) async fn read(kubernetes: &Kubernetes, object: &ObjectRef) -> Result<DynamicObject, KubernetesError> {
    let api = kubernetes.objects(object);
    let found = api.get_opt(&object.name).await.map_err(KubernetesError::api(format!("read {object}")))?;
    let Some(found) = found else {
        let all = api.list(&Default::default()).await.map(|list| list.items).unwrap_or_default();
        let known: Vec<_> = all.into_iter().filter_map(|object| object.metadata.name).collect();
        if let (true, Some(namespace)) = (known.is_empty(), &object.namespace)
            && let Some(error) = kubernetes.no_namespace(namespace).await
        {
            return Err(error);
        }
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(KubernetesError::NoSuchObject { object: object.to_string(), known });
    };
    Ok(found)
}

/// Sets fields of an object, by their JSON pointers, in one write that also keeps their old values on the object. A null
/// takes a field away.
///
/// # Errors
/// There is no such object, another run has changed it, or it has these values already.
pub(super) async fn arm(
    kubernetes: &Kubernetes,
    object: ObjectRef,
    set: &[(&str, Value)],
    mark: &Mark,
) -> Result<Armed, BoxError> {
    let found = read(kubernetes, &object).await?;
    let (uid, fields) = unchanged(&object, &found, set, kubernetes.sweep())?;
    let by = Author { run: mark.run.clone(), owner: mark.owner.clone() };
    let original = Original { by: by.clone(), uid: uid.clone(), fields };
    let undo = vec![Undo::Restore { object: object.clone(), uid, by: Some(by), fields: original.fields.clone() }];
    let (api, sweep) = (kubernetes.objects(&object), kubernetes.sweep().to_owned());
    let apply =
        Box::new(move || -> BoxFuture<'static, Applied> { Box::pin(write(api, object, found, original, sweep)) });
    Ok(Armed { undo, apply })
}

/// The uid and the fields of an object that no run has changed.
fn unchanged(
    object: &ObjectRef,
    found: &DynamicObject,
    set: &[(&str, Value)],
    sweep: &str,
) -> Result<(String, Vec<Field>), BoxError> {
    let held = found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ORIGINAL_ANNOTATION));
    if let Some(held) = held {
        let run = Original::read(held).map_or_else(|_| "unknown".to_owned(), |held| held.by.run);
        let (object, sweep) = (object.to_string(), sweep.to_owned());
        return Err(KubernetesError::ChangedByRun { object, run, sweep }.into());
    }
    let now = serde_json::to_value(found)?;
    let field = |(pointer, value): &(&str, Value)| Field {
        pointer: (*pointer).to_owned(),
        set: Some(value.clone()).filter(|value| !value.is_null()),
        was: now.pointer(pointer).cloned(),
    };
    let fields: Vec<Field> = set.iter().map(field).collect();
    if fields.iter().all(|field| field.set == field.was) {
        let told: Vec<_> = set.iter().map(|(pointer, value)| format!("{pointer} is {value}")).collect();
        return Err(KubernetesError::NothingToChange { object: object.to_string(), already: told.join(", ") }.into());
    }
    Ok((found.metadata.uid.clone().unwrap_or_default(), fields))
}

/// One merge patch: the fields, the annotation, and the version that they were read at.
fn patch(original: &Original, version: Option<&str>) -> Value {
    let mut patch = json!({"metadata": {"resourceVersion": version}});
    patch["metadata"]["annotations"] = json!(BTreeMap::from([(ORIGINAL_ANNOTATION, original.written())]));
    for field in &original.fields {
        merge(&mut patch, &field.pointer, field.set.as_ref());
    }
    patch
}

async fn write(
    api: Api<DynamicObject>,
    object: ObjectRef,
    mut found: DynamicObject,
    original: Original,
    sweep: String,
) -> Applied {
    for attempt in 1.. {
        let body = patch(&original, found.metadata.resource_version.as_deref());
        match api.patch(&object.name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Ok(after) => {
                let after = serde_json::to_value(&after)?;
                let missed = original.fields.iter().find(|field| after.pointer(&field.pointer) != field.set.as_ref());
                return match missed {
                    None => Ok(vec![None]),
                    Some(field) => Err(format!("{object} was written, but did not take {}", field.pointer).into()),
                };
            }
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {}
            Err(error) => return Err(KubernetesError::api(format!("change {object}"))(error).into()),
        }
        found = api.get(&object.name).await.map_err(KubernetesError::api(format!("read {object}")))?;
        let set: Vec<_> =
            original.fields.iter().map(|f| (f.pointer.as_str(), f.set.clone().unwrap_or(Value::Null))).collect();
        // The undo in the ledger holds the old values: with others it would be a lie.
        if unchanged(&object, &found, &set, &sweep)? != (original.uid.clone(), original.fields.clone()) {
            return Err(format!("{object} was changed by somebody else while the fault was being put on").into());
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(annotations: Value) -> DynamicObject {
        let found = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "front", "uid": "u", "resourceVersion": "7", "annotations": annotations},
            "spec": {"selector": {"app": "front"}},
        });
        serde_json::from_value(found).expect("an object")
    }

    const KEY: &str = "/spec/selector/steadfast.dev~1blackhole";

    #[test]
    fn a_patch_has_the_fields_the_version_and_what_was_there() {
        let (uid, fields) =
            unchanged(&ObjectRef::front(), &found(json!({})), &[(KEY, json!("us"))], "steadfast sweep --context dev")
                .expect("it is unchanged");
        let by = Author { run: "r".into(), owner: "us".into() };
        let original = Original { by, uid, fields };
        let body = patch(&original, Some("7"));
        assert_eq!(body["spec"]["selector"], json!({"steadfast.dev/blackhole": "us"}));
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        let kept = body["metadata"]["annotations"][ORIGINAL_ANNOTATION].as_str().expect("a text");
        let kept: Value = serde_json::from_str(kept).expect("JSON");
        let field = json!({"pointer": KEY, "set": "us", "was": null});
        assert_eq!(kept, json!({"version": 1, "run": "r", "owner": "us", "uid": "u", "fields": [field]}));
    }

    #[test]
    fn what_a_run_has_changed_is_refused_with_its_name() {
        let by = Author { run: "abc".into(), owner: "o".into() };
        let held = Original { by, uid: "u".into(), fields: vec![] }.written();
        for (annotation, run) in [(held.as_str(), "abc"), ("nonsense", "unknown")] {
            let found = found(json!({ORIGINAL_ANNOTATION: annotation}));
            let error = unchanged(&ObjectRef::front(), &found, &[(KEY, json!("us"))], "steadfast sweep --context dev")
                .expect_err("it is held")
                .to_string();
            assert!(
                error.contains(&format!("run {run}")) && error.contains("`steadfast sweep --context dev`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_value_that_is_there_already_is_no_change() {
        let same = [("/spec/selector/app", json!("front"))];
        let error =
            unchanged(&ObjectRef::front(), &found(json!({})), &same, "").expect_err("nothing changes").to_string();
        assert!(error.contains("/spec/selector/app is \"front\""), "{error}");
    }
}
