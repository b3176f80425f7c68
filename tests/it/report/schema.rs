//! As much of JSON Schema as docs/summary.schema.json uses; another keyword is an error.

use std::collections::BTreeSet;

use serde_json::Value;

/// What is wrong with a value by a schema, each with its place. A property that the schema does not describe is wrong too:
/// the schema is the documentation.
pub fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root: schema }.whole(schema, value, "$", &mut found);
    found
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    fn named(&self, reference: &Value) -> &Value {
        let path = reference.as_str().and_then(|path| path.strip_prefix('#')).expect("a reference within the file");
        self.root.pointer(path).unwrap_or_else(|| panic!("{path} is not there"))
    }

    /// A value by all that is said of it.
    fn whole(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        self.check(schema, value, at, found);
        let known = self.described(schema);
        let names = value.as_object().into_iter().flatten().map(|(name, _)| name);
        let strange = names.filter(|name| !known.is_empty() && !known.contains(*name));
        found.extend(strange.map(|name| format!("{at}.{name} is not described")));
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        for (keyword, means) in schema.as_object().expect("a schema is an object") {
            let list = || means.as_array().unwrap_or_else(|| panic!("{keyword} is no list"));
            let is = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "properties" => true,
                "$ref" => {
                    self.check(self.named(means), value, at, found);
                    true
                }
                "allOf" => {
                    list().iter().for_each(|schema| self.check(schema, value, at, found));
                    true
                }
                "anyOf" => list().iter().any(|schema| {
                    let mut of_this = Vec::new();
                    self.check(schema, value, at, &mut of_this);
                    of_this.is_empty()
                }),
                "const" => means == value,
                "enum" => list().contains(value),
                "minimum" => value.as_f64() >= means.as_f64(),
                "type" => match means {
                    Value::String(one) => is_of(one, value),
                    _ => list().iter().any(|one| is_of(one.as_str().expect("a name"), value)),
                },
                "required" => {
                    !value.is_object() || list().iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.whole(means, item, &format!("{at}[{number}]"), found);
                    }
                    true
                }
                "additionalProperties" => {
                    for (name, property) in value.as_object().into_iter().flatten() {
                        self.whole(means, property, &format!("{at}.{name}"), found);
                    }
                    true
                }
                other => panic!("{other} is a keyword that this check does not know"),
            };
            if !is {
                found.push(format!("{at}: {keyword} {means}, not {value}"));
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(property) = value.get(name) {
                self.whole(schema, property, &format!("{at}.{name}"), found);
            }
        }
    }

    /// The properties that a schema describes, here or where it refers to.
    fn described(&self, schema: &Value) -> BTreeSet<String> {
        let mut names: BTreeSet<String> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        if let Some(reference) = schema.get("$ref") {
            names.extend(self.described(self.named(reference)));
        }
        for part in ["allOf", "anyOf"].iter().filter_map(|part| schema[*part].as_array()).flatten() {
            names.extend(self.described(part));
        }
        names
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("{other} is no type"),
    }
}
