use serde_json::{Value, json};

use super::on_the_shop;

const ACTIONS: &str = "chaosk8s.crd.actions";
const PROBES: &str = "chaosk8s.crd.probes";

/// The arguments of every function of custom objects, with more.
fn chaos(more: Value) -> Value {
    let mut all = json!({"group": "chaos-mesh.org", "version": "v1alpha1", "plural": "networkchaos"});
    all.as_object_mut().expect("a map").extend(more.as_object().cloned().expect("a map"));
    all
}

fn delay(name: &str, latency: &str) -> Value {
    let selector = json!({"namespaces": ["default"], "labelSelectors": {"app": "back"}});
    let spec = json!({"action": "delay", "mode": "all", "selector": selector, "delay": {"latency": latency}});
    json!({"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn custom_objects_are_made_changed_and_deleted() {
    on_the_shop(async |ground| {
        let latency = || ground.found("NetworkChaos", "slow").map(|slow| slow["spec"]["delay"]["latency"].clone());
        let make = chaos(json!({"resource": delay("slow", "10ms")}));
        let made = ground.call(ACTIONS, "create_custom_object", make.clone()).await.unwrap();
        assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("NetworkChaos"), &json!("slow")));
        // One of that name is no success.
        let why = ground.refused(ACTIONS, "create_custom_object", make.clone()).await;
        assert!(why.contains("networkchaos default/slow exists already"), "{why}");
        let slow = chaos(json!({"name": "slow"}));
        assert_eq!(ground.call(PROBES, "get_custom_object", slow.clone()).await.unwrap()["kind"], "NetworkChaos");
        let list = ground.call(PROBES, "list_custom_objects", chaos(json!({}))).await.unwrap();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
        let deleted = ground.call(ACTIONS, "delete_custom_object", slow.clone()).await.unwrap();
        assert_eq!((&deleted["status"], latency()), (&json!("Success"), None));
        // One that is not the document's: what is done with it is undone.
        ground.leave(ACTIONS, "create_custom_object", make).await.unwrap();
        let merge = chaos(json!({"name": "slow", "resource": {"spec": {"delay": {"latency": "20ms"}}}}));
        ground.call(ACTIONS, "patch_custom_object", merge).await.unwrap();
        assert_eq!(latency(), Some(json!("20ms")));
        let list = json!([{"op": "replace", "path": "/spec/delay/latency", "value": "30ms"}]);
        ground.call(ACTIONS, "patch_custom_object", chaos(json!({"name": "slow", "resource": list}))).await.unwrap();
        assert_eq!(latency(), Some(json!("30ms")));
        let whole = chaos(json!({"name": "slow", "resource": delay("slow", "40ms")}));
        ground.call(ACTIONS, "replace_custom_object", whole).await.unwrap();
        assert_eq!((latency(), ground.guards.objects().len()), (Some(json!("40ms")), 1));
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(latency(), Some(json!("10ms")));
        ground.call(ACTIONS, "delete_custom_object", slow.clone()).await.unwrap();
        assert_eq!(latency(), None);
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(latency(), Some(json!("10ms")), "it is made again");
        ground.leave(ACTIONS, "delete_custom_object", slow).await.unwrap();
        for (func, arguments, said) in [
            ("create_custom_object", chaos(json!({})), "neither resource nor resource_as_yaml_file"),
            ("create_custom_object", chaos(json!({"resource": {}})), "no kind"),
            ("create_custom_object", chaos(json!({"ns": "other", "resource": delay("x", "1ms")})), "not found"),
            ("delete_custom_object", chaos(json!({"name": "nobody"})), "not found"),
            ("delete_cluster_custom_object", chaos(json!({"name": "nobody"})), "not find"),
        ] {
            let why = ground.refused(ACTIONS, func, arguments).await;
            assert!(why.contains(said), "{func}: {why}");
        }
    });
}

#[test]
fn a_text_is_applied_whether_it_is_there_or_not() {
    on_the_shop(async |ground| {
        let latency = || ground.found("NetworkChaos", "slow").map(|slow| slow["spec"]["delay"]["latency"].clone());
        let text = delay("slow", "10ms").to_string();
        ground.leave(ACTIONS, "apply_from_json", json!({"resource": text})).await.unwrap();
        assert_eq!(latency(), Some(json!("10ms")));
        let text = format!("# slower\n{}", delay("slow", "20ms"));
        ground.call(ACTIONS, "apply_from_yaml", json!({"resource": text})).await.unwrap();
        assert_eq!(latency(), Some(json!("20ms")));
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(latency(), Some(json!("10ms")));
        ground.leave(ACTIONS, "delete_custom_object", chaos(json!({"name": "slow"}))).await.unwrap();
    });
}

