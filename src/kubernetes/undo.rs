//! Undoing over a cluster's API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Kubernetes, copies};
use crate::rollback::{
    Connect, InDrop, Next, ObjectRef, Standing, Undo, UndoOutcome, Undoer, Writes, decide, home, keys, moved, remade,
    standing,
};

/// How long an object may take to go once its deletion was accepted.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often it is read back meanwhile.
const READ_BACK_EVERY: Duration = Duration::from_millis(50);

/// How often an object is written at most: others may write it in between, and a claim is a write too.
const WRITES: usize = 6;

/// How long an API that does not answer well is asked again, by all undos together. Whoever has less time ends it by
/// dropping.
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// How long an undo that comes after that waits for a first answer.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How long nobody may have asked for a silence to be the same one: longer than a request and a wait take.
const SAME_SILENCE: Duration = Duration::from_secs(10);

/// How long to wait before the first time it is asked again; twice as long before each next one.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The longest such wait.
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// Since when a cluster has given undos no good answer. Those that are carried out one after another wait for it once, and
/// not each anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence(Arc<Mutex<Option<(Instant, Instant)>>>);

impl Silence {
    /// Nobody answered just now; since when that is so.
    fn goes_on(&self) -> Instant {
        let (mut silence, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let since = silence.filter(|(_, last)| now < *last + SAME_SILENCE).map_or(now, |(since, _)| since);
        *silence = Some((since, now));
        since
    }

    fn ends(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether an undo before has waited for it as long as any does.
    fn was_waited_for(&self) -> bool {
        let (silence, now) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        silence.is_some_and(|(since, last)| now < last + SAME_SILENCE && last + ASK_AGAIN_AT_MOST >= since + ASK_WITHIN)
    }
}

/// Carries out undos through a cluster's API.
#[derive(Clone)]
pub struct KubeUndoer {
    kubernetes: Kubernetes,
    connect: Connect,
}

impl KubeUndoer {
    /// An undoer that works through `kubernetes`; from a `Drop`, one made by `connect` works in its place, for a
    /// client serves only the runtime that it was made on.
    #[must_use]
    pub fn new(kubernetes: Kubernetes, connect: Connect) -> Self {
        Self { kubernetes, connect }
    }

    /// An undoer whose futures are awaited to their end: who undoes for others is dropped into by none.
    #[must_use]
    pub fn awaited(kubernetes: Kubernetes) -> Self {
        let why = "who undoes for a dropped guard is dropped into by none";
        Self::new(kubernetes, Arc::new(move || Box::pin(async move { Err(why.to_owned()) })))
    }

    /// Once; what the API says against it is for the caller.
    async fn once(&self, undo: &Undo) -> Result<UndoOutcome, kube::Error> {
        let object = undo.object();
        let api = self.kubernetes.objects(object);
        for _ in 0..WRITES {
            let found = read(&api, object).await?;
            let (writes, restoring) = match decide(undo, found.as_ref()) {
                Next::End(outcome) => {
                    self.clear_copies(undo).await?;
                    return Ok(outcome);
                }
                Next::Delete { uid } => return delete(&api, object, &uid).await,
                Next::Finish { uid } => match delete(&api, object, &uid).await? {
                    UndoOutcome::Reverted => continue,
                    held => return Ok(held),
                },
                Next::Create(manifest) => {
                    if let Some(proof) = self.moved(undo).await? {
                        return Ok(UndoOutcome::TargetGone { proof });
                    }
                    match create(&api, &manifest).await? {
                        Some(made) => return Ok(remade(undo, &made)),
                        // Somebody was faster.
                        None => continue,
                    }
                }
                Next::Claim(writes) => (writes, None),
                Next::Restore(restoring) => (restoring.writes.clone(), Some(restoring)),
            };
            let version = found.unwrap_or_default()["metadata"]["resourceVersion"].take();
            let written =
                api.patch(&object.name, &PatchParams::default(), &Patch::Merge(patch(&writes, version))).await;
            let after = match written {
                Ok(after) => serde_json::to_value(after).map_err(kube::Error::SerdeError)?,
                // Somebody wrote in between: looked at again at once.
                Err(kube::Error::Api(status)) if status.code == 409 => continue,
                Err(error) => return Err(error),
            };
            if let Some(restoring) = restoring {
                self.clear_copies(undo).await?;
                return Ok(restoring.ended(undo, &after));
            }
        }
        let why = format!("{object} was written by somebody else before each of {WRITES} attempts");
        Ok(UndoOutcome::Leaked { why })
    }

    /// Why the place of what is to be made again is another one by now, or going.
    async fn moved(&self, undo: &Undo) -> Result<Option<String>, kube::Error> {
        let Some(home) = home(undo) else { return Ok(None) };
        let found = read(&self.kubernetes.objects(&home), &home).await?;
        Ok(moved(undo, found.as_ref()))
    }

    /// Whether the API answers at all, at once.
    async fn answers(&self, object: &ObjectRef) -> bool {
        let api = self.kubernetes.objects(object);
        match tokio::time::timeout(LAST_LOOK, read(&api, object)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !is_no_answer(&error),
            Err(_) => false,
        }
    }

    /// Of what has lost its mark no copies of that are to stay.
    async fn clear_copies(&self, undo: &Undo) -> Result<(), kube::Error> {
        match undo {
            Undo::Restore { object, by: Some(by), .. } if copies::of(object) => {
                copies::clear(&self.kubernetes, object, by).await
            }
            _ => Ok(()),
        }
    }
}

/// One merge patch of an object that is still as it was read.
fn patch(writes: &Writes, version: Value) -> Value {
    let mut patch = json!({"metadata": {"resourceVersion": version}});
    for (pointer, value) in writes {
        merge(&mut patch, pointer, value.as_ref());
    }
    patch
}

async fn read(api: &Api<DynamicObject>, object: &ObjectRef) -> Result<Option<Value>, kube::Error> {
    let found = api.get_opt(&object.name).await?;
    found.map(serde_json::to_value).transpose().map_err(kube::Error::SerdeError)
}

/// Makes an object again: what was made, unless there is one of its name already, or it has gone at once.
async fn create(api: &Api<DynamicObject>, manifest: &Value) -> Result<Option<Value>, kube::Error> {
    let body: DynamicObject = serde_json::from_value(manifest.clone()).map_err(kube::Error::SerdeError)?;
    let made = match api.create(&PostParams::default(), &body).await {
        Ok(made) => made,
        Err(kube::Error::Api(status)) if status.code == 409 => return Ok(None),
        Err(error) => return Err(error),
    };
    let stands = api.get_opt(&made.name_any()).await?.is_some();
    stands.then(|| serde_json::to_value(made)).transpose().map_err(kube::Error::SerdeError)
}

/// Deletes this very object, and waits until it has gone.
async fn delete(api: &Api<DynamicObject>, object: &ObjectRef, uid: &str) -> Result<UndoOutcome, kube::Error> {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        // The default of some kinds, Jobs among them, is to orphan what belongs to them.
        propagation_policy: Some(PropagationPolicy::Background),
        ..Default::default()
    };
    match api.delete(&object.name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        // Another object may have taken the name since we looked: asked again, that is seen.
        Err(error) => return Err(error),
    }
    let mut finalizers = Vec::new();
    let read_back = async {
        loop {
            match api.get_opt(&object.name).await {
                Ok(None) => return UndoOutcome::Reverted,
                Ok(Some(now)) if now.metadata.uid.as_deref() != Some(uid) => return UndoOutcome::Reverted,
                // It takes the cluster many seconds, and nothing can stop it.
                Ok(Some(now)) if object.kind == "Namespace" && now.metadata.deletion_timestamp.is_some() => {
                    return UndoOutcome::TargetGone { proof: format!("{object} is being deleted") };
                }
                Ok(Some(now)) => finalizers = now.metadata.finalizers.unwrap_or_default(),
                Err(error) if again(&error, READ_BACK_EVERY).is_some() => {}
                Err(error) => {
                    let why = format!("{object} was deleted but cannot be read back: {error}");
                    return UndoOutcome::Unverified { why };
                }
            }
            tokio::time::sleep(READ_BACK_EVERY).await;
        }
    };
    let ended = tokio::time::timeout(GONE_WITHIN, read_back).await;
    Ok(ended.unwrap_or_else(|_| {
        let finalizers = finalizers.join(", ");
        let why = format!("{object} is still there {GONE_WITHIN:?} after its deletion; finalizers: {finalizers}");
        UndoOutcome::Unverified { why }
    }))
}

/// How long to wait before the API is asked again, if that may help: it is busy or broken, somebody wrote in between,
/// or nothing is known of the request. Everything that undoes can be done twice.
fn again(error: &kube::Error, wait: Duration) -> Option<Duration> {
    match error {
        kube::Error::Api(status) => {
            let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let asked = Duration::from_secs(u64::from(asked));
            matches!(status.code, 408 | 409 | 410 | 429 | 500..=599).then_some(wait.max(asked))
        }
        kube::Error::SerdeError(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => Some(wait),
        _ => None,
    }
}

/// Whether an error says that nobody is there, or nobody who can answer.
fn is_no_answer(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 408 | 429 | 500..=599),
        kube::Error::SerdeError(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}

/// Puts a value into a merge patch; `None` takes the field away.
pub(super) fn merge(patch: &mut Value, pointer: &str, value: Option<&Value>) {
    let place = keys(pointer).fold(patch, |at, key| &mut at[key]);
    *place = value.cloned().unwrap_or(Value::Null);
}

fn leaked(object: &ObjectRef, error: &kube::Error) -> UndoOutcome {
    UndoOutcome::Leaked { why: format!("{object}: {error}; undo it by hand when the API answers again") }
}

impl Undoer for KubeUndoer {
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async move {
            let (silence, began) = (self.kubernetes.silence(), Instant::now());
            if silence.was_waited_for() && !self.answers(undo.object()).await {
                silence.goes_on();
                let why = format!(
                    "{}: the API has not answered for {ASK_WITHIN:?}; undo it by hand when it does",
                    undo.object()
                );
                return UndoOutcome::Leaked { why };
            }
            let mut wait = ASK_AGAIN;
            loop {
                let error = match self.once(undo).await {
                    Ok(outcome) => {
                        silence.ends();
                        return outcome;
                    }
                    Err(error) => error,
                };
                let deadline = match is_no_answer(&error) {
                    true => silence.goes_on().min(began),
                    false => {
                        silence.ends();
                        began
                    }
                } + ASK_WITHIN;
                let then = again(&error, wait).map(|wait| Instant::now() + wait);
                match then {
                    Some(then) if then < deadline => tokio::time::sleep_until(then).await,
                    _ => return leaked(undo.object(), &error),
                }
                wait = (wait * 2).min(ASK_AGAIN_AT_MOST);
            }
        })
    }

