//! What is stored: JSON that is never changed in place, and its text.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::Value;

/// An object. Cheap to clone, never changed in place; its text is made once, by the first who tells it.
#[derive(Clone, Debug)]
pub struct Object {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    value: Value,
    rest: OnceLock<Box<[u8]>>,
}

impl Object {
    /// An object of this JSON.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self { held: Arc::new(Held { value, rest: OnceLock::new() }) }
    }

    /// Its members but kind and version, metadata first, as they stand between braces: an object is told in any
    /// version of its kind, and in lists of built-in kinds without it.
    pub(crate) fn rest(&self) -> &[u8] {
        self.held.rest.get_or_init(|| members(&self.held.value).into_boxed_slice())
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.held.value
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held) || self.held.value == other.held.value
    }
}

/// The members of an object but kind and version, metadata first, between commas.
pub(crate) fn members(object: &Value) -> Vec<u8> {
    let mut into = Vec::new();
    let Some(map) = object.as_object() else { return into };
    let named = |key: &str| !matches!(key, "kind" | "apiVersion" | "metadata");
    let first = map.get_key_value("metadata").into_iter();
    for (key, value) in first.chain(map.iter().filter(|(key, _)| named(key))) {
        if !into.is_empty() {
            into.push(b',');
        }
        write_value(&mut into, key);
        into.push(b':');
        write_value(&mut into, value);
    }
    into
}

/// Appends a value as JSON.
pub(crate) fn write_value<T: Serialize + ?Sized>(into: &mut Vec<u8>, value: &T) {
    // Neither JSON values nor a vector can fail here.
    let written = serde_json::to_writer(into, value);
    debug_assert!(written.is_ok(), "values are JSON");
}
