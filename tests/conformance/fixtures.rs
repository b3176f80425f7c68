//! What a test prepares and reads on a cluster.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use steadfast::cluster::Port;
use steadfast::prelude::*;
use steadfast::transport::Request;

use crate::support::{Place, deployment, object, template};

/// A pod of `back` and a service in front of it, on another port than its own and by name.
async fn back(place: &Place) -> steadfast::Result {
    let mut pod = template("back", "back");
    pod["metadata"]["name"] = json!("back");
    let _: Pod = place.create(pod).await?;
    let ports = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
    let service = json!({"metadata": {"name": "back"}, "spec": {"selector": {"app": "back"}, "ports": ports}});
    let _: Service = place.create(service).await?;
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    place.cluster.wait_for(&place.name, "back", "it is ready", ready, secs(60)).await?;
    Ok(())
}

/// A path on a port answers with this status, soon: a node port is open a moment after its service is there.
async fn answers(cluster: &Cluster, port: &Port, path: &str, code: u16) -> steadfast::Result {
    let hypothesis = Hypothesis::new("it answers").check(http::get(port.url(path)).expect(status(code)));
    let experiment = Experiment::new("a look", hypothesis).baseline_within(secs(30)).without_recovery();
    experiment.run(cluster).await?.assert_verdict(Met);
    Ok(())
}

/// Seen on 1.34.4, by port-forward: a service's port leads to the port of a pod that it names, a pod's to its own.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn ports_of_services_and_pods_are_reached(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    back(&place).await?;
    let namespace = cluster.namespace(&place.name);
    let settled = async || namespace.port_of_service("back", 80).await.ok();
    let by_service = place.eventually(secs(10), "the service has its endpoint", settled).await;
    let by_pod = namespace.port_of_pod("app=back", 8002).await?;
    assert_eq!((by_service.is_forwarded(), by_pod.is_forwarded()), (cluster.lab().is_err(), cluster.lab().is_err()));
    for port in [&by_service, &by_pod] {
        answers(&cluster, port, "/health", 200).await?;
        answers(&cluster, port, "no/such/path", 404).await?;
    }
    // Several connections at once.
    let transport = steadfast::experiment::Environment::transport(&cluster);
    let request = Request::new(::http::Method::GET, by_service.url("/"));
    let sent = futures_util::future::join_all((0..8).map(|_| transport.send(&request))).await;
    for answer in sent {
        assert_eq!(answer.expect("an answer").status, 200);
    }
    place.end().await
}

/// Seen on 1.34.4: a node port that kind's configuration maps is reached on this machine without the API.
#[steadfast::test(setup = steadfast::shop)]
async fn a_mapped_node_port_is_not_forwarded(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").port_of_service("front", 8000).await?;
    assert_eq!(front.is_forwarded(), cluster.lab().is_err() && cluster.kind_name().is_none());
    answers(&cluster, &front, "/", 200).await
}

/// Seen on 1.34.4: of a port that nobody has, the error says what there is.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_port_that_nobody_has_is_told_at_once(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let namespace = cluster.namespace(&place.name);
    let error = namespace.port_of_service("back", 80).await.err().expect("there is no service").to_string();
    assert!(error.contains("there is no such service"), "{error}");
    let ports = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
    let service = json!({"metadata": {"name": "back"}, "spec": {"selector": {"app": "back"}, "ports": ports}});
    place.api::<Service>().create(&Default::default(), &object(service)).await?;
    let error = namespace.port_of_service("back", 81).await.err().expect("there is no port").to_string();
    assert!(error.contains("the service has: 80"), "{error}");
    let error = namespace.port_of_service("back", 80).await.err().expect("there is no pod").to_string();
    assert!(error.contains("no pod behind it is ready"), "{error}");
    let error = namespace.port_of_pod("app=back", 80).await.err().expect("there is no pod").to_string();
    assert!(error.contains("no pod in namespace"), "{error}");
    place.end().await
}

/// Seen on 1.34.4: a pod's lines come in their order, with their times, of each of its containers; also once it ended.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_test_reads_what_pods_have_written(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut pod = template("talkers", "back");
    pod["metadata"]["name"] = json!("talkers");
    pod["spec"]["restartPolicy"] = json!("Never");
    // Neither knows its role: each says so, and ends.
    let mut second = pod["spec"]["containers"][0].clone();
    second["name"] = json!("second");
    second["args"] = json!(["second-role"]);
    pod["spec"]["containers"] = json!([pod["spec"]["containers"][0], second]);
    pod["spec"]["containers"][0]["args"] = json!(["first-role"]);
    let _: Pod = place.create(pod).await?;
    let ended = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Failed");
    cluster.wait_for(&place.name, "talkers", "it has ended", ended, secs(60)).await?;
    let logs = cluster.namespace(&place.name).pods("app=talkers").logs();
    let lines = logs.lines().await?;
    let said = |container: &str, role: &str| {
        let mut of = lines.iter().filter(|line| line.container == container);
        of.any(|line| line.pod == "talkers" && line.at.is_some() && line.text.contains(role))
    };
    assert!(said("main", "first-role") && said("second", "second-role"), "{lines:?}");
    assert_eq!(logs.tail(1).lines().await?.len(), 2, "one of each container");
    place.end().await
}

/// Seen on 1.34.4: a namespace of a test's own goes with all that is in it.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_namespace_of_its_own_goes(cluster: Cluster) -> steadfast::Result {
    let namespace = cluster.own_namespace("fixtures").await?;
    let name = namespace.name().to_owned();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": name}});
    cluster.apply(&map).await?;
    namespace.delete().await?;
    let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(cluster.client());
    assert!(api.get_opt(&name).await?.is_none());

    let dropped = cluster.own_namespace("fixtures").await?;
    let name = dropped.name().to_owned();
    drop(dropped);
    let left = api.get_opt(&name).await?;
    assert!(left.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()));
    Ok(())
}

/// Seen on 1.34.4: while a new template is rolled out its Deployment has as many ready pods as before: the old ones.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn old_pods_are_not_what_was_waited_for(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let deployments: Api<Deployment> = place.api();
    let _: Deployment = place.create(deployment("back", 1)).await?;
    cluster.wait_for_deployments(&place.name, &["back"], secs(60)).await?;
    let image = |image: &str| {
        let containers = json!([{"name": "main", "image": image}]);
        Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
    };
    deployments.patch("back", &PatchParams::default(), &image("example.invalid/nothing:1")).await?;
    let waited = cluster.wait_for_deployments(&place.name, &["back"], secs(5)).await;
    let error = waited.expect_err("the new pod has no image").to_string();
    for part in [&format!("deployment {}/back", place.name), "its rollout is complete", "example.invalid/nothing:1"] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    deployments.patch("back", &PatchParams::default(), &image(steadfast::cluster::SHOP_IMAGE)).await?;
    cluster.wait_for_deployments(&place.name, &["back"], secs(60)).await?;
    place.end().await
}
