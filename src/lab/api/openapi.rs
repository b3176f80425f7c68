//! OpenAPI of what the lab serves.
//!
//! `kubectl` reads it before it applies, to see whether the server validates fields and makes dry runs and how lists
//! merge, and to explain. One document for each group and version, with the kinds, their schemas and what can be done
//! with them. Custom kinds have the schema of their definition. The fields of built-in kinds have no descriptions.

mod shape;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use self::shape::Schemas;
use super::discovery::{self, below, tagged, verbs};
use super::{Answer, ApiBody, ApiService, Call, full};
use crate::lab::resource::{self, CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::lab::status::Status;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// How lists and maps of these schemas merge in a strategic merge patch: schema, field, strategy, key.
const MERGES: &[(&str, &str, &str, &str)] = &[
    ("Container", "env", "merge", "name"),
    ("Container", "ports", "merge", "containerPort"),
    ("Container", "volumeDevices", "merge", "devicePath"),
    ("Container", "volumeMounts", "merge", "mountPath"),
    ("ContainerStatus", "allocatedResourcesStatus", "merge", "name"),
    ("ContainerStatus", "volumeMounts", "merge", "mountPath"),
    ("DaemonSetStatus", "conditions", "merge", "type"),
    ("DeploymentSpec", "strategy", "retainKeys", ""),
    ("DeploymentStatus", "conditions", "merge", "type"),
    ("EphemeralContainer", "env", "merge", "name"),
    ("EphemeralContainer", "ports", "merge", "containerPort"),
    ("EphemeralContainer", "volumeDevices", "merge", "devicePath"),
    ("EphemeralContainer", "volumeMounts", "merge", "mountPath"),
    ("HorizontalPodAutoscalerStatus", "conditions", "merge", "type"),
    ("JSONSchemaProps", "x-kubernetes-validations", "merge", "rule"),
    ("JobStatus", "conditions", "merge", "type"),
    ("NamespaceStatus", "conditions", "merge", "type"),
    ("NodeSpec", "podCIDRs", "merge", ""),
    ("NodeStatus", "addresses", "merge", "type"),
    ("NodeStatus", "conditions", "merge", "type"),
    ("ObjectMeta", "finalizers", "merge", ""),
    ("ObjectMeta", "ownerReferences", "merge", "uid"),
    ("PersistentVolumeClaimStatus", "conditions", "merge", "type"),
    ("PodDisruptionBudgetSpec", "selector", "replace", ""),
    ("PodDisruptionBudgetStatus", "conditions", "merge", "type"),
    ("PodSpec", "containers", "merge", "name"),
    ("PodSpec", "ephemeralContainers", "merge", "name"),
    ("PodSpec", "hostAliases", "merge", "ip"),
    ("PodSpec", "imagePullSecrets", "merge", "name"),
    ("PodSpec", "initContainers", "merge", "name"),
    ("PodSpec", "resourceClaims", "merge,retainKeys", "name"),
    ("PodSpec", "schedulingGates", "merge", "name"),
    ("PodSpec", "topologySpreadConstraints", "merge", "topologyKey"),
    ("PodSpec", "volumes", "merge,retainKeys", "name"),
    ("PodStatus", "conditions", "merge", "type"),
    ("PodStatus", "hostIPs", "merge", "ip"),
    ("PodStatus", "podIPs", "merge", "ip"),
    ("PodStatus", "resourceClaimStatuses", "merge,retainKeys", "name"),
    ("ReplicaSetStatus", "conditions", "merge", "type"),
    ("ServiceAccount", "secrets", "merge", "name"),
    ("ServiceSpec", "ports", "merge", "port"),
    ("ServiceStatus", "conditions", "merge", "type"),
    ("StatefulSetStatus", "conditions", "merge", "type"),
];

/// The schemas of all built-in kinds, and the names of those that are kinds themselves.
struct Model {
    schemas: Schemas,
    kinds: BTreeMap<(&'static str, &'static str, &'static str), String>,
}

macro_rules! model {
    ($schemas:ident, $kinds:ident, $($resource:ident $kind:ty),* $(,)?) => {
        $($kinds.insert((resource::$resource.group, resource::$resource.version, resource::$resource.kind), shape::draw::<$kind>(&mut $schemas));)*
    };
}

fn model() -> &'static Model {
    use k8s_openapi::api::{
        apps::v1 as apps, authentication::v1 as authentication, autoscaling::v1 as scale,
        autoscaling::v2 as autoscaling, batch::v1 as batch, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as slices, networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    };
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let (mut schemas, mut kinds) = (Schemas::new(), BTreeMap::new());
        model!(schemas, kinds,
            CONFIG_MAPS core::ConfigMap, ENDPOINTS core::Endpoints, EVENTS core::Event, NAMESPACES core::Namespace,
            NODES core::Node, PODS core::Pod, SECRETS core::Secret, SERVICE_ACCOUNTS core::ServiceAccount,
            SERVICES core::Service, CUSTOM_RESOURCE_DEFINITIONS CustomResourceDefinition,
            CONTROLLER_REVISIONS apps::ControllerRevision, DAEMON_SETS apps::DaemonSet,
            DEPLOYMENTS apps::Deployment, REPLICA_SETS apps::ReplicaSet, STATEFUL_SETS apps::StatefulSet,
            HORIZONTAL_POD_AUTOSCALERS autoscaling::HorizontalPodAutoscaler, JOBS batch::Job,
            LEASES coordination::Lease, ENDPOINT_SLICES slices::EndpointSlice,
            NETWORK_POLICIES networking::NetworkPolicy, POD_DISRUPTION_BUDGETS policy::PodDisruptionBudget,
            CLUSTER_ROLE_BINDINGS rbac::ClusterRoleBinding, CLUSTER_ROLES rbac::ClusterRole,
            ROLE_BINDINGS rbac::RoleBinding, ROLES rbac::Role,
        );
        kinds.insert(("autoscaling", "v1", "Scale"), shape::draw::<scale::Scale>(&mut schemas));
        kinds.insert(("policy", "v1", "Eviction"), shape::draw::<policy::Eviction>(&mut schemas));
        let token = shape::draw::<authentication::TokenRequest>(&mut schemas);
        kinds.insert(("authentication.k8s.io", "v1", "TokenRequest"), token);
        schemas.insert(format!("{META}.Patch"), json!({"type": "object"}));
        for ((group, version, kind), name) in &kinds {
            if let Some(schema) = schemas.get_mut(name) {
                schema["x-kubernetes-group-version-kind"] = json!([gvk(group, version, kind)]);
                describe(schema);
            }
        }
        for (schema, field, strategy, key) in MERGES {
            let suffix = format!(".{schema}");
            for (_, schema) in schemas.iter_mut().filter(|(name, _)| name.ends_with(&suffix)) {
                let Some(field) = schema.pointer_mut(&format!("/properties/{field}")) else { continue };
                field["x-kubernetes-patch-strategy"] = json!(strategy);
                if !key.is_empty() {
                    field["x-kubernetes-patch-merge-key"] = json!(key);
                }
            }
        }
        Model { schemas, kinds }
    })
}

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "version": version})
}

