//! Reviews: who am I, may I, may they, what may I, whose token is this.

use serde_json::{Map, Value, json};

use super::{Answer, ApiService, Call, not_allowed, token};
use crate::lab::access::{Attributes, Rule, User, aggregate, decide, rules};
use crate::lab::status::Status;
use crate::lab::store::seconds;

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

const RESOURCE_FIELDS: &[&str] =
    &["namespace", "verb", "group", "version", "resource", "subresource", "name", "fieldSelector", "labelSelector"];

/// One field that is not valid.
pub(super) struct Cause {
    field: String,
    message: String,
}

impl Cause {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    fn reason(&self) -> &'static str {
        match self.message.split_once(':').map_or(self.message.as_str(), |(kind, _)| kind) {
            "Required value" => "FieldValueRequired",
            "Unsupported value" => "FieldValueNotSupported",
            "Forbidden" => "FieldValueForbidden",
            _ => "FieldValueInvalid",
        }
    }
}

/// 422 for an object that is never stored; some of these name no kind.
pub(super) fn invalid((group, kind): (&str, &str), name: &str, causes: &[Cause]) -> Status {
    let told: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    let told = if let [one] = &told[..] { one.clone() } else { format!("[{}]", told.join(", ")) };
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.into(), json!(value));
        }
    }
    let causes = causes.iter().map(|c| json!({"reason": c.reason(), "message": c.message, "field": c.field}));
    details.insert("causes".into(), causes.collect());
    let message = format!("{kind}.{group} {name:?} is invalid: {told}");
    Status { details: Some(details.into()), ..Status::new(422, "Invalid", message) }
}

/// The strings of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The body as an object of that kind, which it need not name.
pub(super) fn decode(call: &Call, version: &str, kind: &str) -> Result<Value, Status> {
    let body = if call.body.is_empty() { json!({}) } else { call.json()? };
    let refused = |why: String| {
        let short = version.rsplit('/').next().unwrap_or_default();
        Err(Status::bad_request(format!("{kind} in version {short:?} cannot be handled as a {kind}: {why}")))
    };
    if !body.is_object() {
        return refused("it is no object".into());
    }
    for field in ["metadata", "spec"] {
        if !body[field].is_null() && !body[field].is_object() {
            return refused(format!("json: cannot unmarshal into Go struct field {kind}.{field}"));
        }
    }
    let sent = |field: &str| body[field].as_str().unwrap_or_default();
    if !sent("kind").is_empty() && sent("kind") != kind {
        let (other, from) = (sent("kind"), sent("apiVersion").rsplit('/').next().unwrap_or_default());
        let group = version.split('.').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{other} in version {from:?} cannot be handled as a {kind}: converting ({from}.{other}) to ({group}.{kind}): unknown conversion"
        )));
    }
    Ok(body)
}

/// The answer, if the path is one of a review.
pub(super) fn answer(api: &ApiService, parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    type Review = fn(&ApiService, &str, &Call) -> Result<Value, Status>;
    let (namespace, review): (&str, Review) = match *parts {
        ["apis", AUTHORIZATION, "v1", "selfsubjectaccessreviews"] => ("", own_access),
        ["apis", AUTHORIZATION, "v1", "subjectaccessreviews"] => ("", access),
        ["apis", AUTHORIZATION, "v1", "namespaces", namespace, "localsubjectaccessreviews"] => {
            (namespace, local_access)
        }
        ["apis", AUTHORIZATION, "v1", "selfsubjectrulesreviews"] => ("", own_rules),
        ["apis", AUTHENTICATION, "v1", "selfsubjectreviews"] => ("", own_user),
        ["apis", AUTHENTICATION, "v1", "tokenreviews"] => ("", token_review),
        _ => return None,
    };
    if call.method != "POST" {
        return Some(Err(not_allowed()));
    }
    let reviewed = call.dry_run().and_then(|_| review(api, namespace, call));
    Some(reviewed.map(|review| Answer::Json(201, review)))
}

fn own_user(api: &ApiService, _: &str, call: &Call) -> Result<Value, Status> {
    decode(call, "authentication.k8s.io/v1", "SelfSubjectReview")?;
    Ok(json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": seconds(api.clock.now())},
        "status": {"userInfo": call.user.info()},
    }))
}

fn token_review(api: &ApiService, _: &str, call: &Call) -> Result<Value, Status> {
    let mut review = decode(call, "authentication.k8s.io/v1", "TokenReview")?;
    let text = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
    if text.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let mut audiences = texts(&review["spec"]["audiences"]);
    if audiences.is_empty() {
        audiences.push(token::ISSUER.into());
    }
    let status = match token::validate(api, &text, &audiences) {
        Ok((user, audiences)) => json!({"authenticated": true, "user": user.info(), "audiences": audiences}),
        Err(error) => json!({"user": {}, "error": error}),
    };
    let metadata = review["metadata"].take();
    Ok(json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": if metadata.is_null() { json!({}) } else { metadata },
        "spec": only(&review["spec"], &["token", "audiences"]), "status": status,
    }))
}

fn own_access(api: &ApiService, _: &str, call: &Call) -> Result<Value, Status> {
    let review = decode(call, "authorization.k8s.io/v1", "SelfSubjectAccessReview")?;
    let mut causes = both_or_neither(&review["spec"]);
    causes.extend(not_empty(&review["metadata"], &[]));
    if !causes.is_empty() {
        return Err(invalid((AUTHORIZATION, ""), "", &causes));
    }
    Ok(decided(api, &call.user, "SelfSubjectAccessReview", &review["spec"], json!({})))
}

