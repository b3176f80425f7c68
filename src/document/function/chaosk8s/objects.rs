//! Creating, changing and deleting objects: as faults of the house, or as the document leaves them.

use kube::api::ListParams;
use serde_json::{Value, json};

use super::super::Failed;
use super::{Call, Of, Stage, object, plain};
use crate::kubernetes::{KubernetesError, ObjectPatch};
use crate::rollback::{OWNER_LABEL, ObjectRef};

impl Stage<'_> {
    /// Whether an object is there, and not on its way out.
    async fn stands(&self, object: &ObjectRef) -> Result<bool, Failed> {
        let found = plain::find(self.kubernetes(), object).await?;
        Ok(found.is_some_and(|found| found["metadata"]["deletionTimestamp"].is_null()))
    }

    /// Makes an object. Where the document's own fault has deleted it, that is undone instead.
    pub(super) async fn create(&self, object: ObjectRef, manifest: Value) -> Result<(), Failed> {
        if self.ended_in_plan(&object).await? {
            return Ok(());
        }
        if !self.stands(&object).await? && self.guards.end(&object).await? && self.stands(&object).await? {
            return Ok(());
        }
        if self.plain {
            return plain::create(self, &object, &manifest).await.map(drop);
        }
        let mut fault = self.kubernetes().create_object(object.clone(), manifest);
        if let Some(why) = self.trust {
            fault = fault.trust_without_proof(why);
        }
        self.inject_made(fault, object).await
    }

    /// Changes an object. What the document's own fault has changed is undone first; that may be all that was asked for.
    pub(super) async fn change(&self, object: ObjectRef, patch: ObjectPatch) -> Result<(), Failed> {
        let ended = self.end(&object).await?;
        // The old data of Secrets is nowhere written down, so that they are no faults.
        if self.plain || (self.leave && object.kind == "Secret") {
            return plain::patch(self, &object, &patch).await.map(drop);
        }
        let mut fault = self.kubernetes().change_object(object.clone(), patch);
        if let Some(why) = self.trust {
            fault = fault.trust_without_proof(why);
        }
        if ended && fault.changes_nothing().await? {
            return Ok(());
        }
        self.inject(fault, vec![object]).await
    }

    /// Deletes an object. Where the document's own fault has made it, that is undone instead; where that was undone
    /// already, it is absent, as it should be.
    pub(super) async fn delete(&self, object: ObjectRef) -> Result<(), Failed> {
        if self.ended_in_plan(&object).await? {
            return Ok(());
        }
        let ended = match self.stands(&object).await? {
            true => self.guards.end(&object).await?,
            false => self.guards.has_undone(&object),
        };
        if ended && !self.stands(&object).await? {
            return Ok(());
        }
        if self.plain {
            return plain::delete(self, &object).await;
        }
        let mut fault = self.kubernetes().delete_object(object.clone());
        if self.leave {
            fault = fault.for_good();
        }
        if let Some(why) = self.trust {
            fault = fault.trust_without_proof(why);
        }
        self.inject(fault, vec![object]).await
    }

    /// The objects of a kind that a call selects by `name` or `label_selector`; none is an error, and so is a call
    /// without either, which would mean all of the namespace.
    pub(super) async fn selected(&self, call: &Call<'_>, of: Of, what: &str) -> Result<Vec<ObjectRef>, Failed> {
        let namespace = call.namespace()?;
        if call.value("name").is_none() && call.value("label_selector").is_none() {
            return Err(Failed(format!(
                "neither name nor label_selector is given, which would mean every {what} of namespace {namespace}: give one"
            )));
        }
        let found = self.matching(call, of, &namespace).await?;
        let names = found.iter().filter_map(|found| found["metadata"]["name"].as_str());
        let objects: Vec<ObjectRef> = names.map(|name| object(of, Some(&namespace), name)).collect();
        if objects.is_empty() {
            return Err(Failed(format!("no {what} in namespace {namespace} matches {}", told(call))));
        }
        Ok(objects)
    }

    /// The objects of a kind that have the `name` of a call, or match its `label_selector`, or both, or are all.
    pub(super) async fn matching(&self, call: &Call<'_>, of: Of, namespace: &str) -> Result<Vec<Value>, Failed> {
        let (name, labels) = (call.text("name")?, call.selector("label_selector")?);
        let found = self.list(of, Some(namespace), &labels.unwrap_or_default().to_string()).await?;
        let named = |found: &Value| name.as_ref().is_none_or(|name| found["metadata"]["name"] == name.as_str());
        Ok(found.into_iter().filter(named).collect())
    }

    /// The objects of a kind with these labels, by name; what a run has made to look is none of them.
    pub(super) async fn list(&self, of: Of, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, Failed> {
        let kind = object(of, namespace, "");
        let listed = self.kubernetes().objects(&kind).list(&ListParams::default().labels(labels)).await;
        let listed = listed.map_err(KubernetesError::api(format!("list {}", of.2)))?;
        let listed = listed.items.into_iter().map(serde_json::to_value);
        let mut listed: Vec<Value> = listed.collect::<Result<_, _>>().map_err(|error| Failed(error.to_string()))?;
        for found in &mut listed {
            // Of the items of a list the API does not say it.
            (found["apiVersion"], found["kind"]) = (json!(of.0), json!(of.1));
        }
        listed.retain(|found| of.1 != "Pod" || found["metadata"]["labels"][OWNER_LABEL].is_null());
        listed.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        Ok(listed)
    }
}

/// What the API answers to a GET, as it came.
pub(super) async fn get(stage: &Stage<'_>, path: &str, pairs: &[(&str, String)], doing: &str) -> Result<Value, Failed> {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let request = http::Request::get(uri).body(Vec::new()).map_err(|error| Failed(error.to_string()))?;
    Ok(stage.kubernetes().client().request(request).await.map_err(KubernetesError::api(doing))?)
}

/// The list of a kind, as it came.
pub(super) async fn raw(stage: &Stage<'_>, kind: &ObjectRef, labels: &str) -> Result<Value, Failed> {
    let path = stage.kubernetes().objects(kind).resource_url().to_owned();
    let pairs: Vec<_> =
        Some(labels).filter(|labels| !labels.is_empty()).map(|l| ("labelSelector", l.to_owned())).into_iter().collect();
    get(stage, &path, &pairs, &format!("list {}", kind.resource)).await
}

/// The name of an object.
pub(super) fn name_of(found: &Value) -> &str {
    found["metadata"]["name"].as_str().unwrap_or_default()
}

/// What a call selects by, in words.
pub(super) fn told(call: &Call<'_>) -> String {
    let said = ["name", "label_selector"].into_iter().filter_map(|by| Some(format!("{by} {}", call.value(by)?)));
    let said: Vec<_> = said.collect();
    if said.is_empty() { "no name and no label_selector".to_owned() } else { said.join(" and ") }
}
