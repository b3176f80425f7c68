//! The promise of the crate, as a property: whatever dies wherever, the cluster is as it was before.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::clock::{Clock, Seed};
use steadfast::experiment::{Applied, Armed, Environment, Mark, Proof, Right, Targets};
use steadfast::prelude::*;
use steadfast::rollback::{Field, Ledger, ObjectRef, Undo, UndoOutcome, Undoer, sweep_ledger};
use steadfast::transport::Transport;

use crate::support::front_answers;

/// A fault of a user's own: relabels a ConfigMap, and restores it.
struct Relabel {
    client: kube::Client,
    name: &'static str,
}

impl Relabel {
    fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            resource: "configmaps".into(),
            namespace: Some("default".into()),
            name: self.name.into(),
        }
    }
}

impl Fault for Relabel {
    fn describe(&self) -> String {
        format!("relabel {}", self.name)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        let rights = vec![Right::new("patch", "", "configmaps", "default")];
        Box::pin(async move { Ok(Targets { names: vec![self.object().to_string()], rights, ..Targets::default() }) })
    }

    fn arm<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
                kube::Api::namespaced(self.client.clone(), "default");
            let uid = maps.get(self.name).await?.metadata.uid.unwrap_or_default();
            let pointer = "/data/mode".to_owned();
            let field = Field { pointer, set: Some(json!("faulty")), was: Some(json!("sane")) };
            let undo = vec![Undo::Restore { object: self.object(), uid, by: None, fields: vec![field] }];
            let name = self.name;
            let apply = Box::new(move || -> BoxFuture<'static, Applied> {
                Box::pin(async move {
                    let patch = kube::api::Patch::Merge(json!({"data": {"mode": "faulty"}}));
                    maps.patch(name, &Default::default(), &patch).await?;
                    Ok(vec![None])
                })
            });
            Ok(Armed { undo, apply })
        })
    }

    fn witness<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Box::pin(async { Ok(Proof::Applied) })
    }
}

/// The lab, but with a ledger that outlives the run, and an undoer that is dead: as if the process had been killed.
#[derive(Clone)]
struct Killed {
    cluster: Cluster,
    ledger: Ledger,
}

struct Dead;

impl Undoer for Dead {
    fn undo<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, steadfast::rollback::UndoOutcome> {
        // Never ready: nobody undoes, and a drop gives up at once.
        Box::pin(std::future::pending())
    }

    fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<steadfast::rollback::Standing, String>> {
        Box::pin(async { Ok(steadfast::rollback::Standing::Stands { uid: String::new() }) })
    }

    fn in_drop(&self) -> steadfast::rollback::InDrop {
        steadfast::rollback::InDrop::Inline
    }
}

impl Environment for Killed {
    fn describe(&self) -> String {
        self.cluster.describe()
    }
    fn clock(&self) -> Clock {
        Environment::clock(&self.cluster)
    }
    fn seed(&self) -> Seed {
        self.cluster.seed()
    }
    fn new_run(&self) -> String {
        self.cluster.new_run()
    }
    fn transport(&self) -> Arc<dyn Transport> {
        self.cluster.transport()
    }
    fn undoer(&self) -> Arc<dyn Undoer> {
        Arc::new(Dead)
    }
    fn ledger<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>> {
        Box::pin(async { Ok(self.ledger.clone()) })
    }
    fn lacking<'a>(&'a self, rights: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>> {
        self.cluster.lacking(rights)
    }
    fn undo_layers(&self) -> Vec<String> {
        vec!["the sweep".into()]
    }
    fn outputs(&self) -> std::path::PathBuf {
        self.cluster.outputs().join("killed")
    }
}

/// The objects without what every write changes, and without the status that time changes.
fn essence(cluster: &Cluster) -> Vec<Value> {
    let objects = crate::support::objects(cluster);
    let stripped = objects.iter().map(|object| {
        let mut object = (**object).clone();
        for noise in ["resourceVersion", "managedFields", "generation"] {
            object["metadata"].as_object_mut().expect("metadata").remove(noise);
        }
        object.as_object_mut().expect("an object").remove("status");
        object
    });
    stripped.collect()
}

