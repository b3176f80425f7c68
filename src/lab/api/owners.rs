//! Who writes: the field manager of a request, and what a write leaves in `managedFields`.

use serde_json::Value;

use super::{ApiService, Call, Place};
use crate::lab::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::lab::store::patch::managed::{self, Writer};
use crate::lab::store::patch::schema::Model;
use crate::lab::store::{Part, Store, seconds};

/// The longest name of a field manager, in bytes.
const LONGEST: usize = 128;

/// What one write needs to record its owner. Made before the store is locked.
pub(super) struct Recorder {
    resource: &'static Resource,
    /// How the kind's fields are merged.
    pub(super) model: Model,
    /// Who writes.
    pub(super) writer: Writer,
}

impl Recorder {
    pub(super) fn new(api: &ApiService, place: &Place, call: &Call) -> Self {
        let resource = place.resource;
        let writer = Writer {
            name: manager(call),
            subresource: place.subresource.clone().unwrap_or_default(),
            version: resource.api_version(),
            time: seconds(api.clock.now()),
        };
        Self { resource, model: model(&api.store, resource), writer }
    }

    /// Records who makes `object`, which was admitted from the body `sent`.
    pub(super) fn created(&self, sent: &Value, object: &mut Value) {
        managed::created(&self.model, sent, object, &self.writer);
    }

    /// Records who makes `after` of `before`. `after` becomes what will be stored: a write to one part of an object
    /// does not change the others.
    pub(super) fn updated(&self, before: &Value, after: &mut Value, part: Part) {
        *after = self.stored(before, std::mem::take(after), part);
        managed::updated(&self.model, before, after, &self.writer);
    }

    /// What a write of `after` to a part of an object leaves.
    pub(super) fn stored(&self, before: &Value, mut after: Value, part: Part) -> Value {
        let keep = |from: &Value, into: &mut Value, key: &str| {
            let Some(map) = into.as_object_mut() else { return };
            match from.get(key) {
                Some(value) => drop(map.insert(key.to_owned(), value.clone())),
                None => drop(map.remove(key)),
            }
        };
        if part == Part::Status {
            let mut whole = before.clone();
            keep(&after, &mut whole, "status");
            keep(&after["metadata"], &mut whole["metadata"], "managedFields");
            keep(&after["metadata"], &mut whole["metadata"], "resourceVersion");
            return whole;
        }
        if self.resource.has("status") {
            keep(before, &mut after, "status");
        }
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            keep(&before["metadata"], &mut after["metadata"], key);
        }
        after
    }
}

/// How the fields of a kind are merged.
pub(super) fn model(store: &Store, resource: &'static Resource) -> Model {
    if !resource.custom {
        return Model::of(resource, None);
    }
    let definition = store.find(&CUSTOM_RESOURCE_DEFINITIONS, "", &resource.qualified_plural());
    Model::of(resource, definition.as_deref())
}

/// The `fieldManager` of the query, or the product in the `User-Agent`.
fn manager(call: &Call) -> String {
    if let Some(name) = call.get("fieldManager").filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let agent = call.headers.get("user-agent").map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let product = agent.unwrap_or_default();
    let product = product.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for letter in product.chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > LONGEST {
            break;
        }
        name.push(letter);
    }
    name
}

/// Why a field manager's name is refused: the reason and the text.
pub(super) fn fault(name: &str) -> Option<(&'static str, String)> {
    if name.len() > LONGEST {
        return Some(("FieldValueTooLong", format!("Too long: may not be more than {LONGEST} bytes")));
    }
    let (at, letter) = name.chars().enumerate().find(|(_, letter)| letter.is_control())?;
    let shown: String =
        name.chars().map(|c| if c.is_control() { format!("\\x{:02x}", u32::from(c)) } else { c.into() }).collect();
    let code = u32::from(letter);
    Some((
        "FieldValueInvalid",
        format!("Invalid value: \"{shown}\": invalid character U+{code:04X} (at position {at})"),
    ))
}
