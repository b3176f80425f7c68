//! Changing any object.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::change;
use super::create_object::places;
use super::effect::Seen;
use crate::BoxError;
use crate::experiment::{Armed, Check, Fault, Mark, Place, Proof, Targets};
use crate::kubernetes::pods::refuse_protected;
use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::rollback::{ORIGINAL_ANNOTATION, ObjectRef};

/// A patch of an object, in one of the API's forms.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectPatch {
    /// RFC 7386: maps are merged, null takes away, lists are replaced.
    Merge(Value),
    /// As a merge patch, with the lists of known kinds merged by their keys.
    Strategic(Value),
    /// RFC 6902: a list of operations.
    Json(Value),
    /// The whole object as it is to be, but for its status.
    Whole(Value),
}

impl Kubernetes {
    /// A fault: an object is changed by this patch. See [`ChangeObject`].
    pub fn change_object(&self, object: ObjectRef, patch: ObjectPatch) -> ChangeObject {
        ChangeObject { kubernetes: self.clone(), object, patch, lasting: None, seen: Seen::default() }
    }
}

/// A fault: fields of an object have other values.
///
/// - **Effect**: what the cluster makes of that. The API says first, by a dry run, what the patch comes to; those values
///   are written, and read back. For what others act on that shows nothing: of NetworkPolicies, Ingresses and custom
///   resources the effect is seen by `.witness(check)` alone.
/// - **Undo**: each old value is put back where the fault's still stands.
/// - **Needs**: get, list and patch on its kind.
/// - **Caveats**: a list is put back as a whole. What changes a pod template makes new pods, when it lands and when it is
///   undone, and leaves a set without pods in the history of its Deployment. A patch that changes nothing is refused. A
///   change of the status is none. Secrets are refused: their old data would lie in the ledger.
#[derive(Clone)]
#[must_use = "a fault does nothing until it is injected: `.inject(..)`"]
pub struct ChangeObject {
    kubernetes: Kubernetes,
    object: ObjectRef,
    patch: ObjectPatch,
    lasting: Option<Duration>,
    seen: Seen,
}

impl ChangeObject {
    /// Sees the effect through this check: met while the fault is off, not met while on.
    pub fn witness(mut self, check: impl Check) -> Self {
        self.seen.witness = Some(Arc::new(check));
        self
    }

    /// Believes the fault without a proof; the journal shows why.
    pub fn trust_without_proof(mut self, why: impl Into<String>) -> Self {
        self.seen.trusted = Some(why.into());
        self
    }

    /// Ends the fault by itself after this time, by the plan of the experiment.
    ///
    /// The hypothesis is judged after the method: a check of a moment, such as a request, that looks when the fault is over
    /// already is [`Inconclusive`](crate::journal::Verdict::Inconclusive). Growth, loads and what else looks back sees it.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// Whether the object is as the patch would make it.
    #[cfg(feature = "cli")]
    pub(crate) async fn changes_nothing(&self) -> Result<bool, BoxError> {
        Ok(self.differing().await?.is_empty())
    }

    /// What the patch comes to; a null stands for a field that goes.
    async fn fields(&self) -> Result<Vec<(String, Value)>, BoxError> {
        let fields = self.differing().await?;
        if fields.is_empty() {
            let already = "it is as the patch would make it".to_owned();
            return Err(KubernetesError::NothingToChange { object: self.object.to_string(), already }.into());
        }
        Ok(fields)
    }

    async fn differing(&self) -> Result<Vec<(String, Value)>, BoxError> {
        refuse_protected(self.object.namespace.as_deref().unwrap_or_default())?;
        if self.object.kind == "Secret" {
            let why = "its old data would have to be kept in a file meanwhile";
            return Err(format!("{} is not changed, for {why}", self.object).into());
        }
        let before = serde_json::to_value(change::read(&self.kubernetes, &self.object).await?)?;
        let after = self.kubernetes.patch_object(&self.object, &self.patch, true).await?;
        let mut fields = Vec::new();
        differences(&unmarked(before), &unmarked(after), "", &mut fields);
        Ok(fields)
    }
}

/// An object without the mark of a change, which says nothing of what it is.
fn unmarked(mut object: Value) -> Value {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ORIGINAL_ANNOTATION);
        if annotations.is_empty()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("annotations");
        }
    }
    object
}

/// The fields in which two states of an object differ, but for those that every write changes and those of its controller.
fn differences(before: &Value, after: &Value, at: &str, into: &mut Vec<(String, Value)>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            into.push((at.to_owned(), after.clone()));
        }
        return;
    };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let counts = match at {
            "" => !matches!(key.as_str(), "status" | "apiVersion" | "kind"),
            "/metadata" => matches!(key.as_str(), "labels" | "annotations" | "finalizers"),
            _ => true,
        };
        if counts {
            let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            differences(&of(old), &of(new), &below, into);
        }
    }
}

impl Fault for ChangeObject {
    fn describe(&self) -> String {
        format!("change {}", self.object)
    }

    fn places(&self) -> Vec<Place> {
        places(&self.object)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async move {
            let changes: Vec<_> = self.fields().await?.into_iter().map(|(pointer, _)| pointer).collect();
            Ok(Targets {
                names: vec![self.object.to_string()],
                rights: change::rights(&self.object),
                notes: vec![format!("it changes {}", changes.join(", ")), change::COVERED.to_owned()],
            })
        })
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let fields = self.fields().await?;
            let set: Vec<_> = fields.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
            change::arm(&self.kubernetes, self.object.clone(), &set, mark).await
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(self.seen.proof(&self.object)) })
    }

    fn remedy(&self) -> &'static str {
        self.seen.remedy(&self.object)
    }

    fn trusted(&self) -> Option<String> {
        self.seen.trusted.clone()
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_is_no_difference() {
        let bare = json!({"metadata": {"name": "n"}});
        let marked = json!({"metadata": {"name": "n", "annotations": {ORIGINAL_ANNOTATION: "x"}}});
        assert_eq!(unmarked(marked), bare);
        let more = json!({"metadata": {"annotations": {ORIGINAL_ANNOTATION: "x", "a": "b"}}});
        assert_eq!(unmarked(more), json!({"metadata": {"annotations": {"a": "b"}}}));
    }

    #[test]
    fn a_patch_comes_to_the_fields_in_which_it_differs() {
        let before = json!({
            "metadata": {"resourceVersion": "1", "generation": 1, "labels": {"a": "b"}},
            "spec": {"keep": 1, "go": {"x": 1}, "list": [1, 2], "deep": {"a/b": 1}}, "status": {"ready": 1},
        });
        let after = json!({
            "metadata": {"resourceVersion": "2", "generation": 2, "labels": {"a": "c", "n~w": "x"}},
            "spec": {"keep": 1, "list": [1], "deep": {"a/b": 2}, "new": {"y": 1}}, "status": {"ready": 0},
        });
        let mut fields = Vec::new();
        differences(&before, &after, "", &mut fields);
        let expected = [
            ("/metadata/labels/a", json!("c")),
            ("/metadata/labels/n~0w", json!("x")),
            ("/spec/deep/a~1b", json!(2)),
            ("/spec/go", Value::Null),
            ("/spec/list", json!([1])),
            ("/spec/new", json!({"y": 1})),
        ];
        assert_eq!(fields, expected.map(|(pointer, value)| (pointer.to_owned(), value)));
    }
}
