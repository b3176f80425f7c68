//! Request bodies in protobuf, as `kubectl create`, `kubectl auth` and `kubectl drain` send them.
//!
//! They are made JSON before anybody looks at them; answers are always JSON, which such clients accept too. The
//! field numbers are those of Kubernetes 1.34, one message a line in `fields.txt`:
//! `Message name=number:type …`, where a type is a message or one of `s` string, `i` integer, `d` double, `b` bool,
//! `y` bytes, `x` list of strings in a message; before it `*` for what may be absent, `[` for a list, `{` for a map
//! from strings. A field without a name lies in its parent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use serde_json::{Map, Value, json};

use super::Call;
use crate::clock::Timestamp;

/// The media type.
const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may lie in each other.
const DEPTH: usize = 32;

static MESSAGES: LazyLock<BTreeMap<&str, Message>> = LazyLock::new(|| {
    let lines = include_str!("protobuf/fields.txt").lines();
    let mut messages: BTreeMap<&str, Message> = lines.filter_map(message).collect();
    // What wraps every body, and what a list of strings is wrapped in.
    let own = ["TypeMeta apiVersion=1:s kind=2:s", "Unknown typeMeta=1:TypeMeta raw=2:y", "x items=1:[s"];
    messages.extend(own.into_iter().filter_map(message));
    messages
});

type Message = BTreeMap<u64, Field>;

/// A field of a message.
struct Field {
    name: &'static str,
    shape: Shape,
    of: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Always on the wire; its zero value means that it is not set.
    Plain,
    Optional,
    List,
    Map,
}

/// A value on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn message(line: &'static str) -> Option<(&'static str, Message)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    Some((name, words.filter_map(field).collect()))
}

fn field(word: &'static str) -> Option<(u64, Field)> {
    let (name, rest) = word.split_once('=')?;
    let (number, kind) = rest.split_once(':')?;
    let (shape, of) = match kind.as_bytes().first()? {
        b'*' => (Shape::Optional, &kind[1..]),
        b'[' => (Shape::List, &kind[1..]),
        b'{' => (Shape::Map, &kind[1..]),
        _ => (Shape::Plain, kind),
    };
    Some((number.parse().ok()?, Field { name, shape, of }))
}

/// Makes a body in protobuf one in JSON. One that cannot be read stays, for whoever needs it to refuse.
pub(super) fn read(call: &mut Call) {
    let kind = call.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with(MEDIA_TYPE)
        && let Some(decoded) = decode(&call.body)
    {
        call.body = decoded.to_string().into();
        call.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    }
}

/// The body as JSON; `None` if it is no protobuf of a kind that is known here.
fn decode(body: &[u8]) -> Option<Value> {
    let unknown = MESSAGES.get("Unknown")?;
    let (mut kind, mut raw) = (Value::Null, &[][..]);
    let mut rest = body.strip_prefix(MAGIC)?;
    while !rest.is_empty() {
        let (number, wire) = next(&mut rest)?;
        match (unknown.get(&number).map(|field| field.name), wire) {
            (Some("typeMeta"), Wire::Bytes(bytes)) => kind = object("TypeMeta", bytes, 0)?,
            (Some("raw"), Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut decoded = object(kind["kind"].as_str()?, raw, 0)?;
    for field in ["kind", "apiVersion"] {
        if !kind[field].is_null() {
            decoded[field] = kind[field].take();
        }
    }
    Some(decoded)
}

fn object(name: &str, mut bytes: &[u8], depth: usize) -> Option<Value> {
    let message = MESSAGES.get(name).filter(|_| depth < DEPTH)?;
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        let Some(field) = message.get(&number) else { continue };
        match field.shape {
            Shape::List => {
                let list = object.entry(field.name).or_insert_with(|| json!([])).as_array_mut()?;
                match wire {
                    Wire::Bytes(mut packed) if field.of == "i" => {
                        while !packed.is_empty() {
                            list.push(json!(varint(&mut packed)?.cast_signed()));
                        }
                    }
                    wire => list.push(value(field.of, wire, depth)?),
                }
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return None };
                let (key, value) = entry_of(field.of, entry, depth)?;
                object.entry(field.name).or_insert_with(|| json!({})).as_object_mut()?.insert(key, value);
            }
            Shape::Plain | Shape::Optional => {
                let value = value(field.of, wire, depth)?;
                if field.name.is_empty() {
                    object.extend(value.as_object()?.clone());
                } else if !value.is_null() && (field.shape == Shape::Optional || !is_zero(&value)) {
                    object.insert(field.name.into(), value);
                }
            }
        }
    }
    Some(object.into())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(set) => !set,
        Value::Null | Value::Array(_) => false,
    }
}

fn entry_of(of: &str, mut entry: &[u8], depth: usize) -> Option<(String, Value)> {
    let (mut key, mut found) = (String::new(), None);
    while !entry.is_empty() {
        match next(&mut entry)? {
            (1, Wire::Bytes(bytes)) => key = String::from_utf8(bytes.to_vec()).ok()?,
            (2, wire) => found = Some(value(of, wire, depth)?),
            _ => {}
        }
    }
    let empty = || if of == "s" || of == "y" { json!("") } else { json!({}) };
    Some((key, found.unwrap_or_else(empty)))
}

