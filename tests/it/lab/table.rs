//! Tables, metadata and YAML: the forms in which a client may ask for objects.

use ::http::Request;
use futures_util::AsyncBufReadExt;
use kube::Client;
use serde_json::{Value, json};
use steadfast::prelude::*;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn request(path: &str, accept: &str) -> Request<Vec<u8>> {
    Request::get(path).header("accept", accept).body(Vec::new()).unwrap()
}

async fn text(client: &Client, path: &str, accept: &str) -> Result<String, String> {
    client.request_text(request(path, accept)).await.map_err(|error| error.to_string())
}

async fn read(client: &Client, path: &str, accept: &str) -> Value {
    serde_json::from_str(&text(client, path, accept).await.unwrap()).unwrap()
}

async fn post(client: &Client, path: &str, object: Value) {
    let body = serde_json::to_vec(&object).unwrap();
    let request = Request::post(path).header("content-type", "application/json").body(body).unwrap();
    client.request_text(request).await.unwrap();
}

async fn maps(client: &Client) {
    for (name, data) in [("a", json!({"k": "1"})), ("b", json!({"k": "1", "l": "2"}))] {
        post(client, MAPS, json!({"metadata": {"name": name, "labels": {"of": "table"}}, "data": data})).await;
    }
}

#[steadfast::test(needs = "embedded")]
async fn a_list_becomes_rows_of_cells(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    maps(&client).await;
    tokio::time::sleep(std::time::Duration::from_secs(125)).await;
    let table = read(&client, &format!("{MAPS}?labelSelector=of%3Dtable"), TABLE).await;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&Value> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "2m5s"]));
    assert_eq!(table["rows"][1]["cells"], json!(["b", 2, "2m5s"]));
    let carried = &table["rows"][0]["object"];
    assert_eq!((&carried["kind"], &carried["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    assert!(carried.get("data").is_none() && table["metadata"]["resourceVersion"].is_string());

    let whole = read(&client, &format!("{MAPS}/b?includeObject=Object"), TABLE).await;
    assert_eq!(whole["rows"][0]["object"]["data"]["l"], "2");
    assert_eq!(whole["rows"][0]["object"]["kind"], "ConfigMap");
    let bare = read(&client, &format!("{MAPS}/b?includeObject=None"), TABLE).await;
    assert_eq!(bare["rows"][0]["object"], Value::Null);
    let wrong = text(&client, &format!("{MAPS}/b?includeObject=All"), TABLE).await.unwrap_err();
    assert!(wrong.contains("must be 'Metadata', 'Object', 'None', or empty"), "{wrong}");
    let missing = text(&client, &format!("{MAPS}/none"), TABLE).await.unwrap_err();
    assert!(missing.contains(r#"configmaps "none" not found"#), "{missing}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_watch_tells_the_columns_once(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    maps(&client).await;
    let path = format!("{MAPS}?watch=true&timeoutSeconds=2&labelSelector=of%3Dtable");
    let events = client.request_stream(request(&path, TABLE)).await?;
    let lines: Vec<String> = futures_util::TryStreamExt::try_collect(events.lines()).await?;
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2, "{lines:?}");
    assert_eq!(events[0]["object"]["columnDefinitions"][1]["name"], "Data");
    assert_eq!(events[1]["object"]["columnDefinitions"], Value::Null);
    for (event, name) in events.iter().zip(["a", "b"]) {
        assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
        assert_eq!(event["object"]["rows"][0]["cells"][0], name);
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn metadata_alone_and_what_is_no_list(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    maps(&client).await;
    let list = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let found = read(&client, MAPS, list).await;
    assert_eq!(found["kind"], "PartialObjectMetadataList");
    assert!(found["items"].as_array().unwrap().iter().all(|item| item.get("data").is_none()));
    let found = read(&client, &format!("{MAPS}/a"), one).await;
    assert_eq!((&found["kind"], &found["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    let error = text(&client, MAPS, one).await.unwrap_err();
    assert!(error.contains("but the requested object is a list (*core.ConfigMapList)"), "{error}");
    let error = text(&client, &format!("{MAPS}/a"), list).await.unwrap_err();
    assert!(error.contains("is not a list (*core.ConfigMap)"), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn other_writings_than_json(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    maps(&client).await;
    let yaml = text(&client, &format!("{MAPS}/a"), "application/yaml").await.unwrap();
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  k: \"1\"\nkind: ConfigMap\nmetadata:\n"), "{yaml}");
    let refused = text(&client, MAPS, "application/xml").await.unwrap_err();
    assert!(refused.contains("406: Not Acceptable\n\nAvailable representations: application/json"), "{refused}");
    let refused = text(&client, MAPS, "application/json;as=Nothing;v=v1;g=meta.k8s.io").await.unwrap_err();
    assert!(refused.contains("only the following media types are accepted: application/json"), "{refused}");
    let refused = text(&client, &format!("{MAPS}?watch=true"), "application/yaml").await.unwrap_err();
    assert!(refused.contains("accepted: application/json;stream=watch"), "{refused}");
    let either = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(read(&client, &format!("{MAPS}/a"), either).await["kind"], "ConfigMap");
    let pretty = text(&client, &format!("{MAPS}/a?pretty=true"), "application/json").await.unwrap();
    assert!(pretty.starts_with("{\n  \""), "{pretty}");
    Ok(())
}
