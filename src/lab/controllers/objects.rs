//! What controllers do with objects: find them by their owners, claim them by their labels, write them.
//!
//! Writes go straight to the store. An object that has gone meanwhile, or has made room for another of its name, is
//! left alone: the change that took it away comes to the controller as well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::Key;
use crate::clock::{Timestamp, later};
use crate::kubernetes::Selector;
use crate::lab::resource::Resource;
use crate::lab::status::Status;
use crate::lab::store::{Change, Object, Part, Preconditions, Store, admission};

/// Namespace and name.
pub(super) fn names(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether somebody has asked for it to go.
pub(super) fn deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// A whole number of the object; absent is nothing.
pub(super) fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// `spec.replicas`, one if absent.
pub(super) fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

/// The labels that a workload selects by.
pub(super) fn selector(object: &Value) -> Option<Selector> {
    Selector::from_json(&object["spec"]["selector"]).ok().filter(|_| object["spec"]["selector"].is_object())
}

/// The reference of an object to its controller.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|reference| reference["controller"] == true)
}

/// Whether that is the object's controller.
pub(super) fn controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|reference| reference["uid"] == owner["metadata"]["uid"])
}

/// The reference to a controller.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// The objects of a kind that `owner` controls, by name.
pub(super) fn controlled(store: &Store, resource: &'static Resource, owner: &Value) -> Vec<Object> {
    let dependents = store.dependents(uid(owner)).into_iter();
    let own = dependents.filter(|(kind, object)| kind.is(resource) && controlled_by(object, owner));
    own.map(|(_, object)| object).collect()
}

/// The owners of that kind that a change of a possible dependent concerns: its controllers before and after, or, if
/// it has none, all that select it.
pub(super) fn owners_of(store: &Store, change: &Change, owner: &'static Resource, into: &mut BTreeSet<Key>) {
    let namespace = names(&change.object).0;
    let mut orphan = false;
    for object in change.before.iter().chain([&change.object]) {
        match controller_of(object) {
            Some(reference) if reference["kind"] == owner.kind => {
                let name = reference["name"].as_str().unwrap_or_default();
                into.insert(Key { namespace: namespace.to_owned(), name: name.to_owned() });
            }
            Some(_) => {}
            None => orphan = true,
        }
    }
    if orphan {
        for object in store.list(owner, Some(namespace)).0 {
            let takes = |object: &Value, labels: &Object| {
                selector(object).is_some_and(|selector| selector.matches(&labels["metadata"]["labels"]))
            };
            if change.before.iter().chain([&change.object]).any(|labels| takes(&object, labels)) {
                into.insert(Key::of(&object));
            }
        }
    }
}

/// The objects that a controller may count as its own: those of its selector, adopted where they have no controller.
/// Its own that the selector has left are let go. `fit` says which objects are looked at.
pub(super) fn claim(
    store: &Store,
    resource: &'static Resource,
    owner: &Value,
    selector: &Selector,
    fit: impl Fn(&Value) -> bool,
) -> Vec<Object> {
    let mut claimed = Vec::new();
    for object in store.list(resource, Some(names(owner).0)).0 {
        if !fit(&object) {
            continue;
        }
        let matches = selector.matches(&object["metadata"]["labels"]);
        match controller_of(&object) {
            Some(reference) if reference["uid"] != owner["metadata"]["uid"] => {}
            Some(_) if matches => claimed.push(object),
            Some(_) if !deleting(owner) => {
                edit(store, resource, &object, |object| release(object, uid(owner)));
            }
            None if matches && !deleting(owner) && !deleting(&object) => {
                let reference = owner_reference(owner);
                claimed.extend(edit(store, resource, &object, |object| {
                    let references = &mut object["metadata"]["ownerReferences"];
                    if let Some(references) = references.as_array_mut() {
                        references.push(reference);
                    } else {
                        *references = json!([reference]);
                    }
                }));
            }
            _ => {}
        }
    }
    claimed
}

/// Takes the reference to an owner away, and the list with the last one.
pub(super) fn release(object: &mut Value, owner: &str) {
    let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() else { return };
    references.retain(|reference| reference["uid"] != owner);
    if references.is_empty()
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("ownerReferences");
    }
}

/// Creates an object as the API server would: with its defaults, checked.
pub(super) fn create(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    mut object: Value,
) -> Result<Object, Status> {
    admission::admit(store, resource, namespace, &mut object)?;
    store.create(resource, namespace, object, false)
}

