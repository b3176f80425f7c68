//! Aggregated ClusterRoles: their rules are those of the roles that they select by label, each once, in the order of
//! the roles' names; as kube-controller-manager's `clusterrole-aggregation-controller` writes them.

use std::collections::BTreeSet;

use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::lab::access::bootstrap::aggregated;
use crate::lab::resource::CLUSTER_ROLES;
use crate::lab::store::{Change, Part, Store};

pub(super) struct Aggregation;

impl Controller for Aggregation {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&CLUSTER_ROLES) {
            let roles = store.list(&CLUSTER_ROLES, None).0;
            into.extend(roles.iter().filter(|role| !role["aggregationRule"].is_null()).map(|role| Key::of(role)));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let roles = store.list(&CLUSTER_ROLES, None).0;
        let role = roles.iter().find(|role| role["metadata"]["name"] == key.name.as_str())?;
        if role["aggregationRule"].is_null() {
            return None;
        }
        let rules = aggregated(role, roles.iter().map(|role| &**role));
        let same = role["rules"] == rules || (role["rules"].is_null() && rules.as_array().is_some_and(Vec::is_empty));
        if !same {
            // Gone or changed again meanwhile: then that change brings it back here.
            let _ = store.modify(&CLUSTER_ROLES, "", &key.name, Part::Main, false, |before| {
                let mut after = before.clone();
                after["rules"] = rules;
                Ok(after)
            });
        }
        None
    }
}
