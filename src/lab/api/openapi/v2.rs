//! OpenAPI 2: definitions alone, in JSON and in the protobuf form that `kubectl` asks for.
//!
//! `kubectl` 1.34 reads it for manifests of kind `List`, whose items it checks by itself. Field numbers are those of
//! gnostic's `OpenAPIv2.proto`, seen in a real server's answer.

use serde_json::{Map, Value, json};

use super::super::yaml;

/// The document of these schemas of OpenAPI 3.
pub(super) fn document<'a>(schemas: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Value {
    let definitions: Map<String, Value> =
        schemas.into_iter().map(|(name, schema)| (name.clone(), older(schema))).collect();
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.4"}, "paths": {},
        "definitions": definitions,
    })
}

/// A schema with the means of OpenAPI 2: no alternatives, and a reference stands for itself.
fn older(schema: &Value) -> Value {
    let Some(map) = schema.as_object() else { return schema.clone() };
    let mut out = Map::new();
    let free = map.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    let mixed = map.get("x-kubernetes-int-or-string") == Some(&json!(true));
    for (key, value) in map {
        match key.as_str() {
            "allOf" => {
                if let Some(Value::Object(only)) = value.get(0).map(older) {
                    out.extend(only);
                }
            }
            "$ref" => {
                let name = value.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                out.insert(key.clone(), json!(format!("#/definitions/{name}")));
            }
            // Of the built-in schemas these are numbers that may be written as text.
            "oneOf" | "anyOf" if !map.contains_key("type") => {
                out.insert("type".to_owned(), json!("string"));
            }
            "properties" | "items" | "additionalProperties" if free => {}
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                let fields: Map<String, Value> = fields.map(|(name, field)| (name.clone(), older(field))).collect();
                out.insert(key.clone(), Value::Object(fields));
            }
            "items" | "additionalProperties" => {
                out.insert(key.clone(), older(value));
            }
            "type" if mixed || map.get("nullable") == Some(&json!(true)) => {}
            "format" | "title" | "description" | "pattern" | "required" | "type" => {
                out.insert(key.clone(), value.clone());
            }
            extension if extension.starts_with("x-") => {
                out.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    Value::Object(out)
}

/// The document as `openapi.v2.Document`.
pub(super) fn protobuf(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.message(2, &info);
    out.message(8, &Message::default());
    out.message(9, &named(&document["definitions"]));
    out.0
}

/// Schemas by name: `Definitions` and `Properties` have the same form.
fn named(schemas: &Value) -> Message {
    let mut all = Message::default();
    for (name, value) in schemas.as_object().into_iter().flatten() {
        let mut one = Message::default();
        one.bytes(1, name.as_bytes());
        one.message(2, &schema(value));
        all.message(1, &one);
    }
    all
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    for (key, field) in [("$ref", 1), ("format", 2), ("title", 3), ("description", 4), ("pattern", 13)] {
        out.text(field, &value[key]);
    }
    for required in value["required"].as_array().into_iter().flatten() {
        out.text(19, required);
    }
    match &value["additionalProperties"] {
        Value::Bool(flag) => {
            let mut either = Message::default();
            either.number(2, u64::from(*flag));
            out.message(21, &either);
        }
        Value::Null => {}
        inner => out.message(21, &Message::holding(&schema(inner))),
    }
    if value["type"].is_string() {
        let mut kind = Message::default();
        kind.text(1, &value["type"]);
        out.message(22, &kind);
    }
    if !value["items"].is_null() {
        out.message(23, &Message::holding(&schema(&value["items"])));
    }
    if value["properties"].is_object() {
        out.message(25, &named(&value["properties"]));
    }
    for (key, extension) in value.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("x-")) {
        let mut any = Message::default();
        any.bytes(2, yaml::text(extension).as_bytes());
        let mut one = Message::default();
        one.bytes(1, key.as_bytes());
        one.message(2, &any);
        out.message(31, &one);
    }
    out
}

/// The bytes of a protobuf message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn holding(inner: &Self) -> Self {
        let mut out = Self::default();
        out.message(1, inner);
        out
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Text that is there.
    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, inner: &Self) {
        self.bytes(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_lose_what_the_older_form_cannot_say() {
        let schema = json!({"type": "object", "properties": {
            "meta": {"allOf": [{"$ref": "#/components/schemas/a.Meta"}], "x-kubernetes-patch-strategy": "merge"},
            "port": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {}}},
            "none": {"type": "string", "nullable": true, "enum": ["a"]},
        }});
        assert_eq!(
            older(&schema)["properties"],
            json!({
                "meta": {"$ref": "#/definitions/a.Meta", "x-kubernetes-patch-strategy": "merge"},
                "port": {"type": "string", "format": "int-or-string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "none": {},
            })
        );
    }

    #[test]
    fn the_bytes_are_those_of_the_message() {
        let name = "n".to_owned();
        let schema =
            json!({"type": "object", "x-a": "b", "properties": {"p": {"type": "array", "items": {"type": "string"}}}});
        let bytes = protobuf(&document([(&name, &schema)]));
        let head = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.34.4\x42\x00";
        let property = b"\x12\x1a\xb2\x01\x07\x0a\x05array\xba\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string";
        assert!(bytes.starts_with(head), "{bytes:x?}");
        let found = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(found(b"\xb2\x01\x08\x0a\x06object"), "{bytes:x?}");
        assert!(found(b"\xfa\x01\x0b\x0a\x03x-a\x12\x04\x12\x02b\x0a"), "{bytes:x?}");
        assert!(found(property), "{bytes:x?}");
    }
}
