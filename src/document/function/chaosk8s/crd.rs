//! `chaosk8s.crd`.

use serde_json::{Value, json};

use super::super::{Answer, Failed, functions};
use super::objects::raw;
use super::{Call, Stage, manifest, plain};
use crate::kubernetes::ObjectPatch;
use crate::rollback::ObjectRef;

functions! { ACTIONS: "chaosk8s.crd.actions", Action, cluster: true {
    create_custom_object(group, version, plural; ns, resource, resource_as_yaml_file) = create;
    create_cluster_custom_object(group, version, plural; resource, resource_as_yaml_file) = create_cluster;
    delete_custom_object(group, version, plural, name; ns) = delete;
    delete_cluster_custom_object(group, version, plural, name; ) = delete_cluster;
    patch_custom_object(group, version, plural, name; ns, force, resource, resource_as_yaml_file) = patch;
    patch_cluster_custom_object(group, version, plural, name; force, resource, resource_as_yaml_file) = patch_cluster;
    replace_custom_object(group, version, plural, name; ns, force, resource, resource_as_yaml_file) = replace;
    replace_cluster_custom_object(group, version, plural, name; force, resource, resource_as_yaml_file) = replace_cluster;
    apply_from_json(resource; ) = apply;
    apply_from_yaml(resource; ) = apply;
} }

functions! { PROBES: "chaosk8s.crd.probes", Probe, cluster: true {
    get_custom_object(group, version, plural, name; ns) = get;
    list_custom_objects(group, version, plural; ns) = list;
    get_cluster_custom_object(group, version, plural, name; ) = get_cluster;
    list_cluster_custom_objects(group, version, plural; ) = list_cluster;
} }

/// What a call is about; its kind is known from what is there, or from what is to be made.
fn object(call: &Call<'_>, namespaced: bool, kind: &str, name: &str) -> Result<ObjectRef, Failed> {
    Ok(ObjectRef {
        api_version: format!("{}/{}", call.required("group")?, call.required("version")?),
        kind: kind.to_owned(),
        resource: call.required("plural")?,
        namespace: namespaced.then(|| call.namespace()).transpose()?,
        name: name.to_owned(),
    })
}

/// The object of that name, with its kind, as it is.
async fn found(call: &Call<'_>, stage: &Stage<'_>, namespaced: bool) -> Result<(ObjectRef, Value), Failed> {
    let name = call.required("name")?;
    let mut object = object(call, namespaced, "", &name)?;
    object.kind.clone_from(&object.resource);
    let found = plain::read(stage.kubernetes(), &object).await?;
    let kind = found["kind"].as_str().filter(|kind| !kind.is_empty());
    object.kind = kind.unwrap_or(&object.resource).to_owned();
    Ok((object, found))
}

/// `resource`, or what the file holds.
fn resource(call: &Call<'_>) -> Result<Value, Failed> {
    match (call.value("resource"), call.text("resource_as_yaml_file")?) {
        (Some(Value::String(text)), _) => manifest::of_text(text),
        (Some(resource), _) => Ok(resource.clone()),
        (None, Some(path)) => manifest::of_file(&path),
        (None, None) => Err(Failed("neither resource nor resource_as_yaml_file is given: give one".to_owned())),
    }
}

async fn create(call: Call<'_>, stage: Stage<'_>) -> Answer {
    create_in(call, stage, true).await
}

async fn create_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    create_in(call, stage, false).await
}

/// One of that name that is there already is no success: it may be another fault.
async fn create_in(call: Call<'_>, stage: Stage<'_>, namespaced: bool) -> Answer {
    let manifest = resource(&call)?;
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    if kind.is_empty() || name.is_empty() {
        return Err(Failed("the resource has no kind, or no metadata.name: give it both".to_owned()));
    }
    let object = object(&call, namespaced, &kind, &name)?;
    let (wanted, said) = (object.namespace.clone().unwrap_or_default(), text("/metadata/namespace"));
    if !said.is_empty() && said != wanted {
        return Err(Failed(format!("the resource's namespace is {said:?}, but {wanted:?} is asked for by ns")));
    }
    stage.create(object.clone(), manifest).await?;
    plain::done(&stage, &object).await
}

async fn delete(call: Call<'_>, stage: Stage<'_>) -> Answer {
    delete_in(call, stage, true).await
}

async fn delete_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    delete_in(call, stage, false).await
}

