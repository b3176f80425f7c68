use std::time::Duration;

use serde_json::json;

use super::{Ground, Stage, on_the_shop};
use crate::lab::resource::{NODES, PODS};

const ACTIONS: &str = "chaosk8s.node.actions";
const PROBES: &str = "chaosk8s.node.probes";

fn node(ground: &Ground) -> String {
    let all = ground.cluster.lab().expect("the lab").store().dump();
    let node = all.iter().find(|object| object["kind"] == "Node").expect("a node");
    node["metadata"]["name"].as_str().expect("a name").to_owned()
}

#[test]
fn a_node_is_cordoned_and_uncordoned_again() {
    on_the_shop(async |ground| {
        let name = node(ground);
        let cordoned = || ground.found("Node", &name).expect("it is there")["spec"]["unschedulable"] == true;
        for selected in [json!({"name": name}), json!({})] {
            assert_eq!(ground.call(ACTIONS, "cordon_node", json!({"name": name})).await, Ok(json!([name])));
            assert!(cordoned());
            let why = ground.refused(PROBES, "all_nodes_must_be_ready_to_schedule", json!({})).await;
            assert!(why.contains("is cordoned"), "{why}");
            assert_eq!(ground.leave(ACTIONS, "uncordon_node", selected).await, Ok(json!([name])));
            assert!(!cordoned() && ground.guards.objects().is_empty());
        }
        // Where somebody else has cordoned it, only who names it uncordons it.
        ground.leave(ACTIONS, "cordon_node", json!({"name": name})).await.unwrap();
        assert_eq!(ground.call(ACTIONS, "uncordon_node", json!({})).await, Ok(json!([])));
        assert!(cordoned());
        ground.leave(ACTIONS, "uncordon_node", json!({"name": name})).await.unwrap();
        assert!(!cordoned());
        for (func, arguments, said) in [
            ("cordon_node", json!({}), "would mean the whole cluster"),
            ("cordon_node", json!({"name": "nobody"}), "no node is selected"),
            ("drain_nodes", json!({"pod_namespace": "default"}), "go together"),
            ("delete_nodes", json!({"label_selector": "kubernetes.io/hostname"}), "only its kubelet"),
        ] {
            let why = ground.refused(ACTIONS, func, arguments).await;
            assert!(why.contains(said), "{why}");
        }
    });
}

#[test]
fn a_node_is_drained_of_what_comes_back_elsewhere() {
    on_the_shop(async |ground| {
        let name = node(ground);
        let pods = || {
            let all = ground.cluster.lab().expect("the lab").store().dump();
            let names = all.iter().filter(|o| o["kind"] == "Pod" && o["metadata"]["namespace"] == "default");
            names.map(|pod| (pod["metadata"]["name"].clone(), pod["spec"]["nodeName"].clone())).collect::<Vec<_>>()
        };
        let before = pods();
        let drained = json!({"pod_label_selector": "app=back", "pod_namespace": "default", "timeout": 60});
        let why = ground.refused(ACTIONS, "drain_nodes", drained.clone()).await;
        assert!(why.contains("in namespace default, more than 80 %") && why.contains("\"all\": true"), "{why}");
        assert!(ground.guards.objects().is_empty() && pods() == before, "nothing was touched");
        let all = Stage { all: true, ..ground.stage() };
        assert_eq!(ground.call_on(all, ACTIONS, "drain_nodes", drained).await, Ok(json!([name])));
        ground.wait(5).await;
        let after = pods();
        assert!(after.iter().all(|(pod, on)| on.is_null() && before.iter().all(|(old, _)| old != pod)), "{after:?}");
        assert!(ground.guards.undo_all().await.is_empty());
        ground.wait(30).await;
    });
}

