//! The schemas of the built-in kinds, drawn from their Rust types.
//!
//! A type that can be read from JSON tells its reader which fields it looks for and of which types. This reader feeds
//! it nothing but empty values and writes down what it asks for. So the schemas are as complete as the types are, and
//! cost no further dependency; the descriptions of fields are not among what a type tells.

use std::any::type_name;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

/// Schemas by the names that the real server has for them: `io.k8s.api.apps.v1.Deployment`.
pub(super) type Schemas = BTreeMap<String, Value>;

/// Adds the schema of `T` and all that it refers to. Returns its name.
pub(super) fn draw<T: for<'de> Deserialize<'de>>(schemas: &mut Schemas) -> String {
    let mut shape = Value::Null;
    // A type that takes no empty value is drawn as far as it was read.
    let _ = T::deserialize(Reader { schemas, shape: &mut shape });
    name_of(type_name::<T>())
}

/// `k8s_openapi::v1_34::api::apps::v1::deployment::Deployment` as `io.k8s.api.apps.v1.Deployment`.
fn name_of(path: &str) -> String {
    let segments: Vec<&str> = path.split("::").collect();
    match segments.as_slice() {
        [_, _, folders @ .., _, name] => format!("io.k8s.{}.{name}", folders.join(".").replace('_', "-")),
        other => other.join("."),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Reads one value, and writes down in `shape` what it is.
struct Reader<'a> {
    schemas: &'a mut Schemas,
    shape: &'a mut Value,
}

impl Reader<'_> {
    fn is(self, shape: Value) {
        *self.shape = shape;
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $empty:expr, $shape:tt;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.is(json!($shape));
            visitor.$visit($empty)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Error;

    scalars! {
        deserialize_bool visit_bool false, {"type": "boolean"};
        deserialize_i8 visit_i8 0, {"type": "integer"};
        deserialize_i16 visit_i16 0, {"type": "integer"};
        deserialize_i32 visit_i32 0, {"type": "integer", "format": "int32"};
        deserialize_i64 visit_i64 0, {"type": "integer", "format": "int64"};
        deserialize_u8 visit_u8 0, {"type": "integer"};
        deserialize_u16 visit_u16 0, {"type": "integer"};
        deserialize_u32 visit_u32 0, {"type": "integer"};
        deserialize_u64 visit_u64 0, {"type": "integer"};
        deserialize_f32 visit_f32 0.0, {"type": "number"};
        deserialize_f64 visit_f64 0.0, {"type": "number", "format": "double"};
        deserialize_char visit_char ' ', {"type": "string"};
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let wanted = type_name::<V::Value>();
        let ends = |name: &str| wanted.ends_with(name);
        if ends("IntOrString") {
            let name = name_of(wanted);
            let either = json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]});
            self.schemas.insert(name.clone(), either);
            self.is(reference(&name));
            visitor.visit_i64(0)
        } else if ends("Quantity") {
            visitor.visit_i64(0)
        } else if ends("OrBool") {
            self.is(json!({}));
            visitor.visit_bool(true)
        } else if ends("OrArray") || ends("OrStringArray") {
            *self.shape = json!({});
            visitor.visit_seq(Items { schemas: self.schemas, shape: None })
        } else {
            self.is(json!({}));
            visitor.visit_unit()
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let wanted = type_name::<V::Value>();
        let bytes = wanted.ends_with("ByteString");
        self.is(if bytes { json!({"type": "string", "format": "byte"}) } else { json!({"type": "string"}) });
        // An instant takes no empty text.
        visitor.visit_str(if wanted.ends_with("Timestamp") { "1970-01-01T00:00:00Z" } else { "" })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let full = name_of(type_name::<V::Value>());
        let shape = match name {
            "Time" | "MicroTime" => json!({"type": "string", "format": "date-time"}),
            "Quantity" => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            "FieldsV1" | "RawExtension" => json!({"type": "object"}),
            _ => json!({}),
        };
        self.schemas.insert(full.clone(), shape);
        let mut inner = Value::Null;
        let read = visitor.visit_newtype_struct(Reader { schemas: self.schemas, shape: &mut inner });
        self.is(reference(&full));
        read
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = json!({});
        let read = visitor.visit_seq(Items { schemas: &mut *self.schemas, shape: Some(&mut item) });
        self.is(json!({"type": "array", "items": item}));
        read
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut value = json!({});
        let read = visitor.visit_map(Entry { schemas: &mut *self.schemas, shape: &mut value, told: false });
        self.is(json!({"type": "object", "additionalProperties": value}));
        read
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let name = name_of(type_name::<V::Value>());
        *self.shape = reference(&name);
        if self.schemas.contains_key(&name) {
            return visitor.visit_map(Fields { schemas: self.schemas, fields: &[], properties: &mut Map::new() });
        }
        // Known from here on, since a type may hold itself.
        self.schemas.insert(name.clone(), json!({"type": "object"}));
        let mut properties = Map::new();
        let read = visitor.visit_map(Fields { schemas: &mut *self.schemas, fields, properties: &mut properties });
        if !properties.is_empty() {
            self.schemas.insert(name, json!({"type": "object", "properties": properties}));
        }
        read
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.is(json!({"type": "string"}));
        visitor.visit_enum("".into_deserializer())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str("")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// One item, if its shape is wanted, else none.
struct Items<'a> {
    schemas: &'a mut Schemas,
    shape: Option<&'a mut Value>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.shape.take() {
            None => Ok(None),
            Some(shape) => seed.deserialize(Reader { schemas: &mut *self.schemas, shape }).map(Some),
        }
    }
}

