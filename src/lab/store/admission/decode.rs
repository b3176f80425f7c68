//! Reading a body by the kind's model.
//!
//! The model is `k8s_openapi`'s type of the kind. A walk over the JSON drives its `Deserialize` and sees what it asks
//! for: a field it passes over is unknown, a value of another type than asked for is an error with its place, and a
//! null or an empty list where nothing is needed is dropped, as a Go server drops it. What is kept stays as it was
//! sent, so that texts such as a micro time do not change.

use std::any::type_name;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};

use super::quantity;
use super::zero::{keeps_empty_text, zero_is_absent};
use crate::lab::store::patch::go::json_kind;

/// One step from an object to a place in it.
#[derive(Clone, Copy)]
enum Step<'de> {
    /// A field of a struct.
    Field(&'de str),
    /// An entry of a map with free keys.
    Entry(&'de str),
    /// An item of a list.
    Item(usize),
}

/// What to do at a place.
enum Edit {
    Drop,
    Put(Value),
}

/// A step that outlives the walk.
enum Place {
    Key(String),
    Item(usize),
}

#[derive(Default)]
struct Walk<'de> {
    path: Vec<Step<'de>>,
    /// The Go structs from the outside in.
    structs: Vec<&'static str>,
    unknown: Vec<String>,
    edits: Vec<(Vec<Place>, Edit)>,
}

/// Why a body is no such kind, in the words of a Go decoder.
#[derive(Debug)]
pub(super) struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads `object` as a `T`: drops what a `T` does not have, and returns the paths of the unknown fields.
pub(super) fn read<T: for<'de> Deserialize<'de>>(object: &mut Value) -> Result<Vec<String>, Fault> {
    let mut walk = Walk::default();
    T::deserialize(Node { value: &*object, walk: &mut walk, optional: false })?;
    let Walk { unknown, edits, .. } = walk;
    // From the last to the first: what lies inside goes before what holds it.
    for (path, edit) in edits.into_iter().rev() {
        apply(object, &path, edit);
    }
    Ok(unknown)
}

fn apply(mut at: &mut Value, path: &[Place], edit: Edit) {
    let Some((last, before)) = path.split_last() else { return };
    for step in before {
        let next = match step {
            Place::Key(key) => at.get_mut(key),
            Place::Item(index) => at.get_mut(index),
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (last, edit) {
        (Place::Key(key), Edit::Drop) => {
            if let Some(map) = at.as_object_mut() {
                map.remove(key);
            }
        }
        (Place::Key(key), Edit::Put(value)) => at[key] = value,
        (Place::Item(index), edit) => {
            if let Some(item) = at.get_mut(index) {
                *item = if let Edit::Put(value) = edit { value } else { Value::Null };
            }
        }
    }
}

impl Walk<'_> {
    /// `spec.template.spec.containers[0].imagee`.
    fn path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) | Step::Entry(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Step::Item(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    fn mismatch(&self, found: &str, go: &str) -> Fault {
        let fields = self.path.iter().filter_map(|step| match step {
            Step::Field(name) => Some(*name),
            Step::Entry(_) | Step::Item(_) => None,
        });
        let fields: Vec<&str> = fields.collect();
        let Some(owner) = self.structs.last().filter(|_| !fields.is_empty()) else {
            return Fault(format!("json: cannot unmarshal {found} into Go value of type {go}"));
        };
        Fault(format!("json: cannot unmarshal {found} into Go struct field {owner}.{} of type {go}", fields.join(".")))
    }

    fn edit(&mut self, edit: Edit) {
        let place = |step: &Step<'_>| match step {
            Step::Field(name) | Step::Entry(name) => Place::Key((*name).to_owned()),
            Step::Item(index) => Place::Item(*index),
        };
        self.edits.push((self.path.iter().map(place).collect(), edit));
    }

    /// The field of a struct that the walk stands at.
    fn field(&self) -> Option<&str> {
        match self.path.last() {
            Some(Step::Field(name)) => Some(name),
            _ => None,
        }
    }

    /// Drops the value, or where its place cannot go puts Go's zero value there.
    fn clear(&mut self, zero: Value) {
        let edit = if self.field().is_some() { Edit::Drop } else { Edit::Put(zero) };
        self.edit(edit);
    }
}

/// The Go name of a Rust type: `[]v1.Container`.
fn go_type(rust: &str) -> String {
    let inner = |prefix: &str| rust.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(item) = inner("alloc::vec::Vec<") {
        return format!("[]{}", go_type(item));
    }
    if let Some(value) = inner("alloc::collections::btree::map::BTreeMap<alloc::string::String, ") {
        return format!("map[string]{}", go_type(value));
    }
    if let Some(item) = inner("core::option::Option<").or_else(|| inner("alloc::boxed::Box<")) {
        return go_type(item);
    }
    match rust {
        "alloc::string::String" => "string".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "f64" => "float64".to_owned(),
        "k8s_openapi::byte_string::ByteString" => "[]uint8".to_owned(),
        rust => {
            let mut parts = rust.rsplit("::");
            match (parts.next(), parts.nth(1)) {
                (Some(name), Some(version)) => format!("{version}.{name}"),
                _ => rust.to_owned(),
            }
        }
    }
}

/// A value at its place in the walk.
struct Node<'a, 'de> {
    value: &'de Value,
    walk: &'a mut Walk<'de>,
    optional: bool,
}

impl<'de> Node<'_, 'de> {
    fn number<T>(&self, go: &str, read: impl Fn(&Number) -> Option<T>) -> Result<T, Fault> {
        match self.value {
            Value::Number(number) => read(number).ok_or_else(|| self.walk.mismatch(&format!("number {number}"), go)),
            other => Err(self.walk.mismatch(json_kind(other), go)),
        }
    }

    /// Drops a zero that Go would leave out.
    fn drop_zero(&mut self, zero: bool) {
        let drops = zero
            && self.optional
            && self.walk.field().is_some_and(|field| zero_is_absent(self.walk.structs.last(), field));
        if drops {
            self.walk.edit(Edit::Drop);
        }
    }
}

