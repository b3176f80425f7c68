use serde_json::{Value, json};

use super::super::Stage;
use super::on_the_shop;

const ACTIONS: &str = "chaosk8s.networking.actions";
const INGRESS: &str = "chaostoolkit-deny-all-ingress";
const EGRESS: &str = "chaostoolkit-deny-all-egress";

#[test]
fn a_denial_lands_under_its_name_and_is_removed_by_its_own_activity() {
    on_the_shop(async |ground| {
        let selectors = json!({"label_selectors": {"app": "back"}});
        assert_eq!(ground.call(ACTIONS, "deny_all_ingress", selectors.clone()).await, Ok(Value::Null));
        let policy = ground.found("NetworkPolicy", INGRESS).expect("it stands");
        assert_eq!(policy["spec"]["podSelector"], json!({"matchLabels": {"app": "back"}}));
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        // A second one of that name is refused, and told whose the first is.
        let why = ground.refused(ACTIONS, "deny_all_ingress", selectors).await;
        assert!(why.contains("exists already: run ") && why.contains("steadfast sweep"), "{why}");
        for _ in 0..2 {
            // The second time it is absent already, and that is well.
            assert_eq!(ground.leave(ACTIONS, "remove_deny_all_ingress", json!({})).await, Ok(Value::Null));
            assert_eq!(ground.found("NetworkPolicy", INGRESS), None);
        }
        let why = ground.refused(ACTIONS, "remove_deny_all_egress", json!({})).await;
        assert!(why.contains(EGRESS) && why.contains("not found"), "{why}");
    });
}

#[test]
fn a_denial_that_nobody_removes_is_undone_at_the_end() {
    on_the_shop(async |ground| {
        ground.call(ACTIONS, "deny_all_egress", json!({"label_selectors": "app=middle"})).await.unwrap();
        // Without selectors it is the whole namespace.
        ground.call(ACTIONS, "deny_all_ingress", json!({})).await.unwrap();
        let policy = ground.found("NetworkPolicy", INGRESS).expect("it stands");
        assert_eq!(policy["spec"]["podSelector"], json!({}));
        let why = ground.refused(ACTIONS, "deny_all_ingress", json!({"label_selectors": {"app": "nobody"}})).await;
        assert!(why.contains("no pod in namespace default matches \"app=nobody\""), "{why}");
    });
}

#[test]
fn what_is_left_stays_and_belongs_to_no_run() {
    on_the_shop(async |ground| {
        let trusting = Stage { trust: Some("a plug-in without names"), ..ground.stage() };
        let selectors = json!({"label_selectors": {"app": "back"}});
        ground.leave(ACTIONS, "deny_all_ingress", selectors.clone()).await.unwrap();
        assert!(ground.guards.objects().is_empty());
        let policy = ground.found("NetworkPolicy", INGRESS).expect("it stands");
        assert_eq!(policy["metadata"]["labels"], Value::Null);
        let why = ground.refused(ACTIONS, "deny_all_ingress", selectors.clone()).await;
        assert!(why.contains("no run has made it; if it is a leftover"), "{why}");
        ground.call(ACTIONS, "remove_deny_all_ingress", json!({})).await.unwrap();
        assert_eq!(ground.found("NetworkPolicy", INGRESS), None);
        ground.call_on(trusting, ACTIONS, "deny_all_ingress", selectors).await.unwrap();
        assert_eq!(ground.guards.objects().len(), 1);
    });
}
