use serde_json::{Value, json};

use super::on_the_shop;

const DEPLOYMENT: &str = "chaosk8s.deployment.actions";

#[test]
fn a_scale_is_taken_back_by_the_next_one_or_at_the_end() {
    on_the_shop(async |ground| {
        let to = |replicas: u32| json!({"name": "back", "replicas": replicas});
        let replicas = || ground.found("Deployment", "back").expect("it is there")["spec"]["replicas"].clone();
        assert_eq!(ground.call(DEPLOYMENT, "scale_deployment", to(0)).await, Ok(Value::Null));
        assert_eq!(replicas(), 0);
        // Back to what there was: the end of the fault, and nothing is left to undo.
        ground.leave(DEPLOYMENT, "scale_deployment", to(1)).await.unwrap();
        assert_eq!((replicas(), ground.guards.objects().len()), (json!(1), 0));
        // A second change, while the first is on.
        ground.call(DEPLOYMENT, "scale_deployment", to(2)).await.unwrap();
        ground.call(DEPLOYMENT, "scale_deployment", to(3)).await.unwrap();
        assert_eq!((replicas(), ground.guards.objects().len()), (json!(3), 1));
        for (arguments, said) in [
            (json!({"name": "nobody", "replicas": 1}), "does not exist; there are: back, front, middle"),
            (json!({"name": "front", "replicas": 1}), "it has 1 replicas already"),
            (json!({"name": "front", "replicas": -1}), "give a number from 0"),
        ] {
            let why = ground.refused(DEPLOYMENT, "scale_deployment", arguments).await;
            assert!(why.contains(said), "{why}");
        }
    });
}

const PROBES: &str = "chaosk8s.deployment.probes";

fn template(app: &str) -> Value {
    let containers = json!([{"name": "main", "image": crate::cluster::SHOP_IMAGE, "args": ["back"]}]);
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": containers});
    json!({"metadata": {"labels": {"app": app}}, "spec": spec})
}

