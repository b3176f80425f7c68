use serde_json::json;

use super::*;
use crate::clock::{Clock, Seed};
use crate::lab::resource::NAMESPACES;

fn store() -> Store {
    let store = Store::new(Clock::virtual_time(), Seed(1));
    for name in ["a", "b"] {
        store.create(&NAMESPACES, "", json!({"metadata": {"name": name}}), false).unwrap();
    }
    bootstrap::create(&store);
    store
}

fn role(store: &Store, namespace: &str, name: &str, rules: Value) {
    let role = json!({"metadata": {"name": name}, "rules": rules});
    let kind = if namespace.is_empty() { &CLUSTER_ROLES } else { &ROLES };
    store.create(kind, namespace, role, false).unwrap();
}

fn bind(store: &Store, namespace: &str, name: &str, kind: &str, role: &str, subject: Value) {
    let reference = json!({"apiGroup": RBAC, "kind": kind, "name": role});
    let binding = json!({"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]});
    let kind = if namespace.is_empty() { &CLUSTER_ROLE_BINDINGS } else { &ROLE_BINDINGS };
    store.create(kind, namespace, binding, false).unwrap();
}

/// `verb group resource[/sub] namespace name`, `-` for nothing; or `verb /path`.
fn ask(text: &str) -> Attributes {
    let words: Vec<&str> = text.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    if let [verb, path] = words[..] {
        return Attributes { verb: verb.into(), path: Some(path.into()), ..Attributes::default() };
    }
    let (resource, sub) = words[2].split_once('/').unwrap_or((words[2], ""));
    Attributes {
        verb: words[0].into(),
        group: words[1].into(),
        resource: resource.into(),
        subresource: sub.into(),
        namespace: words[3].into(),
        name: words[4].into(),
        path: None,
    }
}

fn may(store: &Store, user: &User, text: &str) -> bool {
    decide(store, user, &ask(text)).allowed
}

fn jane() -> User {
    User { name: "jane".into(), groups: vec!["dev".into(), AUTHENTICATED.into()], ..User::default() }
}

#[tokio::test(start_paused = true)]
async fn a_rule_allows_what_it_names_and_no_more() {
    let (store, jane) = (store(), jane());
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["this"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]},
        {"apiGroups": ["*"], "resources": ["widgets"], "verbs": ["delete"]},
    ]);
    role(&store, "a", "r", rules);
    bind(&store, "a", "b", "Role", "r", json!({"kind": "User", "name": "jane"}));
    for (text, allowed) in [
        ("get - pods a x", true),
        ("list - pods a -", true),
        ("watch - pods a -", false),
        ("get - pods b x", false),
        ("get - pods - x", false),
        ("get apps pods a x", false),
        ("get - pods/log a x", true),
        ("get - pods/status a x", false),
        ("get - configmaps a this", true),
        ("get - configmaps a that", false),
        ("list - configmaps a -", false),
        ("list - configmaps a this", true),
        ("patch apps deployments/scale a d", true),
        ("patch apps deployments a d", false),
        ("delete x.io widgets a w", true),
        ("create x.io widgets a w", false),
    ] {
        assert_eq!(may(&store, &jane, text), allowed, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn subjects_are_users_groups_and_service_accounts() {
    let store = store();
    role(&store, "", "reader", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]));
    bind(&store, "a", "by-group", "ClusterRole", "reader", json!({"kind": "Group", "name": "dev"}));
    bind(&store, "b", "by-account", "ClusterRole", "reader", json!({"kind": "ServiceAccount", "name": "s"}));
    assert!(may(&store, &jane(), "get - pods a x"));
    assert!(!may(&store, &jane(), "get - pods b x"));
    let account = User::service_account("b", "s", "u");
    assert!(may(&store, &account, "get - pods b x"), "the namespace of the binding is the account's");
    assert!(!may(&store, &User::service_account("a", "s", "u"), "get - pods b x"));
    bind(&store, "", "all", "ClusterRole", "reader", json!({"kind": "User", "name": "joe"}));
    let joe = User { name: "joe".into(), ..User::default() };
    assert!(may(&store, &joe, "get - pods b x") && may(&store, &joe, "get - pods - x"));
}

#[tokio::test(start_paused = true)]
async fn reasons_name_the_binding_or_what_is_wrong_with_it() {
    let (store, jane) = (store(), jane());
    role(&store, "a", "r", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]));
    bind(&store, "a", "b", "Role", "r", json!({"kind": "ServiceAccount", "name": "s", "namespace": "a"}));
    let account = User::service_account("a", "s", "u");
    let reason = |user: &User, text: &str| decide(&store, user, &ask(text)).reason;
    let expected = r#"RBAC: allowed by RoleBinding "b/a" of Role "r" to ServiceAccount "s/a""#;
    assert_eq!(reason(&account, "get - pods a x"), expected);
    let expected = r#"RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#;
    assert_eq!(reason(&jane, "get /version"), expected);
    assert_eq!(reason(&jane, "get - pods a x"), "");
    let subject = json!({"kind": "User", "name": "jane"});
    bind(&store, "", "c", "ClusterRole", "missing", subject.clone());
    bind(&store, "a", "d", "Role", "missing", subject);
    assert_eq!(reason(&jane, "get /zz"), r#"RBAC: clusterrole.rbac.authorization.k8s.io "missing" not found"#);
    assert_eq!(
        reason(&jane, "get - pods a x"),
        r#"RBAC: [clusterrole.rbac.authorization.k8s.io "missing" not found, role.rbac.authorization.k8s.io "missing" not found]"#
    );
}