/// The answer, if the path is one of OpenAPI.
pub(super) fn answer(api: &ApiService, parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    if call.method != "GET" {
        return None;
    }
    let response = match parts {
        ["openapi", "v3"] => index(api),
        ["openapi", "v3", "api", version] => document(api, "", version, call),
        ["openapi", "v3", "apis", group, version] => document(api, group, version, call),
        ["openapi", "v2"] => older(api, call),
        ["openapi", ..] => discovery::no_page(),
        _ => return None,
    };
    Some(Ok(Answer::Whole(Box::new(response))))
}

/// Where each document is. The hash changes with the document, so that a client may keep what it has read.
fn index(api: &ApiService) -> Response<ApiBody> {
    let mut paths = Map::new();
    for group in api.groups() {
        for version in group.versions {
            let place = match group.name {
                "" => format!("api/{version}"),
                name => format!("apis/{name}/{version}"),
            };
            let Some(hash) = hash(api, group.name, version) else { continue };
            paths.insert(place.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{place}?hash={hash}")}));
        }
    }
    let mut response = Response::new(full(json!({"paths": paths}).to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What tells two states of a document apart, without making the document.
fn hash(api: &ApiService, group: &str, version: &str) -> Option<String> {
    let kinds: Vec<&Resource> = here(api, group, version);
    if kinds.is_empty() {
        return None;
    }
    let mut state = format!("{}/{group}/{version}", env!("CARGO_PKG_VERSION"));
    for kind in kinds {
        state.push_str(kind.plural);
        if kind.custom {
            state.push_str(&json!(declared(api, kind)).to_string());
        }
    }
    let digest = ring::digest::digest(&ring::digest::SHA512, state.as_bytes());
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect())
}

fn here(api: &ApiService, group: &str, version: &str) -> Vec<&'static Resource> {
    api.store.kinds().into_iter().filter(|kind| kind.group == group && kind.version == version).collect()
}

/// The schema that a definition gives a custom kind.
fn declared(api: &ApiService, kind: &Resource) -> Value {
    let definition = api.store.find(&CUSTOM_RESOURCE_DEFINITIONS, "", &kind.qualified_plural());
    let versions = definition.as_ref().and_then(|d| d["spec"]["versions"].as_array());
    let version = versions.and_then(|versions| versions.iter().find(|version| version["name"] == kind.version));
    version.map_or(Value::Null, |version| version["schema"]["openAPIV3Schema"].clone())
}

fn document(api: &ApiService, group: &str, version: &str, call: &Call) -> Response<ApiBody> {
    let kinds = here(api, group, version);
    if kinds.is_empty() {
        return discovery::no_page();
    }
    let (mut paths, mut own) = (Map::new(), Schemas::new());
    let mut wanted = BTreeSet::from([format!("{META}.Patch"), format!("{META}.ObjectMeta")]);
    for kind in kinds {
        let schema = schema_of(api, kind, &mut own);
        let list = format!("{schema}List");
        add_paths(&mut paths, kind, &schema, &list, &mut wanted);
        wanted.insert(schema);
    }
    let mut schemas = own;
    let mut open: Vec<String> = wanted.into_iter().collect();
    for schema in schemas.values() {
        references(schema, &mut open);
    }
    while let Some(name) = open.pop() {
        if let Some(schema) = model().schemas.get(&name).filter(|_| !schemas.contains_key(&name)) {
            references(schema, &mut open);
            schemas.insert(name, schema.clone());
        }
    }
    let body = json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.4"},
        "paths": paths, "components": {"schemas": schemas},
    });
    tagged(&body, "application/json", call)
}

