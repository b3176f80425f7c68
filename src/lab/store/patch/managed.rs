//! Who owns which field: `metadata.managedFields`, and server-side apply, which decides by it.
//!
//! An *applier* owns what it applied last; what it no longer applies goes, unless another applier has it too. An
//! *updater* (any other write) owns what it changed, and takes it from others. An apply that would change what
//! another owns is refused with the names of both the field and the owner, unless it is forced.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::Fields;
use super::schema::{Model, View};
use super::typed;
use crate::lab::status::Status;

/// The annotation that `kubectl apply` keeps.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The version of the scale subresource.
const SCALE: &str = "autoscaling/v1";
/// Who applies as kubectl, for which its own annotation is read.
const KUBECTL: &str = "kubectl";
/// How many updaters an object has before the oldest are put together.
const MOST_UPDATERS: usize = 10;
/// Where the fields of the oldest updaters go.
const ANCIENT: &str = "ancient-changes";
/// Who owned the fields of an object without owners before its first apply.
const BEFORE_APPLY: &str = "before-first-apply";

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    /// The field manager.
    pub name: String,
    /// What it writes through: `status`, `scale`, or nothing.
    pub subresource: String,
    /// The version that it writes in: `apps/v1`.
    pub version: String,
    /// When: whole seconds, as Kubernetes writes it.
    pub time: String,
}

/// One entry's name. Their order is that in which conflicts are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    name: String,
    applies: bool,
    /// Empty for an applier: it is the same in every version.
    version: String,
    subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    fields: Fields,
    version: String,
    time: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Owners {
    all: BTreeMap<Owner, Owned>,
}

impl Owner {
    fn new(writer: &Writer, applies: bool) -> Self {
        Self {
            name: if writer.name.is_empty() { "unknown".to_owned() } else { writer.name.clone() },
            applies,
            version: if applies { String::new() } else { writer.version.clone() },
            subresource: writer.subresource.clone(),
        }
    }

    /// As in a conflict: `"hand" with subresource "scale" using v1`.
    fn told(&self, through: &str) -> String {
        let mut told = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            told += &format!(" with subresource {:?}", self.subresource);
        }
        if !self.applies {
            // Whoever scales sees all as written through the scale.
            let version = if through == "scale" { SCALE } else { &self.version };
            told += &format!(" using {version}");
        }
        told
    }
}

impl Owners {
    /// Reads `managedFields`; `None` if some of it is none.
    fn decode(entries: &Value) -> Option<Self> {
        let mut all = BTreeMap::new();
        for entry in entries.as_array().map(Vec::as_slice).unwrap_or_default() {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let applies = match entry["operation"].as_str() {
                Some("Apply") => true,
                Some("Update") => false,
                _ => return None,
            };
            let version = text("apiVersion");
            if version.is_empty() || entry["fieldsType"] != "FieldsV1" {
                return None;
            }
            let owner = Owner {
                name: text("manager"),
                applies,
                version: if applies { String::new() } else { version.clone() },
                subresource: text("subresource"),
            };
            let time = entry["time"].as_str().map(str::to_owned);
            let fields = Fields::decode(entry.get("fieldsV1").unwrap_or(&Value::Null)).unwrap_or_default();
            all.insert(owner, Owned { fields, version, time });
        }
        Some(Self { all })
    }

    /// As `managedFields`: appliers first, then by time and name.
    fn encode(&self) -> Value {
        let mut entries: Vec<(&Owner, &Owned)> =
            self.all.iter().filter(|(_, owned)| !owned.fields.is_empty()).collect();
        entries.sort_by(|(a, x), (b, y)| {
            let key = |owner: &Owner, owned: &Owned| {
                (
                    !owner.applies,
                    owned.time.clone(),
                    owner.name.clone(),
                    owned.version.clone(),
                    owner.subresource.clone(),
                )
            };
            key(a, x).cmp(&key(b, y))
        });
        let encoded = entries.into_iter().map(|(owner, owned)| {
            let mut entry = json!({
                "manager": owner.name,
                "operation": if owner.applies { "Apply" } else { "Update" },
                "apiVersion": owned.version,
            });
            if let Some(time) = &owned.time {
                entry["time"] = json!(time);
            }
            entry["fieldsType"] = json!("FieldsV1");
            entry["fieldsV1"] = owned.fields.encode();
            if !owner.subresource.is_empty() {
                entry["subresource"] = json!(owner.subresource);
            }
            entry
        });
        Value::Array(encoded.collect())
    }

