//! What clients ask before all else: versions, groups, kinds, health.

use ::http::Request;
use kube::Client;
use serde_json::{Value, json};
use steadfast::prelude::*;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> (u16, String, String, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = kube::client::Body::empty();
    let response = client.send(request.body(body).unwrap()).await.unwrap();
    let header = |name: &str| response.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let (code, kind, tag) = (response.status().as_u16(), header("content-type"), header("etag"));
    let body = response.into_body().collect_bytes().await.unwrap();
    (code, kind, tag, String::from_utf8(body.to_vec()).unwrap())
}

async fn json(client: &Client, path: &str) -> Value {
    serde_json::from_str(&get(client, path, &[]).await.3).unwrap()
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry[key] == name).unwrap_or(&Value::Null)
}

#[steadfast::test(needs = "embedded")]
async fn kinds_are_listed_with_their_names_and_verbs(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let core = json(&client, "/api/v1").await;
    let pods = named(&core["resources"], "name", "pods");
    assert_eq!((&pods["shortNames"], &pods["categories"]), (&json!(["po"]), &json!(["all"])));
    assert_eq!(
        pods["verbs"],
        json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
    );
    let namespaces = &named(&core["resources"], "name", "namespaces")["verbs"];
    assert!(!namespaces.as_array().unwrap().contains(&json!("deletecollection")));
    let apps = json(&client, "/apis/apps/v1").await;
    let scale = named(&apps["resources"], "name", "deployments/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    assert_eq!(scale["verbs"], json!(["get", "patch", "update"]));

    let groups = json(&client, "/apis").await;
    let apps = named(&groups["groups"], "name", "apps");
    assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(json(&client, "/apis/apps").await["kind"], "APIGroup");
    let api = json(&client, "/api").await;
    assert_eq!((&api["kind"], &api["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    assert!(api["serverAddressByClientCIDRs"][0]["serverAddress"].is_string());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn all_of_it_in_one_answer_that_need_not_be_read_twice(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let (code, kind, tag, body) = get(&client, "/apis", &[("accept", AGGREGATED)]).await;
    assert_eq!(code, 200);
    assert_eq!(kind, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let body: Value = serde_json::from_str(&body)?;
    let apps = body["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
    let deployments = named(&apps["versions"][0]["resources"], "resource", "deployments");
    assert_eq!(
        (&deployments["scope"], &deployments["responseKind"]["kind"]),
        (&json!("Namespaced"), &json!("Deployment"))
    );
    assert_eq!(named(&deployments["subresources"], "subresource", "scale")["responseKind"]["kind"], "Scale");
    let (code, _, same, body) = get(&client, "/apis", &[("accept", AGGREGATED), ("if-none-match", &tag)]).await;
    assert_eq!((code, same, body.as_str()), (304, tag.clone(), ""));
    let (_, _, other, body) = get(&client, "/api", &[("accept", AGGREGATED)]).await;
    assert!(other != tag && body.contains("\"resource\":\"pods\""), "{body}");
    let (_, kind, _, body) = get(&client, "/apis", &[("accept", "application/json")]).await;
    assert!(kind == "application/json" && body.contains("APIGroupList"));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_is_not_there_is_not_there(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    for path in ["/nope", "/apis/nope", "/apis/nope/v1", "/apis/nope/v1/things", "/openid/v1/jwks", "/healthz/nope"] {
        let (code, kind, _, body) = get(&client, path, &[]).await;
        assert_eq!(
            (code, kind.as_str(), body.as_str()),
            (404, "text/plain; charset=utf-8", "404 page not found\n"),
            "{path}"
        );
    }
    for path in ["/api/v1/nothings", "/api/v2", "/apis/apps/v9", "/apis/apps/v1/namespaces/default/nothings"] {
        let (code, _, _, body) = get(&client, path, &[]).await;
        let body: Value = serde_json::from_str(&body)?;
        assert_eq!((code, &body["reason"]), (404, &json!("NotFound")), "{path}");
        assert_eq!(body["message"], "the server could not find the requested resource");
    }
    let (code, _, _, body) = get(&client, "/version", &[("accept", "application/xml")]).await;
    assert!(code == 406 && body.contains("406: Not Acceptable"), "{code} {body}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn health_and_version(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        assert_eq!(get(&client, path, &[("accept", "*/*")]).await.3, "ok", "{path}");
    }
    let verbose = get(&client, "/readyz?verbose", &[]).await.3;
    assert!(verbose.starts_with("[+]ping ok\n") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    let version = json(&client, "/version").await;
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("34")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.34."));
    let paths = json(&client, "/").await;
    assert!(paths["paths"].as_array().unwrap().contains(&json!("/apis/apps/v1")), "{paths}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn openapi_tells_what_a_client_needs_before_it_applies(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let index = json(&client, "/openapi/v3").await;
    let place = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(place.starts_with("/openapi/v3/apis/apps/v1?hash="), "{place}");
    let (code, _, tag, body) = get(&client, place, &[]).await;
    assert_eq!(code, 200);
    let apps: Value = serde_json::from_str(&body)?;
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let parameters: Vec<&Value> = patch["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let schemas = &apps["components"]["schemas"];
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    let mut names = Vec::new();
    references(&apps, &mut names);
    let lost: Vec<&String> = names.iter().filter(|name| schemas.get(name.as_str()).is_none()).collect();
    assert!(lost.is_empty(), "every reference leads somewhere: {lost:?}");
    assert_eq!(get(&client, place, &[("if-none-match", &tag)]).await.0, 304);
    let older = json(&client, "/openapi/v2").await;
    let template = &older["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["template"];
    assert_eq!(template["$ref"], "#/definitions/io.k8s.api.core.v1.PodTemplateSpec");
    assert_eq!(get(&client, "/openapi/v3/apis/nope/v1", &[]).await.0, 404);
    Ok(())
}

fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str);
            names.extend(own.map(|path| path.trim_start_matches("#/components/schemas/").to_owned()));
            map.values().for_each(|value| references(value, names));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> u16 {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = kube::client::Body::from(serde_json::to_vec(body).unwrap());
    client.send(request.body(body).unwrap()).await.unwrap().status().as_u16()
}

fn things() -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "description": "How big."},
    }}}});
    let columns = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Label", "type": "string", "jsonPath": ".metadata.labels.example\\.com/of", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns, "subresources": {"status": {}}});
    let names =
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["tg"], "categories": ["all"]});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}})
}

#[steadfast::test(needs = "embedded")]
async fn custom_kinds_come_and_go_with_their_definition(cluster: Cluster) -> steadfast::Result {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";
    let client = cluster.client();
    let (_, _, before, _) = get(&client, "/apis", &[("accept", AGGREGATED)]).await;
    assert_eq!(get(&client, "/apis/example.com/v1", &[]).await.0, 404);
    assert_eq!(send(&client, "POST", DEFINITIONS, &things()).await, 201);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;

    let (_, _, tag, body) = get(&client, "/apis", &[("accept", AGGREGATED)]).await;
    assert!(tag != before && body.contains("\"resource\":\"things\""), "{body}");
    let list = json(&client, "/apis/example.com/v1").await;
    let thing = named(&list["resources"], "name", "things");
    assert_eq!((&thing["shortNames"], &thing["categories"]), (&json!(["tg"]), &json!(["all"])));
    assert_eq!(named(&list["resources"], "name", "things/status")["verbs"], json!(["get", "patch", "update"]));

    let metadata = json!({"name": "t", "labels": {"example.com/of": "me"}});
    let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": metadata, "spec": {"size": 3}});
    assert_eq!(send(&client, "POST", THINGS, &object).await, 201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table: Value = serde_json::from_str(&get(&client, THINGS, &[("accept", accept)]).await.3)?;
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| (&c["name"], &c["priority"])).collect();
    let wanted = [("Name", 0), ("Size", 0), ("Label", 1), ("Age", 0)].map(|(name, wide)| (json!(name), json!(wide)));
    assert_eq!(columns, wanted.iter().map(|(name, wide)| (name, wide)).collect::<Vec<_>>());
    assert_eq!(table["rows"][0]["cells"], json!(["t", 3, "me", "0s"]));

    let document = json(&client, "/openapi/v3/apis/example.com/v1").await;
    let schema = &document["components"]["schemas"]["com.example.v1.Thing"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How big.");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Thing");
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]["patch"];
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_null());
    assert!(patch["requestBody"]["content"]["application/merge-patch+json"].is_object());

    assert_eq!(send(&client, "DELETE", &format!("{DEFINITIONS}/things.example.com"), &json!({})).await, 200);
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!(get(&client, "/apis/example.com/v1", &[]).await.0, 404);
    let (_, _, after, _) = get(&client, "/apis", &[("accept", AGGREGATED)]).await;
    assert_eq!(after, before, "what is gone leaves no trace");
    Ok(())
}
