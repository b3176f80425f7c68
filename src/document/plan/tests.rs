//! Plans on the lab.

use serde_json::{Value, json};

use super::{Plan, Question, plan};
use crate::cluster::{Cluster, Target, run_test_on, shop};
use crate::document::{Asked, Loaded, load};

async fn loaded(document: &Value) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("document.json");
    std::fs::write(&path, document.to_string()).expect("written");
    load(&Asked::of(&path.display().to_string())).await.unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Plans on a lab with the shop, which is then as it was.
#[track_caller]
fn on_the_shop(document: Value, look: impl AsyncFnOnce(&Plan, &Loaded)) {
    let at = std::panic::Location::caller();
    let name = format!("plan-{}", at.line());
    let done = run_test_on(&Target::Embedded, &name, async |cluster| {
        shop(&cluster).await?;
        let loaded = loaded(&document).await;
        let before = cluster.lab()?.store().dump();
        let asked = question(&loaded, &cluster);
        let plan = plan(asked).await?;
        assert_eq!(cluster.lab()?.store().dump(), before, "nothing was written");
        look(&plan, &loaded).await;
        Ok(())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

fn question<'a>(loaded: &'a Loaded, cluster: &'a Cluster) -> Question<'a> {
    Question { loaded, cluster: Some(cluster), leave_faults: false }
}

fn action(module: &str, func: &str, arguments: Value) -> Value {
    let provider =
        json!({"type": "python", "module": format!("chaosk8s.{module}.actions"), "func": func, "arguments": arguments});
    json!({"type": "action", "name": func, "provider": provider})
}

#[test]
fn faults_have_their_targets_and_rollbacks_end_them() {
    let document = json!({
        "title": "t", "description": "d",
        "method": [
            action("networking", "deny_all_ingress", json!({"label_selectors": "app=back"})),
            action("deployment", "scale_deployment", json!({"name": "middle", "replicas": 2})),
            action("node", "cordon_node", json!({"name": "${node}"})),
            action("pod", "exec_in_pods", json!({"cmd": "true", "label_selector": "app=front"})),
        ],
        "rollbacks": [
            action("networking", "remove_deny_all_ingress", json!({})),
            action("deployment", "scale_deployment", json!({"name": "middle", "replicas": 1})),
        ],
        "configuration": {"node": {"type": "probe", "name": "node", "provider": {"type": "process", "path": "echo"}}},
    });
    on_the_shop(document, async |plan, _| {
        let told = plan.to_string();
        for line in [
            "       fault: deny ingress to pods app=back in default",
            "       fault: scale deployment middle in default to 2",
            "       note: what it acts on is known once the run has measured node",
            "       ends: what this experiment did to networkpolicy default/chaostoolkit-deny-all-ingress",
            "       ends: what this experiment did to deployment default/middle",
            "  - create networkpolicies.networking.k8s.io in namespace default",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
        }
        assert!(told.contains("         target: pod default/back-"), "{told}");
        assert!(told.contains("nobody undoes it: run [\"true\"] in pod default/front-"), "{told}");
        assert!(!plan.fails() && !told.contains("undone by the run at its end"), "{told}");
        let json = plan.to_json();
        assert_eq!(json["method"][0]["changes"][0]["undone"], true, "{json}");
        assert_eq!(json["method"][3]["changes"][0]["undone"], false, "{json}");
    });
}

#[test]
fn what_has_no_target_fails_and_shows_no_secret() {
    let document = json!({
        "title": "t", "description": "d", "secrets": {"s": {"label": "nobody-knows"}},
        "method": [action("networking", "deny_all_ingress", json!({"label_selectors": "app=${label}"}))],
    });
    on_the_shop(document, async |plan, loaded| {
        let told = loaded.redact.redact(&plan.to_string()).into_owned();
        assert!(plan.fails() && told.contains("FAILS: "), "{told}");
        assert!(told.contains("app=[redacted]") && !told.contains("nobody-knows"), "{told}");
    });
}