    /// Without the times: what has to differ for a write to be one.
    fn timeless(&self) -> BTreeMap<&Owner, (&Fields, &str)> {
        self.all.iter().map(|(owner, owned)| (owner, (&owned.fields, owned.version.as_str()))).collect()
    }

    /// The change from `before` to `after`, made by an updater.
    fn update(&mut self, view: View<'_>, before: &Value, after: &Value, writer: &Writer) {
        let found = typed::compare(view, before, after);
        let changed = found.added.union(&found.modified);
        let gone = changed.union(&found.removed);
        for owned in self.all.values_mut() {
            owned.fields = owned.fields.difference(&gone);
        }
        self.all.retain(|_, owned| !owned.fields.is_empty());
        // What no one owns by itself: set by the server, or the object's name.
        let changed = changed.without_trees(&server_fields()).difference(&bare_metadata());
        if changed.is_empty() {
            return;
        }
        let owner = Owner::new(writer, false);
        let had = self.all.get(&owner).map(|owned| owned.fields.clone()).unwrap_or_default();
        // The scale subresource keeps no times.
        let time = (writer.subresource != "scale").then(|| writer.time.clone());
        self.all.insert(owner, Owned { fields: had.union(&changed), version: writer.version.clone(), time });
        self.cap();
    }

    /// Puts the oldest updaters together if there are too many.
    fn cap(&mut self) {
        let mut updaters: Vec<Owner> = self.all.keys().filter(|owner| !owner.applies).cloned().collect();
        if updaters.len() <= MOST_UPDATERS {
            return;
        }
        updaters.sort_by_key(|owner| self.all.get(owner).and_then(|owned| owned.time.clone()));
        let mut left = updaters.len();
        for owner in updaters {
            if left <= MOST_UPDATERS {
                break;
            }
            let Some(owned) = self.all.remove(&owner) else { continue };
            let into = Owner { name: ANCIENT.into(), applies: false, ..owner };
            match self.all.get_mut(&into) {
                Some(ancient) => {
                    ancient.fields = ancient.fields.union(&owned.fields);
                    ancient.time = ancient.time.clone().max(owned.time);
                    left -= 1;
                }
                None => drop(self.all.insert(into, owned)),
            }
        }
    }
}

/// What a write of an object itself never owns.
fn server_fields() -> Fields {
    let mut fields = Fields::default();
    for path in [&["apiVersion"][..], &["kind"]] {
        fields.insert_path(path);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        fields.insert_path(&["metadata", name]);
    }
    fields
}

fn bare_metadata() -> Fields {
    let mut fields = Fields::default();
    fields.insert_path(&["metadata"]);
    fields
}

/// What an apply through this place does not change, whatever it applies.
fn reset(apply: Apply<'_>) -> Fields {
    let mut fields = Fields::default();
    let paths: &[&[&str]] = match apply.writer.subresource.as_str() {
        "" if apply.has_status => &[&["status"]],
        "status" if apply.custom => &[&["spec"], &["metadata"]],
        "status" => &[&["spec"], &["metadata", "labels"]],
        _ => &[],
    };
    for path in paths {
        fields.insert_path(path);
    }
    fields
}

fn without_owners(object: &Value) -> Value {
    let mut bare = object.clone();
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    bare
}

fn set_owners(object: &mut Value, owners: &Owners) {
    let entries = owners.encode();
    let metadata = &mut object["metadata"];
    if entries.as_array().is_none_or(Vec::is_empty) {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("managedFields");
        }
    } else {
        metadata["managedFields"] = entries;
    }
}