/// The name of a kind's schema. Those that the model of built-in kinds lacks are added: its list's, and its own if it
/// is a custom kind.
fn schema_of(api: &ApiService, kind: &'static Resource, own: &mut Schemas) -> String {
    let schema = if kind.custom {
        let name = custom_name(kind);
        own.insert(name.clone(), custom_schema(kind, declared(api, kind)));
        name
    } else {
        model().kinds.get(&(kind.group, kind.version, kind.kind)).cloned().unwrap_or_default()
    };
    own.insert(format!("{schema}List"), list_schema(kind, &schema));
    schema
}

/// OpenAPI 2: the definitions of all kinds.
fn older(api: &ApiService, call: &Call) -> Response<ApiBody> {
    let mut own = Schemas::new();
    for kind in api.store.kinds() {
        schema_of(api, kind, &mut own);
    }
    let body = v2::document(model().schemas.iter().chain(&own));
    let accept = call.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accept.contains("proto-openapi.spec.v2") {
        return tagged(&body, "application/json", call);
    }
    let mut response = Response::new(Full::new(Bytes::from(v2::protobuf(&body))).boxed_unsync());
    let kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The names of the schemas that this one refers to.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Value::String(path)) => found.extend(path.rsplit('/').next().map(str::to_owned)),
                    (_, value) => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// `com.example.stable.v1.CronTab`.
fn custom_name(kind: &Resource) -> String {
    let mut labels: Vec<&str> = kind.group.split('.').collect();
    labels.reverse();
    format!("{}.{}.{}", labels.join("."), kind.version, kind.kind)
}

fn to(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn custom_schema(kind: &Resource, declared: Value) -> Value {
    let mut schema = if declared.is_object() { declared } else { json!({"type": "object"}) };
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = json!({"allOf": [to(&format!("{META}.ObjectMeta"))]});
    describe(&mut schema);
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind.group, kind.version, kind.kind)]);
    schema
}

/// Says what the fields are that every kind has.
fn describe(schema: &mut Value) {
    let common = [
        ("apiVersion", "The group and version of the schema that the object is written in."),
        ("kind", "The kind of object, in CamelCase."),
        ("metadata", "The object's name, labels and what else every object has."),
        ("spec", "What is wanted of the object."),
        ("status", "What was last observed of the object."),
    ];
    for (field, description) in common {
        let Some(Value::Object(property)) = schema["properties"].get_mut(field) else { continue };
        property.entry("description").or_insert_with(|| json!(description));
    }
}

fn list_schema(kind: &Resource, schema: &str) -> Value {
    json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "items": {"type": "array", "items": {"allOf": [to(schema)]}}, "metadata": {"type": "object"},
        },
        "x-kubernetes-group-version-kind": [gvk(kind.group, kind.version, &format!("{}List", kind.kind))],
    })
}

/// The parameters of writes that clients look for, and how each is written.
const WRITES: [(&str, &str); 3] = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const LISTS: [(&str, &str); 9] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];
const DELETES: [(&str, &str); 3] =
    [("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")];

