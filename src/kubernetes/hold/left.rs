//! What a dead run has left, as the cluster alone shows it.
//!
//! A lease proves it: it names the run's dead-man's switch, to which what the run created belongs, and the uid of what
//! it changed, which carries its old values. A label alone proves nothing: anybody can write one.

use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use super::super::{KubeUndoer, Kubernetes, KubernetesError, copies};
use super::lease::{self, Changed, Holder, Watched};
use crate::clock::Clock;
use crate::rollback::{
    ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Original, RUN_LABEL, Undo, UndoOutcome, Undoer, is_alive, is_dead,
};

/// The kinds of what faults and witnesses create: api version, kind, plural.
const CREATED: &[(&str, &str, &str)] = &[
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("v1", "Pod", "pods"),
    ("chaos-mesh.org/v1alpha1", "NetworkChaos", "networkchaos"),
];

impl Holder {
    /// Whether it is proved dead or alive by its process, which is known on its own machine alone.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        match (is_dead(&self.process), is_alive(&self.process)) {
            (true, _) => Some(Fate::Dead),
            (false, true) => Some(Fate::Alive),
            (false, false) => None,
        }
    }
}

/// Whether a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its process has gone, or it was silent for longer than it may be.
    Dead,
    /// Its process is there, or it was heard of.
    Alive,
}

/// Watches holders until it is known of each whether it lives: as long as the most patient of them may be silent.
///
/// # Errors
/// The API does not answer.
pub async fn fates(
    kubernetes: &Kubernetes,
    clock: &Clock,
    found: Vec<Leftover>,
) -> Result<Vec<(Leftover, Fate)>, KubernetesError> {
    let mut known: Vec<(Leftover, Fate)> = Vec::new();
    let mut watched: Vec<(Leftover, Watched)> = Vec::new();
    for left in found {
        match left.holder.fate() {
            Some(fate) => known.push((left, fate)),
            None => watched.push((left, Watched::default())),
        }
    }
    while !watched.is_empty() {
        let mut still = Vec::new();
        for (left, mut watch) in watched {
            let read = kubernetes.objects(&left.lease).get_opt(&left.lease.name).await;
            let read = read.map_err(KubernetesError::api(format!("read {}", left.lease)))?;
            // Gone meanwhile: it was given back.
            let Some(read) = read.and_then(|read| read.try_parse::<LeaseObject>().ok()) else { continue };
            let now = Leftover { holder: lease::holder(&read), ..left };
            match watch.fate(&now.holder, clock.elapsed()) {
                Some(fate) => known.push((now, fate)),
                None => still.push((now, watch)),
            }
        }
        watched = still;
        if !watched.is_empty() {
            clock.sleep(lease::LOOK_EVERY).await;
        }
    }
    Ok(known)
}

/// A place that a run holds or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its lease.
    pub lease: ObjectRef,
    /// Who holds it.
    pub holder: Holder,
}

impl Leftover {
    /// What the holder has on there, as far as the cluster proves it.
    ///
    /// # Errors
    /// The API does not answer, or does not let this user see whether the holder's switch is still on.
    pub async fn on(&self, kubernetes: &Kubernetes) -> Result<On, KubernetesError> {
        on(kubernetes, self.lease.namespace.as_deref().unwrap_or_default(), &self.holder).await
    }

    /// Undoes what the holder, which is dead, has left, the newest first; then removes its lease, if all that is gone
    /// and nobody has renewed it since. What this user may not see is told on standard error: it goes with the switch.
    ///
    /// # Errors
    /// As [`on`](Self::on). How each undo ended is in the answer.
    pub async fn clear(&self, kubernetes: &Kubernetes) -> Result<Vec<(Undo, UndoOutcome)>, KubernetesError> {
        let undoer = KubeUndoer::awaited(kubernetes.clone());
        let mut done = Vec::new();
        let On { undos, unknown } = self.on(kubernetes).await?;
        for unknown in unknown {
            crate::journal::complain(&format!("of what {} has left, not all is known: {unknown}", self.holder));
        }
        for undo in undos.into_iter().rev() {
            let outcome = undoer.undo(&undo).await;
            done.push((undo, outcome));
        }
        if done.iter().all(|(_, outcome)| outcome.is_clean()) {
            lease::remove(kubernetes, &self.lease, &self.holder).await?;
        }
        Ok(done)
    }
}

