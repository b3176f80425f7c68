//! PATCH: what kind of patch it is, what is asked for with it, and its way into the store.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Reply, in_version};
use super::owners::{self, Recorder};
use super::write::not_marked;
use super::{ApiService, Call, Place, body, not_allowed};
use crate::lab::resource::Resource;
use crate::lab::status::Status;
use crate::lab::store::Part;
use crate::lab::store::admission::{self, FieldValidation};
use crate::lab::store::patch::managed::{self, Apply, Writer};
use crate::lab::store::patch::schema::Model;
use crate::lab::store::patch::{go, json as json_patch, strategic};

/// A patch that has been read.
pub(super) struct Patch {
    change: Change,
    force: bool,
    /// Whether nothing is to be stored.
    pub(super) dry_run: bool,
    validation: FieldValidation,
}

enum Change {
    Merge(Map<String, Value>),
    Json(Vec<json_patch::Operation>),
    Strategic(Map<String, Value>),
    Apply(Value),
}

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

pub(super) fn patch(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Reply, Status> {
    let resource = place.resource;
    let patch = Patch::read(resource, call)?;
    let part = match place.subresource.as_deref() {
        None => Part::Main,
        Some("status") => Part::Status,
        Some("finalize") => Part::Finalizers,
        Some(_) => return Err(not_allowed()),
    };
    let recorder = Recorder::new(api, place, call);
    let namespace = place.namespace();
    if part == Part::Main
        && let Change::Apply(config) = &patch.change
        && api.store.find(resource, namespace, name).is_none()
    {
        return create(api, place, name, &patch, config, &recorder);
    }
    let options = admission::Options::new(&api.store, resource, patch.validation);
    let mut warnings = Vec::new();
    let change = |before: &Value| {
        let before = &*in_version(resource, before);
        let patched = patch.apply_to(&recorder.model, resource, before, &recorder.writer)?;
        body::metadata_of(&patched, resource.kind)?;
        identity(resource, place, name, before, &patched)?;
        not_marked(resource, name, before, &patched)?;
        let told = |status| patch.told(status, &patched);
        let (mut after, warned) =
            admission::update(&api.store, resource, before, patched.clone(), part, &options).map_err(told)?;
        warnings = warned;
        if matches!(patch.change, Change::Apply(_)) {
            after = recorder.stored(before, after, part);
        } else {
            recorder.updated(before, &mut after, part);
        }
        Ok(after)
    };
    let stored = api.store.modify(resource, namespace, name, part, patch.dry_run, change)?;
    Ok(Reply { answer: Answer::Object(200, resource, stored), warnings })
}

/// Makes the object of an apply that finds none.
fn create(
    api: &ApiService,
    place: &Place,
    name: &str,
    patch: &Patch,
    config: &Value,
    recorder: &Recorder,
) -> Result<Reply, Status> {
    let resource = place.resource;
    let mut object = managed::apply(&recorder.model, None, patch.application(config, resource, &recorder.writer))?;
    if let Some(uid) = object["metadata"]["uid"].as_str() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        let mut status = Status::conflict(resource, name);
        status.message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified_plural());
        return Err(status);
    }
    named(place, name, &object)?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["resourceVersion", "creationTimestamp", "deletionTimestamp", "selfLink"] {
            metadata.remove(key);
        }
    }
    let options = admission::Options::new(&api.store, resource, patch.validation);
    let owners = object["metadata"]["managedFields"].clone();
    api.store.admits(resource, place.namespace(), name)?;
    let (mut object, warnings) = admission::create(&api.store, resource, place.namespace(), object, &options)?;
    if !owners.is_null() {
        object["metadata"]["managedFields"] = owners;
    }
    let created = api.store.create(resource, place.namespace(), object, patch.dry_run)?;
    Ok(Reply { answer: Answer::Object(201, resource, created), warnings })
}

impl Patch {
    /// Reads the patch and its options.
    ///
    /// # Errors
    /// 415 for another kind of patch, 422 for options that do not fit, 400 for a body that is no patch.
    pub(super) fn read(resource: &Resource, call: &Call) -> Result<Self, Status> {
        Self::read_as(resource, (&resource.api_version(), resource.kind), call)
    }