fn value(of: &str, wire: Wire<'_>, depth: usize) -> Option<Value> {
    let part = |of: &str, bytes: &[u8]| object(of, bytes, depth + 1);
    Some(match (of, wire) {
        ("i", Wire::Number(number)) => json!(number.cast_signed()),
        ("b", Wire::Number(number)) => json!(number != 0),
        ("d", Wire::Number(bits)) => json!(f64::from_bits(bits)),
        ("s", Wire::Bytes(bytes)) => json!(std::str::from_utf8(bytes).ok()?),
        ("y", Wire::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        ("x", Wire::Bytes(bytes)) => part("x", bytes)?.get_mut("items").map_or_else(|| json!([]), Value::take),
        ("Time", Wire::Bytes(bytes)) => time(bytes, false)?,
        ("MicroTime", Wire::Bytes(bytes)) => time(bytes, true)?,
        ("Quantity", Wire::Bytes(bytes)) => text(bytes)?,
        ("IntOrString", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        ("RawExtension" | "FieldsV1", Wire::Bytes(bytes)) => {
            let raw = text(bytes)?;
            serde_json::from_str(raw.as_str().unwrap_or_default()).unwrap_or(Value::Null)
        }
        (of, Wire::Bytes(bytes)) => part(of, bytes)?,
        (_, Wire::Number(_)) => return None,
    })
}

/// The string that is the only field of a message.
fn text(mut bytes: &[u8]) -> Option<Value> {
    let mut found = Value::Null;
    while !bytes.is_empty() {
        if let (1, Wire::Bytes(text)) = next(&mut bytes)? {
            found = json!(std::str::from_utf8(text).ok()?);
        }
    }
    Some(found)
}

fn int_or_string(mut bytes: &[u8]) -> Option<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = std::str::from_utf8(value).ok()?,
            _ => {}
        }
    }
    Some(if is_text { json!(text) } else { json!(number) })
}

/// No field at all is no time.
fn time(mut bytes: &[u8], micro: bool) -> Option<Value> {
    let (mut seconds, mut nanos, none) = (0, 0, bytes.is_empty());
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Number(value)) => seconds = value.cast_signed(),
            (2, Wire::Number(value)) => nanos = i32::try_from(value.cast_signed()).ok()?,
            _ => {}
        }
    }
    if none {
        return Some(Value::Null);
    }
    let at = Timestamp::new(seconds, nanos).ok()?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Some(json!(at.strftime(format).to_string()))
}

/// The next field's number and value.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(bytes)?;
    let wire = match key & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => Wire::Number(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => Wire::Number(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?).into()),
        _ => return None,
    };
    Some((key >> 3, wire))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [length(1, version.as_bytes()), length(2, kind.as_bytes())].concat();
        [MAGIC, &length(1, &meta), &length(2, raw), &length(3, b""), &length(4, b"")].concat()
    }

    #[test]
    fn every_message_that_a_field_names_is_there() {
        let special = ["Time", "MicroTime", "Quantity", "IntOrString", "RawExtension", "FieldsV1", "Duration"];
        for (name, message) in &*MESSAGES {
            for field in message.values().filter(|field| field.of.len() > 1) {
                let known = special.contains(&field.of) || MESSAGES.contains_key(field.of);
                assert!(known, "{name}.{}: {}", field.name, field.of);
            }
        }
        for kind in crate::lab::resource::ALL.iter().filter(|r| r.group != "apiextensions.k8s.io") {
            assert!(MESSAGES.contains_key(kind.kind), "{}", kind.kind);
        }
    }

    /// As `kubectl create configmap a --from-literal=a=b` sends it.
    #[test]
    fn a_config_map_is_decoded() {
        let metadata = [length(1, b"a"), length(2, b""), length(3, b""), length(8, b"")].concat();
        let entry = [length(1, b"a"), length(2, b"b")].concat();
        let sent = body("v1", "ConfigMap", &[length(1, &metadata), length(2, &entry)].concat());
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}});
        assert_eq!(decode(&sent), Some(expected));
    }

    #[test]
    fn what_is_in_its_parent_what_may_be_absent_and_numbers_that_may_be_text() {
        let zero = [0x08, 0x00];
        let percent = [&[0x08, 0x01][..], &length(3, b"50%")].concat();
        let spec = [length(1, &percent), length(3, &zero)].concat();
        let sent = body("policy/v1", "PodDisruptionBudget", &length(2, &spec));
        assert_eq!(decode(&sent).unwrap()["spec"], json!({"minAvailable": "50%", "maxUnavailable": 0}));
        let secret = [length(1, b"m"), vec![0x20, 0x00]].concat();
        let volume = [length(1, b"v"), length(2, &length(6, &secret))].concat();
        let sent = body("v1", "Pod", &length(2, &length(1, &volume)));
        let volumes = json!([{"name": "v", "secret": {"secretName": "m", "optional": false}}]);
        assert_eq!(decode(&sent).unwrap()["spec"]["volumes"], volumes);
        assert_eq!(time(&[0x08, 0x01], true), Some(json!("1970-01-01T00:00:01.000000Z")));
    }

    #[test]
    fn an_unknown_kind_and_no_protobuf_are_nothing() {
        assert_eq!(decode(&body("v1", "Nothing", b"")), None);
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b"k8s\0"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..4_usize) {
            let kind = ["Pod", "Role", "Event", "SelfSubjectAccessReview"][kind];
            decode(&body("v1", kind, &raw));
            decode(&[MAGIC, &raw].concat());
        }
    }
}