/// All leases of runs: of the cluster, or of one namespace.
///
/// # Errors
/// The API does not answer, or the user may not list leases there.
pub async fn leftovers(kubernetes: &Kubernetes, namespace: Option<&str>) -> Result<Vec<Leftover>, KubernetesError> {
    let client = kubernetes.short().clone();
    let api: Api<LeaseObject> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let all = api.list(&ListParams::default().labels(RUN_LABEL)).await;
    let all = all.map_err(KubernetesError::api("list the leases of runs"))?;
    Ok(all
        .into_iter()
        .map(|lease| {
            let metadata = &lease.metadata;
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            let object = lease::named(namespace.unwrap_or_default(), name.unwrap_or_default());
            Leftover { lease: object, holder: lease::holder(&lease) }
        })
        .collect())
}

/// What a run has on in a place, as far as the cluster proves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct On {
    /// How it is undone, oldest first.
    pub undos: Vec<Undo>,
    /// What this user may not see, in words. If the run has any of it, that ends with the run's switch.
    pub unknown: Vec<String>,
}

async fn on(kubernetes: &Kubernetes, namespace: &str, holder: &Holder) -> Result<On, KubernetesError> {
    let On { mut undos, mut unknown } = On::default();
    if let Some(switch) = &holder.switch {
        let job = ("batch/v1", "Job", "jobs");
        for (api_version, kind, resource) in [&job].into_iter().chain(CREATED) {
            let object = |name: &str| ObjectRef {
                api_version: (*api_version).into(),
                kind: (*kind).into(),
                resource: (*resource).into(),
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
            };
            let params = ListParams::default().labels(&format!("{RUN_LABEL}={}", holder.run));
            let found = match kubernetes.objects(&object("")).list(&params).await {
                // A cluster without that kind has none of them.
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                // All of it goes with the switch, so that the switch alone must be seen.
                Err(kube::Error::Api(status)) if status.code == 403 && kind != &"Job" => {
                    if has(kubernetes, api_version, resource).await {
                        unknown.push(format!("{resource} in namespace {namespace}: {}", status.message));
                    }
                    continue;
                }
                found => found,
            };
            for found in found.map_err(KubernetesError::api(format!("list {resource} in namespace {namespace}")))? {
                if belongs_to(&found, switch) {
                    let metadata = found.metadata;
                    let owner = metadata.labels.and_then(|mut labels| labels.remove(OWNER_LABEL)).unwrap_or_default();
                    let object = object(&metadata.name.unwrap_or_default());
                    undos.push(Undo::Delete { object, owner, uid: metadata.uid, switch: None });
                }
            }
        }
    }
    for Changed { object, uid } in &holder.changed {
        let found = kubernetes.objects(object).get_opt(&object.name).await;
        let found = found.map_err(KubernetesError::api(format!("read {object}")))?;
        let Some(found) = found.filter(|found| found.metadata.uid.as_ref() == Some(uid)) else { continue };
        let text = found.metadata.annotations.and_then(|mut all| all.remove(ORIGINAL_ANNOTATION));
        let original = text.as_deref().and_then(|text| Original::read(text).ok());
        let restore = |by, fields| Undo::Restore { object: object.clone(), uid: uid.clone(), by: Some(by), fields };
        match original {
            Some(original) if original.by.run == holder.run && original.uid == *uid => {
                undos.push(restore(original.by, original.fields));
            }
            // It was put back, and its holder died before the copies of its mark had gone.
            None if text.is_none() && copies::of(object) => {
                let left = copies::left(kubernetes, object, uid, &holder.run).await;
                let left = left.map_err(KubernetesError::api(format!("read the sets of {object}")))?;
                undos.extend(left.into_iter().map(|by| restore(by, Vec::new())));
            }
            _ => {}
        }
    }
    Ok(On { undos, unknown })
}

/// Whether the cluster has a kind at all: what it has not is refused too. Everybody may ask that.
async fn has(kubernetes: &Kubernetes, api_version: &str, resource: &str) -> bool {
    let client = kubernetes.short();
    let all = match api_version {
        "v1" => client.list_core_api_resources("v1").await,
        grouped => client.list_api_group_resources(grouped).await,
    };
    match all {
        Ok(all) => all.resources.iter().any(|known| known.name == resource),
        Err(kube::Error::Api(status)) => status.code != 404,
        Err(_) => true,
    }
}

/// The switch itself, or what it takes with it.
fn belongs_to(found: &DynamicObject, switch: &str) -> bool {
    let owners = found.metadata.owner_references.iter().flatten();
    found.metadata.uid.as_deref() == Some(switch) || owners.into_iter().any(|owner| owner.uid == switch)
}
