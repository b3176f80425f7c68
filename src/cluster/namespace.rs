//! A namespace of a cluster.

use super::Cluster;
use crate::kubernetes::{Pods, Service};
#[cfg(feature = "prometheus")]
use crate::prometheus::Prometheus;

/// A namespace: where pods, services and their metrics are found.
#[derive(Clone)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
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
        Service::new(&self.name, name)
    }

    /// The cluster's Prometheus, for series of this namespace alone. Its address is `PROMETHEUS_URL`, by default
    /// `http://127.0.0.1:30090` on a kind cluster, where set-ups put one, and `http://localhost:9090` elsewhere, which
    /// on the embedded cluster is the lab's own.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn prometheus(&self) -> Prometheus {
        let port = if self.cluster.kind_name().is_some() { "127.0.0.1:30090" } else { "localhost:9090" };
        let url = std::env::var("PROMETHEUS_URL").unwrap_or_else(|_| format!("http://{port}"));
        Prometheus::new(url).with_matcher("namespace", &self.name)
    }
}
