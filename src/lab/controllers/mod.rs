//! The controllers: what makes pods of Deployments, starts them, and follows their readiness.
//!
//! One task reconciles everything, in a fixed order, whenever the store changes. It waits for changes and polls
//! nothing, so that an idle lab costs nothing.

mod endpoints;
mod garbage;
mod kubelet;
mod workloads;

use self::kubelet::Kubelet;
use super::store::Store;

pub(super) use kubelet::{Machine, NODE_NAME};

/// Reconciles until the task is aborted.
pub(super) async fn run(store: Store, machine: Machine) {
    let mut changed = store.subscribe();
    let mut kubelet = Kubelet::new(store.clone(), machine);
    loop {
        changed.borrow_and_update();
        workloads::reconcile(&store);
        kubelet.reconcile();
        endpoints::reconcile(&store);
        garbage::reconcile(&store);
        if changed.changed().await.is_err() {
            return;
        }
    }
}
