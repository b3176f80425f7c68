//! The node and the scheduler, seen through the API in virtual time.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use steadfast::prelude::*;

use super::controllers::Api;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn path(name: &str) -> String {
    format!("{PODS}/{name}")
}

async fn pause(duration: std::time::Duration) {
    tokio::time::sleep(duration).await;
}

/// A pod of one container `c`.
async fn create(api: &Api, name: &str, container: Value, spec: Value) {
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    let mut whole = json!({"name": "c"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    pod["spec"]["containers"] = json!([whole]);
    api.create(PODS, pod).await;
}

async fn container(api: &Api, name: &str) -> Value {
    api.get(&path(name)).await["status"]["containerStatuses"][0].clone()
}

async fn condition(api: &Api, name: &str, kind: &str) -> Value {
    let pod = api.get(&path(name)).await;
    let conditions = pod["status"]["conditions"].as_array().unwrap().clone();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// Reasons and messages of the events about a pod.
async fn events(api: &Api, name: &str) -> Vec<(String, String, u64)> {
    let all = api.get("/api/v1/namespaces/default/events").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = all["items"].as_array().unwrap().iter().filter(|event| event["involvedObject"]["name"] == name);
    about.map(|event| (text(&event["reason"]), text(&event["message"]), event["count"].as_u64().unwrap_or(1))).collect()
}

fn told(events: &[(String, String, u64)], reason: &str, message: &str) -> u64 {
    events.iter().filter(|(r, m, _)| r == reason && m.contains(message)).map(|(.., count)| count).sum()
}

#[steadfast::test(needs = "embedded")]
async fn a_running_pod_looks_as_on_a_real_node(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    create(&api, "p", json!({"image": "web:1", "ports": [{"containerPort": 80}]}), json!({})).await;
    pause(secs(1)).await;
    let pod = api.get(&path("p")).await;
    let status = &pod["status"];
    assert_eq!((&status["phase"], &pod["spec"]["nodeName"]), (&json!("Running"), &json!("lab-control-plane")));
    assert_eq!((&status["podIPs"][0]["ip"], &status["hostIPs"][0]["ip"]), (&status["podIP"], &status["hostIP"]));
    let kinds: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|c| (&c["type"], &c["status"])).collect();
    let mut kinds: Vec<_> = kinds.iter().map(|(kind, status)| format!("{kind} {status}")).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "\"ContainersReady\" \"True\"",
            "\"Initialized\" \"True\"",
            "\"PodReadyToStartContainers\" \"True\"",
            "\"PodScheduled\" \"True\"",
            "\"Ready\" \"True\""
        ]
    );
    let one = container(&api, "p").await;
    assert_eq!(one["image"], "docker.io/library/web:1");
    assert!(one["containerID"].as_str().unwrap().starts_with("containerd://"));
    assert_eq!((&one["ready"], &one["started"], &one["restartCount"]), (&json!(true), &json!(true), &json!(0)));
    assert!(one["state"]["running"]["startedAt"].is_string() && one["lastState"] == json!({}));
    let events = events(&api, "p").await;
    assert_eq!(told(&events, "Scheduled", "Successfully assigned default/p to lab-control-plane"), 1);
    assert_eq!(told(&events, "Pulled", "Container image \"web:1\" already present on machine"), 1);
    assert_eq!(
        (told(&events, "Created", "Created container: c"), told(&events, "Started", "Started container c")),
        (1, 1)
    );
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_container_that_ends_is_started_again_with_back_off(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    create(&api, "p", json!({"image": "exit:1", "args": ["3"]}), json!({})).await;
    // Ends at once: again at once, then after 10, 20, 40 s.
    let mut seen = Vec::new();
    for wait in [1, 10, 10, 20, 39] {
        pause(secs(wait)).await;
        let one = container(&api, "p").await;
        seen.push((one["restartCount"].clone(), one["state"]["waiting"]["message"].clone()));
    }
    let uid = api.get(&path("p")).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let message = |wait: &str| json!(format!("back-off {wait} restarting failed container=c pod=p_default({uid})"));
    assert_eq!(seen[0], (json!(1), message("10s")));
    assert_eq!(seen[1], (json!(2), message("20s")));
    assert_eq!(seen[2], (json!(2), message("20s")));
    assert_eq!(seen[3], (json!(3), message("40s")));
    assert_eq!(seen[4], (json!(4), message("1m20s")));
    let one = container(&api, "p").await;
    assert_eq!(one["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(one["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(one["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(api.get(&path("p")).await["status"]["phase"], "Running");
    assert!(told(&events(&api, "p").await, "BackOff", "Back-off restarting failed container c in pod p_default(") > 0);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn restart_policies_decide_and_phases_follow(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    for (name, code, policy) in
        [("ok", "0", "Never"), ("bad", "2", "Never"), ("done", "0", "OnFailure"), ("again", "2", "OnFailure")]
    {
        create(&api, name, json!({"image": "exit:1", "args": [code]}), json!({"restartPolicy": policy})).await;
    }
    pause(secs(5)).await;
    let phase = async |name: &str| api.get(&path(name)).await["status"]["phase"].clone();
    assert_eq!([phase("ok").await, phase("bad").await], [json!("Succeeded"), json!("Failed")]);
    assert_eq!([phase("done").await, phase("again").await], [json!("Succeeded"), json!("Running")]);
    assert_eq!(condition(&api, "ok", "Ready").await["reason"], "PodCompleted");
    assert_eq!(condition(&api, "bad", "Ready").await["reason"], "PodFailed");
    assert_eq!(container(&api, "bad").await["state"]["terminated"]["exitCode"], 2);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_image_that_is_absent_is_asked_for_again_and_again(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    create(&api, "p", json!({"image": "nobody/knows:1"}), json!({})).await;
    create(&api, "bad", json!({"image": "Bad/NAME:1"}), json!({})).await;
    create(&api, "never", json!({"image": "nobody/knows:1", "imagePullPolicy": "Never"}), json!({})).await;
    let waiting = async |name: &str| container(&api, name).await["state"]["waiting"]["reason"].clone();
    pause(millis(500)).await;
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(cluster.client(), "default");
    let refused = async || pods.logs("p", &kube::api::LogParams::default()).await.unwrap_err().to_string();
    assert_eq!(waiting("p").await, "ErrImagePull");
    assert!(refused().await.contains("is waiting to start: image can't be pulled"), "{}", refused().await);
    pause(secs(2)).await;
    assert_eq!(waiting("p").await, "ImagePullBackOff");
    assert!(refused().await.contains("is waiting to start: trying and failing to pull image"), "{}", refused().await);
    assert_eq!(waiting("bad").await, "InvalidImageName");
    assert_eq!(waiting("never").await, "ErrImageNeverPull");
    pause(secs(28)).await;
    // At 0, 10 and 30 s.
    assert_eq!(told(&events(&api, "p").await, "Pulling", "Pulling image \"nobody/knows:1\""), 3);
    cluster.lab()?.program("nobody/knows:1", |_| std::future::pending());
    pause(secs(50)).await;
    assert_eq!(api.get(&path("p")).await["status"]["phase"], "Running");
    assert_eq!(api.get(&path("never")).await["status"]["phase"], "Running");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn probes_decide_on_readiness_start_and_life(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    // Healthy from 10 s to 30 s of its run.
    cluster.lab()?.image("moody:1", |net| {
        let (clock, began) = (net.clock().clone(), net.clock().now());
        Router::new().route(
            "/",
            get(async move || {
                let age = clock.now().duration_since(began).as_secs();
                if (10..30).contains(&age) { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
            }),
        )
    });
    let probe = |failures: u32| json!({"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1, "failureThreshold": failures});
    create(&api, "ready", json!({"image": "moody:1", "readinessProbe": probe(3)}), json!({})).await;
    let living = json!({"image": "moody:1", "startupProbe": probe(20), "livenessProbe": probe(3)});
    create(&api, "alive", living, json!({"terminationGracePeriodSeconds": 5})).await;
    let ready = async |name: &str| container(&api, name).await["ready"].clone();
    pause(millis(9_500)).await;
    assert_eq!([ready("ready").await, ready("alive").await], [json!(false), json!(false)]);
    let unready = condition(&api, "ready", "Ready").await;
    assert_eq!(unready["reason"], "ContainersNotReady");
    assert_eq!(unready["message"], "containers with unready status: [c]");
    assert_eq!(container(&api, "alive").await["started"], false);
    pause(secs(1)).await;
    assert_eq!([ready("ready").await, ready("alive").await], [json!(true), json!(true)]);
    pause(secs(21)).await;
    assert_eq!(ready("ready").await, true, "two failures are not yet three");
    pause(secs(2)).await;
    assert_eq!(ready("ready").await, false);
    assert_eq!(container(&api, "ready").await["restartCount"], 0);
    // The liveness probe has failed three times by 32 s; the program ignores it for its grace of 5 s.
    pause(secs(3)).await;
    assert_eq!(container(&api, "alive").await["restartCount"], 0);
    pause(secs(2)).await;
    let one = container(&api, "alive").await;
    assert_eq!((&one["restartCount"], &one["lastState"]["terminated"]["exitCode"]), (&json!(1), &json!(137)));
    let events = events(&api, "alive").await;
    assert!(told(&events, "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 500") >= 10);
    assert_eq!(told(&events, "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"), 3);
    assert_eq!(told(&events, "Killing", "Container c failed liveness probe, will be restarted"), 1);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_deleted_pod_runs_on_for_its_grace_unless_its_program_cares(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    cluster.lab()?.program("polite:1", |net| async move {
        net.terminated().await;
        tokio::time::sleep(secs(2)).await;
        0
    });
    create(&api, "deaf", json!({"image": "idle:1"}), json!({"terminationGracePeriodSeconds": 20})).await;
    create(&api, "polite", json!({"image": "polite:1"}), json!({})).await;
    create(&api, "forced", json!({"image": "idle:1"}), json!({})).await;
    pause(secs(1)).await;
    for name in ["deaf", "polite"] {
        api.delete(&path(name), json!({})).await;
    }
    api.delete(&path("forced"), json!({"gracePeriodSeconds": 0})).await;
    assert!(api.gone(&path("forced")).await);
    pause(millis(1_900)).await;
    assert_eq!(api.get(&path("polite")).await["status"]["phase"], "Running");
    pause(millis(200)).await;
    assert!(api.gone(&path("polite")).await);
    pause(millis(17_500)).await;
    assert_eq!(condition(&api, "deaf", "Ready").await["status"], "True");
    // A shorter grace counts.
    api.delete(&path("deaf"), json!({"gracePeriodSeconds": 1})).await;
    pause(millis(300)).await;
    assert!(!api.gone(&path("deaf")).await);
    pause(millis(200)).await;
    assert!(api.gone(&path("deaf")).await);
    assert_eq!(told(&events(&api, "deaf").await, "Killing", "Stopping container c"), 1);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn init_containers_run_in_order_and_sidecars_beside(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let init = |name: &str, seconds: &str| json!({"name": name, "image": "exit:1", "args": ["0", seconds]});
    let sidecar = json!({"name": "side", "image": "idle:1", "restartPolicy": "Always"});
    let spec = json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "initContainers": [init("one", "5"), sidecar, init("two", "5")],
    });
    create(&api, "p", json!({"image": "exit:1", "args": ["0", "5"]}), spec).await;
    pause(secs(7)).await;
    let pod = api.get(&path("p")).await;
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(container(&api, "p").await["state"]["waiting"]["reason"], "PodInitializing");
    let status = |n: usize| pod["status"]["initContainerStatuses"][n].clone();
    assert_eq!(status(0)["state"]["terminated"]["reason"], "Completed");
    assert!(status(1)["state"]["running"].is_object() && status(2)["state"]["running"].is_object());
    let initialized = condition(&api, "p", "Initialized").await;
    assert_eq!(initialized["message"], "containers with incomplete status: [two]");
    pause(secs(5)).await;
    assert_eq!(api.get(&path("p")).await["status"]["phase"], "Running");
    pause(secs(5)).await;
    let pod = api.get(&path("p")).await;
    assert_eq!(pod["status"]["phase"], "Succeeded", "the sidecar ends after the others");
    assert_eq!(pod["status"]["initContainerStatuses"][1]["state"]["terminated"]["exitCode"], 137);

    let failing =
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "exit:1", "args": ["1"]}]});
    create(&api, "f", json!({"image": "idle:1"}), failing).await;
    pause(secs(1)).await;
    assert_eq!(api.get(&path("f")).await["status"]["phase"], "Failed");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn the_environment_is_resolved_or_awaited(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    cluster.lab()?.program("tell:1", |net| async move {
        let told = ["NAME", "IP", "KEY", "WORD", "B_KEY", "BOTH"].map(|name| net.env(name).unwrap_or("-").to_owned());
        net.log(told.join(" "));
        net.log(net.args().join(" "));
        std::future::pending().await
    });
    let from = |field: &str| json!({"fieldRef": {"fieldPath": field}});
    let key = |of: &str| json!({of: {"name": "m", "key": "KEY"}});
    let env = json!([
        {"name": "NAME", "valueFrom": from("metadata.name")}, {"name": "IP", "valueFrom": from("status.podIP")},
        {"name": "KEY", "valueFrom": key("configMapKeyRef")}, {"name": "WORD", "valueFrom": key("secretKeyRef")},
        {"name": "BOTH", "value": "$(NAME)-$(KEY)"},
    ]);
    let env_from = json!([{"prefix": "B_", "configMapRef": {"name": "m"}}]);
    let container_of = json!({"image": "tell:1", "args": ["--name=$(NAME)"], "env": env, "envFrom": env_from});
    create(&api, "p", container_of, json!({})).await;
    pause(secs(1)).await;
    let waiting = container(&api, "p").await["state"]["waiting"].clone();
    assert_eq!(waiting, json!({"reason": "CreateContainerConfigError", "message": "configmap \"m\" not found"}));
    api.create("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "m"}, "data": {"KEY": "k"}})).await;
    pause(secs(10)).await;
    let waiting = container(&api, "p").await["state"]["waiting"].clone();
    assert_eq!(waiting["message"], "secret \"m\" not found");
    api.create("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "m"}, "data": {"KEY": "aGk="}})).await;
    pause(secs(10)).await;
    let ip = api.get(&path("p")).await["status"]["podIP"].as_str().unwrap().to_owned();
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(cluster.client(), "default");
    let log = pods.logs("p", &kube::api::LogParams::default()).await?;
    assert_eq!(log, format!("p {ip} k hi k p-k\n--name=p\n"));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_command_that_an_image_lacks_does_not_start(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let pause_image = "registry.k8s.io/pause:3.10.1";
    create(&api, "p", json!({"image": pause_image, "command": ["sh", "-c", "x"]}), json!({"restartPolicy": "Never"}))
        .await;
    create(&api, "q", json!({"image": pause_image}), json!({})).await;
    pause(secs(1)).await;
    let end = container(&api, "p").await["state"]["terminated"].clone();
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("StartError"), &json!(128)));
    assert!(end["message"].as_str().unwrap().ends_with("exec: \"sh\": executable file not found in $PATH: unknown"));
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(cluster.client(), "default");
    assert_eq!(pods.logs("p", &kube::api::LogParams::default()).await?, "", "it has a log, and nothing in it");
    api.delete(&path("q"), json!({})).await;
    pause(millis(1)).await;
    assert!(api.gone(&path("q")).await, "pause ends when it is told to");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_fits_nowhere_waits_until_it_does(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let node = "/api/v1/nodes/lab-control-plane";
    api.patch(node, json!({"spec": {"unschedulable": true}})).await;
    create(&api, "p", json!({"image": "idle:1"}), json!({})).await;
    create(&api, "gated", json!({"image": "idle:1"}), json!({"schedulingGates": [{"name": "x/y"}]})).await;
    pause(secs(1)).await;
    let refused = condition(&api, "p", "PodScheduled").await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("False"), &json!("Unschedulable")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable. "), "{message}");
    assert_eq!(told(&events(&api, "p").await, "FailedScheduling", message), 1);
    assert_eq!(condition(&api, "gated", "PodScheduled").await["reason"], "SchedulingGated");
    api.patch(node, json!({"spec": {"unschedulable": null}})).await;
    pause(secs(1)).await;
    assert_eq!(api.get(&path("p")).await["status"]["phase"], "Running");
    assert_eq!(api.get(&path("gated")).await["status"]["phase"], "Pending");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn readiness_gates_are_met_by_others(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    create(&api, "p", json!({"image": "idle:1"}), json!({"readinessGates": [{"conditionType": "x/y"}]})).await;
    pause(secs(1)).await;
    let ready = condition(&api, "p", "Ready").await;
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ReadinessGatesNotReady")));
    let mut pod = api.get(&path("p")).await;
    pod["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "x/y", "status": "True"}));
    api.patch(&format!("{}/status", path("p")), json!({"status": {"conditions": pod["status"]["conditions"]}})).await;
    pause(secs(1)).await;
    assert_eq!(condition(&api, "p", "Ready").await["status"], "True");
    assert_eq!(condition(&api, "p", "x/y").await["status"], "True", "what is not the kubelet's stays");
    Ok(())
}
