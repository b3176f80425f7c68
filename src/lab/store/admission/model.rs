//! The model of each kind.

use k8s_openapi::api::{apps, autoscaling, batch, coordination, core, discovery, networking, policy, rbac};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::decode::{Fault, read};
use super::validation::errors::{Errors, Path};
use super::{FieldValidation, Options};
use crate::lab::resource::{ALL, Resource};
use crate::lab::status::Status;

/// Reads an object by the model of its kind: drops what the kind does not have, and returns warnings of it.
/// A kind or apiVersion that is left out is filled in.
///
/// # Errors
/// 400 for another kind, for a value of another type, and for unknown fields if those are to be refused.
pub(super) fn decode(resource: &Resource, object: &mut Value, options: &Options) -> Result<Vec<String>, Status> {
    identify(resource, object)?;
    let unknown = match by_kind(resource, object) {
        Ok(unknown) => unknown,
        Err(fault) => return Err(Status::bad_request(format!("{}{fault}", unhandled(resource)))),
    };
    told(resource, unknown, options)
}

/// What becomes of unknown and duplicate fields.
///
/// # Errors
/// 400 if there are any and they are to be refused.
pub(super) fn told(resource: &Resource, unknown: Vec<String>, options: &Options) -> Result<Vec<String>, Status> {
    // Nobody looks into what is unknown.
    let within = |path: &str, outer: &str| {
        path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let known = |path: &&String| !unknown.iter().any(|outer| within(path, outer));
    let duplicate = options.duplicates.iter().filter(known).map(|path| format!("duplicate field {path:?}"));
    let notes: Vec<String> = duplicate.chain(unknown.iter().map(|path| format!("unknown field {path:?}"))).collect();
    match options.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !notes.is_empty() => {
            let why = notes.join(", ");
            Err(Status::bad_request(format!("{}strict decoding error: {why}", unhandled(resource))))
        }
        FieldValidation::Strict | FieldValidation::Warn => Ok(notes),
    }
}

fn unhandled(resource: &Resource) -> String {
    let kind = resource.kind;
    format!("{kind} in version {:?} cannot be handled as a {kind}: ", resource.version)
}

/// Refuses an object that says it is of another kind.
fn identify(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let expected = resource.api_version();
    if !object.is_object() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {})",
            resource.kind
        )));
    }
    let text = |field: &str| object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("kind").unwrap_or(resource.kind).to_owned();
    let api_version = text("apiVersion").unwrap_or(&expected).to_owned();
    if kind == resource.kind && api_version == expected {
        object["kind"] = json!(kind);
        object["apiVersion"] = json!(api_version);
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let known = ALL.iter().any(|other| other.kind == kind && other.group == group && other.version == version);
    let refuse = |why: String| {
        let message = format!("{kind} in version {version:?} cannot be handled as a {}: {why}", resource.kind);
        Err(Status::bad_request(message))
    };
    if known && api_version == expected {
        let package = match resource.group.split('.').next().unwrap_or_default() {
            "" => "core",
            package => package,
        };
        let to = format!("{package}.{}", resource.kind);
        return refuse(format!("converting ({version}.{kind}) to ({to}): unknown conversion"));
    }
    if known || (kind == resource.kind && group == resource.group && !group.is_empty()) {
        let message =
            format!("the API version in the data ({api_version}) does not match the expected API version ({expected})");
        return Err(Status::bad_request(message));
    }
    refuse(format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:110\""
    ))
}

