//! What an undo takes for ours, by whoever undoes: through the API, and on the lab by plain calls too.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::experiment::{Armed, Environment, Fault, Mark, Proof, Targets};
use steadfast::kubernetes::{DeleteObject, KubeUndoer};
use steadfast::prelude::*;
use steadfast::rollback::{ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Standing, Undo, UndoOutcome, Undoer};

use crate::support::{Place, deployment, reference};

fn undoers(cluster: &Cluster) -> [Arc<dyn Undoer>; 2] {
    [Arc::new(KubeUndoer::awaited(cluster.kubernetes().clone())), cluster.undoer()]
}

/// A Deployment of one replica, which a run scales to nothing.
struct Scaled {
    place: Place,
    api: Api<Deployment>,
}

impl Scaled {
    async fn new(cluster: &Cluster) -> Result<Self, steadfast::Error> {
        let place = Place::new(cluster).await?;
        let _: Deployment = place.create(deployment("back", 1)).await?;
        Ok(Self { api: place.api(), place })
    }

    /// Armed by a run, and not yet on.
    async fn armed(&self, run: &str) -> Result<Armed, steadfast::Error> {
        let mark = Mark {
            run: run.into(),
            owner: format!("steadfast-{run}-1"),
            at: self.place.cluster.clock().now(),
            switches: vec![],
        };
        Ok(self.place.cluster.namespace(&self.place.name).deployment("back").scale(0).arm(&mark).await?)
    }

    /// Put on by a run; how it is taken back.
    async fn by(&self, run: &str) -> Result<Undo, steadfast::Error> {
        let Armed { mut undo, apply } = self.armed(run).await?;
        apply().await?;
        Ok(undo.remove(0))
    }

    async fn patch(&self, patch: Value) -> Result<Deployment, kube::Error> {
        self.api.patch("back", &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// The replicas, and the run whose mark is on it.
    async fn now(&self) -> Result<(Option<i32>, Option<String>), kube::Error> {
        let found = self.api.get("back").await?;
        let mark = found.metadata.annotations.unwrap_or_default().remove(ORIGINAL_ANNOTATION);
        let run = mark.map(|mark| serde_json::from_str::<Value>(&mark).map_or(mark, |mark| mark["run"].to_string()));
        Ok((found.spec.and_then(|spec| spec.replicas), run))
    }
}

/// Why an undo leaves alone what is not proved ours.
fn leaked(outcome: UndoOutcome) -> String {
    let UndoOutcome::Leaked { why } = outcome else { panic!("{outcome:?}") };
    why
}

fn target_gone(outcome: UndoOutcome) -> String {
    let UndoOutcome::TargetGone { proof } = outcome else { panic!("{outcome:?}") };
    proof
}

/// A run that was swept by somebody comes back with its ledger, and another run has put the same value there.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_undo_leaves_another_runs_equal_change_alone(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let scaled = Scaled::new(&cluster).await?;
        let first = scaled.by("first").await?;
        assert_eq!(undoer.undo(&first).await, UndoOutcome::Reverted);
        let second = scaled.by("second").await?;
        let proof = target_gone(undoer.undo(&first).await);
        assert!(proof.contains("changed by run second"), "{proof}");
        assert_eq!(scaled.now().await?, (Some(0), Some("\"second\"".into())), "it is on");
        assert_eq!(undoer.undo(&second).await, UndoOutcome::Reverted);
        assert_eq!(scaled.now().await?, (Some(1), None));
        scaled.place.end().await?;
    }
    Ok(())
}

/// The request of a change may still be on its way when its undo finds nothing to undo.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_change_that_comes_after_its_undo_is_refused(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let scaled = Scaled::new(&cluster).await?;
        let version = scaled.api.get("back").await?.metadata.resource_version;
        let undo = scaled.armed("first").await?.undo.remove(0);
        assert_eq!(undoer.undo(&undo).await, UndoOutcome::Reverted);
        // As the change is made: on the version that it was read at.
        let late = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 0}});
        let refused = scaled.patch(late).await.expect_err("it comes too late");
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
        assert_eq!(scaled.now().await?, (Some(1), None), "nothing is left of the undo either");
        scaled.place.end().await?;
    }
    Ok(())
}

/// Somebody has set a third value: it is theirs, and the mark goes, so that the next run may act on the object.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn what_somebody_else_has_set_stays_and_the_mark_goes(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let scaled = Scaled::new(&cluster).await?;
        let undo = scaled.by("first").await?;
        scaled.patch(json!({"spec": {"replicas": 2}})).await?;
        let proof = target_gone(undoer.undo(&undo).await);
        assert!(proof.contains("/spec/replicas of deployment") && proof.contains("by somebody else"), "{proof}");
        assert_eq!(scaled.now().await?, (Some(2), None));
        let second = scaled.by("second").await?;
        assert_eq!(undoer.undo(&second).await, UndoOutcome::Reverted);
        assert_eq!(scaled.now().await?, (Some(2), None));
        scaled.place.end().await?;
    }
    Ok(())
}