    fn stands<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async move {
            let object = undo.object();
            let told = |error: kube::Error| format!("{object}: {error}");
            let found = read(&self.kubernetes.objects(object), object).await.map_err(told)?;
            if found.is_none()
                && let Some(by) = self.moved(undo).await.map_err(told)?
            {
                return Ok(Standing::Gone { by });
            }
            Ok(standing(undo, found.as_ref()))
        })
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Reaper(self.connect.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;
    use futures_util::stream::{self, BoxStream};
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// The undo of a witness.
    fn the_pods_undo() -> Undo {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            resource: "pods".into(),
            namespace: Some("default".into()),
            name: "w".into(),
        };
        Undo::Delete { object, owner: "me".into(), uid: Some("1".into()), switch: None }
    }

    /// A cluster that fails until then, and what it is asked to undo.
    fn away_until(back: Option<Duration>) -> (KubeUndoer, Undo) {
        let since = Instant::now();
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            if back.is_none_or(|back| since.elapsed() < back) {
                return Err(std::io::Error::other("connection refused"));
            }
            let gone =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
            Ok(http::Response::builder()
                .status(404)
                .body(Body::from(gone.to_string().into_bytes()))
                .expect("a response"))
        });
        let undoer = KubeUndoer::awaited(Kubernetes::new(kube::Client::new(service, "default")));
        (undoer, the_pods_undo())
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_has_vanished_is_waited_for_once_by_all_undos_together() {
        let (since, (undoer, undo)) = (Instant::now(), away_until(None));
        for _ in 0..8 {
            assert!(matches!(undoer.clone().undo(&undo).await, UndoOutcome::Leaked { .. }));
        }
        let took = since.elapsed();
        assert!(took > ASK_WITHIN - ASK_AGAIN_AT_MOST && took < ASK_WITHIN + ASK_AGAIN_AT_MOST, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_comes_back_in_that_time_loses_no_undo() {
        let (undoer, undo) = away_until(Some(ASK_WITHIN - ASK_AGAIN_AT_MOST));
        assert!(undoer.undo(&undo).await.is_clean(), "the first waits for it");
        let (undoer, undo) = away_until(Some(ASK_WITHIN + ASK_AGAIN_AT_MOST));
        assert!(!undoer.undo(&undo).await.is_clean());
        tokio::time::sleep(ASK_AGAIN_AT_MOST * 2).await;
        assert!(undoer.undo(&undo).await.is_clean(), "those after it look again");
        let (undoer, undo) = away_until(Some(ASK_WITHIN * 3));
        assert!(!undoer.undo(&undo).await.is_clean());
        tokio::time::sleep(ASK_WITHIN + ASK_WITHIN / 2).await;
        assert!(undoer.undo(&undo).await.is_clean(), "another silence is waited for anew");
    }

    /// A connection that is lost without a word, at its head or in the middle of an answer, is asked again.
    #[tokio::test(start_paused = true)]
    async fn an_api_that_never_ends_its_answer_does_not_hold_up_an_undo() {
        for whole_head in [false, true] {
            let asked = Arc::new(AtomicUsize::new(0));
            let service = tower::service_fn(move |request: http::Request<Body>| {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                async move {
                    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w", "uid": "1",
                        "labels": {crate::rollback::OWNER_LABEL: "me"}}});
                    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
                    let (code, answer) = match number {
                        0 if whole_head => (200, None),
                        0 => std::future::pending().await,
                        1 | 2 => (200, Some(pod)),
                        _ => (404, Some(gone)),
                    };
                    drop(request);
                    let frame =
                        |answer: serde_json::Value| Ok::<_, std::io::Error>(Frame::data(answer.to_string().into()));
                    let frames: BoxStream<'_, Result<Frame<Bytes>, std::io::Error>> = match answer {
                        Some(answer) => stream::iter([frame(answer)]).boxed(),
                        None => stream::pending().boxed(),
                    };
                    let response = http::Response::builder().status(code).body(StreamBody::new(frames));
                    Ok::<_, std::io::Error>(response.expect("a response"))
                }
            });
            let undoer = KubeUndoer::awaited(Kubernetes::new(kube::Client::new(service, "default")));
            let undo = the_pods_undo();
            let ended = tokio::time::timeout(Duration::from_secs(60), undoer.undo(&undo)).await;
            assert_eq!(ended.expect("it ends"), UndoOutcome::Reverted, "{whole_head}");
        }
    }
}
