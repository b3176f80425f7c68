//! Workloads: what controllers and the node make of objects.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Pod, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};
use serde_json::{Value, json};
use steadfast::prelude::*;

use crate::support::{Place, deployment, names, template};

const JSON: &str = "application/json";

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn patched(place: &Place, name: &str, patch: Value) -> Result<Deployment, kube::Error> {
    place.api::<Deployment>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

fn template_note(value: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"note": value}}}}})
}

/// Seen on 1.34.4: every namespace gets a `default` service account and the cluster's certificate.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_namespace_is_furnished(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let (accounts, maps): (Api<ServiceAccount>, Api<ConfigMap>) = (place.api(), place.api());
    let account = async || accounts.get_opt("default").await.expect("an answer");
    place.eventually(secs(10), "the account is there", account).await;
    let map = async || maps.get_opt("kube-root-ca.crt").await.expect("an answer");
    assert!(place.eventually(secs(10), "the map is there", map).await.data.expect("data").contains_key("ca.crt"));
    place.end().await
}

/// Seen on 1.34.4: a Deployment makes a ReplicaSet named after its template, and that one pods.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_deployment_makes_a_set_and_that_makes_pods(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 2)).await?;
    let done = place.rolled_out("d", 2).await;
    let conditions = done.status.expect("a status").conditions.expect("conditions");
    let available = conditions.iter().find(|c| c.type_ == "Available").expect("it is told");
    assert_eq!((available.status.as_str(), available.reason.as_deref()), ("True", Some("MinimumReplicasAvailable")));
    let sets = place.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
    let labels = sets[0].metadata.labels.clone().expect("labels");
    assert_eq!(names(&sets), [format!("d-{}", labels["pod-template-hash"])]);
    assert_eq!(sets[0].metadata.annotations.clone().expect("annotations")["deployment.kubernetes.io/revision"], "1");
    let pods = place.pods("app=d").await;
    assert!(pods.iter().all(|pod| names(std::slice::from_ref(pod))[0].starts_with(&format!("{}-", names(&sets)[0]))));
    place.end().await
}

/// Seen on 1.34.4: with one replica and the default strategy the new pod is ready before the old one goes.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_rollout_never_falls_below_what_is_available(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    place.rolled_out("d", 1).await;
    let old = names(&place.pods("app=d").await);
    patched(&place, "d", template_note("2")).await?;
    let replaced = async || {
        let pods = place.pods("app=d").await;
        assert!(
            pods.iter().any(|pod| ready(pod) && pod.metadata.deletion_timestamp.is_none()),
            "one is ready at any time"
        );
        (pods.len() == 1 && names(&pods) != old).then_some(())
    };
    place.eventually(secs(60), "the pod is replaced", replaced).await;
    place.end().await
}

/// Seen on 1.34.4: an old template gets its old set back, with the next revision.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_rollback_takes_the_old_set(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 0)).await?;
    place.rolled_out("d", 0).await;
    let sets: Api<ReplicaSet> = place.api();
    let revisions = async || -> Vec<String> {
        let mut sets = sets.list(&ListParams::default()).await.expect("a list").items;
        sets.sort_by_key(|set| set.metadata.name.clone());
        let revision = |set: &ReplicaSet| {
            set.metadata.annotations.clone().unwrap_or_default()["deployment.kubernetes.io/revision"].clone()
        };
        let mut revisions: Vec<String> = sets.iter().map(revision).collect();
        revisions.sort();
        revisions
    };
    patched(&place, "d", template_note("2")).await?;
    place.eventually(secs(10), "a second set", async || (revisions().await == ["1", "2"]).then_some(())).await;
    patched(&place, "d", json!({"spec": {"template": {"metadata": {"annotations": {"note": null}}}}})).await?;
    place
        .eventually(secs(10), "the first set is the third", async || (revisions().await == ["2", "3"]).then_some(()))
        .await;
    place.end().await
}

/// Seen on 1.34.4: a pod that no longer fits its set is let go and replaced.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_relabelled_pod_is_released(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    place.rolled_out("d", 1).await;
    let name = names(&place.pods("app=d").await).remove(0);
    let pods: Api<Pod> = place.api();
    pods.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"app": "apart"}}})))
        .await?;
    let alone = async || pods.get(&name).await.expect("it stays").metadata.owner_references.is_none().then_some(());
    place.eventually(secs(10), "nobody owns it", alone).await;
    place
        .eventually(secs(60), "another takes its place", async || (place.pods("app=d").await.len() == 1).then_some(()))
        .await;
    place.end().await
}

