//! One run at a time on a place.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use steadfast::kubernetes::Beat;
use steadfast::lab::resource::{DEPLOYMENTS, LEASES, NODES};
use steadfast::prelude::*;

use crate::support::{client_of, left_behind};

/// A lease of somebody elsewhere, of whose process nothing is known here.
fn foreign(cluster: &Cluster) -> steadfast::Result {
    let lease = json!({
        "metadata": {"name": "steadfast", "labels": {"steadfast.dev/run": "theirs"},
            "annotations": {"steadfast.dev/user": "eve@far", "steadfast.dev/pid": "7", "steadfast.dev/process": "a/b/7/1"}},
        "spec": {"holderIdentity": "theirs", "leaseDurationSeconds": 30, "acquireTime": "2025-12-31T23:00:00.000000Z"},
    });
    cluster.lab()?.store().create(&LEASES, "default", lease, false).expect("the lease is created");
    Ok(())
}

/// The cluster as a process of another machine has it, until its way to the API is cut.
fn elsewhere(cluster: &Cluster, process: &str) -> steadfast::Result<(Cluster, Arc<AtomicBool>)> {
    elsewhere_as(cluster, None, process)
}

/// As [`elsewhere`], for a user.
fn elsewhere_as(
    cluster: &Cluster,
    user: Option<&'static str>,
    process: &str,
) -> steadfast::Result<(Cluster, Arc<AtomicBool>)> {
    let (api, cut) = (cluster.lab()?.api().clone(), Arc::new(AtomicBool::new(false)));
    let is_cut = cut.clone();
    let service = tower::service_fn(move |mut request: ::http::Request<kube::client::Body>| {
        let (api, is_cut) = (api.clone(), is_cut.clone());
        if let Some(user) = user {
            request.headers_mut().insert("impersonate-user", ::http::HeaderValue::from_static(user));
        }
        async move {
            match is_cut.load(Ordering::SeqCst) {
                true => std::future::pending().await,
                false => tower::ServiceExt::oneshot(api, request).await,
            }
        }
    });
    Ok((cluster.from_elsewhere(kube::Client::new(service, "default"), process, Beat::default())?, cut))
}

/// A run on a namespace and on a node, for ten minutes.
fn scaled_and_cordoned(cluster: &Cluster) -> Experiment {
    Experiment::new("scaled and cordoned", Hypothesis::new("nothing is asked"))
        .inject(cluster.namespace("default").deployment("back").scale(0))
        .inject(cluster.node("lab-control-plane").cordon())
        .pause(secs(600))
}

