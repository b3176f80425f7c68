//! Native histograms, as servers write them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::hostile::{Lie, Told};
use super::{ADDRESS, Server, judged, success, virtually};
use crate::clock::{Clock, secs};
use crate::experiment::{Phase, Probe, Scene};
use crate::prometheus::{HistogramQuantile, Prometheus};
use crate::tolerance::{Outcome, at_most};

/// What a server answers to a request, if it does so in another way.
type Otherwise = fn(&str) -> Option<Value>;

/// What this tolerance makes of a quantile where the growth comes as `grown` and the server's estimate is so much.
async fn judge(grown: Value, estimate: &'static str, quantile: f64, most: f64) -> (Outcome, String, Value) {
    judge_with(|quantile| quantile, grown, estimate, quantile, most, |_| None).await
}

/// As [`judge`], with something said of the quantile, by a server that answers some questions in another way.
async fn judge_with(
    said: fn(HistogramQuantile) -> HistogramQuantile,
    grown: Value,
    estimate: &'static str,
    quantile: f64,
    most: f64,
    otherwise: Otherwise,
) -> (Outcome, String, Value) {
    let clock = Clock::virtual_time();
    let started = clock.now();
    clock.sleep(secs(300)).await;
    let phase = Phase::Fault { method_started: started, method_ended: clock.now() };
    let told = Told { clock: clock.clone(), lie: Lie::None };
    let server: Arc<Server> = Server::new(move |_, request| {
        let instant = |one: Value| json!({"resultType": "vector", "result": [one]});
        if let Some(answer) = otherwise(request) {
            return success(&answer);
        }
        if request.contains("histogram_count") {
            return success(&instant(json!({"metric": {"job": "x"}, "value": [1, "7"]})));
        }
        if request.contains("histogram_quantile") {
            return success(&instant(json!({"metric": {}, "value": [1, estimate]})));
        }
        if request.contains("query=sum%28increase%28took") {
            return success(&grown);
        }
        if request.contains("took_bucket") {
            return success(&json!({"resultType": "matrix", "result": []}));
        }
        success(&told.answer(request))
    });
    let scene = Scene { phase, clock, ..virtually(&server) };
    let took = Prometheus::new(ADDRESS).histogram("took").label("job", "x");
    let finding = judged(&said(took.quantile(quantile)).expect(at_most(most)), &scene).await.unwrap();
    let told = format!("{:?}", finding.judgement);
    (finding.judgement.outcome, told, finding.evidence)
}

fn grown(histogram: &Value) -> Value {
    json!({"resultType": "vector", "result": [{"metric": {}, "histogram": [1_767_225_900.5, histogram]}]})
}

#[tokio::test(start_paused = true)]
async fn the_bounds_of_a_quantile_are_those_of_its_bucket() {
    let histogram = json!({"count": "100", "sum": "12.5", "buckets": [
        [1, "-0.2", "-0.1", "0"], [3, "-0.001", "0.001", "10"], [0, "0.1", "0.2", "70.5"], [0, "0.4", "0.8", "19.5"],
    ]});
    for (quantile, most, outcome) in [
        (0.5, 0.2, Outcome::Met),
        (0.5, 0.1, Outcome::NotMet),
        (0.5, 0.09, Outcome::NotMet),
        (0.05, 0.001, Outcome::Met),
        (0.99, 0.8, Outcome::Met),
    ] {
        let estimate = match quantile {
            0.5 => "0.15",
            0.99 => "0.78",
            _ => "0",
        };
        let (found, told, evidence) = judge(grown(&histogram), estimate, quantile, most).await;
        assert_eq!((found, &evidence["known"]["observations"]), (outcome, &json!(100.0)), "{told}");
    }
    // A bound within the bucket is not decided.
    let (found, told, evidence) = judge(grown(&histogram), "0.15", 0.5, 0.16).await;
    assert!(matches!(found, Outcome::Inconclusive(_)) && told.contains("between 0.1 and 0.2"), "{told}");
    assert_eq!(evidence["known"]["buckets"][3], json!([0.8, 100.0]));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_histogram_is_no_quantile() {
    let unavailable = "what it answers cannot be read";
    for (data, why) in [
        (json!({"resultType": "vector", "result": []}), "there were no observations"),
        (json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "7"]}]}), unavailable),
        (grown(&json!({"count": "NaN", "sum": "1"})), unavailable),
        (grown(&json!({"count": 7, "sum": "1"})), unavailable),
        (grown(&json!({"count": "7", "buckets": [[0, "0.2", "0.1", "7"]]})), unavailable),
        (grown(&json!({"count": "7", "buckets": [[0, "0.1", "0.2", "-7"]]})), unavailable),
        (grown(&json!({"count": "7", "buckets": [[0, "low", "0.2", "7"]]})), unavailable),
        (grown(&json!({"count": "7", "buckets": "many"})), unavailable),
        (json!(null), unavailable),
    ] {
        let (outcome, told, _) = judge(data.clone(), "0.1", 0.5, 1.0).await;
        assert!(matches!(outcome, Outcome::Inconclusive(_)) && told.contains(why), "{data}: {told}");
    }
}

