//! What the API server says of itself: its version, its health, and the kinds that it serves.
//!
//! Clients read this before all else: `kubectl` turns `deploy` into a path with it. Kinds come from the store, so a
//! custom kind is listed from when its definition is established until it is deleted.

use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use super::{Answer, ApiBody, ApiService, Call, full, negotiate, no_such_resource};
use crate::lab::resource::Resource;
use crate::lab::status::Status;

/// The groups in the order in which the real server lists them; others, those of custom kinds, follow by name.
const ORDER: [&str; 13] = [
    "",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
];

/// What is only ever created, to be answered: group, version, plural, kind, namespaced?
const REVIEWS: [(&str, &str, &str, &str, bool); 6] = [
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", false),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", false),
];

/// What the health endpoints report of, each by its own path too.
const PARTS: [&str; 2] = ["ping", "log"];

/// The answer, if the path is one of discovery or health.
pub(super) fn answer(api: &ApiService, parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    if call.method != "GET" {
        return None;
    }
    Some(match parts {
        ["healthz" | "livez" | "readyz", ..] => health(parts, call),
        ["version"] => json_only(call, version()),
        [] => json_only(call, paths(&api.groups())),
        ["api"] | ["apis"] if aggregated(call) => Ok(Answer::Whole(Box::new(api.aggregated(parts[0], call)))),
        ["api"] => shown(call, core_versions(call)),
        ["apis"] => {
            let groups: Vec<Value> = api.groups().iter().filter(|g| !g.name.is_empty()).map(Group::listed).collect();
            shown(call, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => match api.groups().iter().find(|group| group.name == *name) {
            Some(group) if !name.is_empty() => {
                let mut body = group.listed();
                body["kind"] = json!("APIGroup");
                body["apiVersion"] = json!("v1");
                shown(call, body)
            }
            _ => Ok(Answer::Whole(Box::new(no_page()))),
        },
        ["api", version] => api.resources("", version).and_then(|body| shown(call, body)),
        ["apis", name, version] if api.groups().iter().any(|group| group.name == *name) => {
            api.resources(name, version).and_then(|body| shown(call, body))
        }
        _ => return None,
    })
}

/// Whether there is anything below this path at all; if not, the real server's answer is not a `Status`.
pub(super) fn known(api: &ApiService, parts: &[&str]) -> bool {
    match parts {
        ["api", ..] => true,
        ["apis", name, ..] => api.groups().iter().any(|group| group.name == *name),
        _ => false,
    }
}

/// `404 page not found`, the answer where no API is.
pub(super) fn no_page() -> Response<ApiBody> {
    plain(404, "404 page not found\n".to_owned())
}

fn plain(code: u16, text: String) -> Response<ApiBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn shown(call: &Call, body: Value) -> Result<Answer, Status> {
    negotiate::acceptable(call).map(|()| Answer::Json(200, body))
}

/// For what the real server writes as JSON alone.
fn json_only(call: &Call, body: Value) -> Result<Answer, Status> {
    let encoding = negotiate::encoding(call);
    if negotiate::acceptable(call).is_err() || encoding.yaml {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json";
        return Err(Status { details: Some(json!({})), ..Status::new(406, "NotAcceptable", message) });
    }
    Ok(Answer::Json(200, body))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "emulationMajor": "1", "emulationMinor": "34",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
        "gitVersion": "v1.34.4+steadfast-lab", "gitCommit": "steadfast-lab", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24.0", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// `ok`, or with `?verbose` a line for each part. A part has a path of its own, and `?exclude=` leaves one out.
fn health(parts: &[&str], call: &Call) -> Result<Answer, Status> {
    let found = match parts {
        [_] => true,
        [_, part] => PARTS.contains(part),
        _ => false,
    };
    if !found {
        return Ok(Answer::Whole(Box::new(no_page())));
    }
    let asked = |name: &str| call.query.iter().any(|(key, _)| key == name);
    if parts.len() > 1 || !asked("verbose") {
        return Ok(Answer::Whole(Box::new(plain(200, "ok".to_owned()))));
    }
    let excluded = |part: &str| call.query.iter().any(|(key, value)| key == "exclude" && value == part);
    let lines: String = PARTS
        .iter()
        .map(|part| match excluded(part) {
            true => format!("[+]{part} excluded: ok\n"),
            false => format!("[+]{part} ok\n"),
        })
        .collect();
    Ok(Answer::Whole(Box::new(plain(200, format!("{lines}{} check passed\n", parts[0])))))
}

fn core_versions(call: &Call) -> Value {
    let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("kubernetes.default.svc");
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    })
}

fn paths(groups: &[Group]) -> Value {
    let mut paths: Vec<String> = ["/api", "/apis", "/openapi/v3", "/version"].map(str::to_owned).to_vec();
    for group in groups {
        let place = if group.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", group.name) };
        paths.extend(group.versions.iter().map(|version| format!("{place}/{version}")));
        paths.push(place);
    }
    for check in ["healthz", "livez", "readyz"] {
        paths.push(format!("/{check}"));
        paths.extend(PARTS.map(|part| format!("/{check}/{part}")));
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// A group and its versions, the preferred one first.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) versions: Vec<&'static str>,
}

impl Group {
    fn listed(&self) -> Value {
        let version = |v: &&str| json!({"groupVersion": format!("{}/{v}", self.name), "version": v});
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        json!({"name": self.name, "versions": versions, "preferredVersion": versions.first()})
    }
}

/// Where a version stands among those of a group: `v2` before `v1` before `v1beta2` before `v1alpha1` before `foo`.
fn rank(version: &str) -> (u8, std::cmp::Reverse<(u32, u32)>, &str) {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let (class, minor) = match &rest[digits..] {
            "" => (0, 0),
            other => match (other.strip_prefix("beta"), other.strip_prefix("alpha")) {
                (Some(minor), _) => (1, minor.parse().ok()?),
                (_, Some(minor)) => (2, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((class, std::cmp::Reverse((major, minor))))
    };
    let (class, number) = parsed().unwrap_or((3, std::cmp::Reverse((0, 0))));
    (class, number, version)
}

fn aggregated(call: &Call) -> bool {
    negotiate::prefers(call, "apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2")
}

/// What can be done with a kind, in the order in which the real server says it.
pub(super) fn verbs(resource: &Resource) -> Vec<&'static str> {
    if resource.custom {
        return vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    }
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let namespaces = resource.group.is_empty() && resource.plural == "namespaces";
    all.into_iter().filter(|verb| !(namespaces && *verb == "deletecollection")).collect()
}

/// The kind that a subresource speaks, if it is not the resource's own: group, version, kind; and what can be done.
pub(super) fn below(subresource: &str) -> (Option<[&'static str; 3]>, &'static [&'static str]) {
    match subresource {
        "scale" => (Some(["autoscaling", "v1", "Scale"]), &["get", "patch", "update"]),
        "eviction" => (Some(["policy", "v1", "Eviction"]), &["create"]),
        "token" => (Some(["authentication.k8s.io", "v1", "TokenRequest"]), &["create"]),
        "binding" => (Some(["", "", "Binding"]), &["create"]),
        "log" => (None, &["get"]),
        "finalize" => (None, &["update"]),
        _ => (None, &["get", "patch", "update"]),
    }
}

impl ApiService {
    /// The groups that are served.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let kinds = self.store.kinds().into_iter().map(|kind| (kind.group, kind.version));
        for (name, version) in kinds.chain(REVIEWS.iter().map(|review| (review.0, review.1))) {
            match groups.iter_mut().find(|group| group.name == name) {
                None => groups.push(Group { name, versions: vec![version] }),
                Some(group) if group.versions.contains(&version) => {}
                Some(group) => group.versions.push(version),
            }
        }
        for group in &mut groups {
            group.versions.sort_by_key(|version| rank(version));
        }
        let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
        groups.sort_by_key(|group| (place(group.name), group.name));
        groups
    }

    /// The resources of a group and version, by plural.
    fn resources(&self, group: &str, version: &str) -> Result<Value, Status> {
        let mut list = Vec::new();
        for kind in self.store.kinds().into_iter().filter(|kind| kind.group == group && kind.version == version) {
            let mut entry = json!({
                "name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced, "kind": kind.kind,
                "verbs": verbs(kind),
            });
            names(&mut entry, kind);
            list.push(entry);
            for subresource in kind.subresources {
                let (other, verbs) = below(subresource);
                let mut entry = json!({
                    "name": format!("{}/{subresource}", kind.plural), "singularName": "",
                    "namespaced": kind.namespaced, "kind": other.map_or(kind.kind, |[_, _, kind]| kind), "verbs": verbs,
                });
                if let Some([group, version, _]) = other.filter(|[group, ..]| !group.is_empty()) {
                    entry["group"] = json!(group);
                    entry["version"] = json!(version);
                }
                list.push(entry);
            }
        }
        for (_, _, plural, kind, namespaced) in REVIEWS.iter().filter(|r| r.0 == group && r.1 == version) {
            list.push(json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind,
                "verbs": ["create"],
            }));
        }
        if list.is_empty() {
            return Err(no_such_resource());
        }
        let mut body = json!({"kind": "APIResourceList", "resources": list});
        if group.is_empty() {
            body["groupVersion"] = json!(version);
        } else {
            body["apiVersion"] = json!("v1");
            body["groupVersion"] = json!(format!("{group}/{version}"));
        }
        Ok(body)
    }

    /// All of `/api` or of `/apis` in one answer, with an `ETag` by which a client need not read it twice.
    fn aggregated(&self, root: &str, call: &Call) -> Response<ApiBody> {
        let groups = self.groups().into_iter().filter(|group| group.name.is_empty() == (root == "api"));
        let kinds = self.store.kinds();
        let items: Vec<Value> = groups.map(|group| aggregated_group(&group, &kinds)).collect();
        let body = json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
        });
        tagged(&body, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", call)
    }
}

/// A body with its `ETag`, or 304 if the client has it.
pub(super) fn tagged(body: &Value, kind: &'static str, call: &Call) -> Response<ApiBody> {
    let text = format!("{body}\n");
    let digest = ring::digest::digest(&ring::digest::SHA512, text.as_bytes());
    let tag = format!("\"{}\"", digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>());
    let known = call.headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(full(if known { String::new() } else { text }));
    if known {
        *response.status_mut() = http::StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Short names and categories, where there are any.
fn names(entry: &mut Value, kind: &Resource) {
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
}

fn aggregated_group(group: &Group, kinds: &[&'static Resource]) -> Value {
    // The real server names group and version of custom kinds only.
    let own = |kind: &Resource| match kind.custom {
        true => json!({"group": kind.group, "version": kind.version, "kind": kind.kind}),
        false => json!({"group": "", "version": "", "kind": kind.kind}),
    };
    let resource = |kind: &&&'static Resource| {
        let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
        let mut entry = json!({
            "resource": kind.plural, "responseKind": own(kind), "scope": scope, "singularResource": kind.singular(),
            "verbs": verbs(kind),
        });
        names(&mut entry, kind);
        let subresource = |name: &&str| {
            let (other, verbs) = below(name);
            let of = other.map_or_else(|| own(kind), |[g, v, k]| json!({"group": g, "version": v, "kind": k}));
            json!({"subresource": name, "responseKind": of, "verbs": verbs})
        };
        if !kind.subresources.is_empty() {
            entry["subresources"] = kind.subresources.iter().map(subresource).collect();
        }
        entry
    };
    let versions = group.versions.iter().map(|version| {
        let here = kinds.iter().filter(|kind| kind.group == group.name && kind.version == *version);
        let mut resources: Vec<Value> = here.collect::<Vec<_>>().iter().map(resource).collect();
        for (_, _, plural, kind, namespaced) in REVIEWS.iter().filter(|r| r.0 == group.name && r.1 == *version) {
            let scope = if *namespaced { "Namespaced" } else { "Cluster" };
            resources.push(json!({
                "resource": plural, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": scope,
                "singularResource": kind.to_lowercase(), "verbs": ["create"],
            }));
        }
        json!({"version": version, "resources": resources, "freshness": "Current"})
    });
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), json!(group.name));
    }
    json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_is_the_newest_stable_one() {
        let mut versions = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v2", "v2beta3"];
        versions.sort_by_key(|version| rank(version));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta3", "v2beta1", "v1alpha1", "foo"]);
    }
}
