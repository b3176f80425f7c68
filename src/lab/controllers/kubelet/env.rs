//! The environment of a container.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use serde_json::Value;

use crate::lab::fabric::NODE;
use crate::lab::resource::{CONFIG_MAPS, Resource, SECRETS, SERVICES};
use crate::lab::store::Store;

/// Variables by name.
pub(super) type Environment = BTreeMap<String, String>;

/// The variables of a container; an error in the words of the kubelet.
pub(super) fn resolve(store: &Store, pod: &Value, container: &Value, ip: Ipv4Addr) -> Result<Environment, String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut found = Environment::new();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let hostname = pod["spec"]["hostname"].as_str().or_else(|| pod["metadata"]["name"].as_str()).unwrap_or_default();
    found.insert("PATH".into(), path.into());
    found.insert("HOSTNAME".into(), hostname.into());
    found.extend(service_links(store, namespace, pod["spec"]["enableServiceLinks"] != false));
    for from in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = from["prefix"].as_str().unwrap_or_default();
        for (field, resource) in [("configMapRef", &CONFIG_MAPS), ("secretRef", &SECRETS)] {
            let reference = &from[field];
            if reference.is_null() {
                continue;
            }
            if let Some(data) = data(store, resource, namespace, reference)? {
                found.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
            }
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let from = &variable["valueFrom"];
        let value = if from.is_null() {
            Some(expand(variable["value"].as_str().unwrap_or_default(), &found))
        } else if !from["configMapKeyRef"].is_null() {
            key(store, &CONFIG_MAPS, namespace, &from["configMapKeyRef"])?
        } else if !from["secretKeyRef"].is_null() {
            key(store, &SECRETS, namespace, &from["secretKeyRef"])?
        } else if !from["fieldRef"].is_null() {
            field(pod, from["fieldRef"]["fieldPath"].as_str().unwrap_or_default(), ip)
        } else {
            // Of resources the lab knows no more than what is asked for.
            Some("0".to_owned())
        };
        if let Some(value) = value {
            found.insert(name, value);
        }
    }
    Ok(found)
}

/// Puts variables in the place of `$(NAME)`; `$$` is a dollar, an unknown name stays.
pub(super) fn expand(text: &str, variables: &Environment) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

/// The data of a ConfigMap or Secret; `None` where it may be missing and is.
fn data(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    reference: &Value,
) -> Result<Option<Environment>, String> {
    let name = reference["name"].as_str().unwrap_or_default();
    let Some(object) = store.find(resource, namespace, name) else {
        let missing = format!("{} {name:?} not found", resource.singular());
        return if reference["optional"] == true { Ok(None) } else { Err(missing) };
    };
    let entries = object["data"].as_object().into_iter().flatten();
    let texts = entries.filter_map(|(key, value)| {
        let value = value.as_str()?;
        Some((key.clone(), if resource.is(&SECRETS) { decode(value) } else { value.to_owned() }))
    });
    Ok(Some(texts.collect()))
}

fn key(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    reference: &Value,
) -> Result<Option<String>, String> {
    let (name, key) = (reference["name"].as_str().unwrap_or_default(), reference["key"].as_str().unwrap_or_default());
    let Some(mut data) = data(store, resource, namespace, reference)? else { return Ok(None) };
    match data.remove(key) {
        Some(value) => Ok(Some(value)),
        None if reference["optional"] == true => Ok(None),
        None => Err(format!("couldn't find key {key} in {} {namespace}/{name}", resource.kind)),
    }
}

fn field(pod: &Value, path: &str, ip: Ipv4Addr) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subscript = |field: &str| path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Some(text(&pod["metadata"]["labels"][key]));
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Some(text(&pod["metadata"]["annotations"][key]));
    }
    match path {
        "status.podIP" | "status.podIPs" => Some(ip.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(NODE.to_string()),
        "spec.serviceAccountName" => Some(pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned()),
        path => pod.pointer(&format!("/{}", path.replace('.', "/"))).map(text),
    }
}

/// `FRONT_SERVICE_HOST` and its like, for the services that are there.
fn service_links(store: &Store, namespace: &str, all: bool) -> Environment {
    let mut links = Environment::new();
    links.insert("KUBERNETES_SERVICE_HOST".into(), "10.96.0.1".into());
    links.insert("KUBERNETES_SERVICE_PORT".into(), "443".into());
    if !all {
        return links;
    }
    for service in store.list(&SERVICES, Some(namespace)).0 {
        let Some(ip) = service["spec"]["clusterIP"].as_str().filter(|ip| ip.parse::<Ipv4Addr>().is_ok()) else {
            continue;
        };
        let screaming = |name: &str| name.to_uppercase().replace(['-', '.'], "_");
        let name = screaming(service["metadata"]["name"].as_str().unwrap_or_default());
        links.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        for (index, port) in service["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
            let number = port["port"].to_string();
            if index == 0 {
                links.insert(format!("{name}_SERVICE_PORT"), number.clone());
            }
            if let Some(port) = port["name"].as_str() {
                links.insert(format!("{name}_SERVICE_PORT_{}", screaming(port)), number);
            }
        }
    }
    links
}

/// Go minds no bits that are left over in the last letter.
const GO: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Base 64, as Secrets have it, with line ends as Go reads them; what is no text is replaced.
fn decode(text: &str) -> String {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    String::from_utf8_lossy(&GO.decode(digits).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_decoded() {
        for (encoded, plain) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("aGVsbG8gdw==", "hello w")]
        {
            assert_eq!(decode(encoded), plain);
        }
    }

    #[test]
    fn variables_are_put_in_their_places() {
        let variables = Environment::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("$(A)-$(B)-$$(A)-$x", &variables), "1-$(B)-$(A)-$x");
        assert_eq!(expand("$(A", &variables), "$(A");
    }
}