/// The server's estimate is no evidence unless it is asked for.
#[tokio::test(start_paused = true)]
async fn what_no_bucket_holds_is_known_by_the_servers_estimate_alone() {
    let no_buckets = json!({"count": "7", "sum": "1"});
    let few = json!({"count": "7", "sum": "1", "buckets": [[0, "0.05", "0.1", "6"]]});
    let empty = json!({"count": "7", "sum": "1", "buckets": [[0, "0.05", "0.1", "0"]]});
    for histogram in [no_buckets, few, empty] {
        for most in [0.1, 0.01, 1e9] {
            let (outcome, told, evidence) = judge(grown(&histogram), "0.1", 0.5, most).await;
            assert!(matches!(outcome, Outcome::Inconclusive(_)) && told.contains("7 observations"), "{told}");
            assert_eq!(evidence["known"]["observations"], 7.0);
        }
        for (most, expected) in [(0.1, Outcome::Met), (0.09, Outcome::NotMet)] {
            let asked = judge_with(HistogramQuantile::interpolated, grown(&histogram), "0.1", 0.5, most, |_| None);
            let (outcome, told, _) = asked.await;
            assert_eq!(outcome, expected, "{told}");
            assert!(told.contains("the server's estimate alone"), "{told}");
        }
    }
}

/// What keeps a classic histogram from a verdict keeps a native one, too.
#[tokio::test(start_paused = true)]
async fn what_was_not_watched_has_no_quantile() {
    let seven = || grown(&json!({"count": "7", "buckets": [[0, "0.1", "0.2", "7"]]}));
    let cases: [(Otherwise, &str); 3] = [
        (
            |request| {
                let down = |n: i32| json!([1_767_225_500.0 + 2.0 * f64::from(n), if n == 120 { "0" } else { "1" }]);
                let values: Vec<_> = (0..202).map(down).collect();
                let all = json!({"resultType": "matrix", "result": [{"metric": {"job": "x"}, "values": values}]});
                request.contains("query=up").then_some(all)
            },
            "was down at a scrape",
        ),
        (
            |request| {
                let later = !request.contains("time=17672256");
                let all = json!([{"metric": {"job": "x"}, "value": [1, "7"]}, {"metric": {"job": "x", "pod": "b"}, "value": [1, "7"]}]);
                let one = json!([{"metric": {"job": "x"}, "value": [1, "7"]}]);
                let result = if later { all } else { one };
                request.contains("histogram_count").then(|| json!({"resultType": "vector", "result": result}))
            },
            "begins in the window",
        ),
        (
            // Classic after all, but two servers answer.
            |request| {
                let values = json!([[1_767_225_700.0, "1"], [1_767_225_700.0, "2"], [1_767_225_900.0, "2"]]);
                let series = json!([{"metric": {"job": "x", "le": "0.1"}, "values": values}]);
                request.contains("took_bucket").then(|| json!({"resultType": "matrix", "result": series}))
            },
            "do several servers answer",
        ),
    ];
    for (otherwise, why) in cases {
        let (outcome, told, _) = judge_with(|quantile| quantile, seven(), "0.15", 0.5, 1.0, otherwise).await;
        assert!(matches!(outcome, Outcome::Inconclusive(_)) && told.contains(why), "{why}: {told}");
    }
    let (outcome, told, _) = judge(seven(), "0.15", 0.5, 1.0).await;
    assert_eq!(outcome, Outcome::Met, "{told}");
}
