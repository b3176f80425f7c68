//! Patches and field management through the API, with the words that a 1.34 server was seen to use.

use ::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use steadfast::prelude::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn send(cluster: &Cluster, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.header("user-agent", "tester/1.0 (linux)");
    let request = request.body(kube::client::Body::from(body.as_bytes().to_vec())).expect("a request");
    let response = cluster.client().send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).expect("JSON"))
}

async fn patch(cluster: &Cluster, path: &str, kind: &str, body: Value) -> (u16, Value) {
    send(cluster, "PATCH", path, kind, &body.to_string()).await
}

async fn post(cluster: &Cluster, path: &str, body: Value) -> Value {
    let (code, made) = send(cluster, "POST", path, "application/json", &body.to_string()).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn map(cluster: &Cluster, name: &str) -> Value {
    post(cluster, MAPS, json!({"metadata": {"name": name}, "data": {"k": "v"}})).await
}

fn applied(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| format!("{} {}", text(entry, "manager"), text(entry, "operation"))).collect()
}

fn message(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["message"].as_str().unwrap_or_default())
}

#[steadfast::test(needs = "embedded")]
async fn every_write_records_its_owner(cluster: Cluster) -> steadfast::Result {
    let made = map(&cluster, "m").await;
    let path = format!("{MAPS}/m");
    let entry = json!({"manager": "tester", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": made["metadata"]["creationTimestamp"], "fieldsV1": {"f:data": {".": {}, "f:k": {}}}});
    assert_eq!(made["metadata"]["managedFields"], json!([entry]));
    tokio::time::sleep(secs(2)).await;
    let (_, other) = patch(&cluster, &format!("{path}?fieldManager=other"), MERGE, json!({"data": {"z": "1"}})).await;
    assert_eq!(owners(&other), ["tester Update", "other Update"]);
    let mut whole = other.clone();
    whole["data"]["k"] = json!("w");
    whole["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    let put = format!("{path}?fieldManager=third");
    tokio::time::sleep(secs(2)).await;
    let (_, put) = send(&cluster, "PUT", &put, "application/json", &whole.to_string()).await;
    assert_eq!(owners(&put), ["tester Update", "other Update", "third Update"]);
    let (_, same) = patch(&cluster, &path, MERGE, json!({"data": {"k": "w"}})).await;
    assert_eq!(same, put, "what changes nothing is no write");
    let (_, cleared) = patch(&cluster, &path, MERGE, json!({"metadata": {"managedFields": [{}]}})).await;
    assert_eq!(owners(&cleared), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn applies_share_conflict_and_let_go(cluster: Cluster) -> steadfast::Result {
    let path = format!("{MAPS}/m");
    let by = |name: &str| format!("{path}?fieldManager={name}");
    let (code, one) = patch(&cluster, &by("one"), APPLY, applied("m", json!({"a": "1", "b": "1"}))).await;
    assert_eq!((code, owners(&one)), (201, vec!["one Apply".to_owned()]));
    let (code, again) = patch(&cluster, &by("one"), APPLY, applied("m", json!({"a": "1", "b": "1"}))).await;
    assert_eq!((code, &again), (200, &one));
    let refused = patch(&cluster, &by("two"), APPLY, applied("m", json!({"a": "2", "b": "2"}))).await;
    let text = "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b";
    assert_eq!(message(&refused), (409, text));
    let (_, shared) = patch(&cluster, &by("two"), APPLY, applied("m", json!({"a": "1"}))).await;
    assert_eq!(owners(&shared), ["two Apply", "one Apply"], "who changes nothing has no time, and comes first");
    let (_, left) = patch(&cluster, &by("one"), APPLY, applied("m", json!({"b": "1"}))).await;
    assert_eq!(left["data"], json!({"a": "1", "b": "1"}), "two still has a");
    let (_, gone) = patch(&cluster, &by("two"), APPLY, applied("m", json!({}))).await;
    assert_eq!(gone["data"], json!({"b": "1"}));
    let forced = format!("{}&force=true", by("two"));
    let (code, forced) = patch(&cluster, &forced, APPLY, applied("m", json!({"b": "2"}))).await;
    assert_eq!((code, &forced["data"]), (200, &json!({"b": "2"})));
    patch(&cluster, &format!("{path}?fieldManager=hand"), MERGE, json!({"data": {"b": "3"}})).await;
    let refused = patch(&cluster, &by("two"), APPLY, applied("m", json!({"b": "2"}))).await;
    assert_eq!(message(&refused), (409, "Apply failed with 1 conflict: conflict with \"hand\" using v1: .data.b"));
    let (_, dry) =
        patch(&cluster, &format!("{}&dryRun=All&force=true", by("two")), APPLY, applied("m", json!({"b": "2"}))).await;
    assert_eq!(dry["data"], json!({"b": "2"}));
    let (_, stored) = send(&cluster, "GET", &path, "", "").await;
    assert_eq!(stored["data"], json!({"b": "3"}));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_apply_that_is_none_is_refused(cluster: Cluster) -> steadfast::Result {
    let path = format!("{MAPS}/m");
    let by = format!("{path}?fieldManager=m");
    let told = async |path: &str, body: Value| patch(&cluster, path, APPLY, body).await;
    let options = "PatchOptions.meta.k8s.io \"\" is invalid: ";
    let answer = told(&path, applied("m", json!({}))).await;
    assert_eq!(
        message(&answer),
        (422, &*format!("{options}fieldManager: Required value: is required for apply patch"))
    );
    let long = format!("{path}?fieldManager={}", "m".repeat(129));
    let answer = told(&long, applied("m", json!({}))).await;
    assert_eq!(message(&answer), (422, &*format!("{options}fieldManager: Too long: may not be more than 128 bytes")));
    let answer = told(&by, json!({"metadata": {"name": "m"}})).await;
    assert_eq!(message(&answer), (400, "invalid object type: /, Kind="));
    let answer = told(&by, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "m"}})).await;
    assert_eq!(message(&answer), (400, "invalid object type: /v1, Kind=Secret"));
    let mut owned = applied("m", json!({}));
    owned["metadata"]["managedFields"] = json!([]);
    assert_eq!(message(&told(&by, owned).await), (400, "metadata.managedFields must be nil"));
    let answer = told(&by, applied("other", json!({}))).await;
    assert_eq!(message(&answer), (400, "the name of the object (other) does not match the name on the URL (m)"));
    let answer =
        told(&by, json!({"apiVersion": "v1", "kind": "ConfigMap", "dat": {}, "metadata": {"name": "m"}})).await;
    let text = "failed to create typed patch object (/m; /v1, Kind=ConfigMap): .dat: field not declared in schema";
    assert_eq!(message(&answer), (500, text));
    let mut known = applied("m", json!({}));
    known["metadata"]["uid"] = json!("abc");
    assert_eq!(told(&by, known).await.0, 409);
    let answer = patch(&cluster, &format!("{path}?force=true&dryRun=Some"), MERGE, json!({})).await;
    let text = format!(
        "{options}[force: Forbidden: may not be specified for non-apply patch, dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"]"
    );
    assert_eq!(message(&answer), (422, text.as_str()));
    assert_eq!(answer.1["details"]["causes"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_patch_that_is_none_is_refused(cluster: Cluster) -> steadfast::Result {
    let made = map(&cluster, "m").await;
    let path = format!("{MAPS}/m");
    let answer = patch(&cluster, &path, "application/json", json!({})).await;
    assert_eq!(message(&answer), (415, "415: Unsupported Media Type"));
    let answer = send(&cluster, "PATCH", &path, MERGE, "{\"a\":").await;
    assert_eq!(message(&answer), (400, "error decoding patch: unexpected end of JSON input"));
    let answer = patch(&cluster, &path, JSON, json!({})).await;
    let text = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
    assert_eq!(message(&answer), (400, text));
    let answer = patch(&cluster, &path, JSON, json!([{"op": "test", "path": "/data/k", "value": "x"}])).await;
    let text = "the server rejected our request due to an error in our request";
    assert_eq!(message(&answer), (422, text));
    assert_eq!((&answer.1["reason"], &answer.1["details"]), (&json!("Invalid"), &json!({})));
    let answer = patch(&cluster, &path, MERGE, json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "x"}})).await;
    assert_eq!((answer.0, &answer.1["reason"]), (409, &json!("Conflict")));
    let answer = patch(&cluster, &path, MERGE, json!({"metadata": {"uid": "other"}})).await;
    let text = "ConfigMap \"m\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable";
    assert_eq!(message(&answer), (422, text));
    let answer = patch(&cluster, &path, MERGE, json!({"metadata": {"name": "n"}})).await;
    assert_eq!(message(&answer), (400, "the name of the object (n) does not match the name on the URL (m)"));
    let answer = patch(&cluster, &format!("{MAPS}/none"), MERGE, json!({})).await;
    assert_eq!(message(&answer), (404, "configmaps \"none\" not found"));
    let (_, stored) = send(&cluster, "GET", &path, "", "").await;
    assert_eq!(stored, made);
    Ok(())
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "X", "value": "1"}]}]}}},
    })
}

