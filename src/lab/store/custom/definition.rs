//! Whether a CustomResourceDefinition is valid, and what of it may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::admission::validation::errors::{Errors, Path};
use super::super::admission::validation::{self, names};
use super::{Version, check, list, schema, text};
use crate::lab::resource::CUSTOM_RESOURCE_DEFINITIONS;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

/// The annotation without which groups of the community itself are not to be defined.
const APPROVED: &str = "api-approved.kubernetes.io";

/// Looks for faults in a definition that is filled in.
pub(in crate::lab::store) fn validate(definition: &Value, errors: &mut Errors) {
    let (spec, path) = (&definition["spec"], Path::Root.at("spec"));
    let (group, of_names) = (text(spec, "group"), &spec["names"]);
    let metadata = Path::Root.at("metadata");
    validation::metadata(&CUSTOM_RESOURCE_DEFINITIONS, &definition["metadata"], errors);
    let name = text(&definition["metadata"], "name");
    let is_new = definition["status"]["acceptedNames"]["plural"] == "";
    if is_new && !name.is_empty() && name != format!("{}.{group}", text(of_names, "plural")) {
        errors.invalid_text(&metadata.at("name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
    match group {
        "" => errors.required(&path.at("group"), ""),
        group => {
            let faults = names::subdomain(group);
            if faults.is_empty() && !group.contains('.') {
                errors.invalid_text(&path.at("group"), group, "should be a domain with at least one dot");
            }
            errors.each(&path.at("group"), group, faults);
        }
    }
    match text(spec, "scope") {
        "" => errors.required(&path.at("scope"), ""),
        "Cluster" | "Namespaced" => {}
        other => errors.not_supported(&path.at("scope"), json!(other), &["Cluster", "Namespaced"]),
    }
    if spec["preserveUnknownFields"] == true {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&path.at("preserveUnknownFields"), true, why);
    }
    versions(definition, &path, errors);
    naming(of_names, &path.at("names"), errors);
    if text(&spec["conversion"], "strategy") == "Webhook" {
        let path = path.at("conversion");
        let webhook = &spec["conversion"]["webhook"];
        if webhook["clientConfig"].is_null() {
            errors.required(&path.at("webhookClientConfig"), "required when strategy is set to Webhook");
        }
        if list(webhook, "conversionReviewVersions").is_empty() {
            errors.required(&path.at("conversionReviewVersions"), "");
        }
    }
    let community = [".k8s.io", ".kubernetes.io"].iter().any(|end| group.ends_with(end)) || group == "k8s.io";
    if community && text(&definition["metadata"]["annotations"], APPROVED).is_empty() {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.required(&metadata.at("annotations").key(APPROVED), &why);
    }
}

fn versions(definition: &Value, path: &Path<'_>, errors: &mut Errors) {
    let spec = &definition["spec"];
    let versions = list(spec, "versions");
    let mut known = BTreeSet::new();
    let unique = versions.iter().all(|version| known.insert(text(version, "name")));
    for (index, version) in versions.iter().enumerate() {
        let name = text(version, "name");
        errors.each(&path.at("versions").item(index).at("name"), name, names::label_1035(name));
        if version["schema"]["openAPIV3Schema"].is_null() {
            let path = path.at("versions");
            let path = path.item(index);
            errors.required(&path.at("schema").at("openAPIV3Schema"), "");
        }
    }
    if let Some(first) = versions.first().map(|version| text(version, "name")) {
        errors.each(&path.at("version"), first, names::label_1035(first));
    }
    let storage: Vec<&str> =
        versions.iter().filter(|version| version["storage"] == true).map(|version| text(version, "name")).collect();
    if !unique {
        errors.invalid(&path.at("versions"), shown(spec), "must contain unique version names");
    }
    if storage.len() != 1 {
        errors.invalid(&path.at("versions"), shown(spec), "must have exactly one version marked as storage version");
    }
    stored(definition, &storage, errors);
    // What all versions have in common stands, for the real server, in one place.
    let common = |field: &str| versions.windows(2).all(|pair| pair[0][field] == pair[1][field]);
    for (index, version) in versions.iter().enumerate() {
        let list = path.at("versions");
        let own = list.item(index);
        let (of_schema, outer, inner) =
            (&version["schema"]["openAPIV3Schema"], path.at("validation"), own.at("schema"));
        if of_schema.is_object() && (index == 0 || !common("schema")) {
            let path = if common("schema") { outer } else { inner };
            root(of_schema, &path.at("openAPIV3Schema"), errors);
        }
        if index == 0 || !common("additionalPrinterColumns") {
            let path = if common("additionalPrinterColumns") { path } else { &own };
            columns(version, &path.at("additionalPrinterColumns"), errors);
        }
        if index == 0 || !common("subresources") {
            let path = if common("subresources") { path } else { &own };
            let path = path.at("subresources");
            scale(&version["subresources"]["scale"], &path.at("scale"), errors);
        }
    }
}

fn stored(definition: &Value, storage: &[&str], errors: &mut Errors) {
    let (stored, path) = (list(&definition["status"], "storedVersions"), Path::Root.at("status"));
    let path = path.at("storedVersions");
    match (stored, storage) {
        ([], _) => errors.invalid(&path, "null", "must have at least one stored version"),
        (stored, [.., storage]) if !stored.iter().any(|stored| stored == *storage) => {
            errors.invalid(&path, json!(stored), &format!("must have the storage version {storage}"));
        }
        _ => {}
    }
    let versions = list(&definition["spec"], "versions");
    for (index, stored) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *stored) {
            let name = stored.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid(&path.item(index), stored, &why);
        }
    }
}