/// What the server sets in a new object for itself, after its owner has been recorded: its maker owns it only if it
/// was sent. Those that hold others come first.
const SET_BY_SERVER: [&str; 18] = [
    "/status",
    "/spec/clusterIP",
    "/spec/clusterIPs",
    "/spec/ipFamilies",
    "/spec/ipFamilyPolicy",
    "/spec/finalizers",
    "/spec/serviceAccount",
    "/spec/serviceAccountName",
    "/spec/priority",
    "/spec/preemptionPolicy",
    "/spec/tolerations",
    // Those of a Job.
    "/spec/selector",
    "/metadata/labels",
    "/spec/template/metadata/labels",
    "/spec/template/metadata/labels/controller-uid",
    "/spec/template/metadata/labels/job-name",
    "/spec/template/metadata/labels/batch.kubernetes.io~1controller-uid",
    "/spec/template/metadata/labels/batch.kubernetes.io~1job-name",
];

/// What a new object was before the server set its own part.
fn as_sent(sent: &Value, object: &Value) -> Value {
    let mut made = without_owners(object);
    for pointer in SET_BY_SERVER {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        // A new namespace is labelled with its name before that.
        let early = pointer == "/metadata/labels" && object["kind"] == "Namespace";
        if !early
            && sent.pointer(pointer).is_none()
            && let Some(parent) = made.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            parent.remove(&key.replace("~1", "/"));
        }
    }
    for (at, port) in items_mut(&mut made, "/spec/ports").enumerate() {
        if sent["spec"]["ports"][at]["nodePort"].is_null()
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
    // The token that every pod is given.
    let is_token = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    if object["kind"] == "Pod" && !sent["spec"]["volumes"].as_array().is_some_and(|all| all.iter().any(is_token)) {
        if let Some(spec) = made.get_mut("spec") {
            drop_items(spec, "volumes", is_token);
        }
        for list in ["/spec/containers", "/spec/initContainers"] {
            items_mut(&mut made, list).for_each(|container| drop_items(container, "volumeMounts", is_token));
        }
    }
    made
}

fn items_mut<'v>(object: &'v mut Value, pointer: &str) -> impl Iterator<Item = &'v mut Value> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

fn drop_items(holder: &mut Value, list: &str, unwanted: impl Fn(&Value) -> bool) {
    let Some(holder) = holder.as_object_mut() else { return };
    if let Some(items) = holder.get_mut(list).and_then(Value::as_array_mut) {
        items.retain(|item| !unwanted(item));
        if items.is_empty() {
            holder.remove(list);
        }
    }
}

/// Records who made an object that is about to be stored; `sent` is the body it was made of. Entries that the client
/// sent are kept.
pub(crate) fn created(model: &Model, sent: &Value, object: &mut Value, writer: &Writer) {
    let mut owners = Owners::decode(&sent["metadata"]["managedFields"]).unwrap_or_default();
    owners.update(model.view(), &model.view().empty(), &as_sent(sent, object), writer);
    set_owners(object, &owners);
}

/// Records who changed an object; `after` is what will be stored in place of `before`.
/// A client may write `managedFields` itself: `[{}]` clears them, nothing or an empty list leaves them.
pub(crate) fn updated(model: &Model, before: &Value, after: &mut Value, writer: &Writer) {
    let stored = || Owners::decode(&before["metadata"]["managedFields"]).unwrap_or_default();
    let mut owners = match &after["metadata"]["managedFields"] {
        // A subresource does not change them directly.
        _ if !writer.subresource.is_empty() => stored(),
        Value::Array(entries) if matches!(&entries[..], [Value::Object(entry)] if entry.is_empty()) => {
            Owners::default()
        }
        sent => Owners::decode(sent).filter(|owners| !owners.all.is_empty()).unwrap_or_else(stored),
    };
    // Without owners none are recorded: only an apply begins to.
    if !owners.all.is_empty() {
        owners.update(model.view(), &without_owners(before), &without_owners(after), writer);
    }
    if owners == stored() {
        // As they were written, so that a write of the same is none.
        match before["metadata"].get("managedFields") {
            Some(entries) => after["metadata"]["managedFields"] = entries.clone(),
            None => drop(after["metadata"].as_object_mut().and_then(|metadata| metadata.remove("managedFields"))),
        }
        return;
    }
    set_owners(after, &owners);
}

