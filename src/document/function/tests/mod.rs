//! Each function on the lab: what it does, what it returns, and that nothing of it is left.

mod custom;
mod networking;
mod nodes;
mod objects;
mod pods;
mod prometheus;
mod table;
mod workloads;

use serde_json::{Map, Value, json};

use super::{Answer, Call, Guards, Hand, Stage, find};
use crate::clock::secs;
use crate::cluster::{Cluster, Target, run_test_on, shop};
use crate::experiment::{Environment, Faults, Phase, Remarks, Run, Scene};
use crate::transport::{Address, Request};

/// A run on the lab, and what it has on.
struct Ground {
    cluster: Cluster,
    run: Run,
    scene: Scene,
    guards: Guards,
    configuration: Map<String, Value>,
}

/// Runs a body on a lab with the shop, and checks that the store is then as it was.
#[track_caller]
fn on_the_shop(body: impl AsyncFnOnce(&Ground)) {
    let at = std::panic::Location::caller();
    let name = format!("{}-{}", at.file().replace('/', "-"), at.line());
    let done = run_test_on(&Target::Embedded, &name, async |cluster| {
        shop(&cluster).await?;
        cluster.clock().sleep(secs(5)).await;
        let before = kept(&cluster);
        let ground = Ground::on(&cluster).await?;
        body(&ground).await;
        let Ground { run, guards, .. } = ground;
        let errors = guards.undo_all().await;
        assert!(errors.is_empty(), "{errors:?}");
        let journal = run.finish().await?;
        assert!(journal.not_undone().is_empty(), "{}", journal.summary());
        cluster.clock().sleep(secs(40)).await;
        let after = kept(&cluster);
        for (was, is) in before.iter().zip(&after) {
            assert_eq!(was, is);
        }
        assert_eq!(before.len(), after.len(), "the store equals the store before: {after:#?}");
        Ok(())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

impl Ground {
    async fn on(cluster: &Cluster) -> crate::Result<Self> {
        let run = Run::start("functions", cluster).await?;
        let scene = Scene {
            phase: Phase::Method { method_started: cluster.clock().now() },
            clock: cluster.clock().clone(),
            transport: cluster.transport(),
            outputs: cluster.outputs(),
            faults: Faults::default(),
            remarks: Remarks::default(),
            measured: crate::experiment::Measured::default(),
            trace: None,
            loads: crate::experiment::RunningLoads::default(),
        };
        let (guards, configuration) = (Guards::default(), Map::new());
        Ok(Self { cluster: cluster.clone(), run, scene, guards, configuration })
    }

    fn stage(&self) -> Stage<'_> {
        let Self { cluster, run, scene, guards, .. } = self;
        Stage {
            hand: Hand::Run(run),
            cluster: Some(cluster),
            scene,
            guards,
            plain: false,
            leave: false,
            all: false,
            trust: None,
        }
    }

    /// Calls a function of the table.
    async fn call(&self, module: &str, func: &str, arguments: Value) -> Answer {
        self.call_on(self.stage(), module, func, arguments).await
    }

    /// As the document's own rollbacks do.
    async fn leave(&self, module: &str, func: &str, arguments: Value) -> Answer {
        self.call_on(Stage { plain: true, ..self.stage() }, module, func, arguments).await
    }

    /// As where the user wants what it does to stay.
    fn leaving(&self) -> Stage<'_> {
        Stage { leave: true, ..self.stage() }
    }

    async fn call_on(&self, stage: Stage<'_>, module: &str, func: &str, arguments: Value) -> Answer {
        let function = find(module, func).unwrap_or_else(|| panic!("{module}.{func} is in the table"));
        let arguments = arguments.as_object().expect("a map");
        for name in arguments.keys() {
            assert!(function.arguments.iter().any(|argument| argument.name == name), "{func} takes no {name}");
        }
        function.call(Call { arguments, secrets: None, configuration: &self.configuration }, stage).await
    }

    /// Why a call failed.
    async fn refused(&self, module: &str, func: &str, arguments: Value) -> String {
        self.call(module, func, arguments).await.expect_err("it is refused").0
    }

    /// The object of a kind and name, if there is one.
    fn found(&self, kind: &str, name: &str) -> Option<Value> {
        let all = self.cluster.lab().expect("the lab").store().dump();
        all.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).map(|o| (**o).clone())
    }

    /// A file with a manifest, as long as the folder is there.
    fn file(&self, folder: &tempfile::TempDir, name: &str, manifest: &Value) -> String {
        let path = folder.path().join(name);
        let text = if name.ends_with("json") { manifest.to_string() } else { format!("# YAML\n{manifest}\n") };
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// One request to the shop's front, which writes a line about it.
    async fn ask_front(&self) {
        let (namespace, name) = ("default".to_owned(), "front".to_owned());
        let address = Address::Service { namespace, name, port: Some(8000), path: "/".into() };
        self.scene.transport.send(&Request::new(http::Method::GET, address)).await.expect("an answer");
    }

    async fn wait(&self, seconds: u64) {
        self.scene.clock.sleep(secs(seconds)).await;
    }
}

/// What of the store does not change by itself: everything but events, the names of what controllers make, and what
/// each write changes.
fn kept(cluster: &Cluster) -> Vec<Value> {
    let all = cluster.lab().expect("the lab").store().dump();
    let mut kept: Vec<Value> = all
        .iter()
        // A rollout leaves its set in the history of its Deployment, without pods.
        .filter(|object| {
            object["kind"] != "Event" && (object["kind"] != "ReplicaSet" || object["spec"]["replicas"] != 0)
        })
        .map(|object| {
            let mut kept = crate::rollback::manifest(object);
            let metadata = kept["metadata"].as_object_mut().expect("metadata");
            let made = metadata.get("ownerReferences").is_some() || object["kind"] == "Endpoints";
            metadata.remove("ownerReferences");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("deployment.kubernetes.io/revision");
                annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
            if made { json!({"kind": kept["kind"], "of": kept["metadata"]["labels"]["app"]}) } else { kept }
        })
        .collect();
    kept.sort_by_key(Value::to_string);
    kept
}
