//! What dead runs left on a cluster is undone when the next run opens it, and by `steadfast sweep`.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use tokio::sync::Mutex;

use super::ClusterError;
use super::network::NetworkCluster;
use crate::clock::Clock;
use crate::kubernetes::{Fate, Kubernetes, leftovers};
use crate::rollback::{
    Complaint, Finding, OWNER_LABEL, ObjectRef, PROCESS_ANNOTATION, StateDir, Sweeper, Undo, Undoer, is_dead, sweep,
};

/// How long opening a cluster may wait for it.
const WITHIN: Duration = Duration::from_secs(60);

/// The clusters that this process has swept: their uid and server.
static SWEPT: Mutex<BTreeSet<(String, String)>> = Mutex::const_new(BTreeSet::new());

/// Undoes what dead runs left on this cluster, unless this process has done so before, and says so. What cannot be
/// undone is said too, and is no error: it stays in its ledger.
///
/// # Errors
/// There is no state folder, or no client can be made.
pub(super) async fn once(network: &NetworkCluster) -> Result<(), ClusterError> {
    let mut swept = SWEPT.lock().await;
    let cluster = (network.uid().to_owned(), network.describe());
    if swept.contains(&cluster) {
        return Ok(());
    }
    let (kubernetes, state) = (network.kubernetes()?, StateDir::from_env()?);
    let undoer = network.undoer(&kubernetes);
    let mut done = Vec::new();
    let work = async {
        by_ledger(&state, network.uid(), &*undoer, &mut done).await;
        by_lease(&kubernetes, &mut done).await;
        by_label(&kubernetes, &*undoer, &mut done).await;
    };
    if tokio::time::timeout(WITHIN, work).await.is_err() {
        done.push(format!("and what took longer than {WITHIN:?} is left for the next one"));
    }
    if !done.is_empty() {
        let (what, place) = (done.join(", "), network.describe());
        crate::journal::complain(&format!("undid what dead runs left on {place}: {what}"));
    }
    swept.insert(cluster);
    Ok(())
}

/// What this user's ledgers say of runs whose process does not hold them any more.
async fn by_ledger(state: &StateDir, uid: &str, undoer: &dyn Undoer, done: &mut Vec<String>) {
    let by = Sweeper::Run { now: Clock::real().now() };
    let found = match sweep(state, uid, undoer, by).await {
        Ok(found) => found,
        Err(error) => return done.push(format!("not all, for {error}")),
    };
    for ledger in found {
        let undone = match ledger.finding {
            Finding::Undone(undone) => undone,
            Finding::Unreadable(why) => {
                done.push(format!("not what {} says, which cannot be read: {why}", ledger.path.display()));
                continue;
            }
            Finding::Alive | Finding::NotThisCluster | Finding::OtherMachine => continue,
        };
        done.extend(undone.iter().map(|(undo, outcome)| outcome.of(undo)));
        // A line that was cut off is how a process dies.
        let strange = ledger.complaints.iter().filter(|complaint| !matches!(complaint, Complaint::Torn { .. }));
        done.extend(strange.map(|complaint| format!("{}: {complaint}", ledger.path.display())));
    }
}

/// What leases prove to be left by runs whose process is dead, as far as this machine can know that. Of a run of
/// another machine only the silence shows it, for which nobody waits here: whoever wants its place, or sweeps, does.
async fn by_lease(kubernetes: &Kubernetes, done: &mut Vec<String>) {
    // Who may not list all leases takes his own places one by one.
    let Ok(found) = leftovers(kubernetes, None).await else { return };
    for left in found.into_iter().filter(|left| left.holder.fate() == Some(Fate::Dead)) {
        match left.clear(kubernetes).await {
            Ok(undone) => done.extend(undone.iter().map(|(undo, outcome)| outcome.of(undo))),
            Err(error) => done.push(format!("not what {} holds, for {error}", left.lease)),
        }
    }
}

/// Namespaces of tests whose process is proved dead by what they say of it: its ledger may lie in another folder.
async fn by_label(kubernetes: &Kubernetes, undoer: &dyn Undoer, done: &mut Vec<String>) {
    let api: Api<Namespace> = Api::all(kubernetes.client().clone());
    // Who may not list namespaces has made none.
    let Ok(owned) = api.list(&ListParams::default().labels(OWNER_LABEL)).await else { return };
    for namespace in owned {
        let metadata = namespace.metadata;
        let text = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
            map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
        };
        if metadata.deletion_timestamp.is_some() || !is_dead(&text(&metadata.annotations, PROCESS_ANNOTATION)) {
            continue;
        }
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            resource: "namespaces".into(),
            namespace: None,
            name: metadata.name.unwrap_or_default(),
        };
        let undo = Undo::Delete { object, owner: text(&metadata.labels, OWNER_LABEL), uid: metadata.uid, switch: None };
        let outcome = undoer.undo(&undo).await;
        done.push(outcome.of(&undo));
    }
}