/// Without its mark nothing says whose the value is: it is left alone, and that is no clean end.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_change_whose_mark_is_gone_or_strange_is_reported(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        for (mark, why) in [
            (json!(null), "is gone"),
            (json!("nonsense"), "cannot be read"),
            (json!("{\"version\": 2}"), "format has version 2"),
        ] {
            let scaled = Scaled::new(&cluster).await?;
            let undo = scaled.by("first").await?;
            scaled.patch(json!({"metadata": {"annotations": {ORIGINAL_ANNOTATION: mark}}})).await?;
            let told = leaked(undoer.undo(&undo).await);
            let by_hand =
                format!("put back 1: `kubectl patch deployments back -n {} --type=json -p '", scaled.place.name);
            assert!(told.contains(why) && told.contains(&by_hand), "{told}");
            // Only while the fault's value stands.
            assert!(told.contains(r#"{"op":"test","path":"/spec/replicas","value":0},{"op":"replace""#), "{told}");
            assert_eq!(scaled.now().await?.0, Some(0));
            scaled.patch(json!({"spec": {"replicas": 1}})).await?;
            let clean = undoer.undo(&undo).await.is_clean();
            assert_eq!(clean, mark.is_null(), "put back by hand it is well, but for a mark that nobody knows");
            scaled.place.end().await?;
        }
    }
    Ok(())
}

/// What has lost its label is not deleted, and not taken for gone.
#[steadfast::test]
async fn what_has_lost_its_label_is_reported(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let place = Place::new(&cluster).await?;
        let uid = place.map("mine", json!({OWNER_LABEL: "us"})).await?.metadata.uid;
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            resource: "configmaps".into(),
            namespace: Some(place.name.clone()),
            name: "mine".into(),
        };
        let undo = |uid| Undo::Delete { object: object.clone(), owner: "us".into(), uid, switch: None };
        let api: Api<ConfigMap> = place.api();
        for (label, known, clean) in [
            (json!("them"), uid.clone(), false),
            (json!(null), uid.clone(), false),
            (json!(null), None, false),
            // Another run's of the same name, or another object: ours never was, or is gone.
            (json!("them"), None, true),
            (json!("them"), Some("another".to_owned()), true),
        ] {
            let patch = Patch::Merge(json!({"metadata": {"labels": {OWNER_LABEL: label}}}));
            api.patch("mine", &PatchParams::default(), &patch).await?;
            let outcome = undoer.undo(&undo(known.clone())).await;
            assert_eq!(outcome.is_clean(), clean, "{label}, {known:?}: {outcome}");
            if !clean {
                let told = leaked(outcome);
                let by_hand = format!("`kubectl delete configmaps mine -n {}`", place.name);
                assert!(told.contains(OWNER_LABEL) && told.contains(&by_hand), "{told}");
            }
        }
        assert!(api.get_opt("mine").await?.is_some(), "nothing of it was deleted");
        place.end().await?;
    }
    Ok(())
}

/// What was deleted is made again of its manifest: not before it is deleted, not twice, and not where it cannot go.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn what_was_deleted_is_made_again_once(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let place = Place::new(&cluster).await?;
        let before = place.map("m", json!({"a": "b"})).await?;
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            resource: "configmaps".into(),
            namespace: Some(place.name.clone()),
            name: "m".into(),
        };
        let mark = Mark {
            run: "first".into(),
            owner: "steadfast-first-1".into(),
            at: cluster.clock().now(),
            switches: vec![],
        };
        let Armed { undo, apply } = cluster.kubernetes().delete_object(object).arm(&mark).await?;
        let maps: Api<ConfigMap> = place.api();
        assert_eq!(undoer.undo(&undo[0]).await, UndoOutcome::Reverted);
        assert_eq!(maps.get("m").await?.metadata.uid, before.metadata.uid, "it was not deleted yet");
        apply().await?;
        assert!(maps.get_opt("m").await?.is_none());
        assert_eq!(undoer.undo(&undo[0]).await, UndoOutcome::Reverted);
        let after = maps.get("m").await?;
        assert_eq!((&after.data, &after.metadata.labels), (&before.data, &before.metadata.labels));
        assert_ne!(after.metadata.uid, before.metadata.uid);
        let proof = target_gone(undoer.undo(&undo[0]).await);
        assert!(proof.contains("m stands again, of no run and no controller"), "{proof}");
        assert_eq!(maps.get("m").await?.metadata.uid, after.metadata.uid, "it is left alone");
        // Somebody holds it on its way out: it can be made again when it has gone.
        let hold = |held: Value| Patch::Merge(json!({"metadata": {"finalizers": held}}));
        let fault = cluster.kubernetes().delete_object(undo[0].object().clone());
        let Armed { undo, apply } = fault.arm(&mark).await?;
        maps.patch("m", &PatchParams::default(), &hold(json!(["example.com/hold"]))).await?;
        apply().await?;
        let held = undoer.undo(&undo[0]).await;
        assert!(matches!(&held, UndoOutcome::Unverified { why } if why.contains("example.com/hold")), "{held}");
        maps.patch("m", &PatchParams::default(), &hold(json!(null))).await?;
        assert_eq!(undoer.undo(&undo[0]).await, UndoOutcome::Reverted);
        assert_eq!(maps.get("m").await?.metadata.finalizers, None, "as it was");
        place.end().await?;
    }
    Ok(())
}