/// The versions in the words of their Go structs.
fn shown(spec: &Value) -> String {
    let Some(versions) = spec["versions"].as_array() else { return "null".to_owned() };
    let one = |version: &Value| {
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
            json!(text(version, "name")),
            version["served"] == true,
            version["storage"] == true,
            version["deprecated"] == true
        )
    };
    format!("[{}]", versions.iter().map(one).collect::<Vec<_>>().join(","))
}

fn naming(of_names: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in ["plural", "singular"] {
        match text(of_names, field) {
            "" => errors.required(&path.at(field), ""),
            name => errors.each(&path.at(field), name, names::label_1035(name)),
        }
    }
    for field in ["kind", "listKind"] {
        match text(of_names, field) {
            "" => errors.required(&path.at(field), ""),
            name => {
                for why in names::label_1035(&name.to_lowercase()) {
                    let why = format!("may have mixed case, but should otherwise match: {why}");
                    errors.invalid_text(&path.at(field), name, &why);
                }
            }
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in list(of_names, field).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            errors.each(&path.at(field).item(index), name, names::label_1035(name));
        }
    }
    if !text(of_names, "kind").is_empty() && of_names["kind"] == of_names["listKind"] {
        errors.invalid(&path.at("listKind"), &of_names["listKind"], "kind and listKind may not be the same");
    }
}

fn columns(version: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let path = path.item(index);
        if text(column, "name").is_empty() {
            errors.required(&path.at("name"), "");
        }
        let why = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(column, "type") {
            "" => errors.required(&path.at("type"), &why),
            kind if !COLUMN_TYPES.contains(&kind) => errors.invalid_text(&path.at("type"), kind, &why),
            _ => {}
        }
        simple_path(text(column, "jsonPath"), &path.at("JSONPath"), errors);
    }
}

fn simple_path(json_path: &str, path: &Path<'_>, errors: &mut Errors) {
    if json_path.is_empty() {
        errors.required(path, "");
    } else if !json_path.starts_with('.') {
        errors.invalid_text(path, json_path, "must be a simple json path starting with .");
    }
}

fn scale(scale: &Value, path: &Path<'_>, errors: &mut Errors) {
    if scale.is_null() {
        return;
    }
    for (field, start) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let json_path = text(scale, field);
        simple_path(json_path, &path.at(field), errors);
        if json_path.starts_with('.') && !json_path.starts_with(start) {
            let why = format!("should be a json path under {}", start.trim_end_matches('.'));
            errors.invalid_text(&path.at(field), json_path, &why);
        }
    }
}

fn root(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    match text(schema, "type") {
        "" => errors.required(&path.at("type"), "must not be empty at the root"),
        "object" => {}
        other => errors.invalid_text(&path.at("type"), other, "must be object at the root"),
    }
    if schema["nullable"] == true {
        errors.forbidden(&path.at("nullable"), "nullable cannot be true at the root");
    }
    let metadata = schema["properties"]["metadata"]["properties"].as_object();
    if metadata.is_some_and(|fields| fields.keys().any(|field| !matches!(&**field, "name" | "generateName"))) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&path.at("properties").key("metadata"), why);
    }
    fields(schema, path, true, errors);
}

