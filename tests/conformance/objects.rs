//! Objects: creating, changing, refusing.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};
use steadfast::prelude::*;

use crate::support::{Place, deployment, names, object, refused};

const JSON: &str = "application/json";

/// Seen on 1.34.4: 409 AlreadyExists names the plural and the object.
#[steadfast::test]
async fn a_name_is_taken_once(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let made = place.map("m", json!({})).await?;
    assert!(made.metadata.uid.is_some() && made.metadata.generation.is_none(), "{:?}", made.metadata);
    let again = refused(place.map("m", json!({})).await);
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(again.message, r#"configmaps "m" already exists"#);
    place.end().await
}

/// Seen on 1.34.4: the suffix has five letters of an alphabet without vowels.
#[steadfast::test]
async fn names_are_generated(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let made: ConfigMap = place.create(json!({"metadata": {"generateName": "m-"}})).await?;
    let name = made.metadata.name.unwrap_or_default();
    let suffix = name.strip_prefix("m-").expect("the prefix");
    assert_eq!(suffix.len(), 5, "{name}");
    assert!(suffix.chars().all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter)), "{name}");
    place.end().await
}

/// Seen on 1.34.4: a ConfigMap may be replaced without a version, with a stale one it may not, and a missing one is
/// not created.
#[steadfast::test]
async fn a_replacement_must_be_current(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let first = place.map("m", json!({})).await?;
    let bare: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"only": "this"}}));
    let second = maps.replace("m", &PostParams::default(), &bare).await?;
    assert_eq!((second.data.map(|d| d.len()), &second.metadata.uid), (Some(1), &first.metadata.uid));
    let stale = refused(maps.replace("m", &PostParams::default(), &first).await);
    assert_eq!((stale.code, stale.reason.as_str()), (409, "Conflict"));
    assert!(
        stale.message.ends_with("please apply your changes to the latest version and try again"),
        "{}",
        stale.message
    );
    let missing: ConfigMap = object(json!({"metadata": {"name": "none"}}));
    assert_eq!(refused(maps.replace("none", &PostParams::default(), &missing).await).code, 404);
    place.end().await
}

/// Seen on 1.34.4: a write that changes nothing makes no new version.
#[steadfast::test]
async fn versions_grow_with_changes_only(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let version =
        |map: &ConfigMap| map.metadata.resource_version.clone().expect("a version").parse::<u64>().expect("a number");
    let made = place.map("m", json!({})).await?;
    let same = maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "v"}}))).await?;
    assert_eq!(version(&same), version(&made));
    let other = maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "w"}}))).await?;
    assert!(version(&other) > version(&made));
    place.end().await
}