    /// As [`read`](Self::read), where what is patched is of another version and kind than the resource: its scale.
    pub(super) fn read_as(resource: &Resource, applied: (&str, &str), call: &Call) -> Result<Self, Status> {
        let kind = call.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if ![MERGE, JSON, STRATEGIC, APPLY].contains(&kind) {
            let message = "415: Unsupported Media Type";
            return Err(Status { details: Some(json!({})), ..Status::new(415, "UnsupportedMediaType", message) });
        }
        if kind == STRATEGIC && resource.custom {
            let accepted = [JSON, MERGE, APPLY].join(", ");
            let message =
                format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
        let dry_run = check_options(kind, call)?;
        let validation = FieldValidation::parse(call.get("fieldValidation"), "PatchOptions")?;
        let body = &call.body;
        let parsed = || serde_json::from_slice::<Value>(body).map_err(|error| syntax(body, &error));
        let decoding = |why: String| Status::bad_request(format!("error decoding patch: {why}"));
        let change = match kind {
            MERGE => Change::Merge(json_patch::merge_patch(parsed().map_err(decoding)?)?),
            JSON => Change::Json(json_patch::operations(parsed().map_err(decoding)?)?),
            STRATEGIC => Change::Strategic(strategic::patch_of(parsed().map_err(Status::bad_request)?)?),
            _ => Change::Apply(configuration(applied, body)?),
        };
        let force = call.get("force").is_some_and(|force| !matches!(force, "false" | "0" | ""));
        Ok(Self { change, force, dry_run, validation })
    }

    /// What the patch makes of an object; an apply records its owner too.
    ///
    /// # Errors
    /// 409 for conflicts, 422 and 500 for what cannot be done.
    pub(super) fn apply_to(
        &self,
        model: &Model,
        resource: &Resource,
        before: &Value,
        writer: &Writer,
    ) -> Result<Value, Status> {
        match &self.change {
            Change::Merge(patch) => {
                let mut after = before.clone();
                json_patch::merge(&mut after, patch.clone());
                Ok(after)
            }
            Change::Json(patch) => json_patch::apply(before, patch),
            Change::Strategic(patch) => strategic::apply(model.view(), before, patch.clone()),
            Change::Apply(config) => managed::apply(model, Some(before), self.application(config, resource, writer)),
        }
    }

    /// What is applied, if the patch is an apply.
    pub(super) fn configuration(&self) -> Option<&Value> {
        if let Change::Apply(config) = &self.change { Some(config) } else { None }
    }

    pub(super) fn application<'a>(&self, config: &'a Value, resource: &Resource, writer: &'a Writer) -> Apply<'a> {
        let has_status = resource.has("status");
        Apply { config, writer, force: self.force, custom: resource.custom, has_status }
    }

    /// A refusal of the patched object as the real server tells it: a body that cannot be read is the patch's fault.
    fn told(&self, status: Status, patched: &Value) -> Status {
        let shown = match &self.change {
            Change::Merge(_) | Change::Json(_) => patched.to_string(),
            Change::Strategic(patch) => go::print(&Value::Object(patch.clone())),
            Change::Apply(_) => return status,
        };
        let unreadable = status.code == 400 && status.message.contains(" cannot be handled as a ");
        let Some((_, why)) = status.message.split_once(" cannot be handled as a ").filter(|_| unreadable) else {
            return status;
        };
        let why = why.split_once(": ").map_or(why, |(_, why)| why);
        let why = format!("Invalid value: {shown:?}: {why}");
        let causes = json!([{"reason": "FieldValueInvalid", "message": why, "field": "patch"}]);
        let message = format!(" \"\" is invalid: patch: {why}");
        Status { details: Some(json!({"causes": causes})), ..Status::new(422, "Invalid", message) }
    }
}

/// The options of a patch; whether it is a dry run.
fn check_options(kind: &str, call: &Call) -> Result<bool, Status> {
    let mut faults: Vec<(&'static str, &'static str, String)> = Vec::new();
    let manager = call.get("fieldManager").unwrap_or_default();
    if kind != APPLY && call.get("force").is_some() {
        faults.push(("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch".into()));
    }
    if kind == APPLY && manager.is_empty() {
        faults.push(("FieldValueRequired", "fieldManager", "Required value: is required for apply patch".into()));
    }
    faults.extend(owners::fault(manager).map(|(reason, why)| (reason, "fieldManager", why)));
    let runs: Vec<&str> = call.query.iter().filter(|(key, _)| key == "dryRun").map(|(_, run)| run.as_str()).collect();
    if !runs.iter().all(|run| matches!(*run, "All" | "")) {
        let runs: Vec<String> = runs.iter().map(|run| format!("{run:?}")).collect();
        let why = format!("Unsupported value: [{}]: supported values: \"All\"", runs.join(","));
        faults.push(("FieldValueNotSupported", "dryRun", why));
    }
    if faults.is_empty() {
        return Ok(runs.contains(&"All"));
    }
    let told: Vec<String> = faults.iter().map(|(_, field, why)| format!("{field}: {why}")).collect();
    let told = if let [one] = &told[..] { one.clone() } else { format!("[{}]", told.join(", ")) };
    let causes: Vec<Value> =
        faults.iter().map(|(reason, field, why)| json!({"reason": reason, "message": why, "field": field})).collect();
    let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes});
    let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: {told}");
    Err(Status { details: Some(details), ..Status::new(422, "Invalid", message) })
}

