//! The Lease that names the run which holds a place.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{Kubernetes, KubernetesError, metadata};
use super::{Fate, Holding, Leftover};
use crate::clock::Timestamp;
use crate::experiment::{Mark, Place};
use crate::rollback::{ObjectRef, PROCESS_ANNOTATION, Undo, this_host};

/// The annotation that names the user and machine of a run.
const USER_ANNOTATION: &str = "steadfast.dev/user";

/// The annotation with the number of a run's process.
const PID_ANNOTATION: &str = "steadfast.dev/pid";

/// The annotation with the uid of a run's dead-man's switch: what belongs to it is the run's.
const SWITCH_ANNOTATION: &str = "steadfast.dev/switch";

/// The annotation that lists what a run changes.
const CHANGED_ANNOTATION: &str = "steadfast.dev/changed";

/// How long a run waits for one of the same user.
const QUEUE: Duration = Duration::from_secs(300);

/// How often it looks meanwhile.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A Lease that this run has.
#[derive(Clone)]
pub(super) struct Lease {
    namespace: String,
    name: String,
    pub(super) uid: String,
}

/// An object that a run changes, as its lease has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) object: ObjectRef,
    pub(super) uid: String,
}

impl Changed {
    pub(super) fn of(undo: &Undo) -> Option<Self> {
        match undo {
            Undo::Restore { object, uid, .. } => Some(Self { object: object.clone(), uid: uid.clone() }),
            _ => None,
        }
    }
}

/// Who holds a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// `USER@HOST`.
    pub user: String,
    /// The number of its process.
    pub pid: String,
    /// The process, as no other ever is.
    pub process: String,
    /// Since when.
    pub since: String,
    /// How long it may be silent.
    pub silent: Duration,
    /// The uid of its switch, if it has one.
    pub(super) switch: Option<String>,
    pub(super) changed: Vec<Changed>,
    /// What tells one state of the lease from the next.
    pub(super) version: (String, String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} of {}, process {}, since {}", self.run, self.user, self.pid, self.since)
    }
}

/// A place that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else has it, and is alive.
    #[error(
        "{place} is held by {holder}, which is alive; wait for it, or end it. What is on: `{sweep} --list`; what a dead run has left is undone by `{sweep}`"
    )]
    Foreign {
        /// The place.
        place: Place,
        /// Who.
        holder: Box<Holder>,
        /// The command.
        sweep: String,
    },
    /// Another run of this user has it for too long.
    #[error(
        "waited {within:?} for {place}, which is held by {holder}; end that one, or let faults on one place run one after another. What is on: `{sweep} --list`"
    )]
    Busy {
        /// The place.
        place: Place,
        /// Who.
        holder: Box<Holder>,
        /// How long was waited.
        within: Duration,
        /// The command.
        sweep: String,
    },
    /// What a dead holder has left cannot be undone.
    #[error(
        "{place} was held by {holder}, which is dead, and what it has left cannot be undone: {why}; `{sweep}` tries again"
    )]
    NotUndone {
        /// The place.
        place: Place,
        /// Who.
        holder: Box<Holder>,
        /// What is left.
        why: String,
        /// The command.
        sweep: String,
    },
    /// The API answers with an error.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
}

/// Where the lease of a place lies.
pub(crate) fn namespace(place: &Place) -> &str {
    match place {
        Place::Namespace(namespace) => namespace,
        Place::Node(_) => "default",
    }
}

pub(super) fn object(place: &Place) -> ObjectRef {
    let name = match place {
        Place::Namespace(_) => "steadfast".to_owned(),
        Place::Node(node) => format!("steadfast-node-{node}"),
    };
    named(namespace(place), &name)
}