#[tokio::test(start_paused = true)]
async fn masters_and_the_labs_own_user_may_everything() {
    let store = store();
    let master = User { name: "m".into(), groups: vec![MASTERS.into()], ..User::default() };
    assert_eq!(decide(&store, &master, &ask("delete - nodes - n")), Decision { allowed: true, reason: String::new() });
    let own = decide(&store, &User::own(), &ask("delete - nodes - n"));
    let expected = r#"RBAC: allowed by ClusterRoleBinding "kubeadm:cluster-admins" of ClusterRole "cluster-admin" to Group "kubeadm:cluster-admins""#;
    assert_eq!((own.allowed, own.reason.as_str()), (true, expected));
    store.delete(&CLUSTER_ROLE_BINDINGS, "", "kubeadm:cluster-admins", &Default::default(), None, false).unwrap();
    assert!(decide(&store, &User::own(), &ask("delete - nodes - n")).allowed, "nobody locks the lab");
    assert!(!may(&store, &User::default(), "get - pods a x"));
}

#[tokio::test(start_paused = true)]
async fn paths_match_by_prefix() {
    let (store, jane) = (store(), jane());
    for (text, allowed) in [
        ("get /api", true),
        ("get /apis/apps/v1", true),
        ("get /openapi/v3", true),
        ("post /api", false),
        ("get /metrics", false),
        ("get /readyz/ping", false),
    ] {
        assert_eq!(may(&store, &jane, text), allowed, "{text}");
    }
    let anonymous = User { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() };
    assert!(may(&store, &anonymous, "get /version") && !may(&store, &anonymous, "get /api"));
}

#[tokio::test(start_paused = true)]
async fn view_edit_and_admin_are_what_they_are_made_of() {
    let store = store();
    for (role, can, cannot) in [
        ("view", vec!["list - pods a -", "get - pods/log a x"], vec!["get - secrets a x", "create - pods a -"]),
        (
            "edit",
            vec!["get - secrets a x", "create - pods/eviction a x", "get - pods a x"],
            vec!["create rbac.authorization.k8s.io roles a -"],
        ),
        ("admin", vec!["create rbac.authorization.k8s.io roles a -", "get - secrets a x"], vec!["get - nodes - n"]),
    ] {
        let name = format!("user-of-{role}");
        bind(&store, "a", &name, "ClusterRole", role, json!({"kind": "User", "name": name}));
        let user = User { name, ..User::default() };
        for text in can {
            assert!(may(&store, &user, text), "{role}: {text}");
        }
        for text in cannot {
            assert!(!may(&store, &user, text), "{role}: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_grants_what_they_do_not_hold() {
    let (store, jane) = (store(), jane());
    let own = json!([
        {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]);
    role(&store, "a", "own", own);
    bind(&store, "a", "own", "Role", "own", json!({"kind": "User", "name": "jane"}));
    let refused = |kind, object: Value| Grants::of(&store, &jane, kind, "a").unwrap().check(&object).unwrap_err();
    let held =
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    Grants::of(&store, &jane, &ROLES, "a").unwrap().check(&held).unwrap();
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"], "resourceNames": ["a", "b"]},
    ]);
    let status = refused(&ROLES, json!({"metadata": {"name": "r"}, "rules": rules}));
    assert_eq!(status.code, 403);
    let expected = [
        r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "jane" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:"#,
        r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
        r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
        r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["a"], Verbs:["*"]}"#,
        r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["b"], Verbs:["*"]}"#,
    ];
    assert_eq!(status.message, expected.join("\n"));
    let binding = |kind: &str, name: &str| json!({"metadata": {"name": "x"}, "roleRef": {"kind": kind, "name": name}});
    Grants::of(&store, &jane, &ROLE_BINDINGS, "a").unwrap().check(&binding("Role", "own")).unwrap();
    assert_eq!(refused(&ROLE_BINDINGS, binding("ClusterRole", "view")).code, 403);
    let missing = refused(&ROLE_BINDINGS, binding("Role", "missing"));
    assert_eq!(
        (missing.code, missing.message.as_str()),
        (404, r#"rolebindings.rbac.authorization.k8s.io "missing" not found"#)
    );
    assert_eq!(refused(&ROLE_BINDINGS, binding("Foo", "x")).message, r#"unsupported role reference kind: "Foo""#);
    assert!(Grants::of(&store, &User::own(), &ROLES, "a").is_none());
    let own = Grants::of(&store, &User::own(), &ROLE_BINDINGS, "a").unwrap();
    own.check(&binding("Role", "missing")).unwrap();
    assert_eq!(own.check(&binding("", "x")).unwrap_err().code, 500);
    assert!(Grants::of(&store, &jane, &NAMESPACES, "a").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_rights_to_escalate_and_to_bind_are_enough() {
    let (store, jane) = (store(), jane());
    let own = json!([
        {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["escalate"]},
        {"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["view"]},
    ]);
    role(&store, "a", "own", own);
    bind(&store, "a", "own", "Role", "own", json!({"kind": "User", "name": "jane"}));
    let all = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    Grants::of(&store, &jane, &ROLES, "a").unwrap().check(&all).unwrap();
    let grants = Grants::of(&store, &jane, &ROLE_BINDINGS, "a").unwrap();
    let binding = |name: &str| json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": name}});
    grants.check(&binding("view")).unwrap();
    assert_eq!(grants.check(&binding("edit")).unwrap_err().code, 403);
}
