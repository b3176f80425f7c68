//! What the API server does to an object between reading the body and storing it: it reads it by the kind's model,
//! fills in defaults, and refuses what is not valid.
//!
//! [`create`] and [`update`] are the two ways in: every create, PUT and patch, and every object that a controller
//! makes. `update` reads no objects from the store, so it may be called under the store's lock.

mod body;
mod decode;
mod defaults;
mod model;
mod plugins;
pub(in crate::lab) mod quantity;
mod time;
pub(super) mod validation;
mod zero;

pub(crate) use body::parse;

use serde_json::{Value, json};

use self::validation::errors::{Errors, Path};
use super::{Object, Part, Store, custom};
use crate::lab::resource::{
    CLUSTER_ROLE_BINDINGS, CUSTOM_RESOURCE_DEFINITIONS, DAEMON_SETS, JOBS, PODS, ROLE_BINDINGS, Resource, SERVICES,
};
use crate::lab::status::Status;

/// What to do about fields that a kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and tell.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// What a write needs to know besides the object. One for each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// From the query's `fieldValidation`.
    validation: FieldValidation,
    /// Keys that came twice in the body, as paths: `metadata.labels.a`.
    duplicates: Vec<String>,
    /// The services there are, for addresses and ports; empty for other kinds.
    services: Vec<Object>,
}

impl FieldValidation {
    /// By the query's value; `options` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    ///
    /// # Errors
    /// 422 for another word.
    pub(crate) fn parse(value: Option<&str>, options: &str) -> Result<Self, Status> {
        match value {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let why =
                    format!("Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                let message = format!("{options}.meta.k8s.io \"\" is invalid: fieldValidation: {why}");
                let cause = json!({"reason": "FieldValueNotSupported", "message": why, "field": "fieldValidation"});
                let details = json!({"group": "meta.k8s.io", "kind": options, "causes": [cause]});
                Err(Status { details: Some(details), ..Status::new(422, "Invalid", message) })
            }
        }
    }
}

impl Options {
    /// For one write of `resource`.
    pub(crate) fn new(store: &Store, resource: &'static Resource, validation: FieldValidation) -> Self {
        let services = if resource.is(&SERVICES) { store.list(&SERVICES, None).0 } else { Vec::new() };
        Self { validation, duplicates: Vec::new(), services }
    }

    /// With the keys that came twice in the body, as [`parse`] returns them.
    pub(crate) fn with_duplicates(mut self, duplicates: Vec<String>) -> Self {
        self.duplicates = duplicates;
        self
    }
}

/// The object that a create is to store, and warnings for the `Warning` header. What the server writes in any case
/// is set: the name where only `generateName` is given, and the uid; what a client may not set is dropped.
///
/// # Errors
/// 400 for a body that is no such kind, 403 and 422 for what is not allowed.
pub(crate) fn create(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    mut object: Value,
    options: &Options,
) -> Result<(Value, Vec<String>), Status> {
    let mut errors = Errors::default();
    let version = store.custom(resource);
    let mut warnings = read(resource, version.as_deref(), &mut object, &mut errors, options)?;
    in_namespace(resource, namespace, &object)?;
    let name = identity(store, resource, namespace, &mut object);
    if let Some(version) = &version {
        if resource.has("status")
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        validation::metadata(resource, &object["metadata"], &mut errors);
        custom::validate(version, &object, &mut errors);
        errors.finish(resource, &name)?;
        return Ok((object, warnings));
    }
    defaults::fill(resource, &mut object);
    if resource.is(&PODS) {
        plugins::pod(store, namespace, &name, &mut object)?;
    }
    if resource.is(&ROLE_BINDINGS) || resource.is(&CLUSTER_ROLE_BINDINGS) {
        plugins::binding(&object)?;
    }
    if resource.is(&JOBS) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        defaults::own_job_pods(&mut object, &name, &uid);
    }
    defaults::begin(resource, &mut object);
    validation::object(resource, &object, &mut errors);
    if resource.is(&PODS) && !object["spec"]["ephemeralContainers"].is_null() {
        errors.forbidden(&Path::Root.at("spec").at("ephemeralContainers"), "cannot be set on create");
    }
    if resource.is(&SERVICES) && errors.is_empty() {
        defaults::allocate(&mut object, &options.services, store.turn(), &mut errors);
    }
    errors.finish(resource, &name)?;
    warnings.extend(validation::warnings(resource, &object));
    Ok((object, warnings))
}

/// Makes of an object that a controller wants what [`create`] makes of it.
///
/// # Errors
/// As [`create`].
pub(crate) fn admit(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let options = Options::new(store, resource, FieldValidation::Ignore);
    *object = create(store, resource, namespace, object.take(), &options)?.0;
    Ok(())
}