pub(super) fn named(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "coordination.k8s.io/v1".into(),
        kind: "Lease".into(),
        resource: "leases".into(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
}

/// `USER@HOST` of this process.
pub(super) fn this_user() -> String {
    let user = crate::variables::text("USER").unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    format!("{user}@{}", this_host())
}

pub(super) fn holder(lease: &LeaseObject) -> Holder {
    let metadata = &lease.metadata;
    let note = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let spec = lease.spec.clone().unwrap_or_default();
    let time = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>| {
        time.map(|time| time.0.to_string()).unwrap_or_default()
    };
    Holder {
        run: spec.holder_identity.unwrap_or_default(),
        user: note(USER_ANNOTATION).unwrap_or_else(|| "an unknown user".into()),
        pid: note(PID_ANNOTATION).unwrap_or_default(),
        process: note(PROCESS_ANNOTATION).unwrap_or_default(),
        since: time(spec.acquire_time),
        silent: Duration::from_secs(
            spec.lease_duration_seconds.map_or(30, |seconds| seconds.max(1).unsigned_abs().into()),
        ),
        switch: note(SWITCH_ANNOTATION),
        changed: note(CHANGED_ANNOTATION).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        version: (metadata.uid.clone().unwrap_or_default(), metadata.resource_version.clone().unwrap_or_default()),
    }
}

fn body(ground: &Holding, place: &Place, mark: &Mark) -> serde_json::Value {
    let object = object(place);
    // It belongs to no switch: with a node's lease the proof would go of what only a sweep can undo.
    let mark = Mark { switches: Vec::new(), ..mark.clone() };
    let mut metadata = metadata(&mark, &object.name, object.namespace.as_deref());
    metadata["annotations"] = json!({
        USER_ANNOTATION: this_user(),
        PID_ANNOTATION: std::process::id().to_string(),
        PROCESS_ANNOTATION: ground.process,
    });
    let now = micro(ground.clock.now());
    json!({
        "apiVersion": object.api_version, "kind": object.kind, "metadata": metadata,
        "spec": {
            "holderIdentity": mark.run, "leaseDurationSeconds": ground.beat.ahead.as_secs(),
            "acquireTime": now, "renewTime": now,
        },
    })
}

/// As a `MicroTime` is written.
fn micro(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Takes the lease of a place: waits for runs of this user, undoes what a dead holder has left.
pub(super) async fn take(ground: &Holding, place: &Place, mark: &Mark) -> Result<Lease, LeaseError> {
    let object = object(place);
    let namespace = namespace(place);
    let api: Api<LeaseObject> = Api::namespaced(ground.kubernetes.short().clone(), namespace);
    let body: LeaseObject = serde_json::from_value(body(ground, place, mark))
        .map_err(|error| KubernetesError::api(format!("make {object}"))(kube::Error::SerdeError(error)))?;
    let begun = ground.clock.elapsed();
    let mut watched = Watched::default();
    loop {
        let uid = match api.create(&PostParams::default(), &body).await {
            Ok(created) => created.metadata.uid,
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            Err(error) => return Err(KubernetesError::api(format!("create {object}"))(error).into()),
        };
        if let Some(uid) = uid {
            return Ok(Lease { namespace: namespace.to_owned(), name: object.name, uid });
        }
        let read = api.get_opt(&object.name).await.map_err(KubernetesError::api(format!("read {object}")))?;
        let Some(found) = read else { continue };
        let holder = holder(&found);
        let fate = watched.fate(&holder, ground.clock.elapsed());
        if fate == Some(Fate::Dead) {
            clear_after(ground, place, holder).await?;
            continue;
        }
        let (holder, sweep) = (Box::new(holder), ground.sweep.clone());
        if holder.user == this_user() {
            if ground.clock.elapsed().saturating_sub(begun) >= QUEUE {
                return Err(LeaseError::Busy { place: place.clone(), holder, within: QUEUE, sweep });
            }
        } else if fate == Some(Fate::Alive) {
            return Err(LeaseError::Foreign { place: place.clone(), holder, sweep });
        }
        ground.clock.sleep(LOOK_EVERY).await;
    }
}

/// Undoes what a holder of a place has left that is dead; true if there was one. Takes nothing.
pub(super) async fn clear(ground: &Holding, place: &Place) -> Result<bool, LeaseError> {
    let object = object(place);
    let api: Api<LeaseObject> = Api::namespaced(ground.kubernetes.short().clone(), namespace(place));
    let mut watched = Watched::default();
    loop {
        let read = api.get_opt(&object.name).await.map_err(KubernetesError::api(format!("read {object}")))?;
        let Some(found) = read else { return Ok(false) };
        let holder = holder(&found);
        match watched.fate(&holder, ground.clock.elapsed()) {
            Some(Fate::Alive) => return Ok(false),
            Some(Fate::Dead) => return clear_after(ground, place, holder).await.map(|()| true),
            None => ground.clock.sleep(LOOK_EVERY).await,
        }
    }
}

/// Undoes what a dead holder has left; an error if not all of it is known to be gone.
async fn clear_after(ground: &Holding, place: &Place, holder: Holder) -> Result<(), LeaseError> {
    let left = Leftover { lease: object(place), holder };
    let undone = left.clear(&ground.kubernetes).await?;
    let not = undone.iter().filter(|(_, outcome)| !outcome.is_clean());
    let why: Vec<_> = not.map(|(undo, outcome)| format!("{undo}: {outcome}")).collect();
    if why.is_empty() {
        return Ok(());
    }
    let (place, holder, sweep) = (place.clone(), Box::new(left.holder), ground.sweep.clone());
    Err(LeaseError::NotUndone { place, holder, why: why.join("; "), sweep })
}

/// Whether a holder lives, by what changes before our eyes: its clock may be another than ours.
#[derive(Default)]
pub(super) struct Watched {
    first: Option<((String, String), Duration)>,
    renewed: bool,
}

impl Watched {
    /// Dead: its process of this machine has gone, or it was silent for longer than it may be, its process or not. Alive:
    /// it was heard of before our eyes, or its process is there.
    pub(super) fn fate(&mut self, holder: &Holder, now: Duration) -> Option<Fate> {
        let process = holder.fate();
        if process == Some(Fate::Dead) {
            return process;
        }
        match &self.first {
            Some((version, since)) if *version == holder.version => {
                if now.saturating_sub(*since) > holder.silent {
                    return Some(Fate::Dead);
                }
            }
            first => {
                self.renewed = first.as_ref().is_some_and(|(version, _)| version.0 == holder.version.0);
                self.first = Some((holder.version.clone(), now));
            }
        }
        if self.renewed { Some(Fate::Alive) } else { process }
    }
}

/// Removes the lease of a dead holder; if somebody was faster, that is as well.
pub(super) async fn remove(
    kubernetes: &Kubernetes,
    object: &ObjectRef,
    holder: &Holder,
) -> Result<(), KubernetesError> {
    let (uid, version) = holder.version.clone();
    let preconditions = Preconditions { uid: Some(uid), resource_version: Some(version) };
    let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
    match kubernetes.objects(object).delete(&object.name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(KubernetesError::api(format!("delete {object}"))(error)),
    }
}

impl Lease {
    /// Says that the run lives; an error, in words, if the lease is another's by now.
    pub(super) async fn renew(&self, kubernetes: &Kubernetes, now: Timestamp) -> Result<(), String> {
        let lost = |why: &str| format!("lease {}/{} is lost: {why}", self.namespace, self.name);
        match self.patch(kubernetes, &json!({"spec": {"renewTime": micro(now)}})).await {
            Ok(()) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Err(lost(&status.message)),
            // Until the duration is over somebody may still come through.
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn name_switch(&self, kubernetes: &Kubernetes, uid: &str) -> Result<(), KubernetesError> {
        let patch = json!({"metadata": {"annotations": {SWITCH_ANNOTATION: uid}}});
        self.patch(kubernetes, &patch).await.map_err(KubernetesError::api("name the dead-man's switch in the lease"))
    }

    pub(super) async fn name_changed(&self, kubernetes: &Kubernetes, all: &[Changed]) -> Result<(), KubernetesError> {
        let doing = "name what is changed in the lease";
        let all = serde_json::to_string(all).map_err(|e| KubernetesError::api(doing)(kube::Error::SerdeError(e)))?;
        let patch = json!({"metadata": {"annotations": {CHANGED_ANNOTATION: all}}});
        self.patch(kubernetes, &patch).await.map_err(KubernetesError::api(doing))
    }

    /// Only this very lease: whoever takes a place over makes a new one.
    async fn patch(&self, kubernetes: &Kubernetes, patch: &serde_json::Value) -> Result<(), kube::Error> {
        let api: Api<LeaseObject> = Api::namespaced(kubernetes.short().clone(), &self.namespace);
        let mut patch = patch.clone();
        patch["metadata"]["uid"] = json!(self.uid);
        api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }
}