/// Shows what differs alone.
fn assert_same(before: &[Value], after: &[Value]) {
    let missing = |from: &[Value], to: &[Value]| {
        from.iter().filter(|o| !to.contains(o)).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(missing(before, after), missing(after, before));
}

async fn with_faults(
    cluster: &Cluster,
    environment: &(impl Environment + Clone + 'static),
    order: &[usize],
    kill_at: Duration,
) -> bool {
    let shop = cluster.namespace("default");
    let mut experiment = Experiment::new("killed", front_answers(cluster));
    for fault in order {
        experiment = match fault {
            0 => experiment.inject(shop.pods("app=back").deny_ingress()),
            1 => experiment.inject(shop.pods("app=middle").deny_egress()),
            2 => experiment.inject(Relabel { client: cluster.client(), name: "a" }),
            _ => experiment.inject(Relabel { client: cluster.client(), name: "b" }),
        };
    }
    // The time-out drops the run wherever it stands, between any two awaits that take time.
    let run = experiment.run(environment);
    tokio::pin!(run);
    let killed = tokio::time::timeout(kill_at, &mut run).await.is_err();
    // Only now, while the run is not yet dropped.
    let on = crate::support::objects(cluster)
        .iter()
        .any(|object| object["kind"] == "NetworkPolicy" || object["data"]["mode"] == "faulty");
    killed && on
}

/// The cases of a property that were killed, and those of them with a fault on.
#[derive(Default)]
struct Kills {
    all: AtomicU32,
    on: AtomicU32,
}

impl Kills {
    fn count(&self, on: bool) {
        self.on.fetch_add(u32::from(on), Ordering::Relaxed);
        // The last one judges: a property that kills nothing but idle runs shows nothing.
        if self.all.fetch_add(1, Ordering::Relaxed) + 1 == CASES {
            let on = self.on.load(Ordering::Relaxed);
            println!("of {CASES} kills {on} found a fault on");
            assert!(on >= CASES / 4, "of {CASES} kills only {on} found a fault on");
        }
    }
}

fn permutation() -> impl Strategy<Value = Vec<usize>> {
    Just(vec![0, 1, 2, 3]).prop_shuffle().prop_flat_map(|all| (1..=4_usize).prop_map(move |n| all[..n].to_vec()))
}

async fn prepared(cluster: &Cluster) -> steadfast::Result<Vec<Value>> {
    steadfast::shop(cluster).await?;
    for name in ["a", "b"] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"mode": "sane"}});
        cluster.apply(&map).await?;
    }
    Ok(essence(cluster))
}

/// How many cases each property has.
const CASES: u32 = 40;

static DROPPED: LazyLock<Kills> = LazyLock::new(Kills::default);
static SWEPT: LazyLock<Kills> = LazyLock::new(Kills::default);

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dropped_anywhere_the_store_equals_the_store_before(order in permutation(), kill_at in 0..12_000_u64) {
        crate::support::on_the_lab(async |cluster| {
            let before = prepared(&cluster).await?;
            DROPPED.count(with_faults(&cluster, &cluster, &order, millis(kill_at)).await);
            // Endpoints follow pods once the controllers have run.
            tokio::time::sleep(secs(1)).await;
            assert_same(&before, &essence(&cluster));
            Ok(())
        });
    }

    #[test]
    fn killed_anywhere_then_swept_the_store_equals_the_store_before(order in permutation(), kill_at in 0..12_000_u64) {
        crate::support::on_the_lab(async |cluster| {
            let before = prepared(&cluster).await?;
            let killed = Killed { cluster: cluster.clone(), ledger: Ledger::memory("killed") };
            SWEPT.count(with_faults(&cluster, &killed, &order, millis(kill_at)).await);
            let undoer = cluster.undoer();
            let swept = sweep_ledger(&killed.ledger, &undoer.in_drop(), &*undoer);
            let clean = swept.iter().flat_map(|(_, outcomes)| outcomes).all(UndoOutcome::is_clean);
            assert!(clean, "{swept:?}");
            // Endpoints follow pods once the controllers have run.
            tokio::time::sleep(secs(1)).await;
            assert_same(&before, &essence(&cluster));
            Ok(())
        });
    }
}

/// Without the sweep the faults stay: the property above can see a leak.
#[steadfast::test(needs = "embedded")]
async fn without_a_sweep_a_killed_run_leaks(cluster: Cluster) -> steadfast::Result {
    let before = prepared(&cluster).await?;
    let killed = Killed { cluster: cluster.clone(), ledger: Ledger::memory("killed") };
    assert!(with_faults(&cluster, &killed, &[0, 2], secs(12)).await, "faults are on");
    assert_ne!(essence(&cluster), before);
    Ok(())
}