/// What was put onto a node before it was cordoned is drained with the rest, however late.
#[test]
fn a_pod_that_comes_while_its_node_is_cordoned_is_evicted_too() {
    on_the_shop(async |ground| {
        let name = node(ground);
        let uid = ground.found("Service", "back").expect("it is there")["metadata"]["uid"].clone();
        let store = ground.cluster.lab().expect("the lab").store();
        let comes = async {
            // Looked at in each turn, so that it comes before anybody else knows of the cordon.
            for turn in 1.. {
                let found = store.find(&NODES, "", &name).expect("it is there");
                if found["spec"]["unschedulable"] == true {
                    break;
                }
                match turn % 1000 {
                    0 => ground.scene.clock.sleep(Duration::from_millis(1)).await,
                    _ => tokio::task::yield_now().await,
                }
            }
            let owner =
                json!([{"apiVersion": "v1", "kind": "Service", "name": "back", "uid": uid, "controller": true}]);
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "ownerReferences": owner},
                "spec": {"nodeName": name, "containers": [{"name": "c", "image": "none"}]}});
            store.create(&PODS, "default", pod, false).expect("it is made");
        };
        let all = Stage { all: true, ..ground.stage() };
        let drained = ground.call_on(all, ACTIONS, "drain_nodes", json!({"name": name, "timeout": 60}));
        let (drained, ()) = tokio::join!(drained, comes);
        assert_eq!(drained, Ok(json!([name])));
        assert_eq!(ground.found("Pod", "late"), None);
        assert!(ground.guards.undo_all().await.is_empty());
        ground.wait(30).await;
    });
}

/// One node is what a call takes unasked.
#[test]
fn more_than_one_node_is_taken_only_where_that_is_said() {
    on_the_shop(async |ground| {
        for more in ["more", "most"] {
            ground.leave(ACTIONS, "create_node", json!({"meta": {"name": more, "labels": {"a": "b"}}})).await.unwrap();
        }
        let both = json!({"label_selector": "a=b"});
        for func in ["cordon_node", "drain_nodes", "delete_nodes"] {
            let why = ground.refused(ACTIONS, func, both.clone()).await;
            assert!(why.contains("2 nodes (more, most)") && why.contains("\"all\": true"), "{func}: {why}");
        }
        let all = Stage { all: true, ..ground.stage() };
        let cordoned = ground.call_on(all, ACTIONS, "cordon_node", both.clone()).await;
        assert_eq!(cordoned, Ok(json!(["more", "most"])));
        assert_eq!(ground.call(ACTIONS, "uncordon_node", both.clone()).await, Ok(json!(["more", "most"])));
        let counted = json!({"label_selector": "a=b", "count": 2});
        ground.leave(ACTIONS, "delete_nodes", counted).await.expect("they are counted");
    });
}

#[test]
fn a_node_is_made_and_probed() {
    on_the_shop(async |ground| {
        let more = json!({"meta": {"name": "more", "labels": {"a": "b"}}, "spec": {"pod_cidr": "10.9.0.0/24"}});
        let made = ground.call(ACTIONS, "create_node", more).await.unwrap();
        assert_eq!((&made["kind"], &made["spec"]["podCIDR"]), (&json!("Node"), &json!("10.9.0.0/24")));
        let real = json!({"label_selector": "!a"});
        let list = ground.call(PROBES, "get_nodes", real.clone()).await.unwrap();
        assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("NodeList"), Some(1)));
        let told = ground.call(PROBES, "get_all_node_status_conditions", real.clone()).await.unwrap();
        assert_eq!((&told[0]["name"], &told[0]["Ready"]), (&json!(node(ground)), &json!("True")));
        for func in ["all_nodes_must_be_ready_to_schedule", "nodes_must_be_healthy", "verify_nodes_condition"] {
            let mut arguments = real.clone();
            if func == "verify_nodes_condition" {
                (arguments["condition_type"], arguments["condition_value"]) = (json!("Ready"), json!("True"));
            }
            assert_eq!(ground.call(PROBES, func, arguments).await, Ok(json!(true)), "{func}");
            let why = ground.refused(PROBES, func, json!({"label_selector": "nobody"})).await;
            assert!(why.contains("no node is selected"), "{why}");
        }
        ground.call(ACTIONS, "cordon_node", json!({"name": "more"})).await.unwrap();
        assert_eq!(ground.found("Node", "more").expect("it is there")["spec"]["unschedulable"], true);
        let of_us = json!({"label_selector": "a=b", "rand": true});
        let deleted = ground.call(ACTIONS, "delete_nodes", of_us).await;
        assert_eq!(deleted, Ok(json!(["more"])), "the document has made it");
        assert_eq!(ground.found("Node", "more"), None);
    });
}