fn cut(cluster: &Cluster) -> impl Fault + use<> {
    cluster.namespace("default").pods("app=back").deny_ingress().trust_without_proof("a test of the hold alone")
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn runs_of_one_user_take_turns(cluster: Cluster) -> steadfast::Result {
    let first = Run::start("first", &cluster).await?;
    let on = first.inject(cut(&cluster)).await?;
    let begun = cluster.clock().elapsed();
    let second = async {
        let run = Run::start("second", &cluster).await?;
        run.inject(cut(&cluster)).await?.rollback().await?;
        drop(run.finish().await?);
        Ok::<_, steadfast::Error>(cluster.clock().elapsed())
    };
    let ends = async {
        cluster.clock().sleep(secs(60)).await;
        on.rollback().await?;
        drop(first.finish().await?);
        Ok::<_, steadfast::Error>(())
    };
    let (second, first) = futures_util::future::join(second, ends).await;
    first?;
    let waited = second?.saturating_sub(begun);
    assert!(waited >= secs(60) && waited < secs(65), "{waited:?}");
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn who_waits_too_long_is_told_for_whom(cluster: Cluster) -> steadfast::Result {
    let first = Run::start("first", &cluster).await?;
    let _on = first.inject(cut(&cluster)).await?;
    let second = Run::start("second", &cluster).await?;
    let error = second.inject(cut(&cluster)).await.err().expect("the place is taken").to_string();
    for part in ["waited 300s for namespace default", "process ", "since ", "steadfast sweep --list"] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_living_holder_elsewhere_is_an_error_and_a_silent_one_is_not(cluster: Cluster) -> steadfast::Result {
    foreign(&cluster)?;
    let begun = cluster.clock().elapsed();
    let renews = async {
        loop {
            cluster.clock().sleep(secs(10)).await;
            let patch = json!({"spec": {"renewTime": format!("{:.6}", cluster.clock().now())}});
            let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
                kube::Api::namespaced(cluster.client(), "default");
            leases.patch("steadfast", &Default::default(), &kube::api::Patch::Merge(patch)).await.expect("renewed");
        }
    };
    let run = Run::start("ours", &cluster).await?;
    let injected = tokio::select! {
        biased;
        injected = run.inject(cut(&cluster)) => injected,
        () = renews => unreachable!("it goes on for ever"),
    };
    let error = injected.err().expect("somebody has it").to_string();
    for part in ["namespace default is held by run theirs of eve@far, process 7, since 2025-12-31", "steadfast sweep"] {
        assert!(error.contains(part), "{error}");
    }
    // And 2 s more, in which nothing of ours has come.
    assert!(cluster.clock().elapsed().saturating_sub(begun) < secs(14), "as soon as it was heard of");
    // Now it is silent.
    run.inject(cut(&cluster)).await?.rollback().await?;
    assert!(cluster.clock().elapsed().saturating_sub(begun) > secs(40), "only when it could be known");
    drop(run.finish().await?);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

/// What a dead run changed makes the next run of the same find nothing to do, until that is undone.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_same_run_as_a_dead_one_undoes_it_first(cluster: Cluster) -> steadfast::Result {
    let (dead, is_cut) = elsewhere(&cluster, "a process that is killed")?;
    let mut killed = ManuallyDrop::new(Box::pin(scaled_and_cordoned(&dead).run(&dead)));
    tokio::select! {
        biased;
        _ = &mut *killed => panic!("it goes on for ten minutes"),
        () = tokio::time::sleep(secs(60)) => is_cut.store(true, Ordering::SeqCst),
    }
    // The switch of the namespace ends, and must not take along what shows that the node is changed.
    tokio::time::sleep(secs(60)).await;
    let store = cluster.lab()?.store();
    assert_eq!(store.list(&LEASES, Some("default")).0.len(), 2);
    assert_eq!(store.list(&NODES, None).0[0]["spec"]["unschedulable"], true);
    let (next, _) = elsewhere(&cluster, "a process that goes on")?;
    let journal = scaled_and_cordoned(&next).run(&next).await?;
    assert!(journal.faults.iter().all(|fault| fault.proved), "{}", journal.summary());
    assert!(store.list(&NODES, None).0[0]["spec"]["unschedulable"].is_null());
    assert_eq!(store.get(&DEPLOYMENTS, "default", "back").expect("it is there")["spec"]["replicas"], 1);
    Ok(())
}

/// The Job of a run, deleted by somebody: what belonged to it goes, and that is no verdict.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_its_switch_ended_is_no_ground_for_a_verdict(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let front = Hypothesis::new("front answers").check(http::get(shop.service("front").url("/")).expect(status(200)));
    let jobs: kube::Api<k8s_openapi::api::batch::v1::Job> = kube::Api::namespaced(cluster.client(), "default");
    let ends = async move |_| {
        // As it is once nobody has extended it: a laptop that slept.
        let name = jobs.list(&Default::default()).await?.items[0].metadata.name.clone().unwrap_or_default();
        let patch = json!({"spec": {"activeDeadlineSeconds": 1}});
        jobs.patch(&name, &Default::default(), &kube::api::Patch::Merge(patch)).await?;
        Ok(())
    };
    let journal = Experiment::new("asleep", front)
        .inject(shop.pods("app=back").deny_ingress())
        .act_with("sleeps", ends)
        .pause(secs(15))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Inconclusive);
    let Some(steadfast::journal::Reason::FaultEndedEarly { by, .. }) = &journal.reason else {
        panic!("{:?}", journal.reason)
    };
    assert!(by.contains("the dead-man's switch, job default/") && by.contains("ended"), "{by}");
    assert!(journal.faults[0].lives_until.is_some());
    Ok(())
}

/// Only what a fault created goes with the switch: of a changed object the journal claims no such end.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn no_end_is_claimed_for_what_the_switch_does_not_hold(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let journal = Experiment::new("scaled and cut off", Hypothesis::new("nothing is asked"))
        .inject(shop.deployment("middle").scale(2))
        .inject(shop.pods("app=back").deny_ingress())
        .run(&cluster)
        .await?;
    let ends: Vec<_> = journal.faults.iter().map(|fault| fault.lives_until.is_some()).collect();
    assert_eq!(ends, [false, true]);
    Ok(())
}

