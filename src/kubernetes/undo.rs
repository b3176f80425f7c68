//! Undoing over a cluster's API.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Kubernetes;
use crate::rollback::{
    Connect, Field, InDrop, ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Standing, Undo, UndoOutcome, Undoer, keys,
};

/// How long an object may take to go once its deletion was accepted.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often it is read back meanwhile.
const READ_BACK_EVERY: Duration = Duration::from_millis(50);

/// How often a restore is tried again when somebody else writes the same object in between.
const RESTORE_ATTEMPTS: usize = 5;

/// How long an API that does not answer well is asked again. Whoever has less time ends it by dropping.
const ASK_WITHIN: Duration = Duration::from_secs(20);

/// How long to wait before the first time it is asked again; twice as long before each next one.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The longest such wait.
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// Carries out undos through a cluster's API.
#[derive(Clone)]
pub struct KubeUndoer {
    kubernetes: Kubernetes,
    connect: Connect,
}

impl KubeUndoer {
    /// An undoer that works through `kubernetes`; from a `Drop`, one made by `connect` works in its place, for a
    /// client serves only the runtime that it was made on.
    #[must_use]
    pub fn new(kubernetes: Kubernetes, connect: Connect) -> Self {
        Self { kubernetes, connect }
    }

    /// An undoer whose futures are awaited to their end: who undoes for others is dropped into by none.
    #[must_use]
    pub fn awaited(kubernetes: Kubernetes) -> Self {
        let why = "who undoes for a dropped guard is dropped into by none";
        Self::new(kubernetes, Arc::new(move || Box::pin(async move { Err(why.to_owned()) })))
    }

    /// Once; what the API says against it is for the caller.
    async fn once(&self, undo: &Undo) -> Result<UndoOutcome, kube::Error> {
        match undo {
            Undo::Delete { object, owner, uid } => self.delete(object, owner, uid.as_deref()).await,
            Undo::Restore { object, uid, fields } => self.restore(object, uid, fields).await,
            Undo::Deleted { object, uid } => self.deleted(object, uid).await,
        }
    }

