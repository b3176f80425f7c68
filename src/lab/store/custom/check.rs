//! Whether an object fits its schema, in the words of the real server.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::admission::validation::errors::{Errors, Path};
use super::super::admission::validation::names;
use super::Version;

/// Looks for faults of an object.
pub(in crate::lab::store) fn validate(version: &Version, object: &Value, errors: &mut Errors) {
    // What every object has is checked elsewhere.
    let mut rest = object.clone();
    if let Some(rest) = rest.as_object_mut() {
        rest.retain(|key, _| !matches!(&**key, "apiVersion" | "kind" | "metadata"));
    }
    Checker { version }.check(&version.schema, &rest, &Path::Root, errors);
}

struct Checker<'a> {
    version: &'a Version,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, path: &Path<'_>, errors: &mut Errors) {
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if !self.is_of_type(schema, value, path, errors) {
            return;
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            let known: Vec<String> =
                known.iter().map(|known| known.as_str().map_or(known.to_string(), str::to_owned)).collect();
            errors.not_supported(path, value, &known.iter().map(String::as_str).collect::<Vec<_>>());
        }
        match value {
            Value::Number(number) => self::number(schema, number.as_f64().unwrap_or_default(), value, path, errors),
            Value::String(text) => self.text(schema, text, path, errors),
            Value::Array(items) => self.items(schema, items, path, errors),
            Value::Object(_) => self.fields(schema, value, path, errors),
            _ => {}
        }
        self.combined(schema, value, path, errors);
    }

    fn is_of_type(&self, schema: &Value, value: &Value, path: &Path<'_>, errors: &mut Errors) -> bool {
        let found = kind(value);
        let wanted = match schema["type"].as_str() {
            _ if schema["x-kubernetes-int-or-string"] == true => "integer,string",
            Some(wanted) => wanted,
            None => return true,
        };
        let fits = wanted.split(',').any(|wanted| wanted == found || (wanted == "number" && found == "integer"));
        if !fits {
            let message = format!("Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}");
            errors.add("FieldValueTypeInvalid", path, message);
        }
        fits
    }

    fn text(&self, schema: &Value, text: &str, path: &Path<'_>, errors: &mut Errors) {
        let length = text.chars().count() as u64;
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            errors.add("FieldValueTooLong", path, format!("Too long: may not be more than {most} bytes"));
        }
        if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            errors.invalid_text(path, text, &format!("{path} in body should be at least {least} chars long"));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self.version.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            errors.invalid_text(path, text, &format!("{path} in body should match '{pattern}'"));
        }
        if let Some(format) = schema["format"].as_str()
            && !has_format(format, text)
        {
            let shown = json!(text);
            let message = format!("Invalid value: {shown}: {path} in body must be of type {format}: {shown}");
            errors.add("FieldValueTypeInvalid", path, message);
        }
    }

    fn items(&self, schema: &Value, items: &[Value], path: &Path<'_>, errors: &mut Errors) {
        let count = items.len() as u64;
        if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
            errors.invalid(path, count, &format!("{path} in body should have at least {least} items"));
        }
        too_many(&schema["maxItems"], count, path, errors);
        for (index, item) in items.iter().enumerate() {
            self.check(&schema["items"], item, &path.item(index), errors);
        }
        let keys: Vec<&str> = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Vec::new(),
            Some("map") => list(&schema["x-kubernetes-list-map-keys"]),
            _ => return,
        };
        let mut known = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = if keys.is_empty() {
                item.clone()
            } else {
                keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone()))).collect()
            };
            if !known.insert(key.to_string()) {
                errors.duplicate(&path.item(index), key);
            }
        }
    }

    fn fields(&self, schema: &Value, value: &Value, path: &Path<'_>, errors: &mut Errors) {
        let Some(map) = value.as_object() else { return };
        for name in list(&schema["required"]) {
            if !map.contains_key(name) {
                errors.required(&path.at(name), "");
            }
        }
        if schema["x-kubernetes-embedded-resource"] == true {
            for name in ["apiVersion", "kind"] {
                if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                    errors.required(&path.at(name), "");
                }
            }
        }
        let count = map.len() as u64;
        if let Some(least) = schema["minProperties"].as_u64().filter(|least| count < *least) {
            errors.invalid(path, count, &format!("{path} in body should have at least {least} properties"));
        }
        too_many(&schema["maxProperties"], count, path, errors);
        for (name, inner) in map {
            if let Some(known) = schema["properties"].get(name) {
                self.check(known, inner, &path.at(name), errors);
            } else if schema["additionalProperties"].is_object() {
                self.check(&schema["additionalProperties"], inner, &path.at(name), errors);
            }
        }
    }

    fn combined(&self, schema: &Value, value: &Value, path: &Path<'_>, errors: &mut Errors) {
        // The real server gives these no place.
        let say = |errors: &mut Errors, what: &str| {
            errors.add("FieldValueInvalid", "<nil>", format!("Invalid value: \"\": \"{path}\" {what}"));
        };
        let fits = |schema: &Value| {
            let mut inner = Errors::default();
            self.check(schema, value, path, &mut inner);
            inner.is_empty()
        };
        if let Some(any) = schema["anyOf"].as_array()
            && !any.iter().any(fits)
        {
            say(errors, "must validate at least one schema (anyOf)");
            if let Some(first) = any.first() {
                self.check(first, value, path, errors);
            }
        }
        if let Some(one) = schema["oneOf"].as_array() {
            match one.iter().filter(|schema| fits(schema)).count() {
                1 => {}
                0 => {
                    say(errors, "must validate one and only one schema (oneOf). Found none valid");
                    if let Some(first) = one.first() {
                        self.check(first, value, path, errors);
                    }
                }
                several => {
                    let what =
                        format!("must validate one and only one schema (oneOf). Found {several} valid alternatives");
                    say(errors, &what);
                }
            }
        }
        if let Some(all) = schema["allOf"].as_array() {
            let mut failed = false;
            for schema in all.iter().filter(|schema| !fits(schema)) {
                self.check(schema, value, path, errors);
                failed = true;
            }
            if failed {
                say(errors, "must validate all the schemas (allOf)");
            }
        }
        if schema["not"].is_object() && fits(&schema["not"]) {
            say(errors, "must not validate the schema (not)");
        }
    }
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn too_many(most: &Value, count: u64, path: &Path<'_>, errors: &mut Errors) {
    if let Some(most) = most.as_u64().filter(|most| count > *most) {
        errors.add("FieldValueTooMany", path, format!("Too many: {count}: must have at most {most} items"));
    }
}

