//! Who may do what, asked of the cluster as another user.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use steadfast::prelude::*;

use crate::support::{Answer, Place, raw};

const JSON: &str = "application/json";

/// A service account and its name as a user.
async fn robot(place: &Place, rules: Value) -> Result<String, kube::Error> {
    let _: ServiceAccount = place.create(json!({"metadata": {"name": "robot"}})).await?;
    let _: Role = place.create(json!({"metadata": {"name": "robot"}, "rules": rules})).await?;
    let binding = json!({
        "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "robot"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": place.name}],
    });
    let _: RoleBinding = place.create(binding).await?;
    Ok(format!("system:serviceaccount:{}:robot", place.name))
}

async fn review(place: &Place, user: &str, verb: &str, namespace: &str) -> Value {
    let attributes =
        json!({"namespace": namespace, "verb": verb, "group": "networking.k8s.io", "resource": "networkpolicies"});
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answer) =
        raw(&place.cluster.client(), "POST", path, JSON, body.to_string(), &[("Impersonate-User", user)]).await;
    assert_eq!(code, 201, "{answer}");
    answer["status"].clone()
}

async fn as_user(place: &Place, user: &str, method: &str, rest: &str) -> Answer {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies{rest}", place.name);
    raw(&place.cluster.client(), method, &path, JSON, String::new(), &[("Impersonate-User", user)]).await
}

/// Seen on 1.34.4: a review says what a binding allows, by name, and nothing more.
#[steadfast::test]
async fn a_review_is_evaluated(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let rule = json!({"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create", "get", "delete"]});
    let user = robot(&place, json!([rule])).await?;
    let allowed = async || (review(&place, &user, "create", &place.name).await["allowed"] == true).then_some(());
    place.eventually(secs(10), "it is allowed", allowed).await;
    let told = review(&place, &user, "create", &place.name).await;
    let namespace = &place.name;
    let reason = format!(
        r#"RBAC: allowed by RoleBinding "robot/{namespace}" of Role "robot" to ServiceAccount "robot/{namespace}""#
    );
    assert_eq!((&told["reason"], &told["denied"]), (&json!(reason), &Value::Null));
    assert_eq!(review(&place, &user, "list", &place.name).await["allowed"], false);
    assert_eq!(review(&place, &user, "create", "default").await["allowed"], false);
    place.end().await
}

/// Seen on 1.34.4: what is forbidden is forbidden before anybody looks whether it is there.
#[steadfast::test]
async fn forbidden_comes_before_not_found(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let rule = json!({"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get"], "resourceNames": ["mine"]});
    let user = robot(&place, json!([rule])).await?;
    let known = async || (as_user(&place, &user, "GET", "/mine").await.0 == 404).then_some(());
    place.eventually(secs(10), "the role counts", known).await;
    let (code, body) = as_user(&place, &user, "DELETE", "/mine").await;
    let message = format!(
        r#"networkpolicies.networking.k8s.io "mine" is forbidden: User "{user}" cannot delete resource "networkpolicies" in API group "networking.k8s.io" in the namespace "{}""#,
        place.name
    );
    assert_eq!((code, &body["message"]), (403, &json!(message)));
    assert_eq!(as_user(&place, &user, "GET", "/other").await.0, 403);
    assert_eq!(as_user(&place, &user, "GET", "").await.0, 403);
    place.end().await
}

/// Seen on 1.34.4: rights go with their binding.
#[steadfast::test]
async fn rights_go_with_their_binding(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let rule = json!({"apiGroups": ["networking.k8s.io"], "resources": ["*"], "verbs": ["*"]});
    let user = robot(&place, json!([rule])).await?;
    let may = async || (as_user(&place, &user, "GET", "").await.0 == 200).then_some(());
    place.eventually(secs(10), "it may list", may).await;
    place.api::<RoleBinding>().delete("robot", &DeleteParams::default()).await?;
    let may_not = async || (as_user(&place, &user, "GET", "").await.0 == 403).then_some(());
    place.eventually(secs(10), "it may no longer", may_not).await;
    place.end().await
}
