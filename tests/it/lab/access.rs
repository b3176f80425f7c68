//! Who may do what. Texts and codes were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::prelude::*;

use super::raw::ask;
use crate::support::client_of;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";
const WHO: &str = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A service account, with a role of these rules bound to it. Returns its user name.
async fn account(cluster: &Cluster, name: &str, rules: Value) -> String {
    let metadata = json!({"name": name});
    let accounts = "POST /api/v1/namespaces/default/serviceaccounts";
    assert_eq!(ask(cluster, accounts, &[], json!({"metadata": metadata})).await.0, 201);
    if !rules.is_null() {
        let role = json!({"metadata": metadata, "rules": rules});
        let roles = format!("POST {RBAC}/namespaces/default/roles");
        assert_eq!(ask(cluster, &roles, &[], role).await.0, 201);
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": "default"});
        let binding = json!({"metadata": metadata, "roleRef": reference, "subjects": [subject]});
        let bindings = format!("POST {RBAC}/namespaces/default/rolebindings");
        assert_eq!(ask(cluster, &bindings, &[], binding).await.0, 201);
    }
    format!("system:serviceaccount:default:{name}")
}

#[steadfast::test(needs = "embedded")]
async fn what_no_role_allows_is_forbidden_before_anything_else(cluster: Cluster) -> steadfast::Result {
    let user = account(&cluster, "s", json!(null)).await;
    let as_user = [("Impersonate-User", user.as_str())];
    let policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    for (request, message, details) in [
        (
            "GET /api/v1/namespaces/default/pods/none-such".to_owned(),
            r#"pods "none-such" is forbidden: User "U" cannot get resource "pods" in API group "" in the namespace "default""#,
            json!({"name": "none-such", "kind": "pods"}),
        ),
        (
            format!("DELETE {policies}/x"),
            r#"networkpolicies.networking.k8s.io "x" is forbidden: User "U" cannot delete resource "networkpolicies" in API group "networking.k8s.io" in the namespace "default""#,
            json!({"name": "x", "group": "networking.k8s.io", "kind": "networkpolicies"}),
        ),
        (
            format!("POST {policies}"),
            r#"networkpolicies.networking.k8s.io is forbidden: User "U" cannot create resource "networkpolicies" in API group "networking.k8s.io" in the namespace "default""#,
            json!({"group": "networking.k8s.io", "kind": "networkpolicies"}),
        ),
        (
            "GET /api/v1/namespaces/default/pods/p/log".to_owned(),
            r#"pods "p" is forbidden: User "U" cannot get resource "pods/log" in API group "" in the namespace "default""#,
            json!({"name": "p", "kind": "pods"}),
        ),
        (
            "GET /api/v1/nodes?watch=1".to_owned(),
            r#"nodes is forbidden: User "U" cannot watch resource "nodes" in API group "" at the cluster scope"#,
            json!({"kind": "nodes"}),
        ),
        (
            "GET /apis/nope.io/v1/namespaces/default/things".to_owned(),
            r#"things.nope.io is forbidden: User "U" cannot list resource "things" in API group "nope.io" in the namespace "default""#,
            json!({"group": "nope.io", "kind": "things"}),
        ),
        ("GET /metrics".to_owned(), r#"forbidden: User "U" cannot get path "/metrics""#, json!({})),
    ] {
        let (code, body) = ask(&cluster, &request, &as_user, json!(null)).await;
        assert_eq!(code, 403, "{request}: {body}");
        assert_eq!(body["reason"], "Forbidden");
        assert_eq!(body["message"], message.replace("\"U\"", &format!("{user:?}")), "{request}");
        assert_eq!(body["details"], details, "{request}");
    }
    assert_eq!(ask(&cluster, "GET /healthz", &as_user, json!(null)).await.0, 200);
    assert_eq!(ask(&cluster, "GET /apis", &as_user, json!(null)).await.0, 200, "everybody may discover");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_role_allows_what_it_names(cluster: Cluster) -> steadfast::Result {
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"], "resourceNames": ["only"]},
    ]);
    let user = account(&cluster, "s", rules).await;
    let as_user = [("Impersonate-User", user.as_str())];
    let maps = "GET /api/v1/namespaces/default/configmaps";
    assert_eq!(ask(&cluster, &format!("{maps}/only"), &as_user, json!(null)).await.0, 404);
    assert_eq!(ask(&cluster, &format!("{maps}/other"), &as_user, json!(null)).await.0, 403);
    assert_eq!(ask(&cluster, maps, &as_user, json!(null)).await.0, 403);
    let one = format!("{maps}?fieldSelector=metadata.name%3Donly");
    assert_eq!(ask(&cluster, &one, &as_user, json!(null)).await.0, 200);
    // Rights end with the binding.
    let binding = format!("DELETE {RBAC}/namespaces/default/rolebindings/s");
    assert_eq!(ask(&cluster, &binding, &[], json!(null)).await.0, 200);
    assert_eq!(ask(&cluster, &format!("{maps}/only"), &as_user, json!(null)).await.0, 403);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn reviews_say_who_may_what_and_why(cluster: Cluster) -> steadfast::Result {
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let user = account(&cluster, "s", rules).await;
    let as_user = [("Impersonate-User", user.as_str())];
    let own = format!("POST {REVIEWS}/selfsubjectaccessreviews");
    let attributes = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let spec = json!({"resourceAttributes": attributes});
    let (code, review) = ask(&cluster, &own, &as_user, json!({"spec": spec})).await;
    assert_eq!((code, &review["spec"]), (201, &spec));
    let reason = r#"RBAC: allowed by RoleBinding "s/default" of Role "s" to ServiceAccount "s/default""#;
    assert_eq!(review["status"], json!({"allowed": true, "reason": reason}));
    let other = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    assert_eq!(ask(&cluster, &own, &as_user, other.clone()).await.1["status"], json!({"allowed": false}));
    assert_eq!(ask(&cluster, &own, &[], other).await.1["status"]["allowed"], true);

    let (code, wrong) = ask(&cluster, &own, &[], json!({"spec": {}})).await;
    assert_eq!(
        (code, wrong["message"].as_str()),
        (
            422,
            Some(
                r#".authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"#
            )
        )
    );
    let both = json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/x"}}});
    let (code, wrong) = ask(&cluster, &own, &[], both).await;
    assert_eq!((code, &wrong["details"]["causes"][0]["field"]), (422, &json!("spec.nonResourceAttributes")));

    let theirs = format!("POST {REVIEWS}/subjectaccessreviews");
    let spec = json!({"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes});
    let (code, review) = ask(&cluster, &theirs, &[], json!({"spec": spec})).await;
    assert_eq!((code, &review["spec"], &review["status"]["allowed"]), (201, &spec, &json!(true)));
    assert_eq!(ask(&cluster, &theirs, &as_user, json!({"spec": spec})).await.0, 403);
    let (code, wrong) = ask(&cluster, &theirs, &[], json!({"spec": {"resourceAttributes": attributes}})).await;
    assert_eq!((code, &wrong["details"]["causes"][0]["field"]), (422, &json!("spec.user")));

    let local = format!("POST {REVIEWS}/namespaces/kube-system/localsubjectaccessreviews");
    let (code, wrong) = ask(&cluster, &local, &[], json!({"spec": spec})).await;
    let why = r#"Invalid value: "default": must match metadata.namespace"#;
    assert_eq!((code, wrong["details"]["causes"][0]["message"].as_str()), (422, Some(why)));

    let rules = format!("POST {REVIEWS}/selfsubjectrulesreviews");
    let (code, review) = ask(&cluster, &rules, &as_user, json!({"spec": {"namespace": "default"}})).await;
    let last = review["status"]["resourceRules"].as_array().and_then(|rules| rules.last()).cloned();
    assert_eq!((code, last), (201, Some(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}))));
    assert_eq!(review["status"]["incomplete"], false);
    assert_eq!(ask(&cluster, &rules, &as_user, json!({"spec": {}})).await.0, 400);
    assert_eq!(ask(&cluster, &own.replace("POST", "GET"), &[], json!(null)).await.0, 405);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn impersonation_needs_a_user_and_the_right_to_be_them(cluster: Cluster) -> steadfast::Result {
    let who = async |headers: &[(&str, &str)]| ask(&cluster, WHO, headers, json!({})).await;
    let info = |body: &Value| body["status"]["userInfo"].clone();
    let (code, body) = who(&[]).await;
    let own = json!({"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]});
    assert_eq!((code, info(&body)), (201, own));
    let (_, body) = who(&[
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "u1"),
        ("Impersonate-Extra-Scopes", "a"),
        ("Impersonate-Extra-acme.com%2Fproject", "p"),
    ])
    .await;
    let jane = json!({
        "username": "jane", "uid": "u1", "groups": ["dev", "ops", "system:authenticated"],
        "extra": {"acme.com/project": ["p"], "scopes": ["a"]},
    });
    assert_eq!(info(&body), jane);
    let (_, body) = who(&[("Impersonate-User", "system:serviceaccount:n:s")]).await;
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"]);
    assert_eq!(info(&body)["groups"], groups);
    let (code, body) = who(&[("Impersonate-User", "system:anonymous")]).await;
    assert_eq!(code, 403, "{body}");
    let (code, body) = who(&[("Impersonate-Group", "dev")]).await;
    let text = "Internal Server Error: \"/apis/authentication.k8s.io/v1/selfsubjectreviews\": requested [{Group  dev    }] without impersonating a user\n";
    assert_eq!((code, body), (500, json!(text)));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn tokens_are_their_service_accounts(cluster: Cluster) -> steadfast::Result {
    let rules =
        json!([{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["jane"]}]);
    let role = json!({"metadata": {"name": "jane"}, "rules": rules});
    assert_eq!(ask(&cluster, &format!("POST {RBAC}/clusterroles"), &[], role).await.0, 201);
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jane"});
    let subject = json!({"kind": "ServiceAccount", "name": "s", "namespace": "default"});
    let binding = json!({"metadata": {"name": "jane"}, "roleRef": reference, "subjects": [subject]});
    assert_eq!(ask(&cluster, &format!("POST {RBAC}/clusterrolebindings"), &[], binding).await.0, 201);
    let user = account(&cluster, "s", json!(null)).await;
    let tokens = "POST /api/v1/namespaces/default/serviceaccounts/s/token";
    let (code, issued) = ask(&cluster, tokens, &[], json!({"spec": {"expirationSeconds": 600}})).await;
    assert_eq!((code, &issued["status"]["expirationTimestamp"]), (201, &json!("2026-01-01T00:10:00Z")));
    let bearer = format!("Bearer {}", issued["status"]["token"].as_str().unwrap());
    let with_token = [("Authorization", bearer.as_str())];
    let (_, body) = ask(&cluster, WHO, &with_token, json!({})).await;
    assert_eq!(body["status"]["userInfo"]["username"], user.as_str());
    assert_eq!(body["status"]["userInfo"]["uid"], issued["metadata"]["uid"]);
    let pods = "GET /api/v1/pods";
    assert_eq!(ask(&cluster, pods, &with_token, json!(null)).await.0, 403);

    let claim = |name: &'static str| [("Authorization", bearer.as_str()), ("Impersonate-User", name)];
    assert_eq!(ask(&cluster, WHO, &claim("jane"), json!({})).await.0, 201);
    let (code, body) = ask(&cluster, WHO, &claim("joe"), json!({})).await;
    let why = format!(
        r#"users "joe" is forbidden: User "{user}" cannot impersonate resource "users" in API group "" at the cluster scope"#
    );
    assert_eq!((code, body["message"].as_str()), (403, Some(why.as_str())));

    let reviews = "POST /apis/authentication.k8s.io/v1/tokenreviews";
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let (_, review) = ask(&cluster, reviews, &[], json!({"spec": {"token": token}})).await;
    assert_eq!(review["status"]["authenticated"], true, "{review}");
    let (_, review) = ask(&cluster, reviews, &[], json!({"spec": {"token": token, "audiences": ["q"]}})).await;
    let why = r#"[invalid bearer token, token audiences ["https://kubernetes.default.svc.cluster.local"] is invalid for the target audiences ["q"]]"#;
    assert_eq!(review["status"], json!({"user": {}, "error": why}));

    let unauthorized = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    });
    for wrong in ["Bearer nonsense", "Basic YTpi", &format!("{bearer}x")] {
        let answer = ask(&cluster, "GET /healthz", &[("Authorization", wrong)], json!(null)).await;
        assert_eq!(answer, (401, unauthorized.clone()), "{wrong}");
    }
    tokio::time::sleep(secs(601)).await;
    assert_eq!(ask(&cluster, WHO, &with_token, json!({})).await.0, 401, "it has expired");

    let (code, wrong) = ask(&cluster, tokens, &[], json!({"spec": {"expirationSeconds": 599}})).await;
    let why = r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#;
    assert_eq!((code, wrong["message"].as_str()), (422, Some(why)));
    let none = tokens.replace("/s/", "/none/");
    assert_eq!(ask(&cluster, &none, &[], json!({})).await.0, 404);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_token_ends_with_its_account(cluster: Cluster) -> steadfast::Result {
    account(&cluster, "s", json!(null)).await;
    let tokens = "POST /api/v1/namespaces/default/serviceaccounts/s/token";
    let (_, issued) = ask(&cluster, tokens, &[], json!({})).await;
    let bearer = format!("Bearer {}", issued["status"]["token"].as_str().unwrap());
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(ask(&cluster, WHO, &headers, json!({})).await.0, 201);
    let delete = "DELETE /api/v1/namespaces/default/serviceaccounts/s";
    assert_eq!(ask(&cluster, delete, &[], json!(null)).await.0, 200);
    assert_eq!(ask(&cluster, WHO, &headers, json!({})).await.0, 401);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn nobody_grants_what_they_do_not_hold(cluster: Cluster) -> steadfast::Result {
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]);
    let user = account(&cluster, "s", rules).await;
    let headers = [("Impersonate-User", user.as_str())];
    let roles = format!("{RBAC}/namespaces/default/roles");
    let role = |verbs: &[&str]| json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]});
    let (code, refused) = ask(&cluster, &format!("POST {roles}"), &headers, role(&["get", "list"])).await;
    assert_eq!(code, 403, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}"), "{message}");
    assert_eq!(ask(&cluster, &format!("POST {roles}"), &headers, role(&["get"])).await.0, 201);
    let (code, refused) = ask(&cluster, &format!("PATCH {roles}/r"), &headers, role(&["*"])).await;
    assert_eq!(code, 403, "{refused}");
    assert_eq!(
        ask(&cluster, &format!("PATCH {roles}/r"), &headers, json!({"metadata": {"labels": {"a": "b"}}})).await.0,
        200
    );
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let binding = json!({"metadata": {"name": "v"}, "roleRef": reference});
    let bindings = format!("POST {RBAC}/namespaces/default/rolebindings");
    assert_eq!(ask(&cluster, &bindings, &headers, binding.clone()).await.0, 403);
    assert_eq!(ask(&cluster, &bindings, &[], binding).await.0, 201);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn aggregated_roles_follow_their_parts(cluster: Cluster) -> steadfast::Result {
    let roles = format!("{RBAC}/clusterroles");
    let selector = json!({"clusterRoleSelectors": [{"matchLabels": {"part-of": "whole"}}]});
    let whole = json!({"metadata": {"name": "whole"}, "aggregationRule": selector, "rules": []});
    assert_eq!(ask(&cluster, &format!("POST {roles}"), &[], whole).await.0, 201);
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let labels = json!({"part-of": "whole", "rbac.authorization.k8s.io/aggregate-to-view": "true"});
    let part = json!({"metadata": {"name": "part", "labels": labels}, "rules": [rule]});
    assert_eq!(ask(&cluster, &format!("POST {roles}"), &[], part).await.0, 201);
    tokio::time::sleep(secs(1)).await;
    let rules =
        async |name: &str| ask(&cluster, &format!("GET {roles}/{name}"), &[], json!(null)).await.1["rules"].clone();
    assert_eq!(rules("whole").await, json!([rule]));
    let held = async |name: &str| rules(name).await.as_array().unwrap().contains(&rule);
    assert!(held("view").await && held("edit").await && held("admin").await, "parts of parts too");
    assert_eq!(ask(&cluster, &format!("DELETE {roles}/part"), &[], json!(null)).await.0, 200);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(rules("whole").await.as_array().map_or(0, Vec::len), 0);
    assert!(!held("admin").await);
    Ok(())
}