/// A pod of a template, owned by `owner`; the caller sets its name and creates it.
pub(super) fn pod_of(template: &Value, owner: &Value) -> Value {
    let mut metadata = json!({"ownerReferences": [owner_reference(owner)]});
    for field in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Changes all but the status.
pub(super) fn edit(
    store: &Store,
    resource: &'static Resource,
    object: &Value,
    change: impl FnOnce(&mut Value),
) -> Option<Object> {
    write(store, resource, object, Part::Main, change)
}

/// Writes the status; no new version where it is as it was.
pub(super) fn set_status(store: &Store, resource: &'static Resource, object: &Value, status: Value) {
    write(store, resource, object, Part::Status, |object| object["status"] = status);
}

pub(super) fn write(
    store: &Store,
    resource: &'static Resource,
    object: &Value,
    part: Part,
    change: impl FnOnce(&mut Value),
) -> Option<Object> {
    let (namespace, name) = names(object);
    let change = |before: &Value| {
        if uid(before) != uid(object) {
            return Err(Status::not_found(resource, name));
        }
        let mut after = before.clone();
        change(&mut after);
        Ok(after)
    };
    store.modify(resource, namespace, name, part, false, change).ok()
}

/// Deletes this very object, in the background and with its own grace period.
pub(super) fn remove(store: &Store, resource: &'static Resource, object: &Value) -> bool {
    let (namespace, name) = names(object);
    let only = Preconditions { uid: Some(uid(object).to_owned()), resource_version: None };
    store.delete(resource, namespace, name, &only, None, false).is_ok()
}

/// Sets the counts that are not nothing: those of nothing are absent, as in the real API.
pub(super) fn set_counts(status: &mut Value, counts: &[(&str, i64)]) {
    for (field, count) in counts {
        match status.as_object_mut() {
            Some(status) if *count == 0 => drop(status.remove(*field)),
            _ => status[*field] = json!(count),
        }
    }
}

/// A condition of a status or of a whole object.
pub(super) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether a pod or a node is ready.
pub(super) fn is_ready(object: &Value) -> bool {
    condition(&object["status"], "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// Whether a pod has come to its end.
pub(super) fn finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether a pod is neither at its end nor on its way out.
pub(super) fn active(pod: &Value) -> bool {
    !finished(pod) && !deleting(pod)
}

/// When a pod is or will be available: so many seconds after it became ready. `None` if it is not ready.
pub(super) fn available_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    let ready = condition(&pod["status"], "Ready").filter(|condition| condition["status"] == "True")?;
    let since = stamp(&ready["lastTransitionTime"]).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(later(since, Duration::from_secs(min_ready_seconds.try_into().unwrap_or(0))))
}

/// A time that an object holds.
pub(super) fn stamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A number, or a percentage of `total`.
pub(super) fn scaled(value: &Value, total: i64, round_up: bool) -> Option<i64> {
    let Some(percent) = value.as_str() else { return value.as_i64() };
    let percent: i64 = percent.strip_suffix('%')?.parse().ok()?;
    let product = percent.checked_mul(total)?;
    Some(if round_up { product.saturating_add(99).div_euclid(100) } else { product.div_euclid(100) })
}

/// Whether two values are equal but for fields that are null, which is to say absent.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let there = |map: &serde_json::Map<String, Value>| map.values().filter(|value| !value.is_null()).count();
            there(a) == there(b) && a.iter().all(|(key, value)| same(value, b.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

/// The hash of a template as it stands in names: FNV-1a of 32 bits, its decimal digits in the letters of generated
/// names. `collisions` makes another of the same template.
pub(super) fn hash(template: &Value, collisions: Option<i64>) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bits = 0x811c_9dc5_u32;
    let mut digest = |bytes: &[u8]| {
        for byte in bytes {
            bits = (bits ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    digest_value(template, &mut digest);
    if let Some(collisions) = collisions {
        digest(&collisions.to_le_bytes());
    }
    bits.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// Digests a value with its keys in order and without nulls.
fn digest_value(value: &Value, digest: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(map) => {
            digest(b"{");
            let sorted: BTreeMap<_, _> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            for (key, value) in sorted {
                digest(key.as_bytes());
                digest(b":");
                digest_value(value, digest);
            }
            digest(b"}");
        }
        Value::Array(list) => {
            digest(b"[");
            for value in list {
                digest_value(value, digest);
                digest(b",");
            }
            digest(b"]");
        }
        plain => digest(plain.to_string().as_bytes()),
    }
}

/// When to try again what was refused: after 5 ms, then twice as long each time, up to 1,000 s, as client-go's
/// rate-limited queues do.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<Key, u32>);

impl Retries {
    /// After one more failure.
    pub(super) fn failed(&mut self, key: &Key, now: Timestamp) -> Timestamp {
        let failures = self.0.entry(key.clone()).or_insert(0);
        let wait = Duration::from_millis(5).saturating_mul(1 << (*failures).min(20)).min(Duration::from_secs(1_000));
        *failures += 1;
        now + wait
    }

    pub(super) fn succeeded(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        for (value, total, up, down) in [
            (json!("25%"), 3, 1, 0),
            (json!("25%"), 4, 1, 1),
            (json!("50%"), 3, 2, 1),
            (json!("0%"), 9, 0, 0),
            (json!(2), 9, 2, 2),
        ] {
            assert_eq!(
                (scaled(&value, total, true), scaled(&value, total, false)),
                (Some(up), Some(down)),
                "{value} of {total}"
            );
        }
        assert_eq!(scaled(&json!("x"), 3, true), None);
    }

    #[test]
    fn a_hash_follows_the_template_and_not_its_form() {
        let template = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"x": null, "containers": [{"name": "c"}]}});
        let other = json!({"spec": {"containers": [{"name": "c"}]}, "metadata": {"labels": {"a": "1"}}});
        assert_eq!(hash(&template, None), hash(&other, None));
        assert!(same(&template, &other));
        assert_ne!(hash(&template, None), hash(&template, Some(1)));
        let changed = json!({"spec": {"containers": [{"name": "d"}]}, "metadata": {"labels": {"a": "1"}}});
        assert_ne!(hash(&template, None), hash(&changed, None));
        assert!(!same(&template, &changed));
        let hash = hash(&template, None);
        assert!((1..=10).contains(&hash.len()) && hash.chars().all(|c| "456789bcdf".contains(c)), "{hash}");
    }

    #[test]
    fn retries_slow_down() {
        let (mut retries, key) = (Retries::default(), Key { namespace: "n".into(), name: "x".into() });
        let now = Timestamp::UNIX_EPOCH;
        let waits: Vec<_> = (0..3).map(|_| retries.failed(&key, now).as_millisecond()).collect();
        assert_eq!(waits, [5, 10, 20]);
        for _ in 0..40 {
            retries.failed(&key, now);
        }
        assert_eq!(retries.failed(&key, now).as_second(), 1_000);
        retries.succeeded(&key);
        assert_eq!(retries.failed(&key, now).as_millisecond(), 5);
    }
}
