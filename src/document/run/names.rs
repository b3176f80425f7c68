//! What names mean at a moment of a run: controls may change the configuration and the secrets.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::document::controls::Living;
use crate::document::py::order::Orders;
use crate::document::secrets::Secrets;
use crate::document::substitute::Scope;

/// The names of a run.
#[derive(Clone)]
pub(super) struct Names {
    living: Arc<Living>,
    /// The targets of the secrets, in the order of the text: the first that has a name gives it its meaning.
    targets: Vec<String>,
    orders: Orders,
}

impl Names {
    /// `scope` is what they mean before the run.
    pub(super) fn new(living: &Arc<Living>, scope: &Scope) -> Self {
        let targets = scope.secrets.iter().map(|(target, _)| target.clone()).collect();
        Self { living: living.clone(), targets, orders: scope.orders.clone() }
    }

    /// What they mean now.
    pub(super) fn now(&self) -> Scope {
        let configuration = mapping(self.living.configuration());
        Scope { configuration, secrets: self.secrets(), orders: self.orders.clone() }
    }

    /// The secrets as they are now; targets that a control added come last.
    pub(super) fn secrets(&self) -> Secrets {
        let mut all = mapping(self.living.secrets());
        let first: Secrets =
            self.targets.iter().filter_map(|one| Some((one.clone(), mapping(all.remove(one)?)))).collect();
        first.into_iter().chain(all.into_iter().map(|(target, values)| (target, mapping(values)))).collect()
    }
}

/// Secrets as the mapping that controls are given.
pub(super) fn as_mapping(secrets: &Secrets) -> Value {
    secrets.iter().map(|(target, values)| (target.clone(), Value::Object(values.clone()))).collect::<Map<_, _>>().into()
}

fn mapping(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(mapping) => mapping,
        _ => Map::new(),
    }
}