fn parameters<'a>(all: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<Value> {
    let parameter = |(name, kind): &(&str, &str)| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    all.into_iter().map(parameter).collect()
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Resource, schema: &str, list: &str, wanted: &mut BTreeSet<String>) {
    let root = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let place = if kind.namespaced { format!("{root}/namespaces/{{namespace}}") } else { root.clone() };
    let own = gvk(kind.group, kind.version, kind.kind);
    let verbs = verbs(kind);
    let mut collection = Map::new();
    collection.insert("get".into(), operation("list", &own, list, parameters(&LISTS), None));
    collection.insert("post".into(), operation("post", &own, schema, parameters(&WRITES), Some(schema)));
    if verbs.contains(&"deletecollection") {
        collection.insert("delete".into(), operation("deletecollection", &own, list, parameters(&LISTS), None));
    }
    collection.insert("parameters".into(), in_path(kind.namespaced, false));
    paths.insert(format!("{place}/{}", kind.plural), Value::Object(collection));
    if kind.namespaced {
        let everywhere = json!({"get": operation("list", &own, list, parameters(&LISTS), None)});
        paths.insert(format!("{root}/{}", kind.plural), everywhere);
    }
    let one = item(kind, &own, schema, &["get", "update", "patch", "delete"]);
    paths.insert(format!("{place}/{}/{{name}}", kind.plural), one);
    for subresource in kind.subresources {
        let (other, verbs) = below(subresource);
        let (of, schema) = match other.filter(|[group, ..]| !group.is_empty()) {
            Some([group, version, kind]) => {
                let schema = model().kinds.get(&(group, version, kind)).cloned().unwrap_or_default();
                wanted.insert(schema.clone());
                (gvk(group, version, kind), schema)
            }
            None => (own.clone(), schema.to_owned()),
        };
        paths.insert(format!("{place}/{}/{{name}}/{subresource}", kind.plural), item(kind, &of, &schema, verbs));
    }
}

/// What can be done with one object, or with something below it.
fn item(kind: &Resource, of: &Value, schema: &str, verbs: &[&str]) -> Value {
    let mut item = Map::new();
    for verb in verbs {
        let (method, action, parameters, body) = match *verb {
            "get" => ("get", "get", Vec::new(), None),
            "create" => ("post", "post", parameters(&WRITES), Some(schema.to_owned())),
            "update" => ("put", "put", parameters(&WRITES), Some(schema.to_owned())),
            "patch" => {
                let with_force = parameters(WRITES.iter().chain(&[("force", "boolean")]));
                ("patch", "patch", with_force, Some(format!("{META}.Patch")))
            }
            _ => ("delete", "delete", parameters(&DELETES), None),
        };
        let mut operation = operation(action, of, schema, parameters, body.as_deref());
        if method == "patch" {
            let strategic = (!kind.custom).then_some("application/strategic-merge-patch+json");
            let kinds = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
            let patch = json!({"schema": to(&format!("{META}.Patch"))});
            let content: Map<String, Value> =
                kinds.into_iter().chain(strategic).map(|kind| (kind.to_owned(), patch.clone())).collect();
            operation["requestBody"]["content"] = Value::Object(content);
        }
        item.insert(method.to_owned(), operation);
    }
    item.insert("parameters".into(), in_path(kind.namespaced, true));
    Value::Object(item)
}

fn in_path(namespaced: bool, named: bool) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let all = [named.then_some("name"), namespaced.then_some("namespace")];
    all.into_iter().flatten().map(parameter).collect()
}

fn operation(action: &str, of: &Value, answer: &str, parameters: Vec<Value>, body: Option<&str>) -> Value {
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": to(answer)}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": of,
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({"content": {"*/*": {"schema": to(body)}}, "required": true});
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::resource::ALL;

    #[test]
    fn every_built_in_kind_has_a_schema() {
        for kind in ALL {
            let name = &model().kinds[&(kind.group, kind.version, kind.kind)];
            let schema = &model().schemas[name];
            assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], kind.kind);
            assert!(schema["properties"]["metadata"].is_object(), "{name}");
        }
    }

    #[test]
    fn lists_that_merge_say_by_which_key() {
        let schemas = &model().schemas;
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        for (schema, field, ..) in MERGES {
            let suffix = format!(".{schema}");
            let found = schemas.iter().any(|(name, schema)| {
                name.ends_with(&suffix) && schema["properties"][field]["x-kubernetes-patch-strategy"].is_string()
            });
            assert!(found, "{schema}.{field}");
        }
    }
}
