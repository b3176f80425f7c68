use serde_json::{Value, json};

use super::super::Stage;
use super::on_the_shop;
use crate::journal::FaultEnd;
use crate::rollback::ORIGINAL_ANNOTATION as ORIGINAL;

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

/// It is a fault like any other until the run ends: proved, on a place that is held, refused where its name is taken.
#[test]
fn what_is_to_be_left_is_proved_and_then_let_go_of() {
    on_the_shop(async |ground| {
        let selectors = json!({"label_selectors": {"app": "back"}});
        ground.call_on(ground.leaving(), ACTIONS, "deny_all_ingress", selectors.clone()).await.unwrap();
        let marks = || ground.found("NetworkPolicy", INGRESS).map(|policy| policy["metadata"].clone());
        let on = marks().expect("it stands");
        assert!(on["labels"].is_object() && on["ownerReferences"].is_array(), "{on}");
        assert!(ground.found("Lease", "steadfast").is_some(), "the place is held");
        let record = ground.run.evidence().faults[0].clone();
        assert!(record.proved && record.targets.len() == 1, "{record:?}");
        let nobody = json!({"label_selectors": {"app": "nobody"}});
        let done = ground.call_on(ground.leaving(), ACTIONS, "deny_all_egress", nobody).await;
        assert!(done.is_err_and(|why| why.0.contains("no pod in namespace default matches")));
        let replicas = json!({"name": "middle", "replicas": 2});
        ground.call_on(ground.leaving(), "chaosk8s.deployment.actions", "scale_deployment", replicas).await.unwrap();
        assert_eq!(ground.guards.undo_all().await, Vec::<String>::new());
        let left = marks().expect("it still stands");
        assert!(left["labels"].is_null() && left["ownerReferences"].is_null(), "{left}");
        let middle = ground.found("Deployment", "middle").expect("it stands");
        assert_eq!(
            (&middle["spec"]["replicas"], &middle["metadata"]["annotations"][ORIGINAL]),
            (&json!(2), &Value::Null)
        );
        let ends: Vec<_> = ground.run.evidence().faults.into_iter().map(|fault| fault.end).collect();
        assert_eq!(ends.iter().filter(|end| **end == FaultEnd::Left).count(), 2, "{ends:?}");
        ground.leave(ACTIONS, "remove_deny_all_ingress", json!({})).await.unwrap();
        let replicas = json!({"name": "middle", "replicas": 1});
        ground.leave("chaosk8s.deployment.actions", "scale_deployment", replicas).await.unwrap();
    });
}

/// An activity of the document's own rollbacks ends it all the same.
#[test]
fn what_is_to_be_left_is_ended_by_its_own_activity() {
    on_the_shop(async |ground| {
        let selectors = json!({"label_selectors": {"app": "back"}});
        ground.call_on(ground.leaving(), ACTIONS, "deny_all_ingress", selectors).await.unwrap();
        ground.leave(ACTIONS, "remove_deny_all_ingress", json!({})).await.unwrap();
        assert_eq!(ground.found("NetworkPolicy", INGRESS), None);
        assert_eq!(ground.run.evidence().faults[0].end, FaultEnd::Rollback);
    });
}
