//! The lab's Prometheus: scrapes pods and stated targets, evaluates rules, answers queries: a double of version 2.42.
//!
//! It scrapes pods annotated `prometheus.io/scrape: "true"` (with `port`, `path` and `scheme`), every 2 s by default,
//! on a connection that it keeps, as the real one does: a policy that cuts a pod off does not stop the scrapes of an
//! open connection. The job is the pod's label `app`.
//!
//! | | |
//! |---|---|
//! | like the real one | the query language with its errors and their positions, classic histograms, staleness, target health, both exposition formats, alerts with `for`, the HTTP API |
//! | simplified | samples are kept for a day; a query holds at most 20 million; targets are found by annotations, not by relabelling; templates know `$value` and `$labels` |
//! | absent | native histograms, exemplars, remote read and write, the admin API, alert managers, the console |

mod api;
mod backfill;
mod chunk;
mod eval;
mod exposition;
mod labels;
mod numbers;
mod promql;
mod rules;
mod scrape;
mod tsdb;

use std::time::Duration;

use tokio::task::JoinHandle;

pub use self::backfill::BadSamples;
pub use self::rules::{AlertRule, BadRule, RecordingRule};
pub use self::scrape::{ScrapeJob, TargetLabels};

use self::api::Api;
use self::rules::Rules;
use self::scrape::{Scraper, Targets};
use self::tsdb::Tsdb;
use super::fabric::{Fabric, PROMETHEUS, PROMETHEUS_PORT};
use super::images::{Tasks, serve_connection};
use super::store::Store;
use crate::clock::{Clock, Timestamp};

/// The running Prometheus; it ends when this is dropped.
pub(super) struct LabPrometheus {
    work: [JoinHandle<()>; 3],
    tasks: Tasks,
    targets: Targets,
    rules: Rules,
    tsdb: Tsdb,
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
        let (tsdb, targets, rules) = (Tsdb::default(), Targets::default(), Rules::new(scrape_every));
        let router = api::router(Api {
            tsdb: tsdb.clone(),
            clock: clock.clone(),
            targets: targets.clone(),
            rules: rules.clone(),
            interval: scrape_every,
            started: clock.now(),
        });
        let (store, network) = (store.clone(), fabric.clone());
        let scraper = Scraper::new(scrape_every, clock.clone(), store, network, tsdb.clone(), targets.clone());
        let tasks = Tasks::default();
        let mut listener = fabric.listen(PROMETHEUS, PROMETHEUS_PORT);
        let (connections, dated) = (tasks.clone(), clock.clone());
        let serving = tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                serve_connection(&connections, &dated, stream, router.clone());
            }
        });
        let evaluating = tokio::spawn(rules.clone().run(tsdb.clone(), clock.clone()));
        Self { work: [tokio::spawn(scraper.run()), serving, evaluating], tasks, targets, rules, tsdb }
    }

    pub(super) fn scrape(&self, job: ScrapeJob) {
        self.targets.add(job);
    }

    pub(super) fn label_targets(&self, by: TargetLabels) {
        self.targets.label(by);
    }

    pub(super) fn alert(&self, rule: AlertRule) -> Result<(), BadRule> {
        self.rules.alert(rule)
    }

    pub(super) fn record(&self, rule: RecordingRule) -> Result<(), BadRule> {
        self.rules.record(rule)
    }

    pub(super) fn backfill(
        &self,
        labels: &[(&str, &str)],
        samples: impl IntoIterator<Item = (Timestamp, Option<f64>)>,
    ) -> Result<(), BadSamples> {
        backfill::append(&self.tsdb, labels, samples)
    }
}
