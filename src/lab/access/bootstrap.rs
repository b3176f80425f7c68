//! The roles and bindings that every cluster has from the start, as far as clients of the lab meet them.
//!
//! Rules, labels and annotations are those of Kubernetes 1.34. The roles of the control plane's own components are
//! absent: nothing in the lab acts as one.

use serde_json::{Value, json};

use super::{AUTHENTICATED, MASTERS, RBAC, UNAUTHENTICATED};
use crate::kubernetes::Selector;
use crate::lab::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource};
use crate::lab::store::Store;

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL: &str = "create delete deletecollection get list patch update watch";

/// API group, resources and verbs of one rule, each list separated by spaces.
type Row = (&'static str, &'static str, &'static str);

const VIEW: [Row; 11] = [
    (
        "",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        READ,
    ),
    (
        "",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
        READ,
    ),
    ("", "namespaces", READ),
    ("discovery.k8s.io", "endpointslices", READ),
    (
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        READ,
    ),
    ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
    ("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
    (
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        READ,
    ),
    ("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
    ("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
    ("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", READ),
];

const EDIT: [Row; 14] = [
    ("", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
    ("", "serviceaccounts", "impersonate"),
    ("", "pods pods/attach pods/exec pods/portforward pods/proxy", WRITE),
    ("", "pods/eviction", "create"),
    (
        "",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        WRITE,
    ),
    ("", "serviceaccounts/token", "create"),
    (
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
        WRITE,
    ),
    ("autoscaling", "horizontalpodautoscalers", WRITE),
    ("batch", "cronjobs jobs", WRITE),
    (
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
        WRITE,
    ),
    ("policy", "poddisruptionbudgets", WRITE),
    ("networking.k8s.io", "ingresses networkpolicies", WRITE),
    ("coordination.k8s.io", "leases", ALL),
    ("resource.k8s.io", "resourceclaims resourceclaimtemplates", WRITE),
];

const ADMIN: [Row; 2] =
    [("authorization.k8s.io", "localsubjectaccessreviews", "create"), (RBAC, "rolebindings roles", ALL)];

const BASIC_USER: [Row; 2] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
    ("authentication.k8s.io", "selfsubjectreviews", "create"),
];

/// Where clients look for what the server can do.
const DISCOVERY: &str = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";

const PUBLIC_INFO: &str = "/healthz /livez /readyz /version /version/";

const ISSUER: &str =
    "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/";

/// The rules of `cluster-admin`.
pub(super) fn all_rules() -> Value {
    json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ])
}

/// Creates them in a new store.
pub(in crate::lab) fn create(store: &Store) {
    let mut roles = vec![
        role("cluster-admin", &[], all_rules()),
        role("system:aggregate-to-admin", &["admin"], rules(&ADMIN)),
        role("system:aggregate-to-edit", &["edit"], rules(&EDIT)),
        role("system:aggregate-to-view", &["view"], rules(&VIEW)),
        role("system:basic-user", &[], rules(&BASIC_USER)),
        role("system:discovery", &[], paths(DISCOVERY)),
        role("system:public-info-viewer", &[], paths(PUBLIC_INFO)),
        role("system:service-account-issuer-discovery", &[], paths(ISSUER)),
    ];
    for (name, of) in [("view", "edit"), ("edit", "admin"), ("admin", "")] {
        let part_of: &[&str] = if of.is_empty() { &[] } else { &[of] };
        let mut whole = role(name, part_of, json!([]));
        whole["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label(name): "true"}}]});
        roles.sort_by(|a, b| a["metadata"]["name"].as_str().cmp(&b["metadata"]["name"].as_str()));
        whole["rules"] = aggregated(&whole, roles.iter());
        roles.push(whole);
    }
    for role in roles {
        put(store, &CLUSTER_ROLES, role);
    }
    let everybody: &[&str] = &[AUTHENTICATED, UNAUTHENTICATED];
    for (role, groups) in [
        ("cluster-admin", [MASTERS].as_slice()),
        ("system:basic-user", &[AUTHENTICATED]),
        ("system:discovery", &[AUTHENTICATED]),
        ("system:public-info-viewer", everybody),
        ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
    ] {
        let mut binding = binding(role, role, groups);
        mark(&mut binding);
        put(store, &CLUSTER_ROLE_BINDINGS, binding);
    }
    put(store, &CLUSTER_ROLE_BINDINGS, binding("kubeadm:cluster-admins", "cluster-admin", &["kubeadm:cluster-admins"]));
}

/// The rules of the roles that an aggregation rule selects, each once; `roles` is sorted by name.
pub(in crate::lab) fn aggregated<'a>(role: &Value, roles: impl Iterator<Item = &'a Value> + Clone) -> Value {
    let own = role["metadata"]["name"].as_str();
    let mut rules: Vec<Value> = Vec::new();
    for selector in role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten() {
        let Ok(selector) = Selector::from_json(selector) else { continue };
        let selected = roles
            .clone()
            .filter(|r| r["metadata"]["name"].as_str() != own && selector.matches(&r["metadata"]["labels"]));
        for rule in selected.filter_map(|r| r["rules"].as_array()).flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    json!(rules)
}

fn put(store: &Store, resource: &'static Resource, object: Value) {
    let made = store.create(resource, "", object, false);
    debug_assert!(made.is_ok(), "an empty store takes a role: {made:?}");
}

fn role(name: &str, part_of: &[&str], rules: Value) -> Value {
    let mut role = json!({"metadata": {"name": name}, "rules": rules});
    mark(&mut role);
    for whole in part_of {
        role["metadata"]["labels"][label(whole)] = json!("true");
    }
    role
}

fn binding(name: &str, role: &str, groups: &[&str]) -> Value {
    let subject = |group: &&str| json!({"kind": "Group", "apiGroup": RBAC, "name": group});
    let subjects: Vec<Value> = groups.iter().map(subject).collect();
    let reference = json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": role});
    json!({"metadata": {"name": name}, "roleRef": reference, "subjects": subjects})
}

fn mark(object: &mut Value) {
    object["metadata"]["labels"] = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    object["metadata"]["annotations"] = json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
}

/// The label of the roles that a role is made of.
fn label(whole: &str) -> String {
    format!("{RBAC}/aggregate-to-{whole}")
}

fn rules(rows: &[Row]) -> Value {
    let rule = |(group, resources, verbs): &Row| json!({"apiGroups": [group], "resources": words(resources), "verbs": words(verbs)});
    json!(rows.iter().map(rule).collect::<Vec<_>>())
}

fn paths(urls: &str) -> Value {
    json!([{"nonResourceURLs": words(urls), "verbs": ["get"]}])
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