/// Reads what is applied.
fn configuration(expected: (&str, &str), sent: &[u8]) -> Result<Value, Status> {
    let decoding = |why: &str| Status::bad_request(format!("error decoding YAML: {why}"));
    let config: Value = match serde_json::from_slice(sent) {
        Ok(config) => config,
        Err(_) if sent.iter().all(u8::is_ascii_whitespace) => json!({}),
        Err(_) => body::yaml(sent).map_err(|why| decoding(&format!("error converting YAML to JSON: yaml: {why}")))?,
    };
    if !config.is_object() {
        let kind = go::json_kind(&config);
        let into = "Go value of type map[string]interface {}";
        return Err(decoding(&format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into {into}"
        )));
    }
    let (version, kind) =
        (config["apiVersion"].as_str().unwrap_or_default(), config["kind"].as_str().unwrap_or_default());
    if (version, kind) != expected {
        let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
        return Err(Status::bad_request(format!("invalid object type: {version}, Kind={kind}")));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(config)
}

/// What Go says of text that is no JSON.
fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let letter = line.get(error.column().saturating_sub(1)).copied().unwrap_or(b' ');
    format!("invalid character '{}' looking for beginning of value", char::from(letter).escape_default())
}

/// A patch changes neither what the object is nor whether it is a newer one.
fn identity(resource: &Resource, place: &Place, name: &str, before: &Value, after: &Value) -> Result<(), Status> {
    let (old, new) = (&before["metadata"], &after["metadata"]);
    let (kind, version) =
        (after["kind"].as_str().unwrap_or_default(), after["apiVersion"].as_str().unwrap_or_default());
    if kind != resource.kind || version != resource.api_version() {
        let scheme = "in scheme \"pkg/runtime/scheme.go:110\"";
        let why = format!("no kind {kind:?} is registered for version {version:?} {scheme}");
        let why = format!("Invalid value: {:?}: {why}", after.to_string());
        let causes = json!([{"reason": "FieldValueInvalid", "message": why, "field": "patch"}]);
        let message = format!(" \"\" is invalid: patch: {why}");
        return Err(Status { details: Some(json!({"causes": causes})), ..Status::new(422, "Invalid", message) });
    }
    named(place, name, after)?;
    let stale = new["resourceVersion"].as_str().filter(|version| !matches!(*version, "" | "0"));
    if stale.is_some() && new["resourceVersion"] != old["resourceVersion"] {
        return Err(Status::conflict(resource, name));
    }
    if let Some(uid) = new["uid"].as_str().filter(|uid| !uid.is_empty())
        && old["uid"] != *uid
    {
        let why = format!("Invalid value: {uid:?}: field is immutable");
        let mut status = Status::invalid(resource, name, "metadata.uid", &why);
        if let Some(causes) = status.details.as_mut().and_then(|details| details["causes"].as_array_mut()) {
            // It is found twice over.
            causes.extend(causes.first().cloned());
        }
        return Err(status);
    }
    Ok(())
}

fn named(place: &Place, name: &str, object: &Value) -> Result<(), Status> {
    if let Some(namespace) = object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty())
        && place.resource.namespaced
        && namespace != place.namespace()
    {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    match object["metadata"]["name"].as_str().unwrap_or_default() {
        sent if sent == name => Ok(()),
        "" => {
            let why = "was undeterminable: name must be provided";
            Err(Status::bad_request(format!("the name of the object ({name} based on URL) {why}")))
        }
        sent => {
            let message = format!("the name of the object ({sent}) does not match the name on the URL ({name})");
            Err(Status::bad_request(message))
        }
    }
}
