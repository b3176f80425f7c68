//! One Deployment.

use super::Kubernetes;
use crate::rollback::ObjectRef;

/// A Deployment of a namespace; that it exists is seen when it is used.
#[derive(Clone)]
#[must_use = "a selection does nothing by itself: call `.scale(..)` on it"]
pub struct Deployment {
    pub(super) kubernetes: Kubernetes,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Deployment {
    pub(crate) fn new(kubernetes: Kubernetes, namespace: String, name: String) -> Self {
        Self { kubernetes, namespace, name }
    }

    pub(super) fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            resource: "deployments".into(),
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }
}
