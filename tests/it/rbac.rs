//! docs/rbac.yaml: it has every right that the faults need, and no other.

use std::collections::BTreeSet;

use steadfast::experiment::{Environment, Right};
use steadfast::kubernetes::Beat;
use steadfast::prelude::*;

use crate::support::{client_of, front_answers, objects};

/// What is needed beside the faults: who the cluster is, services' addresses, ports that are forwarded, sweeps.
const BESIDE: &[(&str, &str, &str)] = &[
    ("get", "", "namespaces"),
    ("get", "", "services"),
    ("list", "", "services"),
    ("get", "", "pods/portforward"),
    ("create", "", "pods/portforward"),
    ("list", "coordination.k8s.io", "leases"),
];

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_rights_of_the_docs_are_enough_and_none_is_left_over(cluster: Cluster) -> steadfast::Result {
    cluster.apply_file(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rbac.yaml")).await?;
    let client = client_of(&cluster, "system:serviceaccount:default:steadfast");
    let robot = cluster.from_elsewhere(client, "the process of a robot", Beat::default())?;
    robot.kubernetes().cluster_uid().await?;
    let shop = robot.namespace("default");
    let node = objects(&cluster).into_iter().find(|object| object["kind"] == "Node").expect("the lab has a node");
    let node = robot.node(node["metadata"]["name"].as_str().expect("a name"));

    let faults = || Experiment::new("a fault", front_answers(&cluster)).without_recovery();
    let mut needed = BTreeSet::new();
    for experiment in [
        faults().inject(shop.pods("app=back").deny_ingress()),
        faults().inject(shop.pods("app=back").deny_egress()),
        faults().inject(shop.pods("app=back").delete()),
        faults().inject(shop.deployment("back").scale(0)),
        faults().inject(shop.service("back").blackhole()),
        faults().inject(node.cordon()),
    ] {
        let plan = experiment.plan(&robot).await?;
        assert_eq!(plan.lacking, [], "{plan}");
        assert!(!plan.to_string().contains("no dead-man's switch"), "{plan}");
        needed.extend(plan.rights);
        for place in &plan.places {
            let (held, switch) = robot.hold_rights(place);
            needed.extend(held.into_iter().chain(switch));
        }
        let journal = experiment.run(&robot).await?;
        assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    }

    let needed: BTreeSet<_> =
        needed.into_iter().map(|Right { verb, group, resource, .. }| (verb, group, resource)).collect();
    for role in objects(&cluster).iter().filter(|object| object["metadata"]["name"] == "steadfast") {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let all = |key: &str| rule[key].as_array().cloned().unwrap_or_default();
            for (verb, group, resource) in all("verbs").iter().flat_map(|verb| {
                all("apiGroups").into_iter().flat_map(move |group| {
                    all("resources").into_iter().map(move |resource| (verb.clone(), group.clone(), resource))
                })
            }) {
                let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
                let right = (text(&verb), text(&group), text(&resource));
                let beside = BESIDE.iter().any(|(v, g, r)| (*v, *g, *r) == (&*right.0, &*right.1, &*right.2));
                assert!(
                    beside || needed.contains(&right),
                    "docs/rbac.yaml gives a right that nothing needs: {right:?}"
                );
            }
        }
    }
    Ok(())
}

/// The first look at a cluster is refused: by name, with the remedy.
#[steadfast::test(needs = "embedded")]
async fn who_may_not_look_is_told_what_was_refused(cluster: Cluster) -> steadfast::Result {
    let kubernetes = steadfast::kubernetes::Kubernetes::new(client_of(&cluster, "anna"));
    let error = kubernetes.cluster_uid().await.expect_err("anna has no rights").to_string();
    let refused = r#"namespaces "kube-system" is forbidden: User "anna" cannot get resource "namespaces""#;
    assert!(error.contains(refused), "{error}");
    Ok(())
}
