//! OTLP as others read it: JSON by its mapping, protobuf by the published field numbers. Nothing of the crate's own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, Value>,
    /// Names and times.
    pub events: Vec<(String, u64)>,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    /// 0 unset, 1 ok, 2 error.
    pub status: u64,
    pub message: String,
}

/// The resource's attributes, and the spans.
pub type Request = (BTreeMap<String, Value>, Vec<Span>);

/// 64-bit numbers are texts.
fn long(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).parse().unwrap()
}

/// Lower-case hexadecimal digits.
fn hex(value: &Value, length: usize) -> String {
    let text = value.as_str().unwrap();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    assert!(digits && (text.len() == length || text.is_empty()), "{text}");
    text.to_owned()
}

fn attributes(value: &Value) -> BTreeMap<String, Value> {
    let pairs = value.as_array().into_iter().flatten();
    let value = |value: &Value| {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "stringValue" | "boolValue" | "doubleValue" => value.clone(),
            "intValue" => json!(value.as_str().expect("a text").parse::<i64>().unwrap()),
            "arrayValue" => {
                value["values"].as_array().unwrap().iter().map(|value| value["stringValue"].clone()).collect()
            }
            other => panic!("{other}"),
        }
    };
    pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(&pair["value"]))).collect()
}

/// A request in JSON.
pub fn from_json(body: &[u8]) -> Request {
    let body: Value = serde_json::from_slice(body).unwrap();
    let [resource] = body["resourceSpans"].as_array().unwrap().as_slice() else { panic!("{body}") };
    let [scope] = resource["scopeSpans"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!(scope["scope"]["name"], "steadfast");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let span = |span: &Value| Span {
        trace: hex(&span["traceId"], 32),
        id: hex(&span["spanId"], 16),
        parent: hex(&span["parentSpanId"], 16),
        name: span["name"].as_str().unwrap().to_owned(),
        kind: span["kind"].as_u64().expect("a number"),
        start: long(&span["startTimeUnixNano"]),
        end: long(&span["endTimeUnixNano"]),
        attributes: attributes(&span["attributes"]),
        events: list(&span["events"])
            .iter()
            .map(|event| (event["name"].as_str().unwrap().to_owned(), long(&event["timeUnixNano"])))
            .collect(),
        links: list(&span["links"]).iter().map(|link| (hex(&link["traceId"], 32), hex(&link["spanId"], 16))).collect(),
        status: span["status"]["code"].as_u64().unwrap_or(0),
        message: span["status"]["message"].as_str().unwrap_or_default().to_owned(),
    };
    (attributes(&resource["resource"]["attributes"]), list(&scope["spans"]).iter().map(span).collect())
}

/// One field of a message.
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} is no bytes"),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("bytes are no number"),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The fields of a message, by their numbers.
fn message(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field>> {
    let mut fields: BTreeMap<u64, Vec<Field>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut taken = |length: usize| {
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            taken.to_vec()
        };
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(taken(8).try_into().unwrap())),
            5 => Field::Number(u64::from(u32::from_le_bytes(taken(4).try_into().unwrap()))),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (taken, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(taken.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(field);
    }
    fields
}

/// A request in protobuf, by the field numbers of `trace.proto`, `common.proto` and `resource.proto`.
pub fn from_protobuf(body: &[u8]) -> Request {
    type Fields = BTreeMap<u64, Vec<Field>>;
    let all = |fields: &Fields, number: u64| -> Vec<Vec<u8>> {
        fields.get(&number).into_iter().flatten().map(|field| field.bytes().to_vec()).collect()
    };
    let one = |fields: &Fields, number: u64| all(fields, number).into_iter().next().unwrap_or_default();
    let text = |fields: &Fields, number: u64| String::from_utf8(one(fields, number)).unwrap();
    let digits = |fields: &Fields, number: u64| -> String {
        one(fields, number).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let long = |fields: &Fields, number: u64| fields.get(&number).map_or(0, |found| found[0].number());
    let value = |bytes: &[u8]| {
        let fields = message(bytes);
        match fields.iter().next() {
            Some((1, _)) => json!(text(&fields, 1)),
            Some((2, found)) => json!(found[0].number() != 0),
            Some((3, found)) => json!(found[0].number()),
            Some((5, found)) => {
                let values = all(&message(found[0].bytes()), 1);
                values.iter().map(|value| json!(text(&message(value), 1))).collect()
            }
            _ => panic!("no value"),
        }
    };
    let attributes = |fields: &Fields, number: u64| -> BTreeMap<String, Value> {
        let pairs = all(fields, number).into_iter().map(|pair| message(&pair));
        pairs.map(|pair| (text(&pair, 1), value(&one(&pair, 2)))).collect()
    };
    let resource_spans = message(&one(&message(body), 1));
    let scope_spans = message(&one(&resource_spans, 2));
    assert_eq!(text(&message(&one(&scope_spans, 1)), 1), "steadfast");
    let spans = all(&scope_spans, 2).into_iter().map(|span| {
        let span = message(&span);
        let status = message(&one(&span, 15));
        Span {
            trace: digits(&span, 1),
            id: digits(&span, 2),
            parent: digits(&span, 4),
            name: text(&span, 5),
            kind: long(&span, 6),
            start: long(&span, 7),
            end: long(&span, 8),
            attributes: attributes(&span, 9),
            events: all(&span, 11).iter().map(|e| message(e)).map(|e| (text(&e, 2), long(&e, 1))).collect(),
            links: all(&span, 13).iter().map(|l| message(l)).map(|l| (digits(&l, 1), digits(&l, 2))).collect(),
            status: long(&status, 3),
            message: text(&status, 2),
        }
    });
    (attributes(&message(&one(&resource_spans, 1)), 1), spans.collect())
}
