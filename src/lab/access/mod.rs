//! Who may do what: role-based access control, evaluated over the objects of the store.
//!
//! Called by the API server for every request of a user other than the lab's own, and by the review APIs. It
//! promises the decisions of Kubernetes' RBAC authorizer and the texts of its reasons; it reads the store and
//! changes nothing.

pub(super) mod bootstrap;
mod grants;
mod rules;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use super::store::Store;

pub(super) use grants::Grants;
pub(super) use rules::Rule;

/// The API group of roles and bindings.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// Members may do everything, whatever the roles say.
const MASTERS: &str = "system:masters";

/// Everybody who was authenticated.
pub(super) const AUTHENTICATED: &str = "system:authenticated";

/// Everybody who was not.
pub(super) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Whoever has no credentials, when somebody impersonates them.
pub(super) const ANONYMOUS: &str = "system:anonymous";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The lab's own user: requests without credentials are its.
static OWN: LazyLock<Arc<User>> = LazyLock::new(|| {
    let groups = vec!["kubeadm:cluster-admins".into(), AUTHENTICATED.into()];
    Arc::new(User { name: "kubernetes-admin".into(), groups, own: true, ..User::default() })
});

/// A user, as authentication sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
    /// Whether this is the lab's own user, whom nobody can lock out.
    pub(super) own: bool,
}

impl User {
    /// The lab's own user.
    pub(super) fn own() -> Arc<Self> {
        OWN.clone()
    }

    /// The user that a service account is.
    pub(super) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut groups = service_account_groups(namespace);
        groups.push(AUTHENTICATED.into());
        Self { name: format!("{SERVICE_ACCOUNT}{namespace}:{name}"), uid: uid.into(), groups, ..Self::default() }
    }

    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Whether RBAC is not asked.
    fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// `UserInfo`, without what is empty.
    pub(super) fn info(&self) -> Value {
        let mut info = json!({});
        if !self.name.is_empty() {
            info["username"] = json!(self.name);
        }
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The groups of every service account of a namespace.
pub(super) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}

/// Namespace and name of the service account that a user name means.
pub(super) fn as_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// What somebody asks to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `get`, `deletecollection`; of a path the lower-case method.
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// A path that is no resource; then the fields above but the verb are empty.
    pub(super) path: Option<String>,
}

impl Attributes {
    /// `pods/log`.
    pub(super) fn whole_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// What RBAC says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) allowed: bool,
    /// Which binding allows it, or what is wrong with bindings; often empty.
    pub(super) reason: String,
}

/// Whether a user may do something.
pub(super) fn decide(store: &Store, user: &User, asked: &Attributes) -> Decision {
    if user.is_master() {
        return Decision { allowed: true, reason: String::new() };
    }
    let namespace = if asked.path.is_some() { "" } else { &asked.namespace };
    let mut found = None;
    let broken = visit(store, user, namespace, |source, rule| {
        if rule.allows(asked) {
            found = Some(source());
        }
        found.is_none()
    });
    match found {
        Some(source) => Decision { allowed: true, reason: format!("RBAC: allowed by {source}") },
        None if broken.is_empty() => Decision { allowed: user.own, reason: String::new() },
        None => Decision { allowed: user.own, reason: format!("RBAC: {}", aggregate(&broken)) },
    }
}

/// The rules that hold for a user in a namespace (none: in the cluster as a whole), and the bindings' errors.
pub(super) fn rules(store: &Store, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
    let mut rules = Vec::new();
    let broken = visit(store, user, namespace, |_, rule| {
        rules.push(rule);
        true
    });
    (rules, broken)
}

/// Errors as Go's aggregate prints them: each text once.
pub(super) fn aggregate(errors: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for error in errors {
        if !seen.contains(&error.as_str()) {
            seen.push(error);
        }
    }
    if let [one] = seen[..] { one.to_owned() } else { format!("[{}]", seen.join(", ")) }
}

/// Shows every rule that holds for the user, with a function that names its source, until `each` returns `false`.
/// Bindings of the cluster come first, then those of the namespace, each by name. Returns what is wrong with them.
fn visit(
    store: &Store,
    user: &User,
    namespace: &str,
    mut each: impl FnMut(&dyn Fn() -> String, Rule) -> bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    let mut bindings = store.list(&CLUSTER_ROLE_BINDINGS, None).0;
    if !namespace.is_empty() {
        bindings.extend(store.list(&ROLE_BINDINGS, Some(namespace)).0);
    }
    for binding in &bindings {
        let of = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        let subjects = binding["subjects"].as_array();
        let Some(subject) = subjects.into_iter().flatten().find(|subject| means(subject, user, of)) else { continue };
        let rules = match role_rules(store, &binding["roleRef"], of) {
            Ok(rules) => rules,
            Err(error) => {
                broken.push(error);
                continue;
            }
        };
        let source = || describe(binding, subject, of);
        for rule in rules {
            if !each(&source, rule) {
                return broken;
            }
        }
    }
    broken
}

/// The rules of the role that a binding of that namespace names.
fn role_rules(store: &Store, reference: &Value, namespace: &str) -> Result<Vec<Rule>, String> {
    let name = reference["name"].as_str().unwrap_or_default();
    let (kind, role) = match reference["kind"].as_str().unwrap_or_default() {
        "Role" => ("role", store.find(&ROLES, namespace, name)),
        "ClusterRole" => ("clusterrole", store.find(&CLUSTER_ROLES, "", name)),
        other => return Err(format!("unsupported role reference kind: {other:?}")),
    };
    role.map(|role| Rule::all(&role["rules"])).ok_or_else(|| format!("{kind}.{RBAC} {name:?} not found"))
}

/// Whether a subject of a binding means the user.
fn means(subject: &Value, user: &User, binding_namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str().unwrap_or_default() {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(binding_namespace);
            as_service_account(&user.name) == Some((namespace, name))
        }
        _ => false,
    }
}

fn describe(binding: &Value, subject: &Value, namespace: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, role) = (text(&binding["metadata"]["name"]), &binding["roleRef"]);
    let binding = if namespace.is_empty() {
        format!("ClusterRoleBinding {name:?}")
    } else {
        format!("RoleBinding {:?}", format!("{name}/{namespace}"))
    };
    let (kind, mut who) = (text(&subject["kind"]), text(&subject["name"]));
    if kind == "ServiceAccount" {
        let of = subject["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(namespace);
        who = format!("{who}/{of}");
    }
    format!("{binding} of {} {:?} to {kind} {who:?}", text(&role["kind"]), text(&role["name"]))
}

#[cfg(test)]
mod tests;