/// Somebody took the place while this run was not heard of: a laptop that slept, and has just woken up.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_place_that_was_lost_takes_no_more_faults_and_gives_no_verdict(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("asleep", &cluster).await?;
    let on = run.inject(cut(&cluster)).await?;
    let front = crate::support::front_answers(&cluster);
    assert_eq!(run.verify(&front).await?, Met);
    let store = cluster.lab()?.store();
    store.delete(&LEASES, "default", "steadfast", &Default::default(), Some(0), false).expect("it goes");
    foreign(&cluster)?;
    let scale = cluster.namespace("default").deployment("middle").scale(2);
    let error = run.inject(scale).await.err().expect("the place is another's").to_string();
    for part in ["namespace default", "lease default/steadfast is lost", "nothing more is injected"] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    assert_eq!(run.verify(&front).await?, Inconclusive);
    on.rollback().await?;
    let journal = run.finish().await?;
    journal.assert_verdict(Inconclusive);
    let Some(steadfast::journal::Reason::FaultEndedEarly { by, .. }) = &journal.reason else {
        panic!("{:?}", journal.reason)
    };
    assert!(by.contains("lease default/steadfast is lost"), "{by}");
    Ok(())
}

/// Gives a user rights in `default`.
async fn let_user(cluster: &Cluster, user: &str, rules: serde_json::Value) -> steadfast::Result {
    let (group, metadata) = ("rbac.authorization.k8s.io", json!({"name": user, "namespace": "default"}));
    let api_version = format!("{group}/v1");
    let role = json!({"apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules});
    cluster.apply(&role).await?;
    let binding = json!({"apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}]});
    Ok(cluster.apply(&binding).await?)
}

/// The rights of the docs are enough for that, too, on a cluster that shows only what may be seen.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_rights_of_the_docs_are_enough_to_take_over_from_a_dead_run(cluster: Cluster) -> steadfast::Result {
    cluster.apply_file(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rbac.yaml")).await?;
    let robot = Some("system:serviceaccount:default:steadfast");
    let (dead, is_cut) = elsewhere_as(&cluster, robot, "a process that is killed")?;
    let for_ever = Experiment::new("cut off", Hypothesis::new("nothing is asked")).inject(cut(&dead)).pause(secs(600));
    let mut killed = ManuallyDrop::new(Box::pin(for_ever.run(&dead)));
    tokio::select! {
        biased;
        _ = &mut *killed => panic!("it goes on for ten minutes"),
        () = tokio::time::sleep(secs(60)) => is_cut.store(true, Ordering::SeqCst),
    }
    let policies = || left_behind(&cluster).iter().filter(|left| left.contains("NetworkPolicy")).count();
    assert_eq!(policies(), 1);

    // Who sees the switch alone knows what he does not know.
    let rules = json!([{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}]);
    let_user(&cluster, "anna", rules).await?;
    let found = steadfast::kubernetes::leftovers(cluster.kubernetes(), Some("default")).await?;
    let anna = steadfast::kubernetes::Kubernetes::new(client_of(&cluster, "anna"));
    let on = found[0].on(&anna).await?;
    assert_eq!(on.undos.iter().map(|undo| undo.object().kind.as_str()).collect::<Vec<_>>(), ["Job"]);
    assert!(on.unknown[0].contains("networkpolicies in namespace default") && on.unknown[0].contains("anna"));
    assert_eq!(found[0].on(cluster.kubernetes()).await?.undos.len(), 2);

    let (next, _) = elsewhere_as(&cluster, robot, "a process that goes on")?;
    let run = Run::start("next", &next).await?;
    run.inject(cut(&next)).await?.rollback().await?;
    drop(run.finish().await?);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_run_by_hand_asks_for_its_rights_before_it_touches_anything(cluster: Cluster) -> steadfast::Result {
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let leases = ["get", "create", "update", "patch", "delete"];
    let rules = [rule("", "pods", &["get", "list"]), rule("coordination.k8s.io", "leases", &leases)];
    let_user(&cluster, "anna", json!(rules)).await?;
    let (anna, _) = elsewhere_as(&cluster, Some("anna"), "a process of anna")?;
    let run = Run::start("not allowed", &anna).await?;
    let error = run.inject(cut(&anna)).await.err().expect("she may not").to_string();
    assert!(error.contains("create networkpolicies.networking.k8s.io in namespace default"), "{error}");
    assert!(error.contains("docs/rbac.yaml"), "{error}");
    assert!(run.finish().await?.faults.is_empty());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}
