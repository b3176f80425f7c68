//! What a structural schema makes of an object: what it does not know goes, and what is absent is filled in.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::admission::validation::errors::Path;

/// The more stable and the newer version first: `v2`, `v1`, `v2beta1`, `v1alpha1`, then the others by name.
pub(super) fn by_priority(a: &str, b: &str) -> Ordering {
    match (stability(a), stability(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// How stable, the major version, and the number of the alpha or beta.
fn stability(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    match &rest[end..] {
        "" => Some((2, major, 0)),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(number), _) => Some((1, major, number.parse().ok()?)),
            (_, Some(number)) => Some((0, major, number.parse().ok()?)),
            _ => None,
        },
    }
}

/// The patterns in a schema, wherever they stand.
pub(super) fn patterns(schema: &Value) -> BTreeMap<String, Regex> {
    let mut found = BTreeMap::new();
    collect(schema, &mut found);
    found
}

fn collect(schema: &Value, found: &mut BTreeMap<String, Regex>) {
    match schema {
        Value::Object(map) => {
            if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
                && let Ok(regex) = Regex::new(pattern)
            {
                found.insert(pattern.to_owned(), regex);
            }
            map.values().for_each(|inner| collect(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == true
}

/// What of an object is always known, whatever the schema says.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops what the schema of an object does not know, and tells the paths of it. Nulls go where the schema does not
/// want them.
pub(in crate::lab::store) fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_at(schema, object, &Path::Root, true, &mut unknown);
    unknown
}

fn prune_at(schema: &Value, value: &mut Value, path: &Path<'_>, is_object: bool, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => prune_map(schema, map, path, is_object, unknown),
        Value::Array(items) => {
            let of_items = &schema["items"];
            if of_items.is_object() {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_at(of_items, item, &path.item(index), false, unknown);
                }
            }
        }
        _ => {}
    }
}

fn prune_map(
    schema: &Value,
    map: &mut Map<String, Value>,
    path: &Path<'_>,
    is_object: bool,
    unknown: &mut Vec<String>,
) {
    let keeps = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let is_object = is_object || flag(schema, "x-kubernetes-embedded-resource");
    let others = &schema["additionalProperties"];
    let mut gone = Vec::new();
    for (key, value) in &mut *map {
        if is_object && META.contains(&&**key) {
            continue;
        }
        let of_value = match (schema["properties"].get(key), others) {
            (Some(known), _) => known,
            (None, Value::Object(_)) => others,
            (None, Value::Bool(true)) => continue,
            (None, _) if keeps => continue,
            (None, _) => {
                unknown.push(path.at(key).to_string());
                gone.push(key.clone());
                continue;
            }
        };
        if value.is_null() && !flag(of_value, "nullable") {
            gone.push(key.clone());
        } else {
            prune_at(of_value, value, &path.at(key), false, unknown);
        }
    }
    map.retain(|key, _| !gone.contains(key));
}

/// Fills in the defaults of a schema, from the outside in.
pub(in crate::lab::store) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default").filter(|_| !map.contains_key(name)) {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(inner) = map.get_mut(name) {
                    fill(property, inner);
                }
            }
            if schema["additionalProperties"].is_object() {
                let known = |key: &str| properties.is_some_and(|properties| properties.contains_key(key));
                for (_, inner) in map.iter_mut().filter(|(key, _)| !known(key)) {
                    fill(&schema["additionalProperties"], inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{by_priority, fill, prune};

    #[test]
    fn stable_versions_come_first() {
        let mut versions = ["foo", "v1alpha1", "v2beta1", "v10", "v1", "v2beta2", "bar"];
        versions.sort_by(|a, b| by_priority(a, b));
        assert_eq!(versions, ["v10", "v1", "v2beta2", "v2beta1", "v1alpha1", "bar", "foo"]);
    }

    #[test]
    fn what_the_schema_does_not_know_goes() {
        let item = json!({"type": "object", "properties": {"n": {"type": "string"}}});
        let spec = json!({"type": "object", "properties": {
            "list": {"type": "array", "items": item}, "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "string"}}, "nul": {"type": "string", "nullable": true},
            "gone": {"type": "string"},
        }});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "top": 1, "spec": {
            "list": [{"n": "a", "z": 1}], "any": {"x": {"y": null}}, "map": {"k": "v"}, "nul": null, "gone": null, "foo": 1,
        }});
        assert_eq!(prune(&schema, &mut object), ["spec.foo", "spec.list[0].z", "top"]);
        let spec = json!({"list": [{"n": "a"}], "any": {"x": {"y": null}}, "map": {"k": "v"}, "nul": null});
        assert_eq!(object, json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "spec": spec}));
    }

    #[test]
    fn an_embedded_object_keeps_what_makes_it_one() {
        let schema =
            json!({"type": "object", "properties": {"o": {"type": "object", "x-kubernetes-embedded-resource": true}}});
        let mut object = json!({"o": {"apiVersion": "v1", "kind": "K", "metadata": {}, "spec": {}}});
        assert_eq!(prune(&schema, &mut object), ["o.spec"]);
    }

    #[test]
    fn defaults_are_filled_in_where_their_place_is() {
        let inner = json!({"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 3}}});
        let list = json!({"type": "array", "items": {"type": "object", "properties": {"v": {"default": 4}}}});
        let schema =
            json!({"properties": {"inner": inner, "list": list, "none": {"properties": {"y": {"default": 1}}}}});
        let mut object = json!({"list": [{}, {"v": 1}]});
        fill(&schema, &mut object);
        assert_eq!(object, json!({"inner": {"x": 3}, "list": [{"v": 4}, {"v": 1}]}));
    }
}