macro_rules! by_number {
    ($($method:ident $visit:ident $type:ty, $go:literal, $read:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
            if self.value.is_null() {
                self.walk.clear(json!(0));
                return visitor.$visit(<$type>::default());
            }
            let number = self.number($go, $read)?;
            self.drop_zero(number == <$type>::default());
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Self { value, walk, .. } = self;
        let int_or_text = type_name::<V::Value>().ends_with("::IntOrString");
        match value {
            Value::Null => {
                if int_or_text {
                    walk.clear(json!(0));
                    return visitor.visit_i64(0);
                }
                visitor.visit_unit()
            }
            Value::Bool(_) | Value::Array(_) | Value::Object(_) if int_or_text => {
                Err(walk.mismatch(json_kind(value), "int32"))
            }
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) if int_or_text && i32::try_from(number).is_err() => {
                    Err(walk.mismatch(&format!("number {number}"), "int32"))
                }
                (Some(number), _, _) => visitor.visit_i64(number),
                (_, Some(number), _) => visitor.visit_u64(number),
                (_, _, Some(number)) if int_or_text => Err(walk.mismatch(&format!("number {number}"), "int32")),
                (_, _, number) => visitor.visit_f64(number.unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), walk }),
            Value::Object(map) => visitor.visit_map(Entries::new(Some(map), walk, false)),
        }
    }

    by_number! {
        deserialize_i32 visit_i32 i32, "int32", |n| n.as_i64().and_then(|n| i32::try_from(n).ok());
        deserialize_i64 visit_i64 i64, "int64", Number::as_i64;
        deserialize_f64 visit_f64 f64, "float64", Number::as_f64;
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => {
                self.walk.clear(json!(false));
                visitor.visit_bool(false)
            }
            Value::Bool(bool) => {
                self.drop_zero(!bool);
                visitor.visit_bool(*bool)
            }
            other => Err(self.walk.mismatch(json_kind(other), "bool")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => {
                self.walk.clear(json!(""));
                visitor.visit_borrowed_str("")
            }
            Value::String(text) => {
                let struct_name = self.walk.structs.last();
                let goes = |field: &str| self.optional && !keeps_empty_text(struct_name, field);
                if text.is_empty() && self.walk.field().is_some_and(goes) {
                    self.walk.edit(Edit::Drop);
                }
                visitor.visit_borrowed_str(text)
            }
            other => Err(self.walk.mismatch(json_kind(other), "string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let bytes = type_name::<V::Value>().ends_with("::ByteString");
        match self.value {
            Value::Null => {
                self.walk.clear(json!(""));
                visitor.visit_none()
            }
            Value::String(text) if bytes => match bad_base64(text) {
                Some(at) => Err(Fault(format!("illegal base64 data at input byte {at}"))),
                None => visitor.visit_some(Node { optional: true, ..self }),
            },
            Value::Number(_) | Value::Bool(_) | Value::Object(_) if bytes => {
                Err(self.walk.mismatch(json_kind(self.value), "[]uint8"))
            }
            _ => visitor.visit_some(Node { optional: true, ..self }),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items: &[Value] = match self.value {
            Value::Null => {
                self.walk.clear(json!([]));
                &[]
            }
            Value::Array(items) => {
                if items.is_empty() && self.optional && self.walk.field().is_some() {
                    self.walk.edit(Edit::Drop);
                }
                items
            }
            other => return Err(self.walk.mismatch(json_kind(other), &go_type(type_name::<V::Value>()))),
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), walk: self.walk })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => {
                self.walk.clear(json!({}));
                visitor.visit_map(Entries::new(None, self.walk, false))
            }
            Value::Object(map) => {
                if map.is_empty() && self.optional && self.walk.field().is_some() {
                    self.walk.edit(Edit::Drop);
                }
                visitor.visit_map(Entries::new(Some(map), self.walk, false))
            }
            other => Err(self.walk.mismatch(json_kind(other), &go_type(type_name::<V::Value>()))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let map = match self.value {
            Value::Null => {
                self.walk.clear(json!({}));
                None
            }
            Value::Object(map) => Some(map),
            other => return Err(self.walk.mismatch(json_kind(other), &go_type(type_name::<V::Value>()))),
        };
        self.walk.structs.push(name);
        let read = visitor.visit_map(Entries::new(map, self.walk, true))?;
        self.walk.structs.pop();
        Ok(read)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (name, self.value) {
            ("Quantity", Value::String(_) | Value::Number(_)) => {
                let text = self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned);
                let canonical = quantity::canonical(&text).ok_or_else(|| Fault(quantity::MALFORMED.to_owned()))?;
                if self.value.as_str() != Some(&canonical) {
                    self.walk.edit(Edit::Put(json!(canonical)));
                }
            }
            ("Quantity", Value::Null) => {
                self.walk.clear(json!("0"));
                return visitor.visit_newtype_struct(BorrowedStrDeserializer::new("0"));
            }
            ("Quantity", _) => return Err(Fault(quantity::MALFORMED.to_owned())),
            ("Time" | "MicroTime", Value::Null) => {
                self.walk.clear(Value::Null);
                return visitor.visit_newtype_struct(BorrowedStrDeserializer::new("0001-01-01T00:00:00Z"));
            }
            ("Time" | "MicroTime", Value::String(text)) => {
                let written = super::time::read(text, name == "MicroTime").map_err(Fault)?;
                if written != *text {
                    self.walk.edit(Edit::Put(json!(written)));
                }
            }
            ("Time" | "MicroTime", other) => {
                return Err(self.walk.mismatch(json_kind(other), "string"));
            }
            _ => {}
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let path = self.walk.path();
        self.walk.unknown.push(path);
        self.walk.edit(Edit::Drop);
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

/// The first byte that cannot stand there in base64 with padding.
fn bad_base64(text: &str) -> Option<usize> {
    let bytes: Vec<(usize, u8)> = text.bytes().enumerate().filter(|(_, b)| !matches!(b, b'\n' | b'\r')).collect();
    let digits = bytes.iter().take_while(|(_, b)| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
    let padding = match digits % 4 {
        0 => 0,
        1 => return Some(bytes.get(digits).map_or(digits - 1, |(at, _)| *at)),
        rest => 4 - rest,
    };
    let rest = &bytes[digits..];
    let wrong = rest.iter().enumerate().find(|(index, (_, byte))| *byte != b'=' || *index >= padding);
    match wrong {
        Some((_, (at, _))) => Some(*at),
        None if rest.is_empty() && padding > 0 => Some(digits / 4 * 4),
        None => (rest.len() < padding).then_some(text.len()),
    }
}

struct Items<'a, 'de, I: Iterator<Item = (usize, &'de Value)>> {
    items: I,
    walk: &'a mut Walk<'de>,
}

impl<'de, I: Iterator<Item = (usize, &'de Value)>> SeqAccess<'de> for Items<'_, 'de, I> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        self.walk.path.push(Step::Item(index));
        let read = seed.deserialize(Node { value, walk: self.walk, optional: false })?;
        self.walk.path.pop();
        Ok(Some(read))
    }
}

struct Entries<'a, 'de> {
    entries: Option<serde_json::map::Iter<'de>>,
    next: Option<(&'de str, &'de Value)>,
    walk: &'a mut Walk<'de>,
    fields: bool,
}

impl<'a, 'de> Entries<'a, 'de> {
    fn new(map: Option<&'de Map<String, Value>>, walk: &'a mut Walk<'de>, fields: bool) -> Self {
        Self { entries: map.map(Map::iter), next: None, walk, fields }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, value)) = self.entries.as_mut().and_then(Iterator::next) else { return Ok(None) };
        self.next = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let (key, value) = self.next.take().ok_or_else(|| Fault("a value without its key".to_owned()))?;
        self.walk.path.push(if self.fields { Step::Field(key) } else { Step::Entry(key) });
        let read = seed.deserialize(Node { value, walk: self.walk, optional: false })?;
        self.walk.path.pop();
        Ok(read)
    }
}