fn number(schema: &Value, number: f64, shown: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(step) = schema["multipleOf"].as_f64().filter(|step| *step > 0.0) {
        let times = number / step;
        if (times - times.round()).abs() > 1e-9 {
            let why = format!("{path} in body should be a multiple of {}", schema["multipleOf"]);
            errors.invalid(path, shown, &why);
        }
    }
    for (bound, exclusive, side) in
        [("minimum", "exclusiveMinimum", "greater than"), ("maximum", "exclusiveMaximum", "less than")]
    {
        let Some(limit) = schema[bound].as_f64() else { continue };
        let exclusive = schema[exclusive] == true;
        let over = if bound == "minimum" { number - limit } else { limit - number };
        if over < 0.0 || (exclusive && over <= 0.0) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            let why = format!("{path} in body should be {side}{or_equal} {}", schema[bound]);
            errors.invalid(path, shown, &why);
        }
    }
}

/// Whether a text has a format; of formats that nobody knows every text has them.
fn has_format(format: &str, text: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match format {
        "date-time" => text.parse::<Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(ip, length)| {
            let most = if ip.parse::<Ipv4Addr>().is_ok() { 32 } else { 128 };
            (most == 32 || ip.parse::<Ipv6Addr>().is_ok()) && length.parse::<u8>().is_ok_and(|length| length <= most)
        }),
        "mac" => text.split([':', '-']).count() == 6 && text.split([':', '-']).all(|part| part.len() == 2 && hex(part)),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && text.split('-').all(hex)
        }
        "hostname" => names::subdomain(&text.to_lowercase()).is_empty(),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "uri" => {
            text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
                || text.starts_with('/')
        }
        "byte" => {
            let digits = text.trim_end_matches('=');
            text.len().is_multiple_of(4)
                && text.len() - digits.len() <= 2
                && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        }
        _ => true,
    }
}