/// Seen on 1.34.4: generation counts changes of the spec; of a Deployment those of annotations too, labels never.
#[steadfast::test]
async fn generations_count_changes_of_the_spec(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let deployments: Api<Deployment> = place.api();
    let mut stopped = deployment("d", 0);
    stopped["spec"]["paused"] = json!(true);
    let made: Deployment = place.create(stopped).await?;
    assert_eq!(made.metadata.generation, Some(1));
    let changed = async |patch: Value| {
        let patched = deployments.patch("d", &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(|d| d.metadata.generation)
    };
    assert_eq!(changed(json!({"metadata": {"labels": {"a": "b"}}})).await?, Some(1));
    assert_eq!(changed(json!({"metadata": {"annotations": {"a": "b"}}})).await?, Some(2));
    assert_eq!(changed(json!({"spec": {"minReadySeconds": 1}})).await?, Some(3));
    assert_eq!(changed(json!({"status": {"replicas": 7}})).await?, Some(3));
    place.end().await
}

/// Seen on 1.34.4: null removes a key; a JSON patch whose test fails is 422 and writes nothing.
#[steadfast::test]
async fn patches_by_merge_and_json(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    place.map("m", json!({})).await?;
    let merged =
        maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": null, "a": "1"}}))).await?;
    assert_eq!(merged.data.clone().map(|d| d.into_keys().collect()), Some(vec!["a".to_owned()]));
    let patch = json!([{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}]);
    let (code, body) = place.raw("PATCH", "/api/v1", "configmaps/m", "application/json-patch+json", &patch).await;
    assert_eq!((code, &body["reason"]), (422, &json!("Invalid")), "{body}");
    assert_eq!(maps.get("m").await?.data, merged.data);
    place.end().await
}

/// Seen on 1.34.4: a strategic patch puts new containers in front, and merges those of the same name.
#[steadfast::test]
async fn strategic_patches_merge_lists_by_key(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let deployments: Api<Deployment> = place.api();
    let _: Deployment = place.create(deployment("d", 0)).await?;
    let containers = async |patch: Value| {
        let patch = json!({"spec": {"template": {"spec": {"containers": patch}}}});
        let patched = deployments.patch("d", &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok::<_, kube::Error>(patched.spec.expect("a spec").template.spec.expect("a template").containers)
    };
    let two = containers(json!([{"name": "side", "image": "side:1"}])).await?;
    assert_eq!(two.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["side", "main"]);
    let still = containers(json!([{"name": "side", "image": "side:2"}])).await?;
    assert_eq!((still.len(), still[0].image.as_deref()), (2, Some("side:2")));
    let one = containers(json!([{"name": "side", "$patch": "delete"}])).await?;
    assert_eq!(one.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["main"]);
    place.end().await
}

/// Seen on 1.34.4: two appliers conflict over a value, share an equal one, and a field goes with its last applier.
#[steadfast::test]
async fn appliers_own_their_fields(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let apply = async |manager: &str, force: bool, data: Value| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        maps.patch("m", &params, &Patch::Apply(map)).await
    };
    let first = apply("one", false, json!({"a": "1", "b": "1"})).await?;
    let again = apply("one", false, json!({"a": "1", "b": "1"})).await?;
    assert_eq!(first.metadata.resource_version, again.metadata.resource_version);
    let conflict = refused(apply("two", false, json!({"a": "2"})).await);
    assert_eq!(conflict.code, 409);
    assert_eq!(conflict.message, r#"Apply failed with 1 conflict: conflict with "one": .data.a"#);
    apply("two", true, json!({"a": "2"})).await?;
    let shared = apply("one", false, json!({"b": "1"})).await?;
    assert_eq!(
        shared.data.clone().map(|d| d.into_iter().collect::<Vec<_>>()),
        Some(vec![("a".into(), "2".into()), ("b".into(), "1".into())])
    );
    let last = apply("two", false, json!({})).await?;
    assert_eq!(last.data.map(|d| d.into_keys().collect()), Some(vec!["b".to_owned()]));
    place.end().await
}

/// Seen on 1.34.4: `dryRun=All` answers as if it were done, without a version, and writes nothing.
#[steadfast::test]
async fn a_dry_run_writes_nothing(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let made = maps.create(&dry, &object(json!({"metadata": {"name": "m"}}))).await?;
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_none());
    assert!(maps.get_opt("m").await?.is_none());
    place.end().await
}

/// Seen on 1.34.4: an unknown field is dropped, and refused where the client asks for strictness.
#[steadfast::test]
async fn unknown_fields(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut typo = deployment("d", 0);
    typo["spec"]["replicaz"] = json!(3);
    let (code, body) = place.raw("POST", "/apis/apps/v1", "deployments?fieldValidation=Strict", JSON, &typo).await;
    assert_eq!(code, 400);
    let message = r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replicaz""#;
    assert_eq!(body["message"], message);
    let (code, body) = place.raw("POST", "/apis/apps/v1", "deployments", JSON, &typo).await;
    assert_eq!((code, &body["spec"]["replicaz"]), (201, &Value::Null));
    place.end().await
}

/// Seen on 1.34.4: 422 with a cause for each field.
#[steadfast::test]
async fn invalid_objects_name_their_fields(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let fields = |status: &kube::core::Status| -> Vec<String> {
        let details = status.details.clone().expect("details");
        details.causes.into_iter().map(|cause| cause.field).collect()
    };
    let name = refused(place.create::<ConfigMap>(json!({"metadata": {"name": "Not_A_Name"}})).await);
    assert_eq!((name.code, fields(&name)), (422, vec!["metadata.name".to_owned()]));
    let mut other = deployment("d", 0);
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let selector = refused(place.create::<Deployment>(other).await);
    assert_eq!((selector.code, fields(&selector)), (422, vec!["spec.template.metadata.labels".to_owned()]));
    let key = refused(place.create::<ConfigMap>(json!({"metadata": {"name": "m"}, "data": {"a/b": "1"}})).await);
    assert_eq!((key.code, fields(&key)), (422, vec!["data[a/b]".to_owned()]));
    place.end().await
}

/// Seen on 1.34.4: the defaults that clients read back.
#[steadfast::test]
async fn defaults_are_filled_in(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let service: Service = place.create(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})).await?;
    let spec = service.spec.expect("a spec");
    let port = &spec.ports.expect("ports")[0];
    assert!(spec.cluster_ip.is_some_and(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok()));
    assert_eq!((spec.type_.as_deref(), port.protocol.as_deref()), (Some("ClusterIP"), Some("TCP")));
    let policy = json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "egress": [{}]}});
    let policy: NetworkPolicy = place.create(policy).await?;
    assert_eq!(policy.spec.expect("a spec").policy_types.expect("types"), ["Ingress", "Egress"]);
    let secret: Secret = place.create(json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).await?;
    assert_eq!((secret.type_.as_deref(), secret.data.expect("data")["a"].0.as_slice()), (Some("Opaque"), &b"b"[..]));
    let made: Deployment = place.create(deployment("d", 0)).await?;
    let spec = made.spec.expect("a spec");
    assert_eq!((spec.progress_deadline_seconds, spec.revision_history_limit), (Some(600), Some(10)));
    place.end().await
}