/// "Is this Role enough?", asked of the lab by whoever writes one for their pipeline.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_role_of_the_planned_rights_is_enough_and_one_verb_less_is_not(cluster: Cluster) -> steadfast::Result {
    use steadfast::kubernetes::Kubernetes;
    let deny = |kubernetes: &Kubernetes| kubernetes.pods("default", "app=back").deny_ingress();
    let experiment = |kubernetes: &Kubernetes| {
        let served = Hypothesis::new("front answers")
            .check(http::get(cluster.namespace("default").service("front").url("/")).expect(status(200)));
        Experiment::new("front keeps working", served).inject(deny(kubernetes)).pause(secs(5))
    };
    let rights = experiment(cluster.kubernetes()).plan(&cluster).await?.rights;
    assert!(rights.iter().any(|right| right.to_string().contains("networkpolicies")), "{rights:?}");
    let rule = |right: &steadfast::experiment::Right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]});

    let rules: Vec<Value> = rights.iter().map(rule).collect();
    let user = account(&cluster, "enough", json!(rules)).await;
    let enough = Kubernetes::new(client_of(&cluster, &user));
    assert_eq!(enough.lacking(&rights).await?, [], "the cluster's own word");
    let journal = experiment(&enough).run(&cluster).await?;
    journal.assert_verdict(Met);

    for missing in &rights {
        let name = format!("without-{}-{}", missing.verb, missing.resource.replace('/', "-"));
        let rules: Vec<Value> = rights.iter().filter(|right| *right != missing).map(rule).collect();
        let user = account(&cluster, &name, json!(rules)).await;
        let less = Kubernetes::new(client_of(&cluster, &user));
        assert_eq!(less.lacking(&rights).await?, std::slice::from_ref(missing));
    }
    let name = "system:serviceaccount:default:without-create-networkpolicies";
    let less = Kubernetes::new(client_of(&cluster, name));
    let failed = experiment(&less).run(&cluster).await.unwrap_err();
    assert!(matches!(failed, steadfast::experiment::ExperimentError::Failed { .. }), "nothing is left: {failed}");
    let failed = failed.to_string();
    let why = format!(
        r#"networkpolicies.networking.k8s.io is forbidden: User "{name}" cannot create resource "networkpolicies" in API group "networking.k8s.io" in the namespace "default""#
    );
    assert!(failed.contains(&why), "{failed}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn nobody_grants_more_than_they_hold_however_the_path_is_written(cluster: Cluster) -> steadfast::Result {
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}]);
    let user = account(&cluster, "s", rules).await;
    let as_user = [("Impersonate-User", user.as_str())];
    let role = json!({"metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    for group in ["rbac.authorization.k8s.io", "rbac%2Eauthorization%2Ek8s%2Eio"] {
        let request = format!("POST /apis/{group}/v1/namespaces/default/roles");
        let (code, body) = ask(&cluster, &request, &as_user, role.clone()).await;
        assert_eq!(code, 403, "{group}: {body}");
        assert!(body["message"].as_str().is_some_and(|why| why.contains("not currently held")), "{body}");
    }
    Ok(())
}