/// Seen on 1.34.4: what a Deployment that cannot get on says once its deadline is over.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_rollout_has_a_deadline(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut stuck = deployment("d", 1);
    stuck["spec"]["progressDeadlineSeconds"] = json!(3);
    stuck["spec"]["template"]["spec"]["containers"][0]["image"] = json!("absent:1");
    stuck["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    let _: Deployment = place.create(stuck).await?;
    let deployments: Api<Deployment> = place.api();
    let overdue = async || {
        let status = deployments.get("d").await.expect("it is there").status?;
        status
            .conditions?
            .iter()
            .find(|c| c.type_ == "Progressing" && c.reason.as_deref() == Some("ProgressDeadlineExceeded"))
            .map(drop)
    };
    place.eventually(secs(20), "the deadline is noticed", overdue).await;
    let pods = place.pods("app=d").await;
    let status = pods[0].status.clone().expect("a status");
    let state =
        status.container_statuses.expect("one container")[0].state.clone().and_then(|s| s.waiting).expect("it waits");
    assert_eq!((status.phase.as_deref(), state.reason.as_deref()), (Some("Pending"), Some("ErrImageNeverPull")));
    place.end().await
}

/// Seen on 1.34.4: pods of a StatefulSet come one by one and go from the end.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn stateful_pods_keep_their_order(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let set = json!({
        "metadata": {"name": "s"},
        "spec": {"replicas": 2, "serviceName": "s", "selector": {"matchLabels": {"app": "s"}}, "template": template("s", "back")},
    });
    let _: StatefulSet = place.create(set).await?;
    let both = async || {
        let pods = place.pods("app=s").await;
        let first = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some("s-0"));
        assert!(pods.len() < 2 || first.is_some_and(ready), "the second comes once the first is ready");
        (pods.len() == 2 && pods.iter().all(ready)).then_some(())
    };
    place.eventually(secs(60), "both are ready", both).await;
    let sets: Api<StatefulSet> = place.api();
    sets.patch("s", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 1}}))).await?;
    place
        .eventually(secs(30), "the last one goes", async || {
            (names(&place.pods("app=s").await) == ["s-0"]).then_some(())
        })
        .await;
    place.end().await
}

/// Seen on 1.34.4: one pod for each node.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_daemon_runs_on_each_node(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template("d", "back")}});
    let _: DaemonSet = place.create(set).await?;
    let sets: Api<DaemonSet> = place.api();
    let everywhere = async || {
        let status = sets.get("d").await.expect("it is there").status?;
        (status.desired_number_scheduled > 0 && status.number_ready == status.desired_number_scheduled).then_some(())
    };
    place.eventually(secs(60), "it is ready on each node", everywhere).await;
    place.end().await
}

/// Seen on 1.34.4: a suspended Job makes nothing; one with parallelism 0 neither, and it never completes.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn jobs_that_make_no_pods(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let container = json!({"name": "never", "image": "absent:1", "imagePullPolicy": "Never"});
    let job = |name: &str, more: Value| {
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}});
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            job["spec"][key] = value;
        }
        job
    };
    let _: Job = place.create(job("none", json!({"parallelism": 0}))).await?;
    let _: Job = place.create(job("later", json!({"suspend": true}))).await?;
    let jobs: Api<Job> = place.api();
    let started = async || jobs.get("none").await.expect("it is there").status.and_then(|s| s.start_time);
    place.eventually(secs(10), "it has started", started).await;
    let suspended = async || {
        let conditions = jobs.get("later").await.expect("it is there").status?.conditions?;
        conditions.iter().any(|c| c.type_ == "Suspended" && c.status == "True").then_some(())
    };
    place.eventually(secs(10), "it is suspended", suspended).await;
    assert!(place.pods("job-name in (none,later)").await.is_empty());
    place.end().await
}

