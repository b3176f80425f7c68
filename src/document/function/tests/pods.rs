use serde_json::{Value, json};

use super::on_the_shop;

const ACTIONS: &str = "chaosk8s.pod.actions";
const PROBES: &str = "chaosk8s.pod.probes";

#[test]
fn pods_are_terminated_and_named() {
    on_the_shop(async |ground| {
        let deleted = ground.call(ACTIONS, "terminate_pods", json!({"label_selector": "app=back"})).await.unwrap();
        let name = deleted[0].as_str().expect("a name").to_owned();
        assert!(name.starts_with("back-") && deleted.as_array().is_some_and(|all| all.len() == 1), "{deleted}");
        ground.wait(40).await;
        assert_eq!(ground.found("Pod", &name), None);
        let by_name = json!({"name_pattern": "^mid", "rand": true, "grace_period": 0});
        let deleted = ground.call(ACTIONS, "terminate_pods", by_name).await.unwrap();
        assert!(deleted[0].as_str().is_some_and(|name| name.starts_with("middle-")), "{deleted}");
    });
}

#[test]
fn every_pod_is_taken_only_where_that_is_said() {
    on_the_shop(async |ground| {
        let why = ground.refused(ACTIONS, "terminate_pods", json!({"mode": "percentage", "qty": 100})).await;
        assert!(why.contains("3 of 3 pods") && why.contains("`\"all\": true`"), "{why}");
        for (arguments, said) in [
            (json!({"label_selector": "app=nobody"}), "no pod in namespace default matches"),
            (json!({"name_pattern": "nobody"}), "no pod is taken"),
            (json!({"qty": 0}), "no pod is taken"),
            (json!({"qty": -1}), "give a number from 0"),
            (json!({"mode": "some"}), "give fixed or percentage"),
            (json!({"order": "newest"}), "give alphabetic or oldest"),
            (json!({"name_pattern": "("}), "no regular expression"),
            (json!({"all": "false"}), "no true or false"),
            (json!({"ns": "kube-system"}), "faults are refused there"),
        ] {
            let why = ground.refused(ACTIONS, "terminate_pods", arguments).await;
            assert!(why.contains(said), "{why}");
        }
        let deleted = ground.call(ACTIONS, "terminate_pods", json!({"all": true, "order": "oldest"})).await.unwrap();
        assert_eq!(deleted.as_array().map(Vec::len), Some(3));
    });
}

#[test]
fn logs_are_read_by_pod_with_their_times() {
    on_the_shop(async |ground| {
        ground.ask_front().await;
        let of_front = json!({"label_selector": "app=front", "last": "60s", "container_name": "front"});
        let logs = ground.call(PROBES, "read_pod_logs", of_front).await.unwrap();
        let logs = logs.as_object().expect("a map");
        let (name, text) = logs.iter().next().expect("a pod");
        assert!(name.starts_with("front-"), "{name}");
        let line = text.as_str().and_then(|text| text.lines().next()).expect("a line").to_owned();
        assert!(line.starts_with("2026-01-01T00:00:0"), "{line}");
        let by_name = json!({"name": "front", "label_selector": "app in ({name})"});
        assert_eq!(ground.call(PROBES, "read_pod_logs", by_name).await, Ok(Value::Object(logs.clone())));
        ground.wait(10).await;
        let none = json!({"label_selector": "app=front", "last": "5 seconds ago"});
        let none = ground.call(PROBES, "read_pod_logs", none).await.unwrap();
        assert_eq!(none[name.as_str()], "");
        assert_eq!(ground.call(PROBES, "read_pod_logs", json!({"name": "nobody"})).await, Ok(json!({})));
        for (arguments, said) in [
            (json!({}), "neither name nor label_selector"),
            (json!({"name": "front", "last": "60"}), "has no unit"),
            (json!({"name": "front", "last": "now+5s"}), "give a time that has passed"),
        ] {
            let why = ground.refused(PROBES, "read_pod_logs", arguments).await;
            assert!(why.contains(said), "{why}");
        }
    });
}