/// Whether a schema, or a part of one, is structural.
fn fields(of: &Value, path: &Path<'_>, at_root: bool, errors: &mut Errors) {
    let kind = text(of, "type");
    let free = of["x-kubernetes-int-or-string"] == true || of["x-kubernetes-preserve-unknown-fields"] == true;
    match kind {
        "" if !free && !at_root && of["$ref"].is_null() => {
            errors.required(&path.at("type"), "must not be empty for specified object fields")
        }
        "" => {}
        kind if !TYPES.contains(&kind) => errors.not_supported(&path.at("type"), json!(kind), &TYPES),
        _ => {}
    }
    if kind == "array" && !of["items"].is_object() {
        errors.required(&path.at("items"), "must be specified");
    }
    if of["uniqueItems"] == true {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.at("uniqueItems"), why);
    }
    if of["properties"].is_object() && !of["additionalProperties"].is_null() {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&path.at("additionalProperties"), why);
    }
    if !of["$ref"].is_null() {
        errors.forbidden(&path.at("$ref"), "$ref is not supported");
    }
    if let Some(pattern) = of["pattern"].as_str()
        && regex::Regex::new(pattern).is_err()
    {
        let why = format!(
            "must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `{pattern}`"
        );
        errors.invalid_text(&path.at("pattern"), pattern, &why);
    }
    lists(of, path, errors);
    default(of, path, errors);
    for quantor in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in list(of, quantor).iter().enumerate() {
            value_only(inner, &path.at(quantor).item(index), errors);
        }
    }
    if of["not"].is_object() {
        value_only(&of["not"], &path.at("not"), errors);
    }
    for (name, inner) in of["properties"].as_object().into_iter().flatten() {
        let path = path.at("properties");
        let path = path.key(name);
        let implied = at_root && matches!(&**name, "apiVersion" | "kind" | "metadata");
        if !implied {
            fields(inner, &path, false, errors);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if of[inner].is_object() {
            fields(&of[inner], &path.at(inner), false, errors);
        }
    }
}

fn lists(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path_of_type = path.at("x-kubernetes-list-type");
    match of["x-kubernetes-list-type"].as_str() {
        None | Some("atomic" | "set") => {}
        Some("map") => {
            if list(of, "x-kubernetes-list-map-keys").is_empty() {
                let why = "must not be empty if x-kubernetes-list-type is map";
                errors.required(&path.at("x-kubernetes-list-map-keys"), why);
            }
        }
        Some(other) => errors.not_supported(&path_of_type, json!(other), &["atomic", "set", "map"]),
    }
}

fn default(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(default) = of.get("default") else { return };
    let version = Version { schema: json!({"properties": {"": of}}), stored: None, patterns: schema::patterns(of) };
    let mut filled = default.clone();
    schema::fill(of, &mut filled);
    let mut found = Errors::default();
    check::validate(&version, &json!({"": filled}), &mut found);
    errors.take_under(&path.at("default"), found);
}

/// What stands in `allOf` and its like may not say what a structural schema says outside of it.
fn value_only(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in ["type", "title", "description", "default", "additionalProperties", "nullable"] {
        if !of[field].is_null() {
            let why =
                if field == "nullable" { "must be false to be structural" } else { "must be empty to be structural" };
            let int_or_string = field == "type" && matches!(text(of, "type"), "integer" | "string");
            if !int_or_string || !path.to_string().contains("anyOf") {
                errors.forbidden(&path.at(field), why);
            }
        }
    }
    for (name, inner) in of["properties"].as_object().into_iter().flatten() {
        value_only(inner, &path.at("properties").key(name), errors);
    }
}

/// What of a definition cannot change once it is established.
pub(in crate::lab::store) fn validate_update(before: &Value, after: &Value, errors: &mut Errors) {
    let path = Path::Root.at("spec");
    let places = [("group", "/spec/group"), ("scope", "/spec/scope")];
    for (field, pointer) in places {
        if before.pointer(pointer) != after.pointer(pointer) {
            errors.invalid(&path.at(field), json!(after.pointer(pointer)), "field is immutable");
        }
    }
    for field in ["kind", "plural"] {
        let (old, new) = (&before["spec"]["names"][field], &after["spec"]["names"][field]);
        if old != new {
            errors.invalid(&path.at("names").at(field), new, "field is immutable");
        }
    }
}

/// What a user of the lab should know of a definition.
pub(in crate::lab::store) fn warnings(definition: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (index, version) in list(&definition["spec"], "versions").iter().enumerate() {
        if has_rules(&version["schema"]["openAPIV3Schema"]) {
            found.push(format!(
                "spec.versions[{index}].schema.openAPIV3Schema: x-kubernetes-validations are not evaluated by the lab"
            ));
        }
    }
    found
}

fn has_rules(of: &Value) -> bool {
    match of {
        Value::Object(map) => {
            map.get("x-kubernetes-validations").is_some_and(Value::is_array) || map.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