/// A workload of this kind, without a namespace, as manifests of documents are.
fn workload(kind: &str, name: &str) -> Value {
    let selector = json!({"matchLabels": {"app": name}});
    let mut spec = json!({"selector": selector, "template": template(name)});
    match kind {
        "StatefulSet" => spec["serviceName"] = json!(name),
        "Deployment" => spec["replicas"] = json!(2),
        _ => {}
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

#[test]
fn deployments_are_made_deleted_and_made_again() {
    on_the_shop(async |ground| {
        let folder = tempfile::tempdir().expect("a folder");
        for end in ["json", "yaml"] {
            let name = format!("more-{end}");
            let path = ground.file(&folder, &format!("more.{end}"), &workload("Deployment", &name));
            assert_eq!(ground.call(DEPLOYMENT, "create_deployment", json!({"spec_path": path})).await, Ok(Value::Null));
            let full = json!({"name": name});
            assert_eq!(ground.call(PROBES, "deployment_fully_available", full).await, Ok(json!(true)));
        }
        // What the document has made is deleted by the end of that, and what was there is made again.
        ground.call(DEPLOYMENT, "delete_deployment", json!({"name": "more-json"})).await.unwrap();
        assert_eq!((ground.found("Deployment", "more-json"), ground.guards.objects().len()), (None, 1));
        ground.call(DEPLOYMENT, "delete_deployment", json!({"label_selector": "app=back"})).await.unwrap();
        ground.wait(5).await;
        assert_eq!(ground.found("Deployment", "back"), None);
        let path = ground.file(&folder, "back.json", &workload("Deployment", "back"));
        ground.leave(DEPLOYMENT, "create_deployment", json!({"spec_path": path})).await.unwrap();
        let back = ground.found("Deployment", "back").expect("it stands again");
        assert_eq!(back["spec"]["replicas"], 1, "as it was, not as the file has it");
        let other = ground.file(&folder, "other.json", &workload("StatefulSet", "other"));
        let text = ground.file(&folder, "other.txt", &json!({}));
        for (func, arguments, said) in [
            ("delete_deployment", json!({}), "neither name nor label_selector is given"),
            ("delete_deployment", json!({"name": "nobody"}), "no deployment in namespace default matches name"),
            ("create_deployment", json!({"spec_path": "/no/such.json"}), "/no/such.json: it cannot be read"),
            ("create_deployment", json!({"spec_path": text}), "a manifest is a file .json"),
            ("create_deployment", json!({"spec_path": other}), "kind is StatefulSet, but Deployment is asked for"),
        ] {
            let why = ground.refused(DEPLOYMENT, func, arguments).await;
            assert!(why.contains(said), "{why}");
        }
        ground.wait(20).await;
    });
}

#[test]
fn a_deployment_that_nobody_makes_again_is_made_again_at_the_end() {
    on_the_shop(async |ground| {
        ground.call(DEPLOYMENT, "delete_deployment", json!({"name": "middle"})).await.unwrap();
        ground.wait(10).await;
        assert_eq!(ground.found("Deployment", "middle"), None);
        let nobody = json!({"name": "middle", "timeout": 5});
        let why = ground.refused(PROBES, "deployment_fully_available", nobody.clone()).await;
        assert!(why.contains("no deployment in namespace default matches name \"middle\""), "{why}");
        assert_eq!(ground.call(PROBES, "deployment_not_fully_available", nobody).await, Ok(json!(true)));
    });
}

#[test]
fn a_rollout_makes_new_pods_and_is_taken_back() {
    on_the_shop(async |ground| {
        let template = || ground.found("Deployment", "front").expect("it is there")["spec"]["template"].clone();
        let before = template();
        assert_eq!(ground.call(DEPLOYMENT, "rollout_deployment", json!({"name": "front"})).await, Ok(Value::Null));
        let at = template()["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].clone();
        assert!(at.as_str().is_some_and(|at| at.starts_with("2026-01-01T00:00:")), "{at}");
        assert_eq!(ground.call(PROBES, "deployment_fully_available", json!({"name": "front"})).await, Ok(json!(true)));
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(template(), before);
        ground.wait(60).await;
    });
}

/// None of none is all, what was not seen yet is not so, and the time-out is one of the whole.
#[test]
fn readiness_of_deployments_is_as_their_controllers_have_seen_it() {
    on_the_shop(async |ground| {
        let back = json!({"name": "back"});
        assert_eq!(ground.call(PROBES, "deployment_available_and_healthy", back.clone()).await, Ok(json!(true)));
        assert_eq!(ground.call(PROBES, "deployment_partially_available", back.clone()).await, Ok(json!(true)));
        let began = ground.scene.clock.elapsed();
        let soon = json!({"name": "back", "timeout": 2});
        let why = ground.refused(PROBES, "deployment_not_fully_available", soon).await;
        assert!(why.contains("still fully available after 2s: back: 1 of 1 are ready"), "{why}");
        assert_eq!((ground.scene.clock.elapsed() - began).as_secs(), 2);
        ground.call(DEPLOYMENT, "scale_deployment", json!({"name": "back", "replicas": 0})).await.unwrap();
        assert_eq!(ground.call(PROBES, "deployment_available_and_healthy", back.clone()).await, Ok(json!(true)));
        assert_eq!(ground.call(PROBES, "deployment_fully_available", back.clone()).await, Ok(json!(true)));
        let why = ground.refused(PROBES, "deployment_partially_available", back.clone()).await;
        assert!(why.contains("not available at all: 0 of 0"), "{why}");
        let lenient = json!({"name": "nobody", "raise_on_unavailable": false});
        assert_eq!(ground.call(PROBES, "deployment_available_and_healthy", lenient).await, Ok(json!(false)));
    });
}

#[test]
fn stateful_sets_are_made_scaled_and_removed() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.statefulset.actions", "chaosk8s.statefulset.probes");
        let folder = tempfile::tempdir().expect("a folder");
        let path = ground.file(&folder, "db.yml", &workload("StatefulSet", "db"));
        ground.call(actions, "create_statefulset", json!({"spec_path": path.clone()})).await.unwrap();
        assert_eq!(ground.call(probes, "statefulset_fully_available", json!({"name": "db"})).await, Ok(json!(true)));
        assert!(ground.guards.undo_all().await.is_empty());
        ground.wait(10).await;
        // One that is not the document's, so that what is done with it is undone.
        ground.leave(actions, "create_statefulset", json!({"spec_path": path})).await.unwrap();
        assert_eq!(ground.call(probes, "statefulset_fully_available", json!({"name": "db"})).await, Ok(json!(true)));
        ground.call(actions, "scale_statefulset", json!({"name": "db", "replicas": 2})).await.unwrap();
        assert_eq!(ground.found("StatefulSet", "db").expect("it stands")["spec"]["replicas"], 2);
        let ended = json!({"name": "db", "timeout": "3s", "raise_on_fully_available": false});
        assert_eq!(ground.call(probes, "statefulset_not_fully_available", ended).await, Ok(json!(false)));
        ground.call(actions, "remove_statefulset", json!({"name": "db"})).await.unwrap();
        assert_eq!(ground.found("StatefulSet", "db"), None);
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(ground.found("StatefulSet", "db").expect("it is made again")["spec"]["replicas"], 1);
        ground.leave(actions, "remove_statefulset", json!({"name": "db"})).await.unwrap();
        ground.wait(20).await;
        let of_back = json!({"label_selector": "app=back"});
        ground.call("chaosk8s.replicaset.actions", "delete_replica_set", of_back).await.unwrap();
    });
}

