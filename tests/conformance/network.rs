//! The network: services and policies, seen by pods that open connections and log what happens.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, LogParams, Patch, PatchParams};
use serde_json::{Value, json};
use steadfast::prelude::*;

use crate::support::{Place, deployment, template};

/// A pod that opens a connection again and again: one line for each, `N open`, `N no answer` or `N refused`.
async fn connector(place: &Place, name: &str, labels: Value, to: &str) -> Result<(), kube::Error> {
    let container = json!({
        "name": "witness", "image": steadfast::kubernetes::WITNESS_IMAGE, "imagePullPolicy": "IfNotPresent",
        "args": ["connect", to],
    });
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    place.create::<Pod>(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await.map(drop)
}

/// Waits until two attempts of the connector that ended from now on, one after the other, ended so.
async fn sees(place: &Place, name: &str, expected: &str) {
    let pods: Api<Pod> = place.api();
    let params = LogParams { tail_lines: Some(2), ..LogParams::default() };
    let last = async || -> Vec<(u64, String)> {
        let log = pods.logs(name, &params).await.unwrap_or_default();
        let attempts = log.lines().filter_map(|line| line.split_once(' '));
        attempts.filter_map(|(number, outcome)| Some((number.parse().ok()?, outcome.to_owned()))).collect()
    };
    let before = last().await.last().map_or(0, |(number, _)| *number);
    let newer = async || {
        let attempts = last().await;
        let all = attempts.iter().all(|(number, outcome)| *number > before && outcome == expected);
        (attempts.len() == 2 && all).then_some(())
    };
    place.eventually(secs(60), &format!("{name} sees: {expected}"), newer).await;
}

/// A pod `target` of `back`, with an address to connect to.
async fn target(place: &Place, labels: Value) -> Result<String, kube::Error> {
    let mut pod = template("target", "back");
    pod["metadata"] = json!({"name": "target", "labels": labels});
    place.create::<Pod>(pod).await?;
    let pods: Api<Pod> = place.api();
    let address = async || pods.get("target").await.expect("it is there").status.and_then(|status| status.pod_ip);
    let ip = place.eventually(secs(60), "the target has an address", address).await;
    Ok(format!("{ip}:8002"))
}

async fn policy(place: &Place, name: &str, spec: Value) -> Result<NetworkPolicy, kube::Error> {
    place.create(json!({"metadata": {"name": name}, "spec": spec})).await
}

fn selects(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}

/// Seen on 1.34.4: a denied connection hangs, and opens again once the policy has gone.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_denied_connection_hangs(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let to = target(&place, json!({"app": "target"})).await?;
    connector(&place, "c", json!({"app": "c"}), &to).await?;
    sees(&place, "c", "open").await;
    policy(&place, "deny", json!({"podSelector": selects("target"), "policyTypes": ["Ingress"]})).await?;
    sees(&place, "c", "no answer").await;
    place.api::<NetworkPolicy>().delete("deny", &DeleteParams::default()).await?;
    sees(&place, "c", "open").await;
    place.end().await
}

/// Seen on 1.34.4: a service without ready endpoints refuses at once, under a policy too.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn nobody_refuses(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    let service = json!({"metadata": {"name": "d"}, "spec": {"selector": selects("d")["matchLabels"], "ports": [{"port": 80, "targetPort": 8002}]}});
    let _: Service = place.create(service).await?;
    place.rolled_out("d", 1).await;
    connector(&place, "c", json!({}), "d:80").await?;
    sees(&place, "c", "open").await;
    let none = json!({"spec": {"replicas": 0}});
    place.api::<Deployment>().patch("d", &PatchParams::default(), &Patch::Merge(none)).await?;
    sees(&place, "c", "refused").await;
    place.end().await
}

/// Seen on 1.34.4 and in Kubernetes' own suite: policies of one pod add up, per rule.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn policies_add_up(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let to = target(&place, json!({"app": "target"})).await?;
    for name in ["a", "b"] {
        connector(&place, name, json!({"app": name}), &to).await?;
    }
    policy(&place, "deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]})).await?;
    sees(&place, "a", "no answer").await;
    let from = |app: &str, port: u16| json!({"podSelector": selects("target"), "ingress": [{"from": [{"podSelector": selects(app)}], "ports": [{"port": port}]}]});
    policy(&place, "from-a", from("a", 8002)).await?;
    policy(&place, "from-b-elsewhere", from("b", 9999)).await?;
    sees(&place, "a", "open").await;
    sees(&place, "b", "no answer").await;
    place.end().await
}

