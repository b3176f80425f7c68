//! What the API server makes of objects: how it reads them, what it fills in and what it refuses.

use ::http::Request;
use serde_json::{Value, json};
use steadfast::prelude::*;

type Client = kube::Client;

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, (u16, String)> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("Content-Type", kind);
    let request = request.body(serde_json::to_vec(body).unwrap()).unwrap();
    match client.request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => panic!("{error}"),
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn deployment(name: &str) -> Value {
    let template =
        json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}});
    json!({"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}})
}

#[steadfast::test(needs = "embedded")]
async fn a_body_is_read_by_the_kinds_model(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let start = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
    let mut wrong = deployment("a");
    wrong["spec"]["replicas"] = json!("3");
    let why = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
    assert_eq!(send(&client, "POST", DEPLOYMENTS, &wrong).await, Err((400, format!("{start}{why}"))));

    let mut unknown = deployment("a");
    unknown["spec"]["replicaz"] = json!(3);
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let why = "strict decoding error: unknown field \"spec.replicaz\"";
    assert_eq!(send(&client, "POST", &strict, &unknown).await, Err((400, format!("{start}{why}"))));
    let made = send(&client, "POST", DEPLOYMENTS, &unknown).await.unwrap();
    assert_eq!((&made["spec"]["replicaz"], &made["spec"]["progressDeadlineSeconds"]), (&Value::Null, &json!(600)));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_is_not_valid_is_refused_with_every_fault(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let (code, message) =
        send(&client, "POST", DEPLOYMENTS, &json!({"metadata": {"name": "a"}, "spec": {}})).await.unwrap_err();
    let wanted = "Deployment.apps \"a\" is invalid: [spec.selector: Required value, spec.template.metadata.labels: \
                  Invalid value: null: `selector` does not match template `labels`, spec.template.spec.containers: Required value]";
    assert_eq!((code, &*message), (422, wanted));
    let (code, message) = send(&client, "POST", MAPS, &json!({"metadata": {"name": "Bad_Name"}})).await.unwrap_err();
    assert!(code == 422 && message.starts_with("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain"), "{message}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_cannot_change_does_not(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let map = json!({"metadata": {"name": "m"}, "data": {"k": "v"}, "immutable": true});
    send(&client, "POST", MAPS, &map).await.unwrap();
    let changed = send(&client, "PATCH", &format!("{MAPS}/m"), &json!({"data": {"k": "w"}})).await;
    let why = "ConfigMap \"m\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
    assert_eq!(changed, Err((422, why.to_owned())));
    send(&client, "PATCH", &format!("{MAPS}/m"), &json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();

    let other = json!({"metadata": {"name": "m", "uid": "x"}});
    let (code, message) = send(&client, "PUT", &format!("{MAPS}/m"), &other).await.unwrap_err();
    assert!(code == 409 && message.contains("UID in precondition: x"), "{message}");

    send(&client, "POST", DEPLOYMENTS, &deployment("d")).await.unwrap();
    let both = json!({"spec": {"selector": {"matchLabels": {"app": "e"}}, "template": {"metadata": {"labels": {"app": "e"}}}}});
    let changed = send(&client, "PATCH", &format!("{DEPLOYMENTS}/d"), &both).await;
    let why = "Deployment.apps \"d\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"e\"}}: field is immutable";
    assert_eq!(changed, Err((422, why.to_owned())));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn services_get_addresses_and_ports_of_their_own(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let mut seen = std::collections::BTreeSet::new();
    for name in ["s1", "s2", "s3"] {
        let service = json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        let made = send(&client, "POST", SERVICES, &service).await.unwrap();
        assert!(seen.insert(made["spec"]["clusterIP"].to_string()), "{made}");
        assert!(seen.insert(made["spec"]["ports"][0]["nodePort"].to_string()), "{made}");
    }
    let changed =
        send(&client, "PATCH", &format!("{SERVICES}/s1"), &json!({"spec": {"clusterIP": "10.96.200.200"}})).await;
    let why =
        "Service \"s1\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.200.200\"]: may not change once set";
    assert_eq!(changed, Err((422, why.to_owned())));
    // A PUT without the address keeps it, and one without the type gives the port back.
    let put = json!({"metadata": {"name": "s1"}, "spec": {"ports": [{"port": 80}]}});
    let made = send(&client, "PUT", &format!("{SERVICES}/s1"), &put).await.unwrap();
    assert_eq!((&made["spec"]["type"], &made["spec"]["ports"][0]["nodePort"]), (&json!("ClusterIP"), &Value::Null));
    assert!(seen.contains(&made["spec"]["clusterIP"].to_string()), "{made}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn pods_get_their_account_and_tolerations(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let pods = "/api/v1/namespaces/default/pods";
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "x"}]}});
    let made = send(&client, "POST", pods, &pod).await.unwrap();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    pod["metadata"]["name"] = json!("q");
    pod["spec"]["serviceAccountName"] = json!("none");
    let why =
        "pods \"q\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found";
    assert_eq!(send(&client, "POST", pods, &pod).await, Err((403, why.to_owned())));
    Ok(())
}

fn chaos() -> Value {
    let spec = json!({"type": "object", "required": ["action"], "properties": {
        "action": {"type": "string", "enum": ["delay", "loss", "partition"]}, "mode": {"type": "string", "default": "all"},
        "delay": {"type": "object", "properties": {"latency": {"type": "string", "pattern": "^[0-9]+ms$"}}},
        "selector": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}});
    let version = json!({"name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "networkchaos", "kind": "NetworkChaos", "singular": "networkchaos"});
    json!({"metadata": {"name": "networkchaos.chaos.example.com"}, "spec": {"group": "chaos.example.com", "scope": "Namespaced", "names": names, "versions": [version]}})
}

#[steadfast::test(needs = "embedded")]
async fn a_definition_makes_a_kind_and_takes_it_away(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let kind = "/apis/chaos.example.com/v1alpha1/namespaces/default/networkchaos";
    assert_eq!(send(&client, "GET", kind, &Value::Null).await.unwrap_err().0, 404);
    send(&client, "POST", DEFINITIONS, &chaos()).await.unwrap();
    let definition = format!("{DEFINITIONS}/networkchaos.chaos.example.com");
    let conditions = send(&client, "GET", &definition, &Value::Null).await.unwrap()["status"]["conditions"].clone();
    let told: Vec<(&str, &str)> = conditions
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("NamesAccepted", "True"), ("Established", "True")]);

    let mut one = json!({"apiVersion": "chaos.example.com/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": "c"},
        "spec": {"action": "delay", "delay": {"latency": "10ms"}, "selector": {"any": [1]}, "foo": 1}});
    let made = send(&client, "POST", kind, &one).await.unwrap();
    assert_eq!(
        made["spec"],
        json!({"action": "delay", "delay": {"latency": "10ms"}, "selector": {"any": [1]}, "mode": "all"})
    );
    assert_eq!(made["metadata"]["generation"], 1);
    one["metadata"]["name"] = json!("d");
    one["spec"]["action"] = json!("burn");
    one["spec"]["delay"]["latency"] = json!(10);
    let (code, message) = send(&client, "POST", kind, &one).await.unwrap_err();
    let wanted = "NetworkChaos.chaos.example.com \"d\" is invalid: [spec.action: Unsupported value: \"burn\": supported values: \
                  \"delay\", \"loss\", \"partition\", spec.delay.latency: Invalid value: \"integer\": spec.delay.latency in body \
                  must be of type string: \"integer\"]";
    assert_eq!((code, &*message), (422, wanted));

    // An object that a finalizer holds holds the definition.
    send(&client, "PATCH", &format!("{kind}/c"), &json!({"metadata": {"finalizers": ["a.example.com/hold"]}}))
        .await
        .unwrap();
    send(&client, "DELETE", &definition, &json!({})).await.unwrap();
    let held = send(&client, "GET", &definition, &Value::Null).await.unwrap();
    assert_eq!(held["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    send(&client, "PATCH", &format!("{kind}/c"), &json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(send(&client, "GET", &definition, &Value::Null).await.unwrap_err().0, 404);
    assert_eq!(send(&client, "GET", kind, &Value::Null).await.unwrap_err().0, 404);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_definition_has_to_be_structural(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let mut wrong = chaos();
    let schema = &mut wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["list"] = json!({"type": "array"});
    let path = "spec.validation.openAPIV3Schema.properties[spec].properties[list].items";
    let why = format!(
        "CustomResourceDefinition.apiextensions.k8s.io \"networkchaos.chaos.example.com\" is invalid: {path}: Required value: must be specified"
    );
    assert_eq!(send(&client, "POST", DEFINITIONS, &wrong).await, Err((422, why)));
    Ok(())
}
