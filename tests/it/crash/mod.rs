//! Test processes that die, against `steadfast lab` in another process: what they had on is gone soon after.

mod documents;
mod driver;
mod gate;
#[expect(dead_code, reason = "shared with the trials of the command, which ask more of it")]
#[path = "../../tools/lab.rs"]
mod lab;
mod leash;
mod race;
mod signals;
mod sweep;
mod victim;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams};
use serde_json::json;
use steadfast::clock::Stopwatch;
use steadfast::kubernetes::Context;
use steadfast::rollback::{ORIGINAL_ANNOTATION, OWNER_LABEL};

/// What is asked of the leash: nothing is left so long after a death.
const CLEAN_WITHIN: Duration = Duration::from_secs(5);

/// How long what must come may take before it is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// Group, version, kind and plural.
type Kind = (&'static str, &'static str, &'static str, &'static str);

/// What belongs to a run's dead-man's switch, and the switch.
const SWITCHED: &[Kind] = &[
    ("batch", "v1", "Job", "jobs"),
    ("chaos-mesh.org", "v1alpha1", "NetworkChaos", "networkchaos"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
];

/// What runs create.
const CREATED: &[Kind] = &[
    ("", "v1", "Namespace", "namespaces"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
    SWITCHED[0],
    SWITCHED[1],
    SWITCHED[2],
];

/// A lab in a process of its own, and a folder of state for its victims.
struct Site {
    running: lab::Running,
    client: Client,
    state: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let running = lab::start();
        let context = Context::in_file(&running.lab.kubeconfig, "steadfast-lab").await.unwrap();
        let client = context.connect().unwrap().client().clone();
        Self { running, client, state: tempfile::tempdir().unwrap() }
    }

    /// A namespace for faults, with pods to have them.
    async fn namespace(&self, name: &str) {
        let body = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &body).await.unwrap();
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), name);
        for app in ["front", "back"] {
            let pod = json!({"metadata": {"name": app, "labels": {"app": app}},
                "spec": {"containers": [{"name": "c", "image": self.running.lab.image}]}});
            pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        }
    }

    /// In a namespace: a Deployment that is ready, and a Service that leads to it.
    async fn workload(&self, namespace: &str) {
        let container =
            json!({"name": "c", "image": self.running.lab.image, "args": ["back"], "ports": [{"containerPort": 8002}]});
        let template = json!({"metadata": {"labels": {"app": "app"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}});
        let deployment = json!({"metadata": {"name": "app"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": template}});
        let service = json!({"metadata": {"name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8002}]}});
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
        let since = Stopwatch::start();
        while deployments.get("app").await.unwrap().status.and_then(|status| status.ready_replicas) != Some(2) {
            assert!(since.elapsed() < PATIENCE, "the deployment gets ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn remove(&self, namespace: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    }

    /// Every object of the kinds that faults make or change, but what changes by itself.
    async fn store(&self) -> Vec<DynamicObject> {
        let kinds = [
            ("", "v1", "Namespace", "namespaces"),
            ("", "v1", "Node", "nodes"),
            ("", "v1", "Pod", "pods"),
            ("", "v1", "Service", "services"),
            ("", "v1", "ConfigMap", "configmaps"),
            ("apps", "v1", "Deployment", "deployments"),
            ("batch", "v1", "Job", "jobs"),
            ("coordination.k8s.io", "v1", "Lease", "leases"),
            ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
        ];
        let mut all = Vec::new();
        for (group, version, kind, plural) in kinds {
            let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
            all.extend(api.list(&ListParams::default()).await.unwrap().items);
        }
        for object in &mut all {
            object.metadata.managed_fields = None;
            object.metadata.resource_version = None;
            object.metadata.generation = None;
        }
        all
    }

    /// Waits until the store is as it was.
    async fn store_is(&self, before: &[DynamicObject]) {
        let since = Stopwatch::start();
        loop {
            let now = self.store().await;
            if now == before {
                return;
            }
            let told = |some: &[DynamicObject], others: &[DynamicObject]| {
                let changed = some.iter().filter(|object| !others.contains(object));
                changed.map(|object| serde_json::to_string(object).unwrap()).collect::<Vec<_>>().join("\n")
            };
            let late = since.elapsed() > PATIENCE;
            assert!(!late, "the store differs; before:\n{}\nnow:\n{}", told(before, &now), told(&now, before));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What stands in the cluster and is ours: created, or changed.
    async fn owned(&self) -> Vec<String> {
        let mut owned = self.created(CREATED).await;
        owned.extend(self.changed().await);
        owned
    }

    /// The faults that are on, but for what holds them: their namespaces, leases and switches.
    async fn faults(&self) -> Vec<String> {
        let mut faults = self.created(&[SWITCHED[1], SWITCHED[2]]).await;
        faults.extend(self.changed().await);
        faults
    }

    /// The objects that are changed.
    async fn changed(&self) -> Vec<String> {
        let mut changed = Vec::new();
        for (group, version, kind, plural) in [
            ("", "v1", "Node", "nodes"),
            ("", "v1", "Service", "services"),
            ("apps", "v1", "Deployment", "deployments"),
        ] {
            let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
            let found = api.list(&ListParams::default()).await.unwrap().items.into_iter().map(|object| object.metadata);
            let ours = |metadata: &ObjectMeta| {
                metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ORIGINAL_ANNOTATION))
            };
            let told = |metadata: ObjectMeta| format!("{plural} {:?}/{:?}", metadata.namespace, metadata.name);
            changed.extend(found.filter(ours).map(told));
        }
        changed
    }

    /// The objects of these kinds that carry our label.
    async fn created(&self, kinds: &[Kind]) -> Vec<String> {
        let all = ListParams::default().labels(OWNER_LABEL);
        let mut owned = Vec::new();
        for (group, version, kind, plural) in kinds {
            let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
            let found = api.list(&all).await.unwrap().items.into_iter().map(|object| object.metadata);
            // Nothing stops the deletion of a namespace, and it takes its time.
            let standing = found.filter(|metadata| metadata.deletion_timestamp.is_none());
            owned.extend(standing.map(|metadata| format!("{plural} {:?}/{:?}", metadata.namespace, metadata.name)));
        }
        owned
    }

    /// Waits until nothing of ours is left, and says how long it took; what is left at the end of the time otherwise.
    async fn clean_within(&self, within: Duration) -> Result<Duration, Vec<String>> {
        gone_within(within, async || self.owned().await).await
    }

    /// Where the last victim of a namespace complains.
    fn said(&self, namespace: &str) -> PathBuf {
        self.state.path().join(format!("said-{namespace}"))
    }

    /// The ledgers that have entries. One of a run that died before its first fault says whose it is, and no more.
    fn ledgers(&self) -> usize {
        let Ok(folder) = std::fs::read_dir(self.state.path().join("ledger")) else { return 0 };
        let texts = folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        texts.filter(|text| text.lines().count() > 1).count()
    }

    /// The leashes of victims of this site: pid by the pid of their parent.
    fn leashes(&self) -> BTreeMap<i32, i32> {
        let ours = format!("STEADFAST_STATE_DIR={}", self.state.path().display());
        let folders = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let leash = |folder: PathBuf| {
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
            let environ = std::fs::read(folder.join("environ")).ok()?;
            let environ = String::from_utf8_lossy(&environ);
            if !stat.contains("(steadfast-leash)") || !environ.split('\0').any(|variable| variable == ours) {
                return None;
            }
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((parent, pid))
        };
        folders.filter_map(leash).collect()
    }

    /// Waits until no leash is left.
    async fn no_leash_within(&self, within: Duration) {
        let since = Stopwatch::start();
        while !self.leashes().is_empty() {
            assert!(since.elapsed() < within, "a leash outlives its work: {:?}", self.leashes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until nothing is seen any more, and says how long it took; what is left at the end of the time otherwise.
async fn gone_within(within: Duration, look: impl AsyncFn() -> Vec<String>) -> Result<Duration, Vec<String>> {
    let since = Stopwatch::start();
    loop {
        let seen = look().await;
        if seen.is_empty() {
            return Ok(since.elapsed());
        }
        if since.elapsed() > within {
            return Err(seen);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn on_a_runtime<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}