/// One entry of a map.
struct Entry<'a> {
    schemas: &'a mut Schemas,
    shape: &'a mut Value,
    told: bool,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        let key: StrDeserializer<'_, Error> = "key".into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Reader { schemas: &mut *self.schemas, shape: &mut *self.shape })
    }
}

/// All fields of a struct, but for those that must hold its own kind and version.
struct Fields<'a> {
    schemas: &'a mut Schemas,
    fields: &'static [&'static str],
    properties: &'a mut Map<String, Value>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if let ["apiVersion", "kind", rest @ ..] = self.fields {
            for typed in ["apiVersion", "kind"] {
                self.properties.insert(typed.to_owned(), json!({"type": "string"}));
            }
            self.fields = rest;
        }
        let Some(first) = self.fields.first() else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = first.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((first, rest)) = self.fields.split_first() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        self.fields = rest;
        let mut shape = json!({});
        let read = seed.deserialize(Reader { schemas: &mut *self.schemas, shape: &mut shape });
        // Beside a reference nothing else may stand, so it is wrapped.
        let shape = if shape.get("$ref").is_some() { json!({"allOf": [shape]}) } else { shape };
        self.properties.insert((*first).to_owned(), shape);
        read
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    #[test]
    fn a_type_tells_its_fields_to_the_last() {
        let mut schemas = Schemas::new();
        assert_eq!(draw::<Deployment>(&mut schemas), "io.k8s.api.apps.v1.Deployment");
        let properties = |name: &str| schemas[name]["properties"].clone();
        let spec = properties("io.k8s.api.apps.v1.DeploymentSpec");
        assert_eq!(spec["replicas"], json!({"type": "integer", "format": "int32"}));
        assert_eq!(spec["template"]["allOf"], json!([reference("io.k8s.api.core.v1.PodTemplateSpec")]));
        let meta = properties("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        assert_eq!(meta["labels"], json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert_eq!(meta["creationTimestamp"]["allOf"], json!([reference("io.k8s.apimachinery.pkg.apis.meta.v1.Time")]));
        assert_eq!(meta["managedFields"]["type"], "array");
        let container = properties("io.k8s.api.core.v1.Container");
        assert_eq!(container["args"], json!({"type": "array", "items": {"type": "string"}}));
        assert!(container.as_object().is_some_and(|fields| fields.len() > 20), "{container}");
        let update = properties("io.k8s.api.apps.v1.RollingUpdateDeployment");
        assert_eq!(update["maxSurge"]["allOf"], json!([reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString")]));
        assert_eq!(properties("io.k8s.api.apps.v1.Deployment")["kind"], json!({"type": "string"}));
    }

    #[test]
    fn a_type_that_holds_itself_is_drawn_once() {
        let mut schemas = Schemas::new();
        draw::<CustomResourceDefinition>(&mut schemas);
        let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let properties = &schemas[name]["properties"];
        assert_eq!(properties["not"]["allOf"], json!([reference(name)]));
        assert_eq!(properties["properties"]["additionalProperties"], reference(name));
        assert_eq!(properties["x-kubernetes-validations"]["type"], "array");
    }
}
