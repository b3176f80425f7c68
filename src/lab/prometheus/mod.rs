//! The lab's Prometheus: scrapes pods and answers queries, a double of version 2.42 with a stated scope.
//!
//! It scrapes pods annotated `prometheus.io/scrape: "true"` on `prometheus.io/port`, every 2 s by default, on a connection that
//! it keeps, as the real one does: a policy that cuts a pod off does not stop the scrapes of an open connection. The
//! job is the pod's label `app`. Of the query language it knows selectors, ranges, `offset`, `rate`, `increase` and
//! `sum`; anything else is a 422 that names it.

mod api;
mod eval;
mod exposition;
mod scrape;
mod tsdb;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use self::scrape::Scraper;
use self::tsdb::Tsdb;
use super::fabric::{Fabric, PROMETHEUS, PROMETHEUS_PORT};
use super::images::{Tasks, serve_connection};
use super::store::Store;
use crate::clock::Clock;

/// The running Prometheus; it ends when this is dropped.
pub(super) struct LabPrometheus {
    work: [JoinHandle<()>; 2],
    tasks: Tasks,
}

impl Drop for LabPrometheus {
    fn drop(&mut self) {
        for work in &self.work {
            work.abort();
        }
        self.tasks.end();
    }
}

impl LabPrometheus {
    pub(super) fn start(scrape_every: Duration, clock: &Clock, store: &Store, fabric: &Fabric) -> Self {
        let tsdb = Tsdb::default();
        let health = Arc::new(Mutex::default());
        let router = api::router(tsdb.clone(), clock.clone(), health.clone());
        let scraper = Scraper::new(scrape_every, clock.clone(), store.clone(), fabric.clone(), tsdb, health);
        let tasks = Tasks::default();
        let mut listener = fabric.listen(PROMETHEUS, PROMETHEUS_PORT);
        let connections = tasks.clone();
        let serving = tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                serve_connection(&connections, stream, router.clone());
            }
        });
        Self { work: [tokio::spawn(scraper.run()), serving], tasks }
    }
}