/// The deletion of an object that somebody else deletes right before.
struct Late {
    fault: DeleteObject,
    maps: Api<ConfigMap>,
}

impl Fault for Late {
    fn describe(&self) -> String {
        self.fault.describe()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        self.fault.resolve()
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let (Armed { undo, apply }, maps) = (self.fault.arm(mark).await?, self.maps.clone());
            let late = async move {
                maps.delete("m", &DeleteParams::default()).await?;
                apply().await
            };
            Ok(Armed { undo, apply: Box::new(move || Box::pin(late)) })
        })
    }

    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Fault::witness(&self.fault, mark)
    }
}

/// What somebody else has deleted is not made again, and no fault that was.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn what_had_gone_before_it_was_deleted_stays_away(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    place.map("m", json!({"a": "b"})).await?;
    let object = reference(&place, "v1", "ConfigMap", "configmaps", "m");
    let (fault, maps) = (cluster.kubernetes().delete_object(object), place.api::<ConfigMap>());
    let run = Run::start("late", &cluster).await?;
    let error = run.inject(Late { fault, maps: maps.clone() }).await.err().expect("there is nothing to delete");
    assert!(error.to_string().contains("not found"), "{error}");
    let journal = run.finish().await?;
    assert!(journal.not_undone().is_empty(), "{}", journal.summary());
    assert!(maps.get_opt("m").await?.is_none(), "it stays away");
    place.end().await
}

/// A namespace that was made again is another one, and what lay in the old one is not made again there.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn nothing_is_made_again_in_another_namespace_of_that_name(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let place = Place::new(&cluster).await?;
        place.map("m", json!({"a": "b"})).await?;
        let object = reference(&place, "v1", "ConfigMap", "configmaps", "m");
        let mark = Mark { run: "first".into(), owner: "o".into(), at: cluster.clock().now(), switches: vec![] };
        let Armed { undo, apply } = cluster.kubernetes().delete_object(object).arm(&mark).await?;
        apply().await?;
        let namespaces: Api<Namespace> = Api::all(cluster.kubernetes().client().clone());
        let before = namespaces.get(&place.name).await?;
        namespaces.delete(&place.name, &DeleteParams::default()).await?;
        let gone = async || namespaces.get_opt(&place.name).await.ok()?.is_none().then_some(());
        let going = target_gone(undoer.undo(&undo[0]).await);
        assert!(going.contains("is being deleted") || going.contains("is not found"), "{going}");
        place.eventually(secs(60), "the namespace has gone", gone).await;
        assert!(target_gone(undoer.undo(&undo[0]).await).contains("is not found"));
        let again = Namespace {
            metadata: ObjectMeta {
                name: Some(place.name.clone()),
                labels: before.metadata.labels,
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        namespaces.create(&PostParams::default(), &again).await?;
        let proof = target_gone(undoer.undo(&undo[0]).await);
        assert!(proof.contains("is another one of that name by now"), "{proof}");
        assert!(matches!(undoer.stands(&undo[0]).await, Ok(Standing::Gone { by }) if by == proof));
        assert!(place.api::<ConfigMap>().get_opt("m").await?.is_none());
        place.end().await?;
    }
    Ok(())
}

/// A pod that is on its way out has the name: it is ended, and made again.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_bare_pod_is_made_again_while_the_old_one_stops(cluster: Cluster) -> steadfast::Result {
    for undoer in undoers(&cluster) {
        let place = Place::new(&cluster).await?;
        let mut pod = crate::support::template("bare", "back");
        pod["metadata"]["name"] = json!("bare");
        pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
        // It goes when it is killed, and not before.
        pod["spec"]["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 25}}});
        let before: Pod = place.create(pod).await?;
        let ready = async || {
            let pods = place.pods("app=bare").await;
            let status = pods.first()?.status.clone()?;
            (status.phase.as_deref() == Some("Running")).then_some(())
        };
        place.eventually(secs(60), "it runs", ready).await;
        let mark = Mark {
            run: "first".into(),
            owner: "steadfast-first-1".into(),
            at: cluster.clock().now(),
            switches: vec![],
        };
        let pods = cluster.namespace(&place.name).pods("app=bare").at_most_percent(100);
        let Armed { undo, apply } = pods.delete().bring_back_bare().arm(&mark).await?;
        apply().await?;
        assert_eq!(undoer.undo(&undo[0]).await, UndoOutcome::Reverted);
        let after = place.api::<Pod>().get("bare").await?;
        assert_ne!(after.metadata.uid, before.metadata.uid);
        assert_eq!(after.metadata.deletion_timestamp, None);
        place.end().await?;
    }
    Ok(())
}