/// Seen on 1.34.4: what a pod's update may not change, and the two words of the server for it.
#[steadfast::test]
async fn what_may_not_change(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let container = json!({"name": "c", "image": "absent:1", "imagePullPolicy": "Never"});
    let _: Pod = place
        .create(
            json!({"metadata": {"name": "p"}, "spec": {"containers": [container], "nodeSelector": {"none": "such"}}}),
        )
        .await?;
    let pods: Api<Pod> = place.api();
    let error =
        refused(pods.patch("p", &PatchParams::default(), &Patch::Merge(json!({"spec": {"hostname": "x"}}))).await);
    assert_eq!(error.code, 422);
    assert!(error.message.contains("pod updates may not change fields other than"), "{}", error.message);
    let _: Deployment = place.create(deployment("d", 0)).await?;
    let deployments: Api<Deployment> = place.api();
    let patch = json!({"spec": {"selector": {"matchLabels": {"other": "one"}}}});
    let error = refused(deployments.patch("d", &PatchParams::default(), &Patch::Merge(patch)).await);
    assert_eq!(error.code, 422);
    assert!(error.message.contains("field is immutable"), "{}", error.message);
    place.end().await
}

/// Seen on 1.34.4: a delete meant for another object of that name is refused, and the object stays.
#[steadfast::test]
async fn a_delete_by_uid_takes_no_other(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let made = place.map("m", json!({})).await?;
    let by = |uid: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    let other = Some("11111111-1111-1111-1111-111111111111".to_owned());
    let error = refused(maps.delete("m", &by(other)).await.map(|_| ()));
    assert_eq!(error.code, 409);
    assert!(error.message.contains("does not match the UID in record"), "{}", error.message);
    maps.delete("m", &by(made.metadata.uid)).await?;
    assert!(maps.get_opt("m").await?.is_none());
    place.end().await
}

/// Seen on 1.34.4: `!=` and `notin` take objects without the label; lists are sorted by name.
#[steadfast::test]
async fn lists_select(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    for (name, labels) in [
        ("c", json!({"run": "1", "tier": "db"})),
        ("a", json!({"run": "1", "tier": "web"})),
        ("b", json!({"run": "1"})),
    ] {
        place.map(name, labels).await?;
    }
    let maps: Api<ConfigMap> = place.api();
    for (selector, expected) in [
        ("run=1", vec!["a", "b", "c"]),
        ("run=1,tier=web", vec!["a"]),
        ("run=1,tier!=web", vec!["b", "c"]),
        ("run=1,tier notin (db)", vec!["a", "b"]),
        ("run=1,tier in (db,web)", vec!["a", "c"]),
        ("run=1,!tier", vec!["b"]),
    ] {
        let listed = maps.list(&ListParams::default().labels(selector)).await?;
        assert_eq!(names(&listed.items), expected, "{selector}");
    }
    let error = refused(maps.list(&ListParams::default().labels("a in (")).await.map(|_| ()));
    assert_eq!(error.code, 400);
    assert!(error.message.starts_with("unable to parse requirement: "), "{}", error.message);
    let error = refused(maps.list(&ListParams::default().fields("data.k=v")).await.map(|_| ()));
    assert_eq!(error.message, r#""data.k" is not a known field selector: only "metadata.name", "metadata.namespace""#);
    place.end().await
}

/// Seen on 1.34.4: the second page is of the first page's version, whatever was written between them.
#[steadfast::test]
async fn pages_are_of_one_version(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    for name in ["a", "b", "d"] {
        place.map(name, json!({"run": "1"})).await?;
    }
    let maps: Api<ConfigMap> = place.api();
    let by_two = ListParams::default().labels("run=1").limit(2);
    let first = maps.list(&by_two).await?;
    place.map("c", json!({"run": "1"})).await?;
    let second = maps.list(&by_two.continue_token(first.metadata.continue_.as_deref().expect("more"))).await?;
    assert_eq!((names(&first.items), names(&second.items)), (vec!["a".into(), "b".into()], vec!["d".into()]));
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    place.end().await
}

/// Seen on 1.34.4: a Lease's times have six digits behind the point, and a PUT of a missing one creates it.
#[steadfast::test]
async fn leases_are_peculiar(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let lease = |name: &str, at: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {"holderIdentity": "me", "renewTime": at}});
    let made: Lease = place.create(lease("l", "2026-01-02T03:04:05.000006Z")).await?;
    assert_eq!(made.spec.and_then(|s| s.holder_identity).as_deref(), Some("me"));
    let short = lease("s", "2026-01-02T03:04:05Z");
    let (code, body) = place.raw("POST", "/apis/coordination.k8s.io/v1", "leases", JSON, &short).await;
    assert_eq!(code, 400, "{body}");
    let put = lease("new", "2026-01-02T03:04:05.000006Z");
    assert_eq!(place.raw("PUT", "/apis/coordination.k8s.io/v1", "leases/new", JSON, &put).await.0, 201);
    place.end().await
}
