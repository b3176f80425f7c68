//! What several tests need.

use steadfast::lab::store::Object;
use steadfast::prelude::*;

/// Every object of the lab but what changes by itself: what "nothing is left behind" is checked against.
pub fn objects(cluster: &Cluster) -> Vec<Object> {
    let lab = cluster.lab().expect("these tests run on the lab");
    let mut all = lab.store().dump();
    all.retain(|object| object["kind"] != "Event");
    all
}

/// The names of all NetworkPolicies and of all pods that a run made.
pub fn left_behind(cluster: &Cluster) -> Vec<String> {
    objects(cluster)
        .iter()
        .filter(|o| !o["metadata"]["labels"]["steadfast.dev/owner"].is_null())
        .map(|o| format!("{} {}", o["kind"], o["metadata"]["name"]))
        .collect()
}

/// A hypothesis that the shop's front meets also without back.
pub fn front_answers(cluster: &Cluster) -> Hypothesis {
    let front = cluster.namespace("default").service("front").url("/");
    Hypothesis::new("front answers").check(http::get(front).expect(status(200)))
}

/// The journal of an experiment that failed, as it was stored.
pub fn stored_journal(cluster: &Cluster, name: &str) -> Journal {
    use steadfast::experiment::Environment;
    Journal::read(&cluster.outputs().join(name)).expect("a journal is stored on every path")
}

/// Runs an experiment on the lab, whatever `STEADFAST_CLUSTER` says.
#[track_caller]
pub fn on_the_lab<F: AsyncFnOnce(Cluster) -> steadfast::Result>(body: F) {
    let place = std::panic::Location::caller();
    let name = format!("{}-{}", place.file(), place.line());
    if let Err(error) = steadfast::cluster::run_test_on(&steadfast::cluster::Target::Embedded, &name, body) {
        panic!("{error}");
    }
}

/// The lab's API as a client sees it that is somebody else.
pub fn client_of(cluster: &Cluster, user: &str) -> kube::Client {
    let user: ::http::HeaderValue = user.parse().expect("a user");
    let api = cluster.lab().expect("these tests run on the lab").api().clone();
    let service = tower::service_fn(move |mut request: ::http::Request<kube::client::Body>| {
        request.headers_mut().insert("impersonate-user", user.clone());
        let mut api = api.clone();
        async move { tower::Service::call(&mut api, request).await }
    });
    kube::Client::new(service, "default")
}
