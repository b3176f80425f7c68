//! The lab: an embedded cluster for tests and rehearsals.
//!
//! A test double of Kubernetes 1.34 with a stated scope: a store of objects, an API server for `kube::Client`,
//! `kubectl` and other people's clients, the controllers that work on the objects, a node that runs programs of this
//! process as containers, a network with NetworkPolicies, and a Prometheus. On a paused clock all of it runs in
//! virtual time. It promises that the same seed gives the same run, and that what it does not have answers as a
//! cluster without it, never with a made-up success.
//!
//! | API | |
//! |---|---|
//! | like the real one | create, read, replace, delete and dry runs; lists with selectors, pages, versions, `Exact`, 410 and 504; watches with bookmarks; conflicts and preconditions; JSON, merge and strategic patches, server-side apply with owned fields; defaults, validation, what may not change, and their texts; warnings; bodies in JSON, YAML and protobuf; tables and metadata alone; discovery plain and aggregated; logs with `follow`; `scale`, `binding`, `eviction` with budgets; RBAC, impersonation, reviews, TokenRequest; custom kinds with names, versions, pruning, defaults and structural schemas |
//! | simplified | the last 10,000 changes are kept, instead of those of five minutes; a request without credentials is an administrator's; no TLS; tokens are HS256; of the built-in roles only those that clients meet; OpenAPI of built-in kinds has neither descriptions nor required fields; unknown fields come in another order; a write of `status` changes nothing else; addresses and node ports are given out in turn; CEL rules are kept and not evaluated, which a warning says; no webhook converts |
//! | absent | gzip and protobuf in answers (they are JSON), selectors by `>` and `<`, `exec`, `attach`, `portforward`, `proxy`, `ephemeralcontainers`, `events.k8s.io`, `autoscaling/v1`, admission webhooks and policies, quotas and limit ranges, `managedFields` of the lab's own controllers |
//!
//! | controllers | |
//! |---|---|
//! | like the real one | Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, PodDisruptionBudgets, Endpoints and EndpointSlices, aggregated roles, the garbage collector, namespaces (emptied after 5 s), events and their end |
//! | simplified | none takes any time of its own; all pods of a set are made at once; a HorizontalPodAutoscaler is only stored; `kube-root-ca.crt` holds no certificate |
//! | absent | CronJobs, Ingress, volumes and their claims; `podFailurePolicy`, `successPolicy` and `backoffLimitPerIndex` of Jobs, `maxSurge` of DaemonSets; heartbeats of nodes, eviction by `NoExecute` taints |
//!
//! | node | |
//! |---|---|
//! | like the real one | phases and conditions, init containers and sidecars, probes by HTTP and TCP, back-off of restarts and pulls, `preStop` sleep, SIGTERM, grace and SIGKILL, environment from ConfigMaps, Secrets and fields; scheduling by requests, taints, node affinity, host ports and anti-affinity |
//! | simplified | containers are programs of this process, see [`Lab::program`]; one node runs pods; starting and pulling take no time |
//! | absent | probes by command and gRPC, `postStart` and hooks by command, volumes inside containers, pod affinity and spread, preemption |
//!
//! | network | |
//! |---|---|
//! | like the real one | NetworkPolicies, names of services and pods, services with an address, a node port, no address (headless) or an alias, resets, refusals and silence, latency, jitter, bandwidth and partitions |
//! | simplified | policies act as soon as they are stored; a lost segment comes 200 ms later, doubling; a service's endpoint is chosen by seeded chance, each connection anew; of Chaos Mesh's `NetworkChaos` delay and loss, for all selected pods |
//! | absent | UDP but for its rules in policies, IPv6 and dual stack |
//!
//! | Prometheus | |
//! |---|---|
//! | like the real one | the query language of 2.42 with its errors, staleness, health of targets, both exposition formats, recording rules, alerts with `for` |
//! | simplified | samples are kept for 24 h; targets are found by annotations, not by relabelling; a query is at most 100 levels deep |
//! | absent | native histograms, exemplars, remote read and write, the admin API, an Alertmanager |

