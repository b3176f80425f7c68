//! The `scale` subresource: the count of an object's replicas as an object of its own.

use serde_json::{Value, json};

use super::answer::{Answer, Reply};
use super::owners::Recorder;
use super::patch::Patch;
use super::write::{same_name, same_namespace};
use super::{ApiService, Call, Place, body, not_allowed};
use crate::kubernetes::Selector;
use crate::lab::resource::CUSTOM_RESOURCE_DEFINITIONS;
use crate::lab::status::Status;
use crate::lab::store::Part;
use crate::lab::store::patch::{json as json_patch, managed};

/// The version of a scale.
const VERSION: &str = "autoscaling/v1";

/// Where an object has what a scale tells, as JSON pointers.
struct Paths {
    spec: String,
    status: String,
    /// A label selector as text, of custom kinds.
    selector: Option<String>,
}

impl Paths {
    fn of(api: &ApiService, place: &Place) -> Option<Self> {
        let resource = place.resource;
        if !resource.custom {
            return Some(Self { spec: "/spec/replicas".into(), status: "/status/replicas".into(), selector: None });
        }
        let definition = api.store.find(&CUSTOM_RESOURCE_DEFINITIONS, "", &resource.qualified_plural())?;
        let versions = definition["spec"]["versions"].as_array()?;
        let version = versions.iter().find(|version| version["name"] == resource.version)?;
        let scale = &version["subresources"]["scale"];
        let pointer = |field: &str| scale[field].as_str().map(|path| path.replace('.', "/"));
        Some(Self {
            spec: pointer("specReplicasPath")?,
            status: pointer("statusReplicasPath")?,
            selector: pointer("labelSelectorPath"),
        })
    }
}

pub(super) fn answer(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Reply, Status> {
    let paths = Paths::of(api, place).ok_or_else(super::no_such_resource)?;
    let recorder = Recorder::new(api, place, call);
    match call.method.as_str() {
        "GET" => {
            let object = api.store.get(place.resource, place.namespace(), name)?;
            Ok(Answer::Json(200, scale_of(place, &paths, &object)).into())
        }
        "PUT" => {
            let dry_run = call.dry_run()?;
            let sent = body::object(call, "Scale")?;
            if let Some(kind) = sent["kind"].as_str().filter(|kind| !["", "Scale"].contains(kind)) {
                let version =
                    sent["apiVersion"].as_str().unwrap_or("v1").rsplit('/').next().unwrap_or_default().to_owned();
                let why = format!(
                    "no kind {kind:?} is registered for version \"autoscaling/v1\" in scheme \"pkg/runtime/scheme.go:110\""
                );
                let message = format!("{kind} in version {version:?} cannot be handled as a Scale: {why}");
                return Err(Status::bad_request(message));
            }
            same_namespace(place, &sent)?;
            same_name(name, &sent)?;
            change(api, place, name, &paths, &Writing { recorder, patch: None, dry_run }, sent)
        }
        "PATCH" => {
            let patch = Patch::read_as(place.resource, (VERSION, "Scale"), call)?;
            let dry_run = patch.dry_run;
            change(api, place, name, &paths, &Writing { recorder, patch: Some(patch), dry_run }, Value::Null)
        }
        _ => Err(not_allowed()),
    }
}

/// How a scale is written.
struct Writing {
    recorder: Recorder,
    /// Else the scale that was sent takes the old one's place.
    patch: Option<Patch>,
    dry_run: bool,
}

impl Writing {
    /// The new scale.
    fn scale(&self, place: &Place, before: &Value, sent: &Value) -> Result<Value, Status> {
        let Some(patch) = &self.patch else { return Ok(sent.clone()) };
        if let Some(config) = patch.configuration() {
            let mut after = before.clone();
            json_patch::merge(&mut after, config.as_object().cloned().unwrap_or_default());
            return Ok(after);
        }
        patch.apply_to(&self.recorder.model, place.resource, before, &self.recorder.writer)
    }

    /// The object with its new count, and who owns that.
    fn object(&self, place: &Place, paths: &Paths, before: &Value, scale: &Value) -> Result<Value, Status> {
        let count = json!(scale["spec"]["replicas"].as_i64().unwrap_or_default());
        let applied = self.patch.as_ref().and_then(|patch| Some((patch, patch.configuration()?)));
        if let Some((patch, config)) = applied {
            let mut own = json!({"apiVersion": before["apiVersion"], "kind": before["kind"],
                "metadata": {"name": before["metadata"]["name"]}});
            if !config["spec"]["replicas"].is_null() {
                set(&mut own, &paths.spec, count);
            }
            let apply = patch.application(&own, place.resource, &self.recorder.writer);
            return managed::apply(&self.recorder.model, Some(before), apply);
        }
        let mut after = before.clone();
        set(&mut after, &paths.spec, count);
        self.recorder.updated(before, &mut after, Part::Main);
        Ok(after)
    }
}

fn change(
    api: &ApiService,
    place: &Place,
    name: &str,
    paths: &Paths,
    writing: &Writing,
    sent: Value,
) -> Result<Reply, Status> {
    let stored = api.store.modify(place.resource, place.namespace(), name, Part::Main, writing.dry_run, |before| {
        let scale = writing.scale(place, &scale_of(place, paths, before), &sent)?;
        body::metadata_of(&scale, "Scale")?;
        let replicas = match &scale["spec"]["replicas"] {
            Value::Null => 0,
            value => value.as_i64().filter(|count| i32::try_from(*count).is_ok()).ok_or_else(|| {
                let what = if value.is_string() { "string" } else { "value" };
                let why =
                    format!("json: cannot unmarshal {what} into Go struct field ScaleSpec.spec.replicas of type int32");
                Status::faulty(
                    "",
                    "",
                    "",
                    &[("FieldValueInvalid", "patch", format!("Invalid value: {:?}: {why}", scale.to_string()))],
                )
            })?,
        };
        if replicas < 0 {
            let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            return Err(Status::faulty("autoscaling", "Scale", name, &[("FieldValueInvalid", "spec.replicas", why)]));
        }
        let mut after = writing.object(place, paths, before, &scale)?;
        for field in ["resourceVersion", "uid"] {
            if let Some(sent) = scale["metadata"][field].as_str().filter(|sent| !sent.is_empty()) {
                after["metadata"][field] = json!(sent);
            }
        }
        Ok(after)
    })?;
    Ok(Answer::Json(200, scale_of(place, paths, &stored)).into())
}

/// Sets what a pointer through maps names.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}

fn scale_of(place: &Place, paths: &Paths, object: &Value) -> Value {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    // A count of none is left out of the spec, as on the real server.
    let replicas = count(&paths.spec);
    let spec = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
    let mut status = json!({"replicas": count(&paths.status)});
    let selector = match &paths.selector {
        Some(pointer) => object.pointer(pointer).and_then(Value::as_str).map(str::to_owned),
        None if place.resource.custom => None,
        None => Selector::from_json(&object["spec"]["selector"]).ok().map(|selector| selector.to_string()),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = json!(selector);
    }
    json!({"kind": "Scale", "apiVersion": VERSION, "metadata": metadata, "spec": spec, "status": status})
}