#[test]
fn what_becomes_of_pods_is_probed() {
    on_the_shop(async |ground| {
        let back = |more: Value| {
            let mut arguments = json!({"label_selector": "app=back"});
            arguments.as_object_mut().expect("a map").extend(more.as_object().cloned().expect("a map"));
            arguments
        };
        let ready = json!([{"type": "Ready", "status": "True"}]);
        for (func, arguments, answer) in [
            ("pods_in_phase", back(json!({})), json!(true)),
            ("pods_in_phase", back(json!({"phase": "Failed", "raise_on_invalid_phase": false})), json!(false)),
            ("pods_not_in_phase", back(json!({"phase": "Failed"})), json!(true)),
            ("pods_not_in_phase", back(json!({"raise_on_in_phase": false})), json!(false)),
            ("pods_in_conditions", back(json!({"conditions": ready})), json!(true)),
            ("count_pods", json!({"label_selector": "app in (front, back)"}), json!(2)),
            ("count_pods", back(json!({"phase": "Pending"})), json!(0)),
            ("count_min_pods", json!({"label_selector": "app"}), json!(true)),
            ("count_min_pods", back(json!({})), json!(false)),
            ("pod_is_not_available", json!({"name": "nobody"}), json!(true)),
            ("all_pods_healthy", json!({}), json!(true)),
            ("should_be_found_in_logs", json!({"pattern": "G.T", "value": {"a": "GET /"}}), json!(true)),
            (
                "should_be_found_in_logs",
                json!({"pattern": "GET", "value": {"a": "GET", "b": ""}, "all_containers": false}),
                json!(true),
            ),
        ] {
            assert_eq!(ground.call(PROBES, func, arguments.clone()).await, Ok(answer), "{func} {arguments}");
        }
        for (func, arguments, said) in [
            ("pods_in_phase", back(json!({"phase": "Failed"})), "not all are Failed: back-"),
            ("pods_in_phase", json!({"label_selector": "app=nobody"}), "no pod in namespace default matches"),
            ("pods_not_in_phase", back(json!({})), "some are Running: back-"),
            ("pods_in_conditions", back(json!({"conditions": [{"type": "Ready", "status": "False"}]})), "is True, not"),
            ("pods_in_conditions", back(json!({"conditions": ["Ready"]})), "is a list of"),
            ("pod_is_not_available", json!({"name": "x", "label_selector": "app=back"}), "some are running: back-"),
            ("should_be_found_in_logs", json!({"pattern": "GET", "value": {"a": "GET", "b": ""}}), "in the log of b"),
            ("should_be_found_in_logs", json!({"pattern": "GET", "value": {}}), "there are no logs"),
        ] {
            let why = ground.refused(PROBES, func, arguments).await;
            assert!(why.contains(said), "{func}: {why}");
        }
    });
}

/// The lab runs no commands in containers: it is asked, and says so.
#[test]
fn a_command_is_run_in_the_pods_that_are_picked() {
    on_the_shop(async |ground| {
        let command = json!({"cmd": "ls /", "label_selector": "app=back"});
        let why = ground.refused(ACTIONS, "exec_in_pods", command).await;
        assert!(why.contains("failed to run a command in pod back-"), "{why}");
        let why = ground.refused(ACTIONS, "exec_in_pods", json!({"cmd": "ls", "label_selector": "app=nobody"})).await;
        assert!(why.contains("no pod in namespace default matches"), "{why}");
    });
}

#[test]
fn a_pod_without_a_controller_is_made_again() {
    on_the_shop(async |ground| {
        let containers = json!([{"name": "main", "image": crate::cluster::SHOP_IMAGE, "args": ["back"]}]);
        let bare = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "labels": {"app": "bare"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": containers},
        });
        let bare = serde_json::from_value(bare).expect("a pod");
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(ground.cluster.client(), "default");
        pods.create(&kube::api::PostParams::default(), &bare).await.expect("it is created");
        ground.wait(5).await;
        let before = ground.found("Pod", "bare").expect("it stands");
        let deleted = ground.call(ACTIONS, "terminate_pods", json!({"label_selector": "app=bare"})).await;
        assert_eq!(deleted, Ok(json!(["bare"])));
        ground.wait(5).await;
        assert_eq!(ground.found("Pod", "bare"), None);
        assert!(ground.guards.undo_all().await.is_empty());
        ground.wait(5).await;
        let after = ground.found("Pod", "bare").expect("it stands again");
        assert_eq!(after["spec"], before["spec"]);
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
        pods.delete("bare", &kube::api::DeleteParams::default()).await.expect("it is deleted");
    });
}
