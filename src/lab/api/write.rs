//! Writing: create, replace and delete.

use serde_json::{Value, json};

use super::owners::Recorder;
use super::read::Filter;
use super::{Answer, ApiService, Call, Place, not_allowed};
use crate::lab::resource::{PODS, SERVICES};
use crate::lab::status::Status;
use crate::lab::store::admission::{self, FieldValidation};
use crate::lab::store::{Part, Preconditions};

pub(super) fn create(api: &ApiService, place: &Place, call: &Call) -> Result<Answer, Status> {
    let (object, duplicates) = admission::parse(place.resource, &call.body)?;
    let options = admission_options(api, place, call, "CreateOptions")?.with_duplicates(duplicates);
    let created = create_object(api, place, call, object, &options)?;
    Ok(Answer::Json(201, created))
}

/// How strictly a write is to be read.
fn admission_options(api: &ApiService, place: &Place, call: &Call, kind: &str) -> Result<admission::Options, Status> {
    let validation = FieldValidation::parse(call.get("fieldValidation"), kind)?;
    Ok(admission::Options::new(&api.store, place.resource, validation))
}

fn create_object(
    api: &ApiService,
    place: &Place,
    call: &Call,
    object: Value,
    options: &admission::Options,
) -> Result<Value, Status> {
    let resource = place.resource;
    if resource.namespaced && place.namespace.is_none() {
        return Err(not_allowed());
    }
    if !object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let sent = object.clone();
    let (mut object, _) = admission::create(&api.store, resource, place.namespace(), object, options)?;
    Recorder::new(api, place, call).created(&sent, &mut object);
    let created = api.store.create(resource, place.namespace(), object, call.dry_run()?)?;
    Ok((*created).clone())
}

pub(super) fn replace(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Answer, Status> {
    let (object, duplicates) = admission::parse(place.resource, &call.body)?;
    let sent = object["metadata"]["name"].as_str().unwrap_or_default();
    if sent != name {
        let message = format!("the name of the object ({sent}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(message));
    }
    let (namespace, dry_run, part) = (place.namespace(), call.dry_run()?, part(place)?);
    let options = admission_options(api, place, call, "UpdateOptions")?.with_duplicates(duplicates);
    let recorder = Recorder::new(api, place, call);
    let admitted = |before: &Value| {
        let (mut after, _) = admission::update(&api.store, place.resource, before, object, part, &options)?;
        recorder.updated(before, &mut after, part);
        Ok(after)
    };
    let stored = api.store.modify(place.resource, namespace, name, part, dry_run, admitted)?;
    Ok(Answer::Json(200, (*stored).clone()))
}

fn part(place: &Place) -> Result<Part, Status> {
    match place.subresource.as_deref() {
        None => Ok(Part::Main),
        Some("status") => Ok(Part::Status),
        Some("finalize") => Ok(Part::Finalizers),
        Some(_) => Err(not_allowed()),
    }
}

/// What a delete says in its body and its query.
fn options(call: &Call) -> Result<(Preconditions, Option<u64>), Status> {
    let body = if call.body.is_empty() { Value::Null } else { call.json()? };
    let text = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    let preconditions = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
    let asked = call.get("gracePeriodSeconds").and_then(|seconds| seconds.parse().ok());
    Ok((preconditions, body["gracePeriodSeconds"].as_u64().or(asked)))
}

pub(super) fn delete(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Answer, Status> {
    let (preconditions, grace) = options(call)?;
    let (resource, namespace) = (place.resource, place.namespace());
    let last = api.store.delete(resource, namespace, name, &preconditions, grace, call.dry_run()?)?;
    let held = api.store.find(resource, namespace, name).is_some();
    let answers_itself = [&PODS, &SERVICES].iter().any(|kind| std::ptr::eq(*kind, resource));
    if held || answers_itself {
        return Ok(Answer::Json(200, (*last).clone()));
    }
    let mut details = json!({"name": name, "kind": resource.plural, "uid": last["metadata"]["uid"]});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok(Answer::Json(200, status))
}

pub(super) fn delete_collection(api: &ApiService, place: &Place, call: &Call) -> Result<Answer, Status> {
    let filter = Filter::of(place.resource, call)?;
    let (_, grace) = options(call)?;
    let dry_run = call.dry_run()?;
    let (all, version) = api.store.list(place.resource, place.namespace.as_deref());
    let mut deleted = Vec::new();
    for object in all.into_iter().filter(|object| filter.takes(object)) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        match api.store.delete(place.resource, &namespace, &name, &Preconditions::default(), grace, dry_run) {
            Ok(last) => deleted.push((*last).clone()),
            // Somebody else was faster.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let kind = format!("{}List", place.resource.kind);
    let metadata = json!({"resourceVersion": version.to_string()});
    let list =
        json!({"kind": kind, "apiVersion": place.resource.api_version(), "metadata": metadata, "items": deleted});
    Ok(Answer::Json(200, list))
}
