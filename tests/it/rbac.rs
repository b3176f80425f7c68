//! docs/rbac.yaml: it has every right that faults, forwarded ports and sweeps need, and no other.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::{Api, PostParams};
use serde_json::json;
use steadfast::experiment::{Environment, Right};
use steadfast::kubernetes::{Beat, leftovers};
use steadfast::prelude::*;

use crate::support::{client_of, front_answers, objects};

/// What is needed beside the faults: who the cluster is, services' addresses, ports that are forwarded, what
/// the cluster reports, sweeps.
const BESIDE: &[(&str, &str, &str, Where)] = &[
    ("get", "", "namespaces", Where::Anywhere),
    ("get", "", "services", Where::InNamespace),
    ("list", "", "services", Where::InNamespace),
    ("get", "", "pods/portforward", Where::InNamespace),
    ("create", "", "pods/portforward", Where::InNamespace),
    ("list", "", "events", Where::InNamespace),
    ("list", "coordination.k8s.io", "leases", Where::Anywhere),
];

/// Where a right holds: by a Role of `default`, or by a ClusterRole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    InNamespace,
    Anywhere,
}

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
        assert_eq!(journal.telemetry.missing, [""; 0]);
    }

    // What `steadfast sweep` does first.
    assert!(leftovers(robot.kubernetes(), None).await?.is_empty(), "nothing is left, in whichever namespace");
    // What a forwarded port needs: in this namespace, and in no other.
    for verb in ["get", "create"] {
        for (namespace, allowed) in [("default", true), ("kube-system", false)] {
            let right = json!({"verb": verb, "resource": "pods", "subresource": "portforward", "namespace": namespace});
            let review = serde_json::from_value(json!({"spec": {"resourceAttributes": right}})).expect("a review");
            let reviews: Api<SelfSubjectAccessReview> = Api::all(robot.client());
            let found = reviews.create(&PostParams::default(), &review).await?;
            assert_eq!(found.status.map(|status| status.allowed), Some(allowed), "{right}");
        }
    }

    let place = |namespace: Option<String>| match namespace.as_deref() {
        Some("default") => Where::InNamespace,
        Some(other) => panic!("the faults are in default, not in {other}"),
        None => Where::Anywhere,
    };
    let needed: BTreeSet<_> = needed
        .into_iter()
        .map(|Right { verb, group, resource, namespace }| (verb, group, resource, place(namespace)))
        .collect();
    let all = objects(&cluster);
    let named = |kind| all.iter().filter(move |o| o["kind"] == kind && o["metadata"]["name"] == "steadfast");
    let (roles, cluster_roles) = (named("Role").collect::<Vec<_>>(), named("ClusterRole").collect::<Vec<_>>());
    let ([role], [cluster_role]) = (&roles[..], &cluster_roles[..]) else {
        panic!("one Role and one ClusterRole: {roles:?} {cluster_roles:?}")
    };
    assert_eq!(role["metadata"]["namespace"], "default");
    for (role, at) in [(role, Where::InNamespace), (cluster_role, Where::Anywhere)] {
        assert!(role["rules"].as_array().is_some_and(|rules| rules.len() > 2), "{role:?}");
        for rule in role["rules"].as_array().into_iter().flatten() {
            let all = |key: &str| rule[key].as_array().cloned().unwrap_or_default();
            for (verb, group, resource) in all("verbs").iter().flat_map(|verb| {
                all("apiGroups").into_iter().flat_map(move |group| {
                    all("resources").into_iter().map(move |resource| (verb.clone(), group.clone(), resource))
                })
            }) {
                let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
                let right = (text(&verb), text(&group), text(&resource), at);
                let beside =
                    BESIDE.iter().any(|(v, g, r, at)| (*v, *g, *r, *at) == (&*right.0, &*right.1, &*right.2, right.3));
                let only = if right.2 == "namespaces" { json!(["kube-system"]) } else { json!(null) };
                assert_eq!(rule["resourceNames"], only, "of which it may: {rule}");
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