/// An apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apply<'a> {
    /// What is applied, as it was sent.
    pub config: &'a Value,
    /// Who applies.
    pub writer: &'a Writer,
    /// Take fields from their owners.
    pub force: bool,
    /// Whether the kind is a custom one.
    pub custom: bool,
    /// Whether the kind has a status apart.
    pub has_status: bool,
}

/// What an apply makes of the live object; with `None` it makes a new one. The result has its new owners, and those
/// of before, times and all, if nothing changed.
///
/// # Errors
/// 409 with the conflicts; 500 for fields that the kind does not have.
pub(crate) fn apply(model: &Model, live: Option<&Value>, apply: Apply<'_>) -> Result<Value, Status> {
    let view = model.view();
    let faults = typed::faults(view, apply.config);
    if !faults.is_empty() {
        return Err(fault(apply.config, &faults));
    }
    let (bare, mut owners) = match live {
        Some(live) => {
            let owners = Owners::decode(&live["metadata"]["managedFields"]).unwrap_or_default();
            (without_owners(live), owners)
        }
        None => (json!({}), Owners::default()),
    };
    if live.is_some() && owners.all.is_empty() {
        let writer = Writer { name: BEFORE_APPLY.into(), ..apply.writer.clone() };
        let writer = Writer { subresource: String::new(), ..writer };
        owners.update(view, &view.empty(), &bare, &writer);
    }
    let before = owners.clone();
    let merged = match merge(view, &bare, &owners, apply) {
        Err(conflicts) if apply.writer.name == KUBECTL => {
            let allowed = last_applied(view, &bare);
            let left: Conflicts = conflicts
                .into_iter()
                .map(|(owner, fields)| (owner, fields.difference(&allowed)))
                .filter(|(_, fields)| !fields.is_empty())
                .collect();
            if left.is_empty() { merge(view, &bare, &owners, Apply { force: true, ..apply }) } else { Err(left) }
        }
        merged => merged,
    };
    let (mut object, mut after) = merged.map_err(|conflicts| conflict(&conflicts, apply.writer))?;
    let changed = object != bare;
    sync_last_applied(&mut object, &bare, apply);
    match live {
        Some(live) if object == bare && after.timeless() == before.timeless() => {
            object["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
            if object["metadata"]["managedFields"].is_null() {
                set_owners(&mut object, &after);
            }
            return Ok(object);
        }
        _ => {}
    }
    // Who only becomes an owner of what is there already has no new time.
    if changed && let Some(owned) = after.all.get_mut(&Owner::new(apply.writer, true)) {
        owned.time = (apply.writer.subresource != "scale").then(|| apply.writer.time.clone());
    }
    set_owners(&mut object, &after);
    Ok(object)
}

type Conflicts = Vec<(Owner, Fields)>;

fn merge(view: View<'_>, live: &Value, owners: &Owners, apply: Apply<'_>) -> Result<(Value, Owners), Conflicts> {
    let owner = Owner::new(apply.writer, true);
    let reset = reset(apply);
    let mut after = owners.clone();
    let fields = typed::fields_of(view, apply.config).without_trees(&reset);
    let last = owners.all.get(&owner).map(|owned| owned.fields.clone()).unwrap_or_default();
    let time = owners.all.get(&owner).and_then(|owned| owned.time.clone());
    after.all.insert(owner.clone(), Owned { fields, version: apply.writer.version.clone(), time });
    let config = typed::remove(view, apply.config, &reset);
    let merged = typed::merge(view, Some(live), Some(&config));
    let mut object = prune(view, &merged, &after, &last);
    drop_nulls_of(&mut object, live);
    if let Some(owned) = after.all.get_mut(&owner) {
        owned.fields = owned.fields.without_trees(&server_fields());
    }

    let found = typed::compare(view, live, &object);
    let changed = found.added.union(&found.modified);
    let others = || after.all.iter().filter(|(other, _)| **other != owner);
    let conflicts: Conflicts = others()
        .map(|(other, owned)| (other.clone(), owned.fields.intersection(&changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !apply.force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    let gone = changed.union(&found.removed);
    for (other, owned) in &mut after.all {
        if *other != owner {
            owned.fields = owned.fields.difference(&gone);
        }
    }
    after.all.retain(|_, owned| !owned.fields.is_empty());
    Ok((object, after))
}

/// Takes away what the applier had applied and applies no more, but for what others own.
fn prune(view: View<'_>, merged: &Value, owners: &Owners, last: &Fields) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let owned = owners.all.values().fold(Fields::default(), |all, owned| all.union(&owned.fields));
    let all = typed::fields_of(view, merged);
    // The lab's controllers own nothing by name: what they wrote to the metadata stays.
    let theirs = all.only_trees(&bare_metadata()).difference(&owned).difference(last);
    let owned = typed::with_parents(view, &owned.union(&theirs));
    let (all, last) = (typed::with_parents(view, &all), typed::with_parents(view, last));
    let kept_in = |pruned: &Value| typed::with_parents(view, &typed::fields_of(view, pruned));
    let pruned = typed::remove(view, merged, &last);
    let pruned = typed::remove(view, merged, &all.difference(&kept_in(&pruned).union(&owned)));
    // What no one owns stays, unless what holds it goes.
    typed::remove(view, merged, &all.difference(&kept_in(&pruned)).intersection(&last))
}

/// A map that the walk has emptied is gone, as a Go struct drops it.
fn drop_nulls_of(object: &mut Value, live: &Value) {
    let Some(map) = object.as_object_mut() else { return };
    map.retain(|key, value| !value.is_null() || live.get(key).is_some_and(Value::is_null));
    for (key, value) in map {
        drop_nulls_of(value, live.get(key).unwrap_or(&Value::Null));
    }
}

/// The fields that `kubectl apply` applied before, as far as they still are what it applied.
fn last_applied(view: View<'_>, live: &Value) -> Fields {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    let Ok(applied) = serde_json::from_str::<Value>(text) else { return Fields::default() };
    let found = typed::compare(view, &applied, live);
    let fields = typed::fields_of(view, &applied);
    [&found.modified, &found.added, &found.removed].into_iter().fold(fields, |fields, gone| fields.difference(gone))
}

/// Keeps the annotation of `kubectl apply` in step with what kubectl applies.
fn sync_last_applied(object: &mut Value, live: &Value, apply: Apply<'_>) {
    let had = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    if apply.writer.name != KUBECTL || had.is_empty() {
        return;
    }
    let mut config = without_owners(apply.config);
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    object["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{config}\n"));
}

fn conflict(conflicts: &Conflicts, writer: &Writer) -> Status {
    let told: Vec<(String, Vec<String>)> =
        conflicts.iter().map(|(owner, fields)| (owner.told(&writer.subresource), fields.paths())).collect();
    let all = || told.iter().flat_map(|(owner, paths)| paths.iter().map(move |path| (owner, path)));
    let causes: Vec<Value> = all()
        .map(|(owner, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": path})
        })
        .collect();
    let message = if let [(owner, path)] = &all().collect::<Vec<_>>()[..] {
        format!("Apply failed with 1 conflict: conflict with {owner}: {path}")
    } else {
        let lines: Vec<String> = told
            .iter()
            .flat_map(|(owner, paths)| {
                let head = format!("conflicts with {owner}:");
                std::iter::once(head).chain(paths.iter().map(|path| format!("- {path}")))
            })
            .collect();
        format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
    };
    Status { details: Some(json!({"causes": causes})), ..Status::new(409, "Conflict", message) }
}

fn fault(config: &Value, faults: &[String]) -> Status {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&config["metadata"]["namespace"]), text(&config["metadata"]["name"]));
    let version = text(&config["apiVersion"]);
    let group_version = if version.contains('/') { version } else { format!("/{version}") };
    let what = format!("{namespace}/{name}; {group_version}, Kind={}", text(&config["kind"]));
    let why = match faults {
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    Status::new(500, "", format!("failed to create typed patch object ({what}): {why}"))
}