#[steadfast::test(needs = "embedded")]
async fn strategic_patches_merge_lists_by_key(cluster: Cluster) -> steadfast::Result {
    post(&cluster, DEPLOYMENTS, deployment()).await;
    let path = format!("{DEPLOYMENTS}/d");
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let names = |object: &Value| {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
        containers.iter().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let side = pod(json!({"containers": [{"name": "side", "image": "s"}]}));
    let (code, after) = patch(&cluster, &path, STRATEGIC, side).await;
    assert_eq!((code, names(&after)), (200, vec!["side".to_owned(), "c".to_owned()]));
    let gone = pod(
        json!({"containers": [{"name": "side", "$patch": "delete"}, {"name": "c", "env": [{"name": "Y", "value": "2"}]}]}),
    );
    let (_, after) = patch(&cluster, &path, STRATEGIC, gone).await;
    assert_eq!(names(&after), ["c"]);
    let env = &after["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env, &json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]));
    let answer = patch(&cluster, &path, STRATEGIC, pod(json!({"containers": [{"image": "i"}]}))).await;
    assert_eq!(message(&answer), (500, "map: map[image:i] does not contain declared merge key: name"));
    let retyped = json!({"spec": {"replicas": "a"}});
    let answer = patch(&cluster, &path, STRATEGIC, retyped).await;
    let (code, text) = message(&answer);
    let start = " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:a]]\": ";
    assert!(code == 422 && text.starts_with(start), "{text}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_apply_of_a_status_leaves_the_rest(cluster: Cluster) -> steadfast::Result {
    post(&cluster, DEPLOYMENTS, deployment()).await;
    let mut config = deployment();
    config["spec"]["replicas"] = json!(7);
    config["status"] = json!({"conditions": [{"type": "Mine", "status": "True"}]});
    let path = format!("{DEPLOYMENTS}/d/status?fieldManager=st");
    let (code, after) = patch(&cluster, &path, APPLY, config).await;
    assert_eq!((code, &after["spec"]["replicas"]), (200, &json!(0)));
    let conditions = after["status"]["conditions"].as_array().cloned().unwrap_or_default();
    assert!(conditions.iter().any(|condition| condition["type"] == "Mine"), "{conditions:?}");
    let entries = after["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.iter().find(|entry| entry["manager"] == "st").expect("an entry");
    assert_eq!(entry["subresource"], "status");
    let condition = json!({".": {}, "f:type": {}, "f:status": {}});
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:conditions": {"k:{\"type\":\"Mine\"}": condition}}}));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn kubectls_own_way_of_taking_over_works(cluster: Cluster) -> steadfast::Result {
    let mut first = applied("m", json!({"k": "v"}));
    let kept = first.to_string();
    first["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": kept});
    let by = format!("{MAPS}?fieldManager=kubectl-client-side-apply");
    let made = post(&cluster, &by, first).await;
    let path = format!("{MAPS}/m?fieldManager=kubectl");
    let (code, after) = patch(&cluster, &path, APPLY, applied("m", json!({"k": "w"}))).await;
    assert_eq!((code, &after["data"]), (200, &json!({"k": "w"})), "no conflict with itself");
    let fields = json!({"f:data": {"f:k": {}}});
    let entry = json!({"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": made["metadata"]["creationTimestamp"], "fieldsV1": fields});
    let moved = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": after["metadata"]["resourceVersion"]},
    ]);
    let (code, moved) = patch(&cluster, &format!("{MAPS}/m"), JSON, moved).await;
    assert_eq!((code, owners(&moved)), (200, vec!["kubectl Apply".to_owned()]));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn whoever_scales_owns_the_count(cluster: Cluster) -> steadfast::Result {
    post(&cluster, DEPLOYMENTS, deployment()).await;
    let scale = format!("{DEPLOYMENTS}/d/scale");
    let by = |name: &str| format!("{scale}?fieldManager={name}");
    let (code, told) = patch(&cluster, &by("hand"), MERGE, json!({"spec": {"replicas": 2}})).await;
    assert_eq!((code, &told["spec"]), (200, &json!({"replicas": 2})));
    let (_, object) = send(&cluster, "GET", &format!("{DEPLOYMENTS}/d"), "", "").await;
    let entry = json!({"manager": "hand", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}}, "subresource": "scale"});
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    assert!(entries.contains(&entry), "{entries:?}");
    let config =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}});
    let refused = patch(&cluster, &by("two"), APPLY, config.clone()).await;
    let text = "Apply failed with 1 conflict: conflict with \"hand\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    assert_eq!(message(&refused), (409, text));
    let (code, told) = patch(&cluster, &format!("{}&force=true", by("two")), APPLY, config).await;
    assert_eq!((code, &told["spec"]), (200, &json!({"replicas": 3})));
    let none = patch(&cluster, &by("hand"), MERGE, json!({"spec": {"replicas": -1}})).await;
    let text =
        "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(message(&none), (422, text));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_put_of_another_object_is_a_conflict_and_nothing_else(cluster: Cluster) -> steadfast::Result {
    let made = map(&cluster, "m").await;
    for (field, value) in [("uid", "11111111-1111-1111-1111-111111111111"), ("resourceVersion", "1")] {
        let mut other = made.clone();
        other["metadata"][field] = json!(value);
        other["metadata"]["labels"] = json!({"not valid!": "x"});
        let (code, told) = send(&cluster, "PUT", &format!("{MAPS}/m"), "application/json", &other.to_string()).await;
        assert_eq!((code, &told["reason"]), (409, &json!("Conflict")), "{told}");
    }
    Ok(())
}