fn access(api: &ApiService, _: &str, call: &Call) -> Result<Value, Status> {
    let review = decode(call, "authorization.k8s.io/v1", "SubjectAccessReview")?;
    let mut causes = both_or_neither(&review["spec"]);
    causes.extend(nobody(&review["spec"]));
    causes.extend(not_empty(&review["metadata"], &[]));
    if !causes.is_empty() {
        return Err(invalid((AUTHORIZATION, ""), "", &causes));
    }
    Ok(decided(api, &subject(&review["spec"]), "SubjectAccessReview", &review["spec"], json!({})))
}

fn local_access(api: &ApiService, namespace: &str, call: &Call) -> Result<Value, Status> {
    let review = decode(call, "authorization.k8s.io/v1", "LocalSubjectAccessReview")?;
    let sent = review["metadata"]["namespace"].as_str().unwrap_or_default();
    if !sent.is_empty() && sent != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    let spec = &review["spec"];
    let mut causes = both_or_neither(spec);
    causes.extend(nobody(spec));
    causes.extend(not_empty(&review["metadata"], &["namespace"]));
    let asked = spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
    if spec["resourceAttributes"].is_object() && asked != namespace {
        let why = format!("Invalid value: {asked:?}: must match metadata.namespace");
        causes.push(Cause::new("spec.resourceAttributes.namespace", why));
    }
    if spec["nonResourceAttributes"].is_object() {
        let why = format!("Invalid value: {}: disallowed on this kind of request", printed_path(spec));
        causes.push(Cause::new("spec.nonResourceAttributes", why));
    }
    if !causes.is_empty() {
        return Err(invalid((AUTHORIZATION, ""), "", &causes));
    }
    let metadata = json!({"namespace": namespace});
    Ok(decided(api, &subject(spec), "LocalSubjectAccessReview", spec, metadata))
}

fn own_rules(api: &ApiService, _: &str, call: &Call) -> Result<Value, Status> {
    let review = decode(call, "authorization.k8s.io/v1", "SelfSubjectRulesReview")?;
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, broken) = rules(&api.store, &call.user, namespace);
    let resources: Vec<Value> = rules.iter().filter(|r| r.of_resources()).map(Rule::as_resource_rule).collect();
    let paths: Vec<Value> = rules.iter().filter(|r| r.of_paths()).map(Rule::as_path_rule).collect();
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if !broken.is_empty() {
        status["evaluationError"] = json!(aggregate(&broken));
    }
    // The real server forgets the spec here.
    Ok(json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {}, "spec": {}, "status": status,
    }))
}

fn decided(api: &ApiService, user: &User, kind: &str, spec: &Value, metadata: Value) -> Value {
    let decision = decide(&api.store, user, &attributes(spec));
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = json!(decision.reason);
    }
    let mut told = only(spec, &["user", "groups", "extra", "uid"]);
    for (field, known) in [("resourceAttributes", RESOURCE_FIELDS), ("nonResourceAttributes", &["path", "verb"])] {
        if spec[field].is_object() {
            told[field] = only(&spec[field], known);
        }
    }
    json!({
        "kind": kind, "apiVersion": "authorization.k8s.io/v1",
        "metadata": metadata, "spec": told, "status": status,
    })
}

fn attributes(spec: &Value) -> Attributes {
    let (of, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if path.is_object() {
        return Attributes { verb: text(&path["verb"]), path: Some(text(&path["path"])), ..Attributes::default() };
    }
    Attributes {
        verb: text(&of["verb"]),
        group: text(&of["group"]),
        resource: text(&of["resource"]),
        subresource: text(&of["subresource"]),
        namespace: text(&of["namespace"]),
        name: text(&of["name"]),
        path: None,
    }
}

fn subject(spec: &Value) -> User {
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: spec["user"].as_str().unwrap_or_default().into(),
        uid: spec["uid"].as_str().unwrap_or_default().into(),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
        ..User::default()
    }
}

fn both_or_neither(spec: &Value) -> Vec<Cause> {
    match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![Cause::new("spec.nonResourceAttributes", format!("Invalid value: {}: {why}", printed_path(spec)))]
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Cause::new("spec.resourceAttributes", format!("Invalid value: null: {why}"))]
        }
        _ => Vec::new(),
    }
}

/// As the server shows its own form of the attributes.
fn printed_path(spec: &Value) -> Value {
    let text = |field: &str| spec["nonResourceAttributes"][field].as_str().unwrap_or_default();
    json!({"Path": text("path"), "Verb": text("verb")})
}

fn nobody(spec: &Value) -> Option<Cause> {
    let named = spec["user"].as_str().is_some_and(|user| !user.is_empty()) || !texts(&spec["groups"]).is_empty();
    let why = "Invalid value: \"\": at least one of user or group must be specified";
    (!named).then(|| Cause::new("spec.user", why))
}

/// Metadata that a review must not have.
fn not_empty(metadata: &Value, but: &[&str]) -> Option<Cause> {
    let ignored = |key: &str| but.contains(&key) || ["managedFields", "creationTimestamp"].contains(&key);
    let given =
        |value: &Value| !value.is_null() && value.as_str() != Some("") && *value != json!({}) && *value != json!([]);
    let mut fields = metadata.as_object().into_iter().flatten();
    fields
        .any(|(key, value)| !ignored(key) && given(value))
        .then(|| Cause::new("metadata", format!("Invalid value: {metadata}: must be empty")))
}

/// The named fields that are there and not empty.
fn only(object: &Value, fields: &[&str]) -> Value {
    let given = |value: &Value| !value.is_null() && value.as_str() != Some("");
    let kept = fields.iter().filter_map(|field| Some(((*field).to_owned(), object.get(field)?.clone())));
    Value::Object(kept.filter(|(_, value)| given(value)).collect())
}