/// Seen on 1.34.4: namespace and pod selector in one peer are AND, in two peers OR; `except` narrows its own peer only.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn peers(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let other = Place::new(&cluster).await?;
    let to = target(&place, json!({"app": "target"})).await?;
    connector(&place, "here", json!({"app": "x"}), &to).await?;
    connector(&other, "there", json!({"app": "x"}), &to).await?;
    let elsewhere = json!({"matchLabels": {"kubernetes.io/metadata.name": other.name}});
    let policies: Api<NetworkPolicy> = place.api();
    policy(&place, "p", json!({"podSelector": selects("target"), "ingress": [{"from": [{"namespaceSelector": elsewhere, "podSelector": selects("x")}]}]})).await?;
    sees(&place, "here", "no answer").await;
    sees(&other, "there", "open").await;
    let from = async |peers: Value| {
        let patch = Patch::Merge(json!({"spec": {"ingress": [{"from": peers}]}}));
        policies.patch("p", &PatchParams::default(), &patch).await
    };
    from(json!([{"namespaceSelector": elsewhere, "podSelector": selects("y")}])).await?;
    sees(&other, "there", "no answer").await;
    from(json!([{"namespaceSelector": elsewhere}, {"podSelector": selects("x")}])).await?;
    sees(&other, "there", "open").await;
    sees(&place, "here", "open").await;
    from(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}])).await?;
    sees(&place, "here", "no answer").await;
    from(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}, {"podSelector": selects("x")}])).await?;
    sees(&place, "here", "open").await;
    sees(&other, "there", "no answer").await;
    other.end().await?;
    place.end().await
}

/// Seen on 1.34.4: named ports and ranges are those of the pod, after the service's translation.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn ports(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    target(&place, json!({"app": "target"})).await?;
    let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "target"}, "ports": [{"port": 80, "targetPort": 8002}]}});
    let _: Service = place.create(service).await?;
    connector(&place, "c", json!({}), "s:80").await?;
    sees(&place, "c", "open").await;
    policy(&place, "p", json!({"podSelector": selects("target"), "ingress": [{"ports": [{"port": 80}]}]})).await?;
    sees(&place, "c", "no answer").await;
    let policies: Api<NetworkPolicy> = place.api();
    for (port, expected) in [
        (json!({"port": "http"}), "open"),
        (json!({"port": "other"}), "no answer"),
        (json!({"port": 8000, "endPort": 8002}), "open"),
        (json!({"port": 8000, "endPort": 8001}), "no answer"),
        (json!({"protocol": "TCP"}), "open"),
        (json!({"protocol": "UDP", "port": 8002}), "no answer"),
    ] {
        let patch = Patch::Merge(json!({"spec": {"ingress": [{"ports": [port]}]}}));
        policies.patch("p", &PatchParams::default(), &patch).await?;
        sees(&place, "c", expected).await;
    }
    place.end().await
}

/// Seen on 1.34.4: egress is judged after the service's translation; replies of an allowed connection come through.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn egress(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let to = target(&place, json!({"app": "target"})).await?;
    connector(&place, "c", json!({"app": "c"}), &to).await?;
    policy(&place, "silent-target", json!({"podSelector": selects("target"), "policyTypes": ["Egress"]})).await?;
    sees(&place, "c", "open").await;
    policy(&place, "p", json!({"podSelector": selects("c"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": selects("target")}], "ports": [{"port": 80}]}]})).await?;
    sees(&place, "c", "no answer").await;
    let patch = Patch::Merge(
        json!({"spec": {"egress": [{"to": [{"podSelector": selects("target")}], "ports": [{"port": 8002}]}]}}),
    );
    place.api::<NetworkPolicy>().patch("p", &PatchParams::default(), &patch).await?;
    sees(&place, "c", "open").await;
    place.end().await
}

/// Seen on 1.34.4: a new label of a pod, a peer or a namespace counts like a new policy.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn labels_count_at_once(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let to = target(&place, json!({"app": "target"})).await?;
    connector(&place, "c", json!({"app": "c"}), &to).await?;
    let team = json!({"matchLabels": {"team": "blue"}});
    policy(
        &place,
        "p",
        json!({"podSelector": selects("target"), "ingress": [{"from": [{"namespaceSelector": team}]}]}),
    )
    .await?;
    sees(&place, "c", "no answer").await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "blue"}}}));
    Api::<Namespace>::all(cluster.client()).patch(&place.name, &PatchParams::default(), &label).await?;
    sees(&place, "c", "open").await;
    let away = Patch::Merge(json!({"metadata": {"labels": {"team": null}}}));
    Api::<Namespace>::all(cluster.client()).patch(&place.name, &PatchParams::default(), &away).await?;
    sees(&place, "c", "no answer").await;
    let free = Patch::Merge(json!({"metadata": {"labels": {"app": "free"}}}));
    place.api::<Pod>().patch("target", &PatchParams::default(), &free).await?;
    sees(&place, "c", "open").await;
    place.end().await
}

/// Seen on 1.34.4: the node's probes pass every policy, so that an isolated pod gets ready.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn the_nodes_probes_pass(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    policy(&place, "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    place.rolled_out("d", 1).await;
    place.end().await
}