mod access;
pub mod api;
mod controllers;
pub mod fabric;
mod images;
mod listen;
pub mod logs;
mod prometheus;
pub mod resource;
pub mod status;
pub mod store;
mod undo;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use tokio::task::JoinHandle;
use tower::Layer;

use self::api::ApiService;
use self::controllers::Machine;
use self::controllers::events::Recorder;
use self::fabric::{API_PORT, Fabric, FabricTransport, NODE};
use self::images::{Images, Tasks, serve_connection};
use self::logs::LogBook;
use self::prometheus::LabPrometheus;
use self::resource::{NAMESPACES, NODES};
use self::store::Store;
use crate::clock::{Clock, Seed, Timestamp};
use crate::kubernetes::Traced;
use crate::rollback::Undoer;
use crate::transport::Transport;

pub use images::Net;
pub use listen::{Listening, Ports};
pub use prometheus::{AlertRule, BadRule, BadSamples, RecordingRule, ScrapeJob, TargetLabels};
pub use undo::LabUndoer;

/// How often the lab's Prometheus scrapes, unless said otherwise.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);

/// An embedded cluster. Cheap to clone; all of it ends with the last clone.
#[derive(Clone)]
pub struct Lab {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    fabric: Fabric,
    images: Images,
    api: ApiService,
    prometheus: LabPrometheus,
    controllers: JoinHandle<()>,
    /// The API server inside.
    serving: Tasks,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.controllers.abort();
        self.serving.end();
    }
}

impl Lab {
    /// Starts a lab on the runtime of the caller: empty, but for the namespaces that every cluster has and one node.
    ///
    /// # Panics
    /// There is no tokio runtime.
    #[must_use]
    pub fn start(clock: Clock, seed: Seed) -> Self {
        Self::scraping_every(SCRAPE_INTERVAL, clock, seed)
    }

    /// As [`start`](Self::start), with another scrape interval than 2 s.
    ///
    /// # Panics
    /// There is no tokio runtime.
    #[must_use]
    pub fn scraping_every(interval: Duration, clock: Clock, seed: Seed) -> Self {
        Self::built(interval, clock, seed, None)
    }

    /// As [`scraping_every`](Self::scraping_every), for processes that may stand side by side whatever their seeds: the uid of
    /// `kube-system`, by which ledgers tell clusters apart, is no other lab's.
    #[cfg(feature = "cli")]
    pub(crate) fn told_apart(interval: Duration, clock: Clock, seed: Seed) -> Self {
        Self::built(interval, clock, seed, Some(store::uid(&mut Seed::fresh().rng("kube-system"))))
    }

