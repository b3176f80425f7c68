//! Where services of a cluster are reached, by where that is asked.

use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use steadfast::kubernetes::ServiceAddresses;
use steadfast::prelude::*;
use steadfast::transport::Resolve;

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_service_is_reached_by_what_leads_there(cluster: Cluster) -> steadfast::Result {
    let kubernetes = cluster.kubernetes().clone();
    let shop = cluster.namespace("default");
    let (front, back) = (shop.service("front").url("/a?b"), shop.service("back").url("/"));
    let told = async |addresses: &ServiceAddresses, address| match addresses.resolve(address).await {
        Ok(uri) => uri.to_string(),
        Err(error) => error.to_string(),
    };

    let here = ServiceAddresses::on_this_machine(kubernetes.clone());
    assert_eq!(told(&here, &front).await, "http://127.0.0.1:30080/a?b");
    assert!(told(&here, &back).await.contains("has no node port; use `namespace.port_of_service(..)`"));
    assert!(!told(&here, &back).await.contains("kind"), "nobody said that it is one of kind");

    let mapped = std::collections::BTreeMap::from([(30080, "127.0.0.2:81".parse().expect("an address"))]);
    let of_kind = ServiceAddresses::of_kind(kubernetes.clone(), mapped);
    assert_eq!(told(&of_kind, &front).await, "http://127.0.0.2:81/a?b");
    let of_kind = ServiceAddresses::of_kind(kubernetes.clone(), Default::default());
    assert!(told(&of_kind, &front).await.contains("which the kind cluster does not map to this machine"));

    let inside = ServiceAddresses::inside(kubernetes.clone());
    assert_eq!(told(&inside, &front).await, "http://front.default.svc:8000/a?b");

    // A tunnel ends on loopback too; only a node that has an address of this machine shows that its ports are here.
    let tunnel = ServiceAddresses::on_loopback(kubernetes.clone());
    assert!(told(&tunnel, &front).await.contains("has no load balancer"), "{}", told(&tunnel, &front).await);
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client());
    let here = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}});
    let name = nodes.list(&Default::default()).await?.items[0].metadata.name.clone().expect("a name");
    nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(here)).await?;
    let of_this_machine = ServiceAddresses::on_loopback(kubernetes.clone());
    assert_eq!(told(&of_this_machine, &front).await, "http://127.0.0.1:30080/a?b");

    let afar = ServiceAddresses::from_afar(kubernetes);
    let error = told(&afar, &front).await;
    assert!(error.contains("has no load balancer") && error.contains("port_of_service") && !error.contains("kind"));
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(cluster.client(), "default");
    let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    services.patch_status("front", &PatchParams::default(), &Patch::Merge(balanced)).await?;
    assert_eq!(told(&afar, &front).await, "http://192.0.2.7:8000/a?b");
    Ok(())
}