/// `1h30m`, `1.5s`, and as the real server also takes it `3 days`.
fn is_duration(text: &str) -> bool {
    let units = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"];
    let words = ["second", "minute", "hour", "day", "week", "millisecond", "microsecond", "nanosecond"];
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if end == 0 {
            return false;
        }
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
        let unit = &rest[..end];
        if !units.contains(&unit) && !words.contains(&unit.strip_suffix('s').unwrap_or(unit)) {
            return false;
        }
        rest = rest[end..].trim_start();
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Version, schema};
    use super::{Errors, has_format, validate};
    use crate::lab::resource::CONFIG_MAPS;

    fn faults(schema: Value, object: Value) -> Vec<String> {
        let patterns = schema::patterns(&schema);
        let version = Version { schema, stored: None, patterns };
        let mut errors = Errors::default();
        validate(&version, &object, &mut errors);
        let Err(status) = errors.finish(&CONFIG_MAPS, "x") else { return Vec::new() };
        let causes = status.details.unwrap()["causes"].as_array().unwrap().clone();
        causes.iter().map(|c| format!("{}: {}", c["field"].as_str().unwrap(), c["message"].as_str().unwrap())).collect()
    }

    fn of(property: Value, value: Value) -> Vec<String> {
        let spec = json!({"type": "object", "properties": {"x": property}});
        faults(json!({"type": "object", "properties": {"spec": spec}}), json!({"spec": {"x": value}}))
    }

    #[test]
    fn faults_are_told_in_the_words_of_the_server() {
        let cases = [
            (
                json!({"type": "integer"}),
                json!("a"),
                "Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
            ),
            (
                json!({"type": "integer"}),
                json!(1.5),
                "Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
            ),
            (
                json!({"type": "integer", "minimum": 1}),
                json!(0),
                "Invalid value: 0: spec.x in body should be greater than or equal to 1",
            ),
            (
                json!({"type": "integer", "maximum": 10}),
                json!(11),
                "Invalid value: 11: spec.x in body should be less than or equal to 10",
            ),
            (
                json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}),
                json!(0),
                "Invalid value: 0: spec.x in body should be greater than 0",
            ),
            (
                json!({"type": "number", "multipleOf": 0.5}),
                json!(0.7),
                "Invalid value: 0.7: spec.x in body should be a multiple of 0.5",
            ),
            (
                json!({"type": "string", "enum": ["red", "blue"]}),
                json!("green"),
                "Unsupported value: \"green\": supported values: \"red\", \"blue\"",
            ),
            (
                json!({"type": "string", "minLength": 2}),
                json!("a"),
                "Invalid value: \"a\": spec.x in body should be at least 2 chars long",
            ),
            (json!({"type": "string", "maxLength": 1}), json!("ab"), "Too long: may not be more than 1 bytes"),
            (
                json!({"type": "string", "pattern": "^[a-z]+$"}),
                json!("A"),
                "Invalid value: \"A\": spec.x in body should match '^[a-z]+$'",
            ),
            (
                json!({"type": "string", "format": "ipv4"}),
                json!("x"),
                "Invalid value: \"x\": spec.x in body must be of type ipv4: \"x\"",
            ),
            (
                json!({"type": "array", "minItems": 1}),
                json!([]),
                "Invalid value: 0: spec.x in body should have at least 1 items",
            ),
            (json!({"type": "array", "maxItems": 1}), json!([1, 2]), "Too many: 2: must have at most 1 items"),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                "Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
            ),
        ];
        for (schema, value, wanted) in cases {
            assert_eq!(of(schema, value), [format!("spec.x: {wanted}")]);
        }
        for (schema, value) in [
            (json!({"type": "number"}), json!(1)),
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"x-kubernetes-int-or-string": true}), json!("80%")),
            (json!({"type": "string", "nullable": true}), Value::Null),
        ] {
            assert_eq!(of(schema, value), Vec::<String>::new());
        }
    }

    #[test]
    fn lists_may_be_sets_and_maps() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
        assert_eq!(of(set, json!(["a", "b", "a"])), ["spec.x[2]: Duplicate value: \"a\""]);
        let map = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]});
        let twice = json!([{"n": "a", "v": 1}, {"n": "a", "v": 2}]);
        assert_eq!(of(map, twice), ["spec.x[1]: Duplicate value: {\"n\":\"a\"}"]);
    }

    #[test]
    fn combinations_are_told_without_a_place() {
        let either = json!([{"required": ["a"]}, {"required": ["b"]}]);
        let one = of(json!({"type": "object", "oneOf": either}), json!({"a": 1, "b": 2}));
        assert_eq!(
            one,
            [
                "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
            ]
        );
        let any = of(json!({"type": "object", "anyOf": either}), json!({}));
        let wanted = [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x.a: Required value",
        ];
        assert_eq!(any, wanted);
        let not = of(json!({"type": "object", "not": {"required": ["a"]}}), json!({"a": 1}));
        assert_eq!(not, ["<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)"]);
    }

    #[test]
    fn formats_are_known() {
        for (format, good, bad) in [
            ("date-time", "2026-01-02T03:04:05Z", "soon"),
            ("date", "2026-01-02", "2026-13-01"),
            ("duration", "1h30m", "x"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("byte", "eA==", "e"),
            ("unheard-of", "anything", ""),
        ] {
            assert!(has_format(format, good), "{format} {good}");
            assert!(bad.is_empty() || !has_format(format, bad), "{format} {bad}");
        }
    }
}
