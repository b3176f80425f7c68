//! Manifests that documents name by a file, or write themselves.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Call, Failed, Of, object};
use crate::rollback::ObjectRef;

/// The manifest in the file that an argument names, relative to the working directory.
pub(super) fn of_file(path: &str) -> Result<Value, Failed> {
    let failed = |why: String| Failed(format!("{path}: {why}"));
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("it cannot be read: {error}")))?;
    let manifest: Value = match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(|error| failed(format!("it is no JSON: {error}")))?,
        Some("yml" | "yaml") => yaml(&text).map_err(failed)?,
        _ => return Err(failed("a manifest is a file .json, .yml or .yaml".to_owned())),
    };
    is_map(manifest).map_err(failed)
}

/// The manifest in a text of YAML, of which JSON is a part.
pub(super) fn of_text(text: &str) -> Result<Value, Failed> {
    yaml(text).and_then(is_map).map_err(Failed)
}

fn yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| format!("it is no YAML of one document: {error}"))
}

fn is_map(manifest: Value) -> Result<Value, String> {
    if manifest.is_object() { Ok(manifest) } else { Err("it holds no object".to_owned()) }
}

/// The manifest in `spec_path`, and its object: in the namespace that was asked for, and of the kind that the function
/// makes.
pub(super) fn of_call(call: &Call<'_>, of: Of, namespaced: bool) -> Result<(ObjectRef, Value), Failed> {
    let path = call.required("spec_path")?;
    let namespace = namespaced.then(|| call.namespace()).transpose()?;
    named(of, namespace.as_deref(), of_file(&path)?).map_err(|why| Failed(format!("{path}: {why}")))
}

/// What a manifest is to be, if it does not say something else.
pub(super) fn named(of: Of, namespace: Option<&str>, manifest: Value) -> Result<(ObjectRef, Value), Failed> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let Some(name) = text("/metadata/name").filter(|name| !name.is_empty()) else {
        return Err(Failed("the manifest has no metadata.name: give it one, by which it is found again".to_owned()));
    };
    for (pointer, wanted) in [("/kind", Some(of.1)), ("/apiVersion", Some(of.0)), ("/metadata/namespace", namespace)] {
        if let (Some(said), Some(wanted)) = (text(pointer), wanted)
            && said != wanted
        {
            return Err(Failed(format!("the manifest's {} is {said}, but {wanted} is asked for", &pointer[1..])));
        }
    }
    Ok((object(of, namespace, name), manifest))
}

/// Keys as Python's client names them, as the API does: `pod_cidr` is `podCIDR` there.
pub(super) fn camel_keys(map: &Map<String, Value>) -> Map<String, Value> {
    let camel = |key: &String| match key.as_str() {
        "pod_cidr" => "podCIDR".to_owned(),
        "pod_cid_rs" => "podCIDRs".to_owned(),
        "provider_id" => "providerID".to_owned(),
        other => {
            let mut words = other.split('_');
            let first = words.next().unwrap_or_default().to_owned();
            words.fold(first, |name, word| {
                let mut letters = word.chars();
                name + &letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
            })
        }
    };
    map.iter().map(|(key, value)| (camel(key), value.clone())).collect()
}