async fn delete_in(call: Call<'_>, stage: Stage<'_>, namespaced: bool) -> Answer {
    let of = object(&call, namespaced, "", &call.required("name")?)?;
    if !stage.end_like(&of).await? {
        let (object, _) = found(&call, &stage, namespaced).await?;
        stage.delete(object).await?;
    }
    Ok(deleted())
}

/// What the API answers to a deletion.
pub(super) fn deleted() -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})
}

impl Stage<'_> {
    /// As [`end`](Self::end), where the kind is not known; false too if the object is there all the same.
    pub(super) async fn end_like(&self, of: &ObjectRef) -> Result<bool, Failed> {
        let is_it = |known: &ObjectRef| ObjectRef { kind: of.kind.clone(), ..known.clone() } == *of;
        let mut ended = self.guards.undone().into_iter().any(|known| is_it(&known));
        for known in self.guards.objects().into_iter().filter(is_it) {
            ended |= self.end(&known).await?;
        }
        let asked = ObjectRef { kind: of.resource.clone(), ..of.clone() };
        Ok(ended && plain::find(self.kubernetes(), &asked).await?.is_none())
    }
}

async fn patch(call: Call<'_>, stage: Stage<'_>) -> Answer {
    patch_in(call, stage, true).await
}

async fn patch_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    patch_in(call, stage, false).await
}

/// A list is a JSON patch, a map a merge patch, which is the one that custom kinds take.
async fn patch_in(call: Call<'_>, stage: Stage<'_>, namespaced: bool) -> Answer {
    let patch = match resource(&call)? {
        list @ Value::Array(_) => ObjectPatch::Json(list),
        map => ObjectPatch::Merge(map),
    };
    let (object, _) = found(&call, &stage, namespaced).await?;
    stage.change(object.clone(), patch).await?;
    plain::done(&stage, &object).await
}

async fn replace(call: Call<'_>, stage: Stage<'_>) -> Answer {
    replace_in(call, stage, true).await
}

async fn replace_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    replace_in(call, stage, false).await
}

async fn replace_in(call: Call<'_>, stage: Stage<'_>, namespaced: bool) -> Answer {
    let (mut whole, (object, _)) = (resource(&call)?, found(&call, &stage, namespaced).await?);
    // It may have been changed by the document's own fault, which is undone first.
    stage.end(&object).await?;
    let now = plain::read(stage.kubernetes(), &object).await?;
    for (key, value) in [("apiVersion", &object.api_version), ("kind", &object.kind)] {
        whole[key] = json!(value);
    }
    for key in ["name", "namespace", "resourceVersion"] {
        if !now["metadata"][key].is_null() {
            whole["metadata"][key] = now["metadata"][key].clone();
        }
    }
    stage.change(object.clone(), ObjectPatch::Whole(whole)).await?;
    plain::done(&stage, &object).await
}

/// Makes what a text says, or changes what is there to it.
async fn apply(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let manifest = manifest::of_text(&call.required("resource")?)?;
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if [&api_version, &kind, &name].iter().any(|text| text.is_empty()) {
        return Err(Failed("the resource has no apiVersion, kind or metadata.name: give it all".to_owned()));
    }
    let (resource, namespaced) = stage.kubernetes().scope(&api_version, &kind).await?;
    let namespace = namespaced.then(|| Some(text("/metadata/namespace")).filter(|text| !text.is_empty()));
    let namespace = namespace.map(|said| said.unwrap_or_else(|| "default".to_owned()));
    let object = ObjectRef { api_version, kind, resource, namespace, name };
    match plain::find(stage.kubernetes(), &object).await? {
        Some(_) => stage.change(object.clone(), ObjectPatch::Merge(manifest)).await?,
        None => stage.create(object.clone(), manifest).await?,
    }
    plain::done(&stage, &object).await
}

async fn get(call: Call<'_>, stage: Stage<'_>) -> Answer {
    Ok(found(&call, &stage, true).await?.1)
}

async fn get_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    Ok(found(&call, &stage, false).await?.1)
}

async fn list(call: Call<'_>, stage: Stage<'_>) -> Answer {
    list_in(call, stage, true).await
}

async fn list_cluster(call: Call<'_>, stage: Stage<'_>) -> Answer {
    list_in(call, stage, false).await
}

/// The list as the API gives it.
async fn list_in(call: Call<'_>, stage: Stage<'_>, namespaced: bool) -> Answer {
    let object = object(&call, namespaced, "", "")?;
    raw(&stage, &object, "").await
}
