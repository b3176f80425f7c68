//! One node.

use super::Kubernetes;
use crate::rollback::ObjectRef;

/// A node of the cluster; that it exists is seen when it is used.
#[derive(Clone)]
#[must_use = "a selection does nothing by itself: call `.cordon()` on it"]
pub struct Node {
    pub(super) kubernetes: Kubernetes,
    pub(super) name: String,
}

impl Node {
    pub(crate) fn new(kubernetes: Kubernetes, name: String) -> Self {
        Self { kubernetes, name }
    }

    pub(super) fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: "Node".into(),
            resource: "nodes".into(),
            namespace: None,
            name: self.name.clone(),
        }
    }
}
