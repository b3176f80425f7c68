use serde_json::{Value, json};

use super::on_the_shop;

#[test]
fn services_are_made_deleted_and_keep_their_address() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.service.actions", "chaosk8s.service.probes");
        let folder = tempfile::tempdir().expect("a folder");
        let spec = json!({"selector": {"app": "back"}, "ports": [{"port": 80}]});
        let manifest = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "more"}, "spec": spec});
        let path = ground.file(&folder, "more.json", &manifest);
        ground.call(actions, "create_service_endpoint", json!({"spec_path": path})).await.unwrap();
        let more = json!({"name": "more"});
        assert_eq!(ground.call(probes, "service_is_initialized", more).await, Ok(json!(true)));
        let address = || ground.found("Service", "back").map(|service| service["spec"]["clusterIP"].clone());
        let before = address();
        ground.call(actions, "delete_service", json!({"name": "back"})).await.unwrap();
        assert_eq!(address(), None);
        let back = json!({"name": "back", "raise_if_service_not_initialized": false});
        assert_eq!(ground.call(probes, "service_is_initialized", back).await, Ok(json!(false)));
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(address(), before);
        let why = ground.refused(actions, "delete_service", json!({"name": "nobody"})).await;
        assert!(why.contains("service default/nobody does not exist; there are: back, front"), "{why}");
    });
}

/// What nothing could bring back is refused, unless it is left or the document's own.
#[test]
fn secrets_and_namespaces_go_for_good_only_where_that_is_said() {
    on_the_shop(async |ground| {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"a": "b"}});
        let path = ground.file(&folder, "key.json", &manifest);
        let (secrets, namespaces) = ("chaosk8s.secret.actions", "chaosk8s.namespace.actions");
        let exists = async || ground.call("chaosk8s.secret.probes", "secret_exists", json!({"name": "key"})).await;
        for own in [true, false] {
            let made = json!({"spec_path": path.clone()});
            if own {
                ground.call(secrets, "create_secret", made).await.unwrap();
                ground.call(secrets, "delete_secret", json!({"name": "key"})).await.unwrap();
            } else {
                ground.leave(secrets, "create_secret", made).await.unwrap();
                assert_eq!(exists().await, Ok(json!(true)));
                ground.guards.forget();
                let why = ground.refused(secrets, "delete_secret", json!({"name": "key"})).await;
                assert!(
                    why.contains("nothing brings secret default/key back") && why.contains("--leave-faults"),
                    "{why}"
                );
                ground.leave(secrets, "delete_secret", json!({"name": "key"})).await.unwrap();
            }
            assert_eq!(exists().await, Ok(json!(false)));
        }
        let there = async |name: &str| {
            ground.call("chaosk8s.namespace.probes", "namespace_exists", json!({"name": name})).await
        };
        ground.call(namespaces, "create_namespace", json!({"name": "ours"})).await.unwrap();
        assert_eq!(there("ours").await, Ok(json!(true)));
        ground.call(namespaces, "delete_namespace", json!({"name": "ours"})).await.unwrap();
        ground.wait(10).await;
        assert_eq!(there("ours").await, Ok(json!(false)));
        for (name, said) in [("default", "what lies in it goes with it"), ("kube-system", "belongs to the cluster")] {
            let why = ground.refused(namespaces, "delete_namespace", json!({"name": name})).await;
            assert!(why.contains(said), "{why}");
        }
        for stage in [ground.leaving(), crate::document::function::Stage { plain: true, ..ground.stage() }] {
            let system = json!({"name": "kube-system"});
            let why = ground.call_on(stage, namespaces, "delete_namespace", system).await.unwrap_err().0;
            assert!(why.contains("belongs to the cluster itself"), "{why}");
        }
        // As a fault that is left: it is seen to go, and nobody brings it back.
        ground.leave(namespaces, "create_namespace", json!({"name": "theirs"})).await.unwrap();
        ground.call_on(ground.leaving(), namespaces, "delete_namespace", json!({"name": "theirs"})).await.unwrap();
        assert!(ground.guards.undo_all().await.is_empty());
        ground.wait(10).await;
        assert_eq!(there("theirs").await, Ok(json!(false)));
    });
}

