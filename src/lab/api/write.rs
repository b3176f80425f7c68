//! Writing: create and replace.

use serde_json::{Value, json};

use super::answer::{Answer, Reply, in_version};
use super::owners::{self, Recorder};
use super::{ApiService, Call, Place, body, not_allowed};
use crate::lab::resource::{
    CONTROLLER_REVISIONS, CUSTOM_RESOURCE_DEFINITIONS, LEASES, POD_DISRUPTION_BUDGETS, Resource,
};
use crate::lab::status::Status;
use crate::lab::store::Part;
use crate::lab::store::admission::{self, FieldValidation};

/// The kinds that may be replaced only by who names the version that is replaced; custom kinds are so too.
const UNCONDITIONAL_NEVER: [&Resource; 4] =
    [&LEASES, &POD_DISRUPTION_BUDGETS, &CUSTOM_RESOURCE_DEFINITIONS, &CONTROLLER_REVISIONS];

/// How a write is to be done, from its query.
struct Writing {
    dry_run: bool,
    admission: admission::Options,
}

impl Writing {
    /// `kind` is that of the options: `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    fn of(api: &ApiService, place: &Place, call: &Call, kind: &str) -> Result<Self, Status> {
        let dry_run = call.dry_run()?;
        if let Some((reason, why)) = owners::fault(call.get("fieldManager").unwrap_or_default()) {
            return Err(Status::bad_options(kind, &[(reason, "fieldManager", why)]));
        }
        let validation = FieldValidation::parse(call.get("fieldValidation"), kind)?;
        Ok(Self { dry_run, admission: admission::Options::new(&api.store, place.resource, validation) })
    }

    fn with_duplicates(mut self, duplicates: Vec<String>) -> Self {
        self.admission = self.admission.with_duplicates(duplicates);
        self
    }
}

pub(super) fn create(api: &ApiService, place: &Place, call: &Call) -> Result<Reply, Status> {
    let writing = Writing::of(api, place, call, "CreateOptions")?;
    let (object, duplicates) = body::of_kind(call, place.resource)?;
    create_object(api, place, call, object, &writing.with_duplicates(duplicates))
}

fn create_object(
    api: &ApiService,
    place: &Place,
    call: &Call,
    mut object: Value,
    writing: &Writing,
) -> Result<Reply, Status> {
    let (resource, namespace) = (place.resource, place.namespace());
    if !place.takes_new() {
        return Err(not_allowed());
    }
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    same_namespace(place, &object)?;
    api.store.admits(resource, namespace, &text(&object, "name"))?;
    let prefix = text(&object, "generateName");
    if text(&object, "name").is_empty() && !prefix.is_empty() {
        object["metadata"]["name"] = json!(api.store.generated_name(resource, namespace, &prefix));
    }
    let version = text(&object, "resourceVersion");
    let sent = object.clone();
    let (mut object, warnings) = admission::create(&api.store, resource, namespace, object, &writing.admission)?;
    if version.parse::<u64>().is_ok_and(|version| version > 0) {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    Recorder::new(api, place, call).created(&sent, &mut object);
    let created = api.store.create(resource, namespace, object, writing.dry_run)?;
    Ok(Reply { answer: Answer::Object(201, resource, created), warnings })
}

pub(super) fn replace(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Reply, Status> {
    let part = part(place)?;
    let resource = place.resource;
    let writing = Writing::of(api, place, call, "UpdateOptions")?;
    let (object, duplicates) = body::of_kind(call, resource)?;
    let writing = writing.with_duplicates(duplicates);
    same_namespace(place, &object)?;
    same_name(name, &object)?;
    let there = api.store.find(resource, place.namespace(), name).is_some();
    if resource.is(&LEASES) && !there {
        return create_object(api, place, call, object, &writing);
    }
    let sent = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let needs_version = resource.custom || UNCONDITIONAL_NEVER.iter().any(|kind| resource.is(kind));
    if there && needs_version && matches!(sent, "" | "0") {
        let why = "Invalid value: 0: must be specified for an update".to_owned();
        let cause = ("FieldValueInvalid", "metadata.resourceVersion", why);
        return Err(Status::faulty(resource.group, resource.plural, name, &[cause]));
    }
    let recorder = Recorder::new(api, place, call);
    let mut warnings = Vec::new();
    let stored = api.store.modify(resource, place.namespace(), name, part, writing.dry_run, |before| {
        let before = in_version(resource, before);
        if is_of_another(&before, &object) {
            // The store refuses it, before anybody looks at what is in it.
            return Ok(object);
        }
        not_marked(resource, name, &before, &object)?;
        if object["metadata"]["uid"].as_str().is_some_and(|uid| !uid.is_empty() && before["metadata"]["uid"] != uid) {
            // A PUT says by its uid which object it means: the store tells the conflict.
            return Ok(object);
        }
        let (mut after, told) = admission::update(&api.store, resource, &before, object, part, &writing.admission)?;
        warnings = told;
        recorder.updated(&before, &mut after, part);
        Ok(after)
    })?;
    Ok(Reply { answer: Answer::Object(200, resource, stored), warnings })
}

/// Whether an object names another version or uid than what is stored.
fn is_of_another(stored: &Value, object: &Value) -> bool {
    ["uid", "resourceVersion"].iter().any(|field| {
        let sent = object["metadata"][*field].as_str().unwrap_or_default();
        !matches!(sent, "" | "0") && stored["metadata"][*field] != sent
    })
}

/// Refuses a write that would mark an object as deleted, which only a delete can do.
pub(super) fn not_marked(resource: &Resource, name: &str, before: &Value, after: &Value) -> Result<(), Status> {
    let at = "deletionTimestamp";
    let sent = &after["metadata"][at];
    if sent.is_null() || !before["metadata"][at].is_null() {
        return Ok(());
    }
    let why = format!("Invalid value: {sent}: field is immutable");
    let cause = ("FieldValueInvalid", "metadata.deletionTimestamp", why);
    Err(Status::faulty(resource.group, resource.kind, name, &[cause]))
}

pub(super) fn same_name(name: &str, object: &Value) -> Result<(), Status> {
    let sent = object["metadata"]["name"].as_str().unwrap_or_default();
    if sent.is_empty() {
        let why = "was undeterminable: name must be provided";
        return Err(Status::bad_request(format!("the name of the object ({name} based on URL) {why}")));
    }
    if sent != name {
        let message = format!("the name of the object ({sent}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(message));
    }
    Ok(())
}

pub(super) fn same_namespace(place: &Place, object: &Value) -> Result<(), Status> {
    let sent = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if sent.is_empty() || !place.resource.namespaced || sent == place.namespace() {
        return Ok(());
    }
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    Err(Status::bad_request(message))
}

fn part(place: &Place) -> Result<Part, Status> {
    match place.subresource.as_deref() {
        None => Ok(Part::Main),
        Some("status") => Ok(Part::Status),
        Some("finalize") => Ok(Part::Finalizers),
        Some(_) => Err(not_allowed()),
    }
}