    fn built(interval: Duration, clock: Clock, seed: Seed, system: Option<String>) -> Self {
        let store = Store::new(clock.clone(), seed);
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let labels = json!({"kubernetes.io/metadata.name": name});
            let mut namespace = json!({"metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}});
            if let ("kube-system", Some(uid)) = (name, &system) {
                namespace["metadata"]["uid"] = json!(uid);
            }
            let made = store.create(&NAMESPACES, "", namespace, false);
            debug_assert!(made.is_ok(), "an empty store takes a namespace");
        }
        controllers::chaos::declare(&store);
        access::bootstrap::create(&store);
        let made = store.create(&NODES, "", controllers::node(&clock), false);
        debug_assert!(made.is_ok(), "an empty store takes a node");

        let (fabric, images, log) = (Fabric::new(store.clone(), seed), Images::new(), LogBook::default());
        let machine = Machine {
            fabric: fabric.clone(),
            clock: clock.clone(),
            images: images.clone(),
            log: log.clone(),
            events: Recorder::new(store.clone(), clock.clone()),
            ids: Arc::new(Mutex::new(seed.rng("container id"))),
        };
        let api = ApiService::new(store.clone(), clock.clone(), log);
        let controllers = tokio::spawn(controllers::run(store.clone(), clock.clone(), machine));
        let prometheus = LabPrometheus::start(interval, &clock, &store, &fabric);
        let inside = api.clone();
        // Pods reach the API server at its own address and service, without TLS.
        let mut pods = fabric.listen(NODE, API_PORT);
        let serving = Tasks::default();
        let connections = serving.clone();
        serving.spawn(async move {
            while let Some(stream) = pods.accept().await {
                serve_connection(&connections, &clock, stream, Router::new().fallback_service(inside.clone()));
            }
        });
        let shared = Shared { store, fabric, images, api, prometheus, controllers, serving };
        Self { shared: Arc::new(shared) }
    }

    /// Says what an image runs: an axum router for each pod, served on the TCP ports that its container declares
    /// (8080 if it declares none). `net` is the pod's own view: its arguments, its network, its log.
    pub fn image(&self, name: &str, router: impl Fn(Net) -> Router + Send + Sync + 'static) {
        self.shared.images.add_router(name, true, Arc::new(router));
    }

    /// Says what an image runs: any future for each pod, which returns its exit code.
    pub fn program<F>(&self, name: &str, program: impl Fn(Net) -> F + Send + Sync + 'static)
    where
        F: Future<Output = i32> + Send + 'static,
    {
        self.shared.images.add(name, true, Arc::new(move |net| Box::pin(program(net))));
    }

    /// As [`program`](Self::program), for an image FROM scratch: a container's `command` finds no file and does not start.
    pub(crate) fn scratch_program<F>(&self, name: &str, program: impl Fn(Net) -> F + Send + Sync + 'static)
    where
        F: Future<Output = i32> + Send + 'static,
    {
        self.shared.images.add(name, false, Arc::new(move |net| Box::pin(program(net))));
    }

    /// A client for the lab's API, on the runtime of the caller.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        kube::Client::new(Traced.layer(self.shared.api.clone()), "default")
    }

    /// The API server, to be served elsewhere.
    #[must_use]
    pub fn api(&self) -> &ApiService {
        &self.shared.api
    }

    /// The objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The network.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.shared.fabric
    }

    /// The way into the lab's network from outside.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(FabricTransport::new(self.shared.fabric.clone()))
    }

    /// Has Prometheus scrape targets that no pod announces.
    pub fn scrape(&self, job: ScrapeJob) {
        self.shared.prometheus.scrape(job);
    }

    /// Says which labels tell pods apart in Prometheus; series that there are already end.
    pub fn label_targets(&self, by: TargetLabels) {
        self.shared.prometheus.label_targets(by);
    }

    /// Has Prometheus evaluate an alerting rule, as often as it scrapes.
    ///
    /// # Errors
    /// The rule is malformed; the error names it.
    pub fn alert(&self, rule: AlertRule) -> Result<(), BadRule> {
        self.shared.prometheus.alert(rule)
    }

    /// Has Prometheus evaluate a recording rule, as often as it scrapes.
    ///
    /// # Errors
    /// The rule is malformed; the error names it.
    pub fn record(&self, rule: RecordingRule) -> Result<(), BadRule> {
        self.shared.prometheus.record(rule)
    }

    /// Gives Prometheus samples that nobody scraped, oldest first; `None` marks the end of the series, as when its
    /// target goes. Samples older than a day are forgotten, as all are.
    ///
    /// # Errors
    /// A name of a label is none, or a sample is older than one that is there; the error names the series.
    pub fn backfill(
        &self,
        labels: &[(&str, &str)],
        samples: impl IntoIterator<Item = (Timestamp, Option<f64>)>,
    ) -> Result<(), BadSamples> {
        self.shared.prometheus.backfill(labels, samples)
    }

    /// Who undoes on the lab.
    #[must_use]
    pub fn undoer(&self) -> Arc<dyn Undoer> {
        Arc::new(LabUndoer::new(self.shared.store.clone()))
    }
}
