//! Bad input: one clear error that names the object and the remedy, and nothing left behind.

use steadfast::cluster::Target;
use steadfast::prelude::*;

use crate::support::{front_answers, objects};

/// The error of an experiment, which must have touched nothing.
async fn refused(cluster: &Cluster, experiment: Experiment) -> String {
    let before = objects(cluster);
    let error = experiment.run(cluster).await.expect_err("it is refused").to_string();
    assert_eq!(objects(cluster), before, "nothing was touched");
    error
}

fn assert_names(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} in: {error}");
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_malformed_url(cluster: Cluster) -> steadfast::Result {
    let hypothesis = Hypothesis::new("x").check(http::get("htp://front").expect(status(200)));
    let error = refused(&cluster, Experiment::new("x", hypothesis)).await;
    assert_names(&error, &["tests/it/bad_input.rs:", "htp://front", "only http and https", "http://HOST"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn an_address_outside_the_lab(cluster: Cluster) -> steadfast::Result {
    for url in ["http://example.com/", "http://localhost:1234/", "http://10.0.0.1/x"] {
        let hypothesis = Hypothesis::new("x").check(http::get(url).expect(status(200)));
        let error = refused(&cluster, Experiment::new("x", hypothesis)).await;
        assert_names(
            &error,
            &[url, "outside the embedded cluster", "http://front.default:8000, ", "STEADFAST_CLUSTER"],
        );
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_selector_that_matches_nothing(cluster: Cluster) -> steadfast::Result {
    let typo = cluster.namespace("default").pods("app=bakc").deny_ingress();
    let error = refused(&cluster, Experiment::new("x", front_answers(&cluster)).inject(typo)).await;
    assert_names(&error, &["app=bakc", "namespace default", "app=back", "tests/it/bad_input.rs:"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_namespace_that_is_none(cluster: Cluster) -> steadfast::Result {
    let known = "there is no namespace defualt; there are: default, ";
    let shop = cluster.namespace("defualt");
    let typo = || Experiment::new("x", front_answers(&cluster)).inject(shop.pods("app=back").deny_ingress());
    for error in [refused(&cluster, typo()).await, typo().plan(&cluster).await.expect_err("no such").to_string()] {
        assert_names(&error, &[known, "tests/it/bad_input.rs:"]);
    }
    let scaled = Experiment::new("x", front_answers(&cluster)).inject(shop.deployment("back").scale(1));
    assert_names(&refused(&cluster, scaled).await, &[known]);
    let served = Hypothesis::new("x").check(http::get(shop.service("front").url("/")).expect(status(200)));
    assert_names(&refused(&cluster, Experiment::new("x", served)).await, &[known]);
    cluster
        .apply(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "defualt"}}))
        .await?;
    // What the controllers make in it.
    tokio::time::sleep(secs(1)).await;
    let error = refused(&cluster, typo()).await;
    assert_names(&error, &["no pod in namespace defualt matches", "the namespace has pods with: none"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_counter_that_is_misspelt_is_remarked(cluster: Cluster) -> steadfast::Result {
    let prometheus = cluster.namespace("default").prometheus();
    let warned = async |name: &str, label: &str| {
        let failed = prometheus.counter(name).label("job", label).growth().expect(at_most(0));
        let cut = cluster.namespace("default").pods("app=back").deny_ingress();
        let front = cluster.namespace("default").service("front").url("/");
        let traffic = load::get(front).per_second(5).lasting(secs(5));
        let experiment = Experiment::new("x", Hypothesis::new("x").check(failed)).inject(cut).background(&traffic);
        let journal = experiment.run(&cluster).await?;
        journal.assert_verdict(Met);
        let under = journal.evaluations.iter().find(|one| one.phase == "under the fault").expect("it was judged");
        steadfast::Result::Ok(under.checks[0].warnings.clone())
    };
    let told = warned("failed_cal_total", "front").await?;
    assert!(told.len() == 1 && told[0].contains("; did you mean `failed_call_total`?"), "{told:?}");
    let told = warned("quite_another_name", "front").await?;
    assert!(told.len() == 1 && told[0].ends_with("in this run or before"), "{told:?}");
    assert_eq!(warned("failed_call_total", "back").await?, Vec::<String>::new(), "others have it");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_selector_that_is_none(cluster: Cluster) -> steadfast::Result {
    let broken = cluster.namespace("default").pods("app in back").deny_ingress();
    let error = refused(&cluster, Experiment::new("x", front_answers(&cluster)).inject(broken)).await;
    assert_names(&error, &["app in back", "parentheses", "key in (a,b)"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn more_pods_than_the_cap(cluster: Cluster) -> steadfast::Result {
    let everybody = cluster.namespace("default").pods("app").deny_ingress();
    let error = refused(&cluster, Experiment::new("x", front_answers(&cluster)).inject(everybody)).await;
    assert_names(&error, &["3 of 3", "80 %", "at_most_percent(100)"]);
    let lifted = cluster.namespace("default").pods("app").at_most_percent(100).deny_ingress();
    Experiment::new("x", front_answers(&cluster)).inject(lifted).run(&cluster).await?.assert_verdict(Deviated);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_clusters_own_namespace(cluster: Cluster) -> steadfast::Result {
    let system = cluster.namespace("kube-system").pods("app=dns").deny_ingress();
    let error = refused(&cluster, Experiment::new("x", front_answers(&cluster)).inject(system)).await;
    assert_names(&error, &["kube-system", "refused"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_query_that_does_not_parse(cluster: Cluster) -> steadfast::Result {
    let broken = cluster.namespace("default").prometheus().query("sum(up").expect(at_least(1.0));
    let error = refused(&cluster, Experiment::new("x", Hypothesis::new("x").check(broken))).await;
    assert_names(&error, &["sum(up", "does not parse", "tests/it/bad_input.rs:"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_journal_that_cannot_be_written(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let experiment = Experiment::new("x", front_answers(&cluster)).inject(cut).journal_path("/proc/no/journal.json");
    let error = refused(&cluster, experiment).await;
    assert_names(&error, &["failed to write /proc/no/journal.json"]);
    assert!(!error.contains("STEADFAST_OUT"), "the path was named: {error}");
    let experiment = || Experiment::new("x", front_answers(&cluster));
    experiment().journal_path("a.json").run(&cluster).await?.assert_verdict(Met);
    let error = refused(&cluster, experiment().journal_path("a.json/b.json")).await;
    assert_names(&error, &["a.json/b.json", "set STEADFAST_OUT to a folder that can be written"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_service_that_does_not_exist(cluster: Cluster) -> steadfast::Result {
    let typo = http::get(cluster.namespace("default").service("fornt").url("/")).expect(status(200));
    let error = refused(&cluster, Experiment::new("x", Hypothesis::new("x").check(typo))).await;
    assert_names(&error, &["default/fornt", "back, front, middle"]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_plot_outside_the_outputs_folder(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let traffic = load::get(front).named("traffic");
    let escaped = Experiment::new("x", front_answers(&cluster)).background(&traffic).act(traffic.plot_to("../x.html"));
    assert_names(&refused(&cluster, escaped).await, &["../x.html", "leave out"]);
    let never = load::get("http://front.default/").named("never");
    let error = refused(&cluster, Experiment::new("x", front_answers(&cluster)).act(never.plot_to("x.html"))).await;
    assert_names(&error, &["never has not been run", ".background"]);
    Ok(())
}

#[test]
fn a_cluster_that_nobody_knows() {
    let error = "prod".parse::<Target>().unwrap_err().to_string();
    assert_names(&error, &["prod", "embedded, kind[:NAME], context:NAME or in-cluster"]);
    for (text, target) in [
        ("embedded", Target::Embedded),
        ("kind", Target::Kind("steadfast".into())),
        ("kind:ci", Target::Kind("ci".into())),
        ("context:a:b", Target::Context("a:b".into())),
        ("in-cluster", Target::InCluster),
    ] {
        assert_eq!(text.parse::<Target>().unwrap(), target);
    }
}