/// Reads what a custom object has in common with all others; returns the paths of unknown fields of its metadata.
///
/// # Errors
/// 400 for no kind at all, for another version, and for metadata of another type.
pub(super) fn decode_custom(
    resource: &Resource,
    object: &mut Value,
    errors: &mut Errors,
) -> Result<Vec<String>, Status> {
    let expected = resource.api_version();
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() {
        let start: String = object.to_string().chars().take(30).collect();
        let why = format!("Object 'Kind' is missing in '{object}' ({start} ...)");
        let message = format!("the object provided is unrecognized (must be of type {}): {why}", resource.kind);
        return Err(Status::bad_request(message));
    }
    if api_version != expected {
        let message =
            format!("the API version in the data ({api_version}) does not match the expected API version ({expected})");
        return Err(Status::bad_request(message));
    }
    if kind != resource.kind {
        errors.invalid_text(&Path::Root.at("kind"), &kind, &format!("must be {}", resource.kind));
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let unknown = read::<ObjectMeta>(&mut object["metadata"])
        .map_err(|fault| Status::bad_request(format!("{}{fault}", unhandled(resource))))?;
    Ok(unknown.into_iter().map(|path| format!("metadata.{path}")).collect())
}

fn by_kind(resource: &Resource, object: &mut Value) -> Result<Vec<String>, Fault> {
    match (resource.group, resource.kind) {
        ("", "ConfigMap") => read::<core::v1::ConfigMap>(object),
        ("", "Endpoints") => read::<core::v1::Endpoints>(object),
        ("", "Event") => read::<core::v1::Event>(object),
        ("", "Namespace") => read::<core::v1::Namespace>(object),
        ("", "Node") => read::<core::v1::Node>(object),
        ("", "Pod") => read::<core::v1::Pod>(object),
        ("", "Secret") => read::<core::v1::Secret>(object),
        ("", "Service") => read::<core::v1::Service>(object),
        ("", "ServiceAccount") => read::<core::v1::ServiceAccount>(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            read::<apiextensions::v1::CustomResourceDefinition>(object)
        }
        ("apps", "ControllerRevision") => read::<apps::v1::ControllerRevision>(object),
        ("apps", "DaemonSet") => read::<apps::v1::DaemonSet>(object),
        ("apps", "Deployment") => read::<apps::v1::Deployment>(object),
        ("apps", "ReplicaSet") => read::<apps::v1::ReplicaSet>(object),
        ("apps", "StatefulSet") => read::<apps::v1::StatefulSet>(object),
        ("autoscaling", "HorizontalPodAutoscaler") => read::<autoscaling::v2::HorizontalPodAutoscaler>(object),
        ("batch", "Job") => read::<batch::v1::Job>(object),
        ("coordination.k8s.io", "Lease") => read::<coordination::v1::Lease>(object),
        ("discovery.k8s.io", "EndpointSlice") => read::<discovery::v1::EndpointSlice>(object),
        ("networking.k8s.io", "NetworkPolicy") => read::<networking::v1::NetworkPolicy>(object),
        ("policy", "PodDisruptionBudget") => read::<policy::v1::PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io", "ClusterRole") => read::<rbac::v1::ClusterRole>(object),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => read::<rbac::v1::ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io", "Role") => read::<rbac::v1::Role>(object),
        ("rbac.authorization.k8s.io", "RoleBinding") => read::<rbac::v1::RoleBinding>(object),
        // A custom kind is read by its schema.
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::decode;
    use crate::lab::resource::{CONFIG_MAPS, DEPLOYMENTS, NETWORK_POLICIES, PODS, Resource, SECRETS};
    use crate::lab::store::admission::{FieldValidation, Options};

    fn options(validation: FieldValidation) -> Options {
        Options { validation, ..Options::default() }
    }

    fn refusal(resource: &Resource, mut object: Value) -> String {
        decode(resource, &mut object, &Options::default()).unwrap_err().message
    }

    fn read(resource: &Resource, mut object: Value) -> Value {
        decode(resource, &mut object, &Options::default()).unwrap();
        object
    }

    #[test]
    fn a_value_of_another_type_is_named_with_its_place() {
        let cases = [
            (
                json!({"spec": {"replicas": "3"}}),
                "string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"replicas": 1.5}}),
                "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (json!({"spec": {"paused": 1}}), "number into Go struct field DeploymentSpec.spec.paused of type bool"),
            (json!({"spec": []}), "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"metadata": {"labels": []}}),
                "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": {}}}}}),
                "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"image": 5}]}}}}),
                "number into Go struct field Container.spec.template.spec.containers.image of type string",
            ),
        ];
        for (object, wanted) in cases {
            let start = "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal ";
            assert_eq!(refusal(&DEPLOYMENTS, object), format!("{start}{wanted}"));
        }
        assert_eq!(
            refusal(&SECRETS, json!({"data": {"a": "abc"}})),
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0"
        );
    }

    #[test]
    fn another_kind_is_refused() {
        let start = "in version \"v1\" cannot be handled as a ConfigMap: ";
        let secret = json!({"apiVersion": "v1", "kind": "Secret"});
        let why = "converting (v1.Secret) to (core.ConfigMap): unknown conversion";
        assert_eq!(refusal(&CONFIG_MAPS, secret), format!("Secret {start}{why}"));
        let foo = json!({"apiVersion": "v1", "kind": "Foo"});
        let why = "no kind \"Foo\" is registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:110\"";
        assert_eq!(refusal(&CONFIG_MAPS, foo), format!("Foo {start}{why}"));
        let beta = json!({"apiVersion": "apps/v1beta1", "kind": "Deployment"});
        let why = "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)";
        assert_eq!(refusal(&DEPLOYMENTS, beta), why);
        assert_eq!(read(&CONFIG_MAPS, json!({})), json!({"apiVersion": "v1", "kind": "ConfigMap"}));
    }

    #[test]
    fn unknown_fields_are_dropped_told_or_refused() {
        let object =
            json!({"spec": {"replicaz": 1, "template": {"spec": {"containers": [{"name": "c", "imagee": 1}]}}}});
        let mut kept = object.clone();
        let warnings = decode(&DEPLOYMENTS, &mut kept, &options(FieldValidation::Warn)).unwrap();
        let wanted = ["unknown field \"spec.replicaz\"", "unknown field \"spec.template.spec.containers[0].imagee\""];
        assert_eq!(warnings, wanted);
        assert_eq!(kept["spec"], json!({"template": {"spec": {"containers": [{"name": "c"}]}}}));
        assert_eq!(decode(&DEPLOYMENTS, &mut object.clone(), &options(FieldValidation::Ignore)), Ok(vec![]));
        let refused = decode(&DEPLOYMENTS, &mut object.clone(), &options(FieldValidation::Strict)).unwrap_err();
        let start = "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: ";
        assert_eq!(refused.message, format!("{start}{}", wanted.join(", ")));
    }

    #[test]
    fn what_go_leaves_out_is_dropped() {
        let policy = json!({"spec": {"podSelector": {}, "ingress": [], "egress": [{}], "policyTypes": null}});
        assert_eq!(read(&NETWORK_POLICIES, policy)["spec"], json!({"podSelector": {}, "egress": [{}]}));
        let map = json!({"metadata": {"labels": {}, "creationTimestamp": null}, "data": {"a": null, "b": ""}});
        let map = read(&CONFIG_MAPS, map);
        assert_eq!((&map["metadata"], &map["data"]), (&json!({}), &json!({"a": "", "b": ""})));
        let pod = json!({"spec": {"hostNetwork": false, "enableServiceLinks": false, "nodeName": "", "volumes": [{"name": "v", "emptyDir": {}}]}});
        let wanted = json!({"enableServiceLinks": false, "volumes": [{"name": "v", "emptyDir": {}}]});
        assert_eq!(read(&PODS, pod)["spec"], wanted);
    }

    #[test]
    fn quantities_become_canonical() {
        let resources = json!({"limits": {"cpu": 0.5, "memory": "1024Mi"}});
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
        let limits = &read(&PODS, pod)["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits, &json!({"cpu": "500m", "memory": "1Gi"}));
    }
}
