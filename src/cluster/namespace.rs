//! A namespace of a cluster.

use super::Cluster;
use crate::kubernetes::{Deployment, Pods, Service};
#[cfg(feature = "prometheus")]
use crate::prometheus::Prometheus;

/// The node port of the Prometheus that set-ups put onto kind clusters.
#[cfg(feature = "prometheus")]
const PROMETHEUS_NODE_PORT: u16 = 30090;

/// A namespace: where pods, services and their metrics are found.
#[derive(Clone)]
pub struct Namespace {
    pub(super) cluster: Cluster,
    pub(super) name: String,
}

impl Namespace {
    pub(super) fn new(cluster: Cluster, name: String) -> Self {
        Self { cluster, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pods that a label selector matches: `app=back`, `app in (middle, back)`, `!canary`.
    pub fn pods(&self, selector: &str) -> Pods {
        self.cluster.kubernetes().pods(&self.name, selector)
    }

    /// A service.
    #[must_use]
    pub fn service(&self, name: &str) -> Service {
        Service::of(self.cluster.kubernetes().clone(), &self.name, name)
    }

    /// A Deployment.
    pub fn deployment(&self, name: &str) -> Deployment {
        Deployment::new(self.cluster.kubernetes().clone(), self.name.clone(), name.to_owned())
    }

    /// The cluster's Prometheus, for series of this namespace alone. Its address is `PROMETHEUS_URL`; by default, on a
    /// kind cluster, node port 30090, where set-ups put one, and `http://localhost:9090` elsewhere, which on the
    /// embedded cluster is the lab's own.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(&self) -> Prometheus {
        let prometheus = match self.cluster.mapped(PROMETHEUS_NODE_PORT) {
            Some(at) => Prometheus::from_env_or(format!("http://{at}")),
            None => Prometheus::from_env(),
        };
        prometheus.with_matcher("namespace", &self.name)
    }
}