/// Seen on 1.34.4: a budget's numbers, and the eviction that it stops.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_budget_stops_an_eviction(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    place.rolled_out("d", 1).await;
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "d"}}}});
    let _: PodDisruptionBudget = place.create(budget).await?;
    let budgets: Api<PodDisruptionBudget> = place.api();
    let counted = async || {
        let status = budgets.get("b").await.expect("it is there").status?;
        (status.current_healthy == 1).then_some((
            status.desired_healthy,
            status.expected_pods,
            status.disruptions_allowed,
        ))
    };
    assert_eq!(place.eventually(secs(10), "it is counted", counted).await, (1, 1, 0));
    let name = names(&place.pods("app=d").await).remove(0);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": place.name}});
    let path = format!("pods/{name}/eviction");
    let (code, body) = place.raw("POST", "/api/v1", &path, JSON, &eviction).await;
    assert_eq!((code, &body["details"]["causes"][0]["reason"]), (429, &json!("DisruptionBudget")), "{body}");
    assert_eq!(body["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    budgets.delete("b", &DeleteParams::default()).await?;
    assert_eq!(place.raw("POST", "/api/v1", &path, JSON, &eviction).await.0, 201);
    place.gone::<Pod>(secs(20), &name).await;
    place.end().await
}

/// Seen on 1.34.4: Endpoints and EndpointSlices follow readiness; with no pod the subsets are absent.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn endpoints_follow_readiness(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("d", 1)).await?;
    let service = json!({"metadata": {"name": "d"}, "spec": {"selector": {"app": "d"}, "ports": [{"port": 80, "targetPort": 8002}]}});
    let _: k8s_openapi::api::core::v1::Service = place.create(service).await?;
    place.rolled_out("d", 1).await;
    let ip = place.pods("app=d").await[0].status.clone().and_then(|s| s.pod_ip);
    let endpoints: Api<Endpoints> = place.api();
    let addressed = async || {
        let subsets = endpoints.get_opt("d").await.expect("an answer")?.subsets?;
        let addresses = subsets.first()?.addresses.clone()?;
        (Some(addresses[0].ip.clone()) == ip).then_some(())
    };
    place.eventually(secs(10), "the address is there", addressed).await;
    let slices: Api<EndpointSlice> = place.api();
    let of_service = ListParams::default().labels("kubernetes.io/service-name=d");
    let slice = slices.list(&of_service).await?.items.remove(0);
    assert_eq!((slice.endpoints[0].addresses.first(), slice.ports.expect("ports")[0].port), (ip.as_ref(), Some(8002)));
    patched(&place, "d", json!({"spec": {"replicas": 0}})).await?;
    let nobody = async || endpoints.get("d").await.expect("it stays").subsets.is_none().then_some(());
    place.eventually(secs(20), "the subsets go", nobody).await;
    place.end().await
}

/// Seen on 1.34.4: a pod whose liveness probe fails is restarted, which its status counts.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn liveness_restarts(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut pod = template("p", "back");
    pod["metadata"]["name"] = json!("p");
    let probe = json!({"httpGet": {"path": "/nowhere", "port": 8002}, "periodSeconds": 1, "failureThreshold": 2});
    pod["spec"]["containers"][0]["livenessProbe"] = probe;
    let _: Pod = place.create(pod).await?;
    let pods: Api<Pod> = place.api();
    let restarted = async || {
        let status = pods.get("p").await.expect("it is there").status?;
        let container = status.container_statuses?.into_iter().next()?;
        (container.restart_count > 0).then_some(container.last_state?.terminated?)
    };
    place.eventually(secs(60), "it is restarted", restarted).await;
    place.end().await
}

/// Seen on 1.34.4: a pod that no node takes says why.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_pod_that_no_node_takes(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut pod = template("p", "back");
    pod["metadata"]["name"] = json!("p");
    pod["spec"]["nodeSelector"] = json!({"none": "such"});
    let _: Pod = place.create(pod).await?;
    let pods: Api<Pod> = place.api();
    let told = async || {
        let conditions = pods.get("p").await.expect("it is there").status?.conditions?;
        conditions.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")
    };
    let condition = place.eventually(secs(10), "it is told", told).await;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    let message = condition.message.unwrap_or_default();
    assert!(message.starts_with("0/") && message.contains("nodes are available: "), "{message}");
    place.end().await
}

/// Seen on 1.34.4: the events that a person looks for, and logs with their time.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn events_and_logs_tell_of_a_pod(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut pod = template("p", "back");
    pod["metadata"]["name"] = json!("p");
    // The shop logs each request to `/`.
    pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = json!("/");
    let _: Pod = place.create(pod).await?;
    let pods: Api<Pod> = place.api();
    let params = LogParams { timestamps: true, ..LogParams::default() };
    let written = async || pods.logs("p", &params).await.ok().filter(|log| log.contains("GET /"));
    let log = place.eventually(secs(60), "it logs", written).await;
    let line = log.lines().next().unwrap_or_default();
    let (stamp, text) = line.split_once(' ').expect("a stamp and a text");
    assert!(stamp.parse::<steadfast::clock::Timestamp>().is_ok() && text.ends_with("GET /"), "{line}");
    let events: Api<Event> = place.api();
    let reasons = async || {
        let of_pod = ListParams::default().fields("involvedObject.name=p,involvedObject.kind=Pod");
        let listed = events.list(&of_pod).await.expect("a list").items;
        let told = |reason: &str| listed.iter().any(|event| event.reason.as_deref() == Some(reason));
        ["Scheduled", "Created", "Started"].into_iter().all(told).then_some(())
    };
    place.eventually(secs(20), "the events are there", reasons).await;
    place.end().await
}
