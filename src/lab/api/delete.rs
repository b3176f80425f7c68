//! Deletion of one object and of collections.

use serde_json::{Value, json};

use super::answer::{Answer, Listed, Reply};
use super::call::is_dry_run;
use super::select::Filter;
use super::{ApiService, Call, Place, body, not_allowed};
use crate::lab::resource::{JOBS, NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES};
use crate::lab::status::{Cause, Status};
use crate::lab::store::{Deletion, Object, Preconditions, Propagation};

/// The kinds whose deletion is answered with the object.
const ANSWER_THEMSELVES: [&crate::lab::resource::Resource; 3] = [&PODS, &SERVICES, &SERVICE_ACCOUNTS];

/// What a client is told who deletes a Job without saying what becomes of its pods.
const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// What a delete says: in its body, or else in its query.
fn options(call: &Call) -> Result<Deletion, Status> {
    let body = if call.body.is_empty() { of_query(call)? } else { of_body(call)? };
    let mut faults: Vec<Cause<'_>> = Vec::new();
    let field = "propagationPolicy";
    let policy = body[field].as_str().filter(|policy| !policy.is_empty());
    let orphan = body["orphanDependents"].as_bool();
    let mut propagation = orphan.map(|yes| if yes { Propagation::Orphan } else { Propagation::Background });
    match policy {
        Some(policy) if orphan.is_some() => {
            let why = format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set");
            faults.push(("FieldValueInvalid", field, why));
        }
        Some("Foreground") => propagation = Some(Propagation::Foreground),
        Some("Background") => propagation = Some(Propagation::Background),
        Some("Orphan") => propagation = Some(Propagation::Orphan),
        Some(policy) => {
            let supported = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
            faults.push(("FieldValueNotSupported", field, format!("Unsupported value: {policy:?}: {supported}")));
        }
        None => {}
    }
    if !faults.is_empty() {
        return Err(Status::bad_options("DeleteOptions", &faults));
    }
    let dry_run: Vec<&str> = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(Deletion {
        preconditions: Preconditions { uid: text("uid"), resource_version: text("resourceVersion") },
        grace: body["gracePeriodSeconds"].as_i64(),
        propagation,
        dry_run: is_dry_run(&dry_run, "DeleteOptions")?,
    })
}

fn of_query(call: &Call) -> Result<Value, Status> {
    let dry_run: Vec<&str> = call.query.iter().filter(|(key, _)| key == "dryRun").map(|(_, v)| v.as_str()).collect();
    let orphan = call.get("orphanDependents").map(|_| call.flag("orphanDependents"));
    Ok(json!({
        "gracePeriodSeconds": call.number("gracePeriodSeconds")?,
        "propagationPolicy": call.get("propagationPolicy"),
        "orphanDependents": orphan,
        "dryRun": dry_run,
    }))
}

fn of_body(call: &Call) -> Result<Value, Status> {
    let broken = |why: String| Status::new(500, "", why);
    let value: Value = match call.content_type() {
        "application/json" => serde_json::from_slice(&call.body).map_err(|error| {
            broken(format!("couldn't get version/kind; json parse error: {}", body::go_error(&call.body, &error)))
        })?,
        "application/yaml" => body::yaml(&call.body).map_err(|why| broken(format!("yaml: {why}")))?,
        _ => return Err(body::unknown_format()),
    };
    if !value.is_object() {
        return Err(broken("couldn't get version/kind; json parse error: json: cannot unmarshal it".to_owned()));
    }
    if let Some(kind) = value["kind"].as_str().filter(|kind| !["", "DeleteOptions"].contains(kind)) {
        let version = value["apiVersion"].as_str().filter(|version| !version.is_empty()).unwrap_or("meta.k8s.io/v1");
        let why =
            format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\"");
        return Err(broken(why));
    }
    type Fits = fn(&Value) -> bool;
    let fields: [(&str, Fits, &str); 5] = [
        ("gracePeriodSeconds", Value::is_i64, "int64"),
        ("orphanDependents", Value::is_boolean, "bool"),
        ("propagationPolicy", Value::is_string, "v1.DeletionPropagation"),
        ("preconditions", Value::is_object, "v1.Preconditions"),
        ("dryRun", Value::is_array, "[]string"),
    ];
    for (field, fits, expected) in fields {
        let sent = &value[field];
        if !sent.is_null() && !fits(sent) {
            let what = match sent {
                Value::String(_) => "string".to_owned(),
                Value::Bool(_) => "bool".to_owned(),
                Value::Array(_) => "array".to_owned(),
                Value::Object(_) => "object".to_owned(),
                other => format!("number {other}"),
            };
            let why =
                format!("json: cannot unmarshal {what} into Go struct field DeleteOptions.{field} of type {expected}");
            return Err(broken(why));
        }
    }
    Ok(value)
}

fn warnings(place: &Place, how: &Deletion) -> Vec<String> {
    let unsaid = place.resource.is(&JOBS) && how.propagation.is_none();
    unsaid.then(|| ORPHANS.to_owned()).into_iter().collect()
}

pub(super) fn one(api: &ApiService, place: &Place, name: &str, call: &Call) -> Result<Reply, Status> {
    let how = options(call)?;
    let resource = place.resource;
    let deleted = api.store.remove(resource, place.namespace(), name, &how)?;
    let warnings = warnings(place, &how);
    if !deleted.gone || ANSWER_THEMSELVES.iter().any(|kind| resource.is(kind)) {
        // Only who still uses the older option is told that it is not done yet.
        let code = if !deleted.gone && call_asks_not_to_orphan(call) { 202 } else { 200 };
        return Ok(Reply { answer: Answer::Object(code, resource, deleted.object), warnings });
    }
    let mut details = json!({"name": name, "kind": resource.plural, "uid": deleted.object["metadata"]["uid"]});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok(Reply { answer: Answer::Json(200, status), warnings })
}

fn call_asks_not_to_orphan(call: &Call) -> bool {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let asked = if call.body.is_empty() {
        call.get("orphanDependents").map(|_| call.flag("orphanDependents"))
    } else {
        body["orphanDependents"].as_bool()
    };
    asked == Some(false)
}

pub(super) fn collection(api: &ApiService, place: &Place, call: &Call) -> Result<Reply, Status> {
    let resource = place.resource;
    if resource.is(&NAMESPACES) {
        return Err(not_allowed());
    }
    let filter = Filter::of(resource, call)?;
    let how = options(call)?;
    let limit = call.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let (all, version) = api.store.list(resource, place.namespace.as_deref());
    let chosen = all.into_iter().filter(|object| filter.takes(object));
    let items: Vec<Object> = chosen.take(limit.unwrap_or(usize::MAX)).collect();
    for object in &items {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        match api.store.remove(resource, text("namespace"), text("name"), &how) {
            Ok(_) => {}
            // Somebody else was faster.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let metadata = json!({"resourceVersion": version.to_string()});
    let answer = Answer::List(Listed { resource, metadata, items });
    Ok(Reply { answer, warnings: warnings(place, &how) })
}
