//! Which objects of a kind a request means: label and field selectors.

use serde_json::Value;

use super::Call;
use crate::kubernetes::Selector;
use crate::lab::resource::{EVENTS, JOBS, NAMESPACES, NODES, PODS, REPLICA_SETS, Resource, SECRETS, SERVICES};
use crate::lab::status::Status;

/// What both selectors of a request take.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    labels: Selector,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    equal: bool,
    value: String,
}

impl Filter {
    pub(super) fn of(resource: &Resource, call: &Call) -> Result<Self, Status> {
        let labels = call.get("labelSelector").unwrap_or_default().parse::<Selector>();
        let labels = labels.map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let mut fields = Vec::new();
        for piece in pieces(call.get("fieldSelector").unwrap_or_default()) {
            let split = [("!=", false), ("==", true), ("=", true)];
            let found = split.into_iter().filter_map(|(sign, equal)| Some((piece.find(sign)?, sign, equal)));
            // The first sign; of two at one place the longer.
            let first = found.min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()));
            let Some((at, sign, equal)) = first else {
                let whole = call.get("fieldSelector").unwrap_or_default();
                return Err(Status::bad_request(format!("invalid selector: '{whole}'; can't understand '{piece}'")));
            };
            let name = piece[..at].to_owned();
            known(resource, &name)?;
            fields.push(Field { name, equal, value: unescape(&piece[at + sign.len()..]) });
        }
        Ok(Self { labels, fields })
    }

    /// Whether it takes everything.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels == Selector::default()
    }

    /// Whether it takes the object. What is no text in the object counts as its JSON, what is absent as empty.
    pub(super) fn takes(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"])
            && self.fields.iter().all(|field| (value(object, &field.name) == field.value) == field.equal)
    }
}

/// The pieces between commas that no backslash escapes.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if letter == ',' && !escaped {
            pieces.push(&text[start..at]);
            start = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    pieces.push(&text[start..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

/// The fields of each kind beside name and namespace, and how the real server words its refusal of another one.
fn fields(resource: &Resource) -> &'static [&'static str] {
    if resource.is(&PODS) {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    } else if resource.is(&EVENTS) {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    } else if resource.is(&NAMESPACES) {
        &["status.phase"]
    } else if resource.is(&NODES) {
        &["spec.unschedulable"]
    } else if resource.is(&SECRETS) {
        &["type"]
    } else if resource.is(&SERVICES) {
        &["spec.clusterIP", "spec.type"]
    } else if resource.is(&JOBS) {
        &["status.successful"]
    } else if resource.is(&REPLICA_SETS) {
        &["status.replicas"]
    } else {
        &[]
    }
}

fn known(resource: &Resource, name: &str) -> Result<(), Status> {
    let of_kind = fields(resource);
    if ["metadata.name", "metadata.namespace"].contains(&name) || of_kind.contains(&name) {
        return Ok(());
    }
    Err(Status::bad_request(if resource.is(&JOBS) {
        format!("field label {name:?} not supported for Job")
    } else if of_kind.is_empty() || resource.is(&REPLICA_SETS) {
        format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {name}")
    }))
}

fn value(object: &Value, name: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match name {
        // These are never absent in the real server's own form of an object.
        "spec.unschedulable" | "spec.hostNetwork" => {
            object["spec"][&name[5..]].as_bool().unwrap_or_default().to_string()
        }
        "status.successful" => object["status"]["succeeded"].as_u64().unwrap_or(0).to_string(),
        "status.replicas" => object["status"]["replicas"].as_u64().unwrap_or(0).to_string(),
        "source" | "reportingComponent" => {
            let (source, reporting) = (text(&object["source"]["component"]), text(&object["reportingComponent"]));
            let (first, second) = if name == "source" { (source, reporting) } else { (reporting, source) };
            if first.is_empty() { second } else { first }
        }
        "status.podIPs" => text(&object["status"]["podIP"]),
        name => name.split('.').try_fold(object, |at, key| at.get(key)).map(text).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use hyper::body::Bytes;
    use serde_json::json;

    use super::*;
    use crate::lab::resource::{CONFIG_MAPS, LEASES};

    fn filter(resource: &Resource, selector: &str) -> Result<Filter, Status> {
        let uri = http::Uri::builder().path_and_query("/").build().unwrap();
        let mut call = Call::new(Method::GET, &uri, HeaderMap::new(), Bytes::new());
        call.query.push(("fieldSelector".to_owned(), selector.to_owned()));
        Filter::of(resource, &call)
    }

    #[test]
    fn fields_are_compared_as_text() {
        let pod = json!({
            "metadata": {"name": "a,b"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        for (selector, takes) in [
            ("metadata.name=a\\,b", true),
            ("metadata.name==a\\,b,status.phase!=Failed", true),
            ("spec.nodeName=n,status.podIP=10.0.0.1", true),
            ("spec.nodeName=", false),
            ("status.nominatedNodeName=", true),
            ("spec.hostNetwork=false", true),
            ("status.phase!=Running", false),
        ] {
            assert_eq!(filter(&PODS, selector).unwrap().takes(&pod), takes, "{selector}");
        }
        let event = json!({"involvedObject": {"name": "p"}, "source": {"component": "kubelet"}});
        assert!(filter(&EVENTS, "involvedObject.name=p,reportingComponent=kubelet").unwrap().takes(&event));
        assert!(filter(&JOBS, "status.successful=0").unwrap().takes(&json!({})));
    }

    #[test]
    fn unknown_fields_are_refused_in_the_words_of_their_kind() {
        let refused = |resource: &Resource, selector: &str| filter(resource, selector).unwrap_err().message;
        assert_eq!(refused(&PODS, "spec.color=x"), "field label not supported: spec.color");
        assert_eq!(refused(&JOBS, "x=x"), "field label \"x\" not supported for Job");
        for kind in [&CONFIG_MAPS, &LEASES, &REPLICA_SETS] {
            let only = r#""x" is not a known field selector: only "metadata.name", "metadata.namespace""#;
            assert_eq!(refused(kind, "x=x"), only);
        }
        assert_eq!(refused(&PODS, "a"), "invalid selector: 'a'; can't understand 'a'");
    }
}
