//! What the API server says of itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Answer, Call, no_such_resource};
use crate::lab::resource::ALL;
use crate::lab::status::Status;

/// The answer, if the path is one of discovery or health.
pub(super) fn answer(parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    if call.method != "GET" {
        return None;
    }
    let found = match parts {
        ["healthz" | "readyz" | "livez"] => Answer::Text("ok".into()),
        ["version"] => Answer::Json(
            200,
            json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4+steadfast-lab", "platform": "lab/memory"}),
        ),
        ["api"] => Answer::Json(200, json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            Answer::Json(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", "v1"] => resources("", "v1"),
        ["apis", name] => match groups().into_iter().find(|(group, _)| group == name) {
            Some(found) => Answer::Json(200, group(found)),
            None => return Some(Err(no_such_resource())),
        },
        ["apis", name, version] if groups().contains(&(*name, *version)) => resources(name, version),
        _ => return None,
    };
    Some(Ok(found))
}

fn groups() -> BTreeSet<(&'static str, &'static str)> {
    let named = ALL.iter().filter(|r| !r.group.is_empty()).map(|r| (r.group, r.version));
    named.chain([("authorization.k8s.io", "v1")]).collect()
}

fn group((name, version): (&str, &str)) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str, version: &str) -> Answer {
    const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut list: Vec<Value> = ALL
        .iter()
        .filter(|r| r.group == group && r.version == version)
        .map(|r| {
            let singular = r.kind.to_lowercase();
            json!({"name": r.plural, "singularName": singular, "namespaced": r.namespaced, "kind": r.kind, "verbs": VERBS})
        })
        .collect();
    if group == "authorization.k8s.io" {
        list.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
            "kind": "SelfSubjectAccessReview", "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list});
    Answer::Json(200, list)
}
