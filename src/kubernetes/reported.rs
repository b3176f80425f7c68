//! What a cluster reports by itself: its events.

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};

use super::{Kubernetes, KubernetesError};
use crate::clock::Timestamp;
use crate::journal::ClusterEvent;

/// How many events are asked for.
const MOST: u32 = 2000;

/// The most letters of one message.
const MOST_LETTERS: usize = 1000;

/// The events of a namespace that were seen since `from`, in the order of time.
pub(crate) async fn events(
    kubernetes: &Kubernetes,
    namespace: &str,
    from: Timestamp,
) -> Result<Vec<ClusterEvent>, KubernetesError> {
    let api: Api<Event> = Api::namespaced(kubernetes.client().clone(), namespace);
    let doing = format!("list the events of namespace {namespace}");
    let found = api.list(&ListParams::default().limit(MOST)).await.map_err(KubernetesError::api(doing))?;
    // Events carry whole seconds.
    let from = from.as_second();
    let mut events: Vec<_> =
        found.items.into_iter().filter_map(event).filter(|event| event.at.as_second() >= from).collect();
    events.sort_by(|a, b| (a.at, &a.object, &a.reason, &a.message).cmp(&(b.at, &b.object, &b.reason, &b.message)));
    Ok(events)
}

/// `None` for one without a time.
fn event(event: Event) -> Option<ClusterEvent> {
    let series = event.series.as_ref();
    let seen = series.and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let at = seen
        .or(event.last_timestamp.as_ref().map(|at| at.0))
        .or(event.event_time.as_ref().map(|at| at.0))
        .or(event.first_timestamp.as_ref().map(|at| at.0))?;
    let of = event.involved_object;
    let place = of.namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1);
    Some(ClusterEvent {
        at,
        object: format!("{} {place}{}", of.kind.unwrap_or_default().to_lowercase(), of.name.unwrap_or_default()),
        reason: event.reason.unwrap_or_default(),
        warning: event.type_.as_deref() == Some("Warning"),
        message: event.message.unwrap_or_default().chars().take(MOST_LETTERS).collect(),
        count: u64::try_from(count).unwrap_or(1),
    })
}