/// What a PUT or a patch makes of `before`, a stored object, and warnings. It compares no resourceVersions.
///
/// # Errors
/// As [`create`], and 422 for a change of what cannot change.
pub(crate) fn update(
    store: &Store,
    resource: &'static Resource,
    before: &Value,
    mut after: Value,
    part: Part,
    options: &Options,
) -> Result<(Value, Vec<String>), Status> {
    let mut errors = Errors::default();
    let version = store.custom(resource);
    if resource.custom && after["apiVersion"] == before["apiVersion"] {
        // It was stored by another version.
        after["apiVersion"] = json!(resource.api_version());
    }
    let mut warnings = read(resource, version.as_deref(), &mut after, &mut errors, options)?;
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    in_namespace(resource, before["metadata"]["namespace"].as_str().unwrap_or_default(), &after)?;
    validation::metadata_update(&before["metadata"], &after["metadata"], &mut errors);
    for fixed in ["name", "namespace", "uid", "creationTimestamp"] {
        if let Some(value) = before["metadata"].get(fixed) {
            after["metadata"][fixed] = value.clone();
        }
    }
    if let Some(version) = &version {
        validation::metadata(resource, &after["metadata"], &mut errors);
        custom::validate(version, &after, &mut errors);
        errors.finish(resource, name)?;
        return Ok((after, warnings));
    }
    if part != Part::Main {
        errors.finish(resource, name)?;
        return Ok((after, warnings));
    }
    let sent_status = after.get("status").cloned();
    after["status"] = before["status"].clone();
    defaults::fill(resource, &mut after);
    prepare_update(resource, before, &mut after);
    validation::object(resource, &after, &mut errors);
    if resource.is(&CUSTOM_RESOURCE_DEFINITIONS) {
        custom::validate_definition_update(before, &after, &mut errors);
    } else {
        validation::update(resource, before, &after, &mut errors);
    }
    if resource.is(&SERVICES) && errors.is_empty() {
        defaults::allocate(&mut after, &options.services, store.turn(), &mut errors);
    }
    errors.finish(resource, name)?;
    warnings.extend(validation::warnings(resource, &after));
    if let Some(after) = after.as_object_mut() {
        match sent_status {
            Some(status) => after.insert("status".to_owned(), status),
            None => after.remove("status"),
        };
    }
    Ok((after, warnings))
}

/// Reads an object by its model, or a custom one by its schema. What is wrong with a custom one's kind is told with
/// its other faults.
fn read(
    resource: &Resource,
    version: Option<&custom::Version>,
    object: &mut Value,
    errors: &mut Errors,
    options: &Options,
) -> Result<Vec<String>, Status> {
    let Some(version) = version else { return model::decode(resource, object, options) };
    let mut notes = model::decode_custom(resource, object, errors)?;
    notes.extend(custom::prune(&version.schema, object));
    let warnings = model::told(resource, notes, options)?;
    custom::fill(&version.schema, object);
    if let Some(stored) = &version.stored {
        // It is stored as another version knows it.
        custom::prune(stored, object);
        custom::fill(stored, object);
    }
    Ok(warnings)
}

fn in_namespace(resource: &Resource, namespace: &str, object: &Value) -> Result<(), Status> {
    match object["metadata"]["namespace"].as_str() {
        Some(sent) if resource.namespaced && sent != namespace && !sent.is_empty() => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => Ok(()),
    }
}

/// Sets who a new object is; returns its name.
fn identity(store: &Store, resource: &'static Resource, namespace: &str, object: &mut Value) -> String {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    if let Some(metadata) = metadata.as_object_mut() {
        for set_by_server in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
            metadata.remove(set_by_server);
        }
        // The stamp is the store's.
        metadata.remove("creationTimestamp");
    }
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let mut name = text("name").to_owned();
    let prefix = text("generateName").to_owned();
    if name.is_empty() && !prefix.is_empty() {
        name = store.generated_name(resource, namespace, &prefix);
        metadata["name"] = json!(name);
    }
    metadata["uid"] = json!(store.new_uid());
    if resource.namespaced {
        metadata["namespace"] = json!(namespace);
    }
    name
}

/// What an update keeps, and counts, by itself.
fn prepare_update(resource: &Resource, before: &Value, after: &mut Value) {
    if resource.is(&SERVICES) {
        defaults::carry_over(before, after);
    } else if resource.is(&PODS) {
        if let Some(spec) = after["spec"].as_object_mut() {
            defaults::toleration_seconds(spec);
        }
    } else if resource.is(&DAEMON_SETS) {
        const GENERATION: &str = "deprecated.daemonset.template.generation";
        let old = before["metadata"]["annotations"][GENERATION].as_str().and_then(|text| text.parse::<u64>().ok());
        let changed = before["spec"]["template"] != after["spec"]["template"];
        let generation = old.unwrap_or(1) + u64::from(changed);
        after["metadata"]["annotations"][GENERATION] = json!(generation.to_string());
    } else if resource.is(&CUSTOM_RESOURCE_DEFINITIONS) {
        let versions = after["spec"]["versions"].as_array().into_iter().flatten();
        let storage = versions.into_iter().find(|version| version["storage"] == true).map(|v| v["name"].clone());
        if let (Some(storage), Some(stored)) = (storage, after["status"]["storedVersions"].as_array_mut())
            && !stored.contains(&storage)
        {
            stored.push(storage);
        }
    }
}