#[test]
fn daemon_sets_are_made_changed_and_deleted() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.daemonset.actions", "chaosk8s.daemonset.probes");
        let folder = tempfile::tempdir().expect("a folder");
        let path = ground.file(&folder, "agent.json", &workload("DaemonSet", "agent"));
        ground.call(actions, "create_daemon_set", json!({"spec_path": path.clone()})).await.unwrap();
        let agent = json!({"name": "agent"});
        assert_eq!(ground.call(probes, "daemon_set_fully_available", agent.clone()).await, Ok(json!(true)));
        for func in ["daemon_set_available_and_healthy", "daemon_set_partially_available"] {
            assert_eq!(ground.call(probes, func, agent.clone()).await, Ok(json!(true)), "{func}");
            assert_eq!(ground.call(probes, func, json!({"name": "nobody"})).await, Ok(json!(false)), "{func}");
        }
        ground.call(actions, "delete_daemon_set", agent.clone()).await.unwrap();
        ground.wait(10).await;
        ground.leave(actions, "create_daemon_set", json!({"spec_path": path})).await.unwrap();
        ground.wait(5).await;
        let before = ground.found("DaemonSet", "agent").expect("it stands")["spec"].clone();
        // Strategic: of the container only what is said changes.
        let containers = json!([{"name": "main", "args": ["front"]}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        ground.call(actions, "update_daemon_set", json!({"name": "agent", "spec": patch.clone()})).await.unwrap();
        let container = |set: &Value| set["spec"]["template"]["spec"]["containers"][0].clone();
        let after = container(&ground.found("DaemonSet", "agent").expect("it stands"));
        assert_eq!((&after["args"], &after["image"]), (&json!(["front"]), &json!(crate::cluster::SHOP_IMAGE)));
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(ground.found("DaemonSet", "agent").expect("it stands")["spec"], before);
        let soon = json!({"name": "agent", "timeout": 1});
        ground.wait(10).await;
        assert_eq!(ground.call(probes, "daemon_set_not_fully_available", soon).await, Ok(json!(false)));
        ground.leave(actions, "delete_daemon_set", agent).await.unwrap();
        ground.wait(20).await;
    });
}