#[test]
fn policies_of_a_document_s_own_are_made_and_removed() {
    on_the_shop(async |ground| {
        let actions = "chaosk8s.networking.actions";
        let spec = json!({"podSelector": {"matchLabels": {"app": "back"}}, "policyTypes": ["Ingress"]});
        let manifest = json!({"metadata": {"name": "mine", "labels": {"a": "b"}}, "spec": spec});
        ground.call(actions, "create_network_policy", json!({"spec": manifest})).await.unwrap();
        let policy = ground.found("NetworkPolicy", "mine").expect("it stands");
        assert_eq!((&policy["spec"], &policy["metadata"]["labels"]["a"]), (&spec, &json!("b")));
        ground.call(actions, "remove_network_policy", json!({"name": "mine"})).await.unwrap();
        assert_eq!(ground.found("NetworkPolicy", "mine"), None);
        ground.call(actions, "allow_dns_access", json!({"label_selectors": {"app": "front"}})).await.unwrap();
        let policy = ground.found("NetworkPolicy", "chaostoolkit-allow-dns").expect("it stands");
        assert_eq!(policy["spec"]["egress"][0]["ports"][1]["protocol"], "TCP");
        ground.call(actions, "remove_allow_dns_access", json!({})).await.unwrap();
        for (func, arguments, said) in [
            ("create_network_policy", json!({}), "neither spec nor spec_path"),
            ("create_network_policy", json!({"spec": {"spec": {}}}), "no metadata.name"),
            ("remove_network_policy", json!({"name": "mine-not"}), "does not exist"),
        ] {
            let why = ground.refused(actions, func, arguments).await;
            assert!(why.contains(said), "{why}");
        }
    });
}

/// The lab serves neither ingresses nor the newer events: it is asked, and says so.
#[test]
fn what_a_cluster_does_not_serve_is_told() {
    on_the_shop(async |ground| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = ground.file(&folder, "web.json", &json!({"metadata": {"name": "web"}, "spec": {}}));
        let actions = "chaosk8s.networking.actions";
        for (module, func, arguments) in [
            (actions, "create_ingress", json!({"spec_path": path})),
            (actions, "update_ingress", json!({"name": "web", "spec": {"spec": {}}})),
            (actions, "delete_ingress", json!({"name": "web"})),
            ("chaosk8s.networking.probes", "ingress_exists", json!({"name": "web"})),
            ("chaosk8s.event.probes", "get_events", json!({"label_selector": "a=b", "limit": 3})),
        ] {
            let why = ground.refused(module, func, arguments).await;
            let told = ["not find", "not found", "does not exist"];
            assert!(told.iter().any(|told| why.contains(told)), "{func}: {why}");
        }
    });
}

#[test]
fn the_deprecated_names_are_those_of_others() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.actions", "chaosk8s.probes");
        for (func, arguments) in [
            ("all_microservices_healthy", json!({})),
            ("microservice_available_and_healthy", json!({"name": "back"})),
            ("microservice_is_not_available", json!({"name": "nobody"})),
            ("service_endpoint_is_initialized", json!({"name": "back"})),
            ("deployment_is_fully_available", json!({"name": "back"})),
        ] {
            assert_eq!(ground.call(probes, func, arguments).await, Ok(json!(true)), "{func}");
        }
        assert_eq!(ground.call(probes, "secret_exists", json!({"name": "nobody"})).await, Ok(json!(false)));
        ground.ask_front().await;
        let logs = json!({"name": "x", "label_selector": "app=front"});
        let logs = ground.call(probes, "read_microservices_logs", logs).await.unwrap();
        assert_eq!(logs.as_object().map(serde_json::Map::len), Some(1));
        ground.call(actions, "scale_microservice", json!({"name": "back", "replicas": 2})).await.unwrap();
        ground.call(actions, "remove_service_endpoint", json!({"name": "middle"})).await.unwrap();
        ground.call(actions, "kill_microservice", json!({"name": "front"})).await.unwrap();
        assert_eq!(ground.found("Deployment", "front"), None);
        let killed = json!({"name": "x", "label_selector": "app=middle"});
        assert_eq!(ground.call(actions, "kill_microservice", killed).await, Ok(Value::Null));
        let middle = json!({"name": "middle", "timeout": 5});
        assert_eq!(ground.call(probes, "deployment_is_not_fully_available", middle).await, Ok(json!(true)));
    });
}