    async fn delete(&self, object: &ObjectRef, owner: &str, uid: Option<&str>) -> Result<UndoOutcome, kube::Error> {
        let api = self.kubernetes.objects(object);
        let Some(found) = api.get_opt(&object.name).await? else {
            return Ok(UndoOutcome::TargetGone { proof: format!("{object} is not found") });
        };
        if let Some(proof) = not_ours(object, &found, owner, uid) {
            return Ok(UndoOutcome::TargetGone { proof });
        }
        let uid = found.metadata.uid.clone();
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
            // The default of some kinds, Jobs among them, is to orphan what belongs to them.
            propagation_policy: Some(PropagationPolicy::Background),
            ..Default::default()
        };
        match api.delete(&object.name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // Another object may have taken the name since we looked: asked again, that is seen.
            Err(error) => return Err(error),
        }
        let read_back = async {
            loop {
                match api.get_opt(&object.name).await {
                    Ok(None) => return UndoOutcome::Reverted,
                    Ok(Some(now)) if now.metadata.uid != uid => return UndoOutcome::Reverted,
                    // It takes the cluster many seconds, and nothing can stop it.
                    Ok(Some(now)) if object.kind == "Namespace" && now.metadata.deletion_timestamp.is_some() => {
                        return UndoOutcome::TargetGone { proof: format!("{object} is being deleted") };
                    }
                    Ok(Some(_)) => tokio::time::sleep(READ_BACK_EVERY).await,
                    Err(error) if again(&error, READ_BACK_EVERY).is_some() => tokio::time::sleep(READ_BACK_EVERY).await,
                    Err(error) => {
                        let why = format!("{object} was deleted but cannot be read back: {error}");
                        return UndoOutcome::Unverified { why };
                    }
                }
            }
        };
        Ok(tokio::time::timeout(GONE_WITHIN, read_back).await.unwrap_or_else(|_| {
            let finalizers = found.metadata.finalizers.clone().unwrap_or_default().join(", ");
            let why = format!("{object} is still there {GONE_WITHIN:?} after its deletion; finalizers: {finalizers}");
            UndoOutcome::Unverified { why }
        }))
    }

    /// Only looks: what was deleted is not brought back.
    async fn deleted(&self, object: &ObjectRef, uid: &str) -> Result<UndoOutcome, kube::Error> {
        let found = self.kubernetes.objects(object).get_opt(&object.name).await?;
        Ok(match gone(object, found.as_ref(), uid) {
            Some(proof) => UndoOutcome::TargetGone { proof },
            None => UndoOutcome::Reverted,
        })
    }

    async fn restore(&self, object: &ObjectRef, uid: &str, fields: &[Field]) -> Result<UndoOutcome, kube::Error> {
        let api = self.kubernetes.objects(object);
        for _ in 0..RESTORE_ATTEMPTS {
            let Some(found) = api.get_opt(&object.name).await? else {
                return Ok(UndoOutcome::TargetGone { proof: format!("{object} is not found") });
            };
            if found.metadata.uid.as_deref() != Some(uid) {
                let proof = format!("{object} is another object of that name by now");
                return Ok(UndoOutcome::TargetGone { proof });
            }
            let now = serde_json::to_value(&found).map_err(kube::Error::SerdeError)?;
            let (patch, superseded) = restoring(&now, fields);
            let Some(mut patch) = patch else {
                let proof = format!("{} of {object} was changed by somebody else since", superseded.join(", "));
                return Ok(UndoOutcome::TargetGone { proof });
            };
            // The version makes it a conflict, and a new attempt, if somebody writes in between.
            patch["metadata"]["resourceVersion"] = json!(found.metadata.resource_version);
            patch["metadata"]["annotations"][ORIGINAL_ANNOTATION] = Value::Null;
            match api.patch(&object.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(after) => return Ok(restored(object, &after, fields, &superseded)),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
        let why = format!("{object} was written by somebody else at each of {RESTORE_ATTEMPTS} attempts");
        Ok(UndoOutcome::Leaked { why })
    }
}

/// How long to wait before the API is asked again, if that may help: it is busy or broken, somebody wrote in between,
/// or nothing is known of the request. Everything that undoes can be done twice.
fn again(error: &kube::Error, wait: Duration) -> Option<Duration> {
    match error {
        kube::Error::Api(status) => {
            let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let asked = Duration::from_secs(u64::from(asked));
            matches!(status.code, 408 | 409 | 410 | 429 | 500..=599).then_some(wait.max(asked))
        }
        kube::Error::SerdeError(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => Some(wait),
        _ => None,
    }
}

/// Puts a value into a merge patch; `None` takes the field away.
pub(super) fn merge(patch: &mut Value, pointer: &str, value: Option<&Value>) {
    let place = keys(pointer).fold(patch, |at, key| &mut at[key]);
    *place = value.cloned().unwrap_or(Value::Null);
}

/// The merge patch that puts values back, and the fields that somebody else has changed since.
fn restoring(now: &Value, fields: &[Field]) -> (Option<Value>, Vec<String>) {
    let (mut patch, mut superseded) = (None, Vec::new());
    for field in fields {
        let value = now.pointer(&field.pointer);
        if value != field.set.as_ref() && value != field.was.as_ref() {
            superseded.push(field.pointer.clone());
            continue;
        }
        merge(patch.get_or_insert_with(|| json!({})), &field.pointer, field.was.as_ref());
    }
    (patch, superseded)
}

fn restored(object: &ObjectRef, after: &DynamicObject, fields: &[Field], superseded: &[String]) -> UndoOutcome {
    let after = serde_json::to_value(after).unwrap_or_default();
    let wrong: Vec<_> = fields
        .iter()
        .filter(|field| !superseded.contains(&field.pointer) && after.pointer(&field.pointer) != field.was.as_ref())
        .map(|field| field.pointer.as_str())
        .collect();
    if !wrong.is_empty() {
        let why = format!("{object} was written, but {} did not take its old value", wrong.join(", "));
        return UndoOutcome::Unverified { why };
    }
    // What somebody else set since is theirs; nothing of the fault is left in it.
    UndoOutcome::Reverted
}

/// What shows that an object was deleted; `None` if it was not.
fn gone(object: &ObjectRef, found: Option<&DynamicObject>, uid: &str) -> Option<String> {
    let Some(found) = found else { return Some(format!("{object} is not found")) };
    if found.metadata.uid.as_deref() != Some(uid) {
        return Some(format!("{object} is another object of that name by now"));
    }
    found.metadata.deletion_timestamp.is_some().then(|| format!("{object} is being deleted"))
}

fn not_ours(object: &ObjectRef, found: &DynamicObject, owner: &str, uid: Option<&str>) -> Option<String> {
    let label = found.metadata.labels.as_ref().and_then(|labels| labels.get(OWNER_LABEL));
    if label.map(String::as_str) != Some(owner) {
        return Some(format!("{object} is not ours: its label {OWNER_LABEL} is {label:?}"));
    }
    let found = found.metadata.uid.as_deref();
    (uid.is_some() && uid != found).then(|| format!("{object} is another object of that name by now"))
}

fn leaked(object: &ObjectRef, error: &kube::Error) -> UndoOutcome {
    UndoOutcome::Leaked { why: format!("{object}: {error}; undo it by hand when the API answers again") }
}

impl Undoer for KubeUndoer {
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async move {
            let deadline = tokio::time::Instant::now() + ASK_WITHIN;
            let mut wait = ASK_AGAIN;
            loop {
                let error = match self.once(undo).await {
                    Ok(outcome) => return outcome,
                    Err(error) => error,
                };
                let then = again(&error, wait).map(|wait| tokio::time::Instant::now() + wait);
                match then {
                    Some(then) if then < deadline => tokio::time::sleep_until(then).await,
                    _ => return leaked(undo.object(), &error),
                }
                wait = (wait * 2).min(ASK_AGAIN_AT_MOST);
            }
        })
    }

    fn stands<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async move {
            let object = undo.object();
            let read = self.kubernetes.objects(object).get_opt(&object.name).await;
            let found = read.map_err(|error| format!("{object}: {error}"))?;
            if let Undo::Deleted { uid, .. } = undo {
                return Ok(match gone(object, found.as_ref(), uid) {
                    Some(_) => Standing::Stands { uid: uid.clone() },
                    None => Standing::Gone { by: format!("{object} is still there") },
                });
            }
            let Some(found) = found else {
                return Ok(Standing::Gone { by: format!("{object} was deleted") });
            };
            let uid = found.metadata.uid.clone().unwrap_or_default();
            Ok(match undo {
                Undo::Delete { owner, uid: wanted, .. } => match not_ours(object, &found, owner, wanted.as_deref()) {
                    Some(by) => Standing::Gone { by },
                    None if found.metadata.deletion_timestamp.is_some() => {
                        Standing::Gone { by: format!("{object} is being deleted") }
                    }
                    None => Standing::Stands { uid },
                },
                Undo::Restore { uid: wanted, .. } | Undo::Deleted { uid: wanted, .. } if *wanted != uid => {
                    Standing::Gone { by: format!("{object} is another object of that name by now") }
                }
                Undo::Restore { fields, .. } => {
                    let now = serde_json::to_value(&found).map_err(|e| e.to_string())?;
                    let changed = fields.iter().find(|f| now.pointer(&f.pointer) != f.set.as_ref());
                    match changed {
                        Some(field) => Standing::Gone { by: format!("{} of {object} was changed", field.pointer) },
                        None => Standing::Stands { uid },
                    }
                }
                Undo::Deleted { .. } => Standing::Stands { uid },
            })
        })
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Reaper(self.connect.clone())
    }
}