/// Objects of the whole cluster, with a kind that lies in no namespace.
#[test]
fn custom_objects_of_the_cluster_are_made_changed_and_deleted() {
    on_the_shop(async |ground| {
        let of = |more: Value| {
            let mut all = json!({"group": "rbac.authorization.k8s.io", "version": "v1", "plural": "clusterroles"});
            all.as_object_mut().expect("a map").extend(more.as_object().cloned().expect("a map"));
            all
        };
        let role = |verb: &str| {
            let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]);
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules})
        };
        let verb = || ground.found("ClusterRole", "r").map(|role| role["rules"][0]["verbs"][0].clone());
        ground.leave(ACTIONS, "create_cluster_custom_object", of(json!({"resource": role("get")}))).await.unwrap();
        let named = of(json!({"name": "r"}));
        let found = ground.call(PROBES, "get_cluster_custom_object", named.clone()).await.unwrap();
        assert_eq!(found["rules"], role("get")["rules"]);
        let list = ground.call(PROBES, "list_cluster_custom_objects", of(json!({}))).await.unwrap();
        assert!(list["items"].as_array().is_some_and(|items| !items.is_empty()));
        let rules = json!({"name": "r", "resource": {"rules": role("list")["rules"]}});
        ground.call(ACTIONS, "patch_cluster_custom_object", of(rules)).await.unwrap();
        assert_eq!(verb(), Some(json!("list")));
        let whole = of(json!({"name": "r", "resource": role("watch")}));
        ground.call(ACTIONS, "replace_cluster_custom_object", whole).await.unwrap();
        assert_eq!(verb(), Some(json!("watch")));
        ground.call(ACTIONS, "delete_cluster_custom_object", named.clone()).await.unwrap();
        assert_eq!(verb(), None);
        assert!(ground.guards.undo_all().await.is_empty());
        assert_eq!(verb(), Some(json!("get")));
        ground.leave(ACTIONS, "delete_cluster_custom_object", named).await.unwrap();
    });
}

#[test]
fn network_chaos_is_made_in_the_form_that_chaos_mesh_takes() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.chaosmesh.network.actions", "chaosk8s.chaosmesh.network.probes");
        let slow = json!({"name": "slow", "latency": "100ms", "jitter": "10ms", "mode": "all", "label_selectors": "app=back",
            "namespaces_selectors": "default"});
        let made = ground.call(actions, "add_latency", slow).await.unwrap();
        let selector = json!({"namespaces": ["default"], "labelSelectors": {"app": "back"}});
        let delay = json!({"latency": "100ms", "jitter": "10ms"});
        let spec = json!({"action": "delay", "mode": "all", "direction": "to", "selector": selector, "delay": delay});
        assert_eq!(made["spec"], spec);
        assert_eq!(ground.call(probes, "get_network_fault", json!({"name": "slow"})).await.unwrap()["spec"], spec);
        let all = ground.call(probes, "get_network_faults", json!({})).await.unwrap();
        assert_eq!((&all["kind"], all["items"].as_array().map(Vec::len)), (&json!("NetworkChaosList"), Some(1)));
        let deleted = ground.leave(actions, "delete_network_fault", json!({"name": "slow"})).await.unwrap();
        assert_eq!((&deleted["status"], ground.found("NetworkChaos", "slow")), (&json!("Success"), None));
        let lossy = json!({"name": "lossy", "loss": 50, "mode": "all", "label_selectors": {"app": "back"}, "direction": "both"});
        let made = ground.call(actions, "set_loss", lossy).await.unwrap();
        assert_eq!(made["spec"]["loss"], json!({"loss": "50"}));
        for (func, arguments, said) in [
            ("add_latency", json!({"name": "x", "latency": "1ms"}), "spec.mode"),
            ("add_latency", json!({"name": "x"}), "argument \"latency\" is missing"),
            ("duplicate_packets", json!({"name": "x", "duplicate": "40", "mode": "all"}), "spec.action"),
            ("corrupt_packets", json!({"name": "x", "corrupt": "40", "mode": "all"}), "spec.action"),
            ("reorder_packets", json!({"name": "x", "reorder": "40", "mode": "fixed"}), "give mode_value"),
            (
                "set_bandwidth",
                json!({"name": "x", "rate": "1mbps", "limit": 1, "buffer": 1, "mode": "all"}),
                "spec.action",
            ),
            (
                "set_loss",
                json!({"name": "x", "loss": "1", "namespaces_selectors": ["kube-system"]}),
                "faults are refused there",
            ),
            ("delete_network_fault", json!({"name": "nobody"}), "not found"),
        ] {
            let why = ground.refused(actions, func, arguments).await;
            assert!(why.contains(said), "{func}: {why}");
        }
    });
}

/// The lab does not serve the kind: it is asked, and says so.
#[test]
fn stressors_are_asked_for() {
    on_the_shop(async |ground| {
        let (actions, probes) = ("chaosk8s.chaosmesh.stress.actions", "chaosk8s.chaosmesh.stress.probes");
        for (module, func, arguments) in [
            (actions, "stress_cpu", json!({"name": "hot", "workers": 1, "load": 80, "label_selectors": "app=back"})),
            (actions, "stress_memory", json!({"name": "full", "workers": 1, "size": "64MB"})),
            (actions, "delete_stressor", json!({"name": "hot"})),
            (probes, "get_stressor", json!({"name": "hot"})),
            (probes, "get_stressors", json!({})),
        ] {
            let why = ground.refused(module, func, arguments).await;
            assert!(why.contains("not find") || why.contains("not found"), "{func}: {why}");
        }
    });
}
