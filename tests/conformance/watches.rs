//! Watches.

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use steadfast::prelude::*;

use crate::support::Place;

/// What a watch says until its time is over: the kind of event, the name, the version.
async fn events(
    maps: &Api<ConfigMap>,
    params: &WatchParams,
    from: &str,
) -> Result<Vec<(&'static str, String, u64)>, kube::Error> {
    let stream = maps.watch(params, from).await?;
    let named = |word, map: &ConfigMap| {
        let version = map.metadata.resource_version.clone().unwrap_or_default();
        (word, map.metadata.name.clone().unwrap_or_default(), version.parse().unwrap_or(0))
    };
    let told = stream.map_ok(|event| match event {
        WatchEvent::Added(map) => named("added", &map),
        WatchEvent::Modified(map) => named("modified", &map),
        WatchEvent::Deleted(map) => named("deleted", &map),
        WatchEvent::Bookmark(mark) => ("bookmark", String::new(), mark.metadata.resource_version.parse().unwrap_or(0)),
        WatchEvent::Error(error) => ("error", error.reason.clone(), u64::from(error.code)),
    });
    told.try_collect().await
}

fn words(events: &[(&'static str, String, u64)]) -> Vec<(&'static str, String)> {
    events.iter().map(|(word, name, _)| (*word, name.clone())).collect()
}

/// Seen on 1.34.4: events come in the order of versions; the deleted object carries the version of its deletion.
#[steadfast::test]
async fn changes_come_in_their_order(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let from = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    place.map("m", json!({"w": "1"})).await?;
    let changed = maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
    maps.delete("m", &DeleteParams::default()).await?;
    let seen = events(&maps, &WatchParams::default().labels("w=1").timeout(1).disable_bookmarks(), &from).await?;
    assert_eq!(words(&seen), [("added", "m".into()), ("modified", "m".into()), ("deleted", "m".into())]);
    let modified: u64 = changed.metadata.resource_version.unwrap_or_default().parse().unwrap_or(0);
    assert_eq!(seen[1].2, modified);
    assert!(seen[2].2 > modified);
    place.end().await
}

/// Seen on 1.34.4: who leaves the selector is deleted, who enters it is added; a hidden change is not told.
#[steadfast::test]
async fn selectors_are_left_and_entered(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    place.map("in", json!({"w": "1"})).await?;
    let from = place.map("out", json!({"w": "2"})).await?.metadata.resource_version.unwrap_or_default();
    let relabel = async |name: &str, value: &str| {
        maps.patch(name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"w": value}}}))).await
    };
    relabel("out", "3").await?;
    relabel("in", "2").await?;
    relabel("out", "1").await?;
    let seen = events(&maps, &WatchParams::default().labels("w=1").timeout(1).disable_bookmarks(), &from).await?;
    assert_eq!(words(&seen), [("deleted", "in".into()), ("added", "out".into())]);
    place.end().await
}

/// Seen on 1.34.4: version 0 begins with what is there.
#[steadfast::test]
async fn version_zero_begins_with_what_is_there(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    for name in ["a", "b"] {
        place.map(name, json!({"w": "1"})).await?;
    }
    let maps: Api<ConfigMap> = place.api();
    let mut seen = events(&maps, &WatchParams::default().labels("w=1").timeout(1).disable_bookmarks(), "0").await?;
    seen.sort();
    assert_eq!(words(&seen), [("added", "a".into()), ("added", "b".into())]);
    place.end().await
}

/// Seen on 1.34.4: from a version that is long gone the watch says 410 as an event, with HTTP 200.
#[steadfast::test]
async fn a_version_that_is_gone(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let seen = events(&maps, &WatchParams::default().timeout(2), "1").await?;
    assert_eq!(seen, [("error", "Expired".to_owned(), 410)]);
    place.end().await
}

/// Seen on 1.34.4: one or two bookmarks come before the end when the cluster has moved on, though the selector hides it.
#[steadfast::test]
async fn bookmarks_tell_how_far_it_has_come(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let from = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let (watching, clock) = (maps.clone(), cluster.clock().clone());
    let writes = async {
        clock.sleep(secs(1)).await;
        place.map("hidden", json!({})).await
    };
    let params = WatchParams::default().labels("none=such").timeout(6);
    let (seen, written) = futures_util::future::join(events(&watching, &params, &from), writes).await;
    let written: u64 = written?.metadata.resource_version.unwrap_or_default().parse().unwrap_or(0);
    let seen = seen?;
    assert!(!seen.is_empty() && words(&seen).iter().all(|event| event.0 == "bookmark"), "{seen:?}");
    assert!(seen.iter().all(|event| event.2 >= written), "{seen:?} after {written}");
    place.end().await
}

/// Seen on 1.34.4: a pod that leaves a field selector is deleted for its watcher.
#[steadfast::test]
async fn fields_are_watched_too(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let container = json!({"name": "c", "image": "absent:1", "imagePullPolicy": "Never"});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [container], "nodeSelector": {"none": "such"}}});
    let from = place.create::<Pod>(pod).await?.metadata.resource_version.unwrap_or_default();
    let pods: Api<Pod> = place.api();
    let failed = json!({"status": {"phase": "Failed"}});
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(failed)).await?;
    let params = WatchParams::default().fields("status.phase=Pending").timeout(1).disable_bookmarks();
    let seen: Vec<WatchEvent<Pod>> = pods.watch(&params, &from).await?.try_collect().await?;
    assert!(
        matches!(seen.last(), Some(WatchEvent::Deleted(pod)) if pod.metadata.name.as_deref() == Some("p")),
        "{seen:?}"
    );
    place.end().await
}
