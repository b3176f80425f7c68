//! The columns and rows of custom objects, as their definition asks.

use serde_json::{Map, Value, json};

use super::age::since;
use super::{Cells, list, name, text};
use crate::clock::Timestamp;

/// A column that a CustomResourceDefinition declares.
pub(super) struct Printed {
    /// What the table says of it.
    pub(super) definition: Value,
    kind: String,
    path: Option<serde_json_path::JsonPath>,
}

/// The columns after the name: those declared for this version, else the age.
pub(super) fn columns(definition: Option<&Value>, version: &str) -> Vec<Printed> {
    let versions = definition.map_or(&[][..], |definition| list(&definition["spec"]["versions"]));
    let version = versions.iter().find(|known| known["name"] == version);
    let declared = version.map_or(&[][..], |version| list(&version["additionalPrinterColumns"]));
    if declared.is_empty() {
        return vec![printed(&json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}))];
    }
    declared.iter().map(printed).collect()
}

fn printed(column: &Value) -> Printed {
    let path = text(&column["jsonPath"]);
    let description = match text(&column["description"]) {
        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
        stated => stated.to_owned(),
    };
    let definition = json!({
        "name": text(&column["name"]), "type": text(&column["type"]), "format": text(&column["format"]),
        "description": description, "priority": column["priority"].as_i64().unwrap_or(0),
    });
    let path = serde_json_path::JsonPath::parse(&standard(path)).ok();
    Printed { definition, kind: text(&column["type"]).to_owned(), path }
}

/// A path as definitions write it, `.status.conditions[?(@.type=="Ready")].status`, in the standard's form: from `$`,
/// and each name in brackets, since the standard takes no hyphen in a bare one.
fn standard(path: &str) -> String {
    let mut out = String::from("$");
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while let Some(first) = rest.chars().next() {
        match first {
            '[' => {
                // A filter may hold brackets and quoted text of its own.
                let (mut depth, mut quote, mut end) = (0_u32, None, rest.len());
                for (index, c) in rest.char_indices() {
                    match (quote, c) {
                        (Some(open), c) if c == open => quote = None,
                        (Some(_), _) => {}
                        (None, '\'' | '"') => quote = Some(c),
                        (None, '[') => depth += 1,
                        (None, ']') => {
                            depth -= 1;
                            if depth == 0 {
                                end = index + 1;
                                break;
                            }
                        }
                        (None, _) => {}
                    }
                }
                out.push_str(&rest[..end].replace("\\.", "."));
                rest = &rest[end..];
            }
            '.' if rest.starts_with("..") => {
                out.push_str("..");
                rest = &rest[2..];
                let name: String = rest.chars().take_while(|c| !matches!(c, '.' | '[')).collect();
                out.push_str(&format!("[{}]", json!(name)));
                rest = &rest[name.len()..];
            }
            '.' => {
                rest = &rest[1..];
                let (mut name, mut escaped, mut end) = (String::new(), false, rest.len());
                for (index, c) in rest.char_indices() {
                    match c {
                        _ if escaped => {
                            name.push(c);
                            escaped = false;
                        }
                        '\\' => escaped = true,
                        '.' | '[' => {
                            end = index;
                            break;
                        }
                        c => name.push(c),
                    }
                }
                rest = &rest[end..];
                match name.as_str() {
                    "" => {}
                    "*" => out.push_str("[*]"),
                    name => out.push_str(&format!("[{}]", json!(name))),
                }
            }
            // A first name without its dot.
            _ => return standard(&format!(".{rest}")),
        }
    }
    out
}

pub(super) fn cells(columns: &[Printed], object: &Value, now: Timestamp) -> Cells {
    let cell = |column: &Printed| {
        let found = column.path.as_ref().and_then(|path| path.query(object).first());
        found.map_or(Value::Null, |value| shown(&column.kind, value, now))
    };
    std::iter::once(name(object)).chain(columns.iter().map(cell)).collect()
}

/// A value as a cell of the declared type; `null` where it is of another.
fn shown(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::String(text)) => json!(text),
        ("string", Value::Null) => json!("<nil>"),
        ("string", other) => json!(other.to_string()),
        #[expect(clippy::cast_possible_truncation, reason = "the real server cuts a fraction, too")]
        ("integer", Value::Number(number)) => json!(number.as_i64().or(number.as_f64().map(|float| float as i64))),
        ("number", Value::Number(number)) => json!(number),
        ("boolean", Value::Bool(flag)) => json!(flag),
        ("date", Value::String(_)) => json!(since(value, now)),
        _ => Value::Null,
    }
}

/// The definition of a column that is not declared by anybody: the name.
pub(super) fn name_column() -> Value {
    let mut column = Map::new();
    for (field, value) in [("name", json!("Name")), ("type", json!("string")), ("format", json!("name"))] {
        column.insert(field.to_owned(), value);
    }
    column.insert("description".to_owned(), json!(super::describe("Name")));
    column.insert("priority".to_owned(), json!(0));
    Value::Object(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_definitions_become_standard_ones() {
        for (path, same) in [
            (".spec.replicas", r#"$["spec"]["replicas"]"#),
            ("{.spec.my-field}", r#"$["spec"]["my-field"]"#),
            (r".metadata.labels.example\.com/name", r#"$["metadata"]["labels"]["example.com/name"]"#),
            (".spec.list[0].a", r#"$["spec"]["list"][0]["a"]"#),
            (".spec.list[*]", r#"$["spec"]["list"][*]"#),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                r#"$["status"]["conditions"][?(@.type=="Ready")]["status"]"#,
            ),
            (".metadata.annotations['a.b/c']", r#"$["metadata"]["annotations"]['a.b/c']"#),
        ] {
            assert_eq!(standard(path), same);
            assert!(serde_json_path::JsonPath::parse(same).is_ok(), "{same}");
        }
    }

    #[test]
    fn cells_keep_their_declared_type() {
        let definition = json!({"spec": {"versions": [{"name": "v1", "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
            {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
            {"name": "Map", "type": "string", "jsonPath": ".spec.map"},
            {"name": "Since", "type": "date", "jsonPath": ".spec.since"},
            {"name": "Wrong", "type": "integer", "jsonPath": ".spec.colour"},
        ]}]}});
        let object = json!({"metadata": {"name": "x"},
            "spec": {"size": 3, "colour": "red", "on": false, "map": {"a": 1}, "since": "1970-01-01T00:00:10Z"},
            "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        let columns = columns(Some(&definition), "v1");
        let now = Timestamp::from_second(15).expect("a valid instant");
        assert_eq!(
            cells(&columns, &object, now),
            [
                json!("x"),
                json!(3),
                json!("red"),
                json!("True"),
                json!(false),
                json!("{\"a\":1}"),
                json!("5s"),
                Value::Null,
            ]
        );
        assert_eq!(columns[1].definition["priority"], 1);
    }

    #[test]
    fn without_declared_columns_the_age_is_shown() {
        let columns = columns(None, "v1");
        assert_eq!(columns[0].definition["name"], "Age");
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z"}});
        let now = Timestamp::from_second(15).expect("a valid instant");
        assert_eq!(cells(&columns, &object, now), [json!("x"), json!("15s")]);
    }
}
