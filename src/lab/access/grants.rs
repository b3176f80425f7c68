//! What a user may give to others: nobody grants by a role what they do not hold themselves.

use serde_json::Value;

use super::rules::{self, Rule, quoted};
use super::{Attributes, RBAC, User};
use crate::lab::resource::{CLUSTER_ROLES, ROLES, Resource};
use crate::lab::status::Status;
use crate::lab::store::{Object, Store};

/// The rights of one user to write one kind of role or binding in one namespace, as they were when it was made: so
/// that they can be checked under the store's lock.
pub(in crate::lab) struct Grants {
    user: User,
    resource: &'static Resource,
    namespace: String,
    owned: Vec<Rule>,
    broken: Vec<String>,
    roles: Vec<Object>,
}

impl Grants {
    /// The rights, if writing this kind needs any that RBAC does not ask for anyway.
    pub(in crate::lab) fn of(store: &Store, user: &User, resource: &'static Resource, namespace: &str) -> Option<Self> {
        let role = matches!(resource.plural, "roles" | "clusterroles");
        if resource.group != RBAC || user.is_master() || (user.is_own() && role) {
            return None;
        }
        let namespace = if resource.namespaced { namespace } else { "" };
        let (owned, broken) = if user.is_own() {
            (Rule::all(&super::bootstrap::all_rules()), Vec::new())
        } else {
            super::rules(store, user, namespace)
        };
        let mut roles = store.list(&CLUSTER_ROLES, None).0;
        if !namespace.is_empty() {
            roles.extend(store.list(&ROLES, Some(namespace)).0);
        }
        Some(Self { user: user.clone(), resource, namespace: namespace.to_owned(), owned, broken, roles })
    }

    /// Refuses a role or binding that would grant more than the user holds.
    ///
    /// # Errors
    /// 403 with the rules that are missing; 404 for a binding to a role that does not exist.
    pub(in crate::lab) fn check(&self, object: &Value) -> Result<(), Status> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        let wanted = if matches!(self.resource.plural, "roles" | "clusterroles") {
            if self.may("escalate", self.resource.plural, "") {
                return Ok(());
            }
            if !object["aggregationRule"].is_null() && !self.may_all() {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(self.resource, &name, why));
            }
            Rule::all(&object["rules"])
        } else {
            let reference = &object["roleRef"];
            let role = text(&reference["name"]);
            let kind = text(&reference["kind"]);
            let plural = match kind.as_str() {
                "Role" => "roles",
                "ClusterRole" => "clusterroles",
                other => {
                    return Err(Status::new(500, "", format!("unsupported role reference kind: {other:?}")));
                }
            };
            if self.may("bind", plural, &role) {
                return Ok(());
            }
            let found =
                self.roles.iter().find(|r| r["kind"] == kind.as_str() && r["metadata"]["name"] == role.as_str());
            // The real server names the kind of the binding here, not that of the role.
            Rule::all(&found.ok_or_else(|| Status::not_found(self.resource, &role))?["rules"])
        };
        let missing = rules::missing(&self.owned, &wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let (user, groups) = (&self.user.name, quoted(&self.user.groups));
        let mut why = format!(
            "user {user:?} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{}",
            missing.join("\n")
        );
        if !self.broken.is_empty() {
            why = format!("{why}; resolution errors: [{}]", super::aggregate(&self.broken));
        }
        Err(Status::forbidden(self.resource, &name, &why))
    }

    fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let asked = Attributes {
            verb: verb.into(),
            group: RBAC.into(),
            resource: resource.into(),
            namespace: self.namespace.clone(),
            name: name.into(),
            ..Attributes::default()
        };
        self.owned.iter().any(|rule| rule.allows(&asked))
    }

    fn may_all(&self) -> bool {
        let all = Rule::all(&super::bootstrap::all_rules());
        rules::missing(&self.owned, &all).is_empty()
    }
}
