use serde_json::json;

use super::on_the_shop;

const PROBES: &str = "chaosprometheus.probes";

#[test]
fn an_interval_comes_as_the_envelope_that_prometheus_gives() {
    on_the_shop(async |ground| {
        ground.wait(60).await;
        let interval = json!({"query": "up{job='front'}", "start": "30 seconds ago", "end": "now", "step": 3});
        let envelope = ground.call(PROBES, "query_interval", interval).await.unwrap();
        assert_eq!((&envelope["status"], &envelope["data"]["resultType"]), (&json!("success"), &json!("matrix")));
        let values = envelope["data"]["result"][0]["values"].as_array().expect("samples");
        assert_eq!(values.len(), 11, "{envelope}");
        assert_eq!(values[10][1], "1");
        let last = values[10][0].as_f64().expect("a time");
        let now = ground.scene.clock.now().as_millisecond() as f64 / 1e3;
        assert!((last - now).abs() < 0.01, "one now for both: {last} {now}");
    });
}

#[test]
fn an_instant_and_a_mean_are_values() {
    on_the_shop(async |ground| {
        ground.wait(60).await;
        let envelope = ground.call(PROBES, "query", json!({"query": "up{job='front'}", "when": "10s"})).await.unwrap();
        assert_eq!(envelope["data"]["result"][0]["value"][1], "1", "{envelope}");
        let mean = json!({"query": "up{job='front'} * 4", "window": "30s"});
        assert_eq!(ground.call(PROBES, "compute_mean", mean).await, Ok(json!(4.0)));
        let mean = json!({"query": "up{job='front'} * 4", "window": "30s", "mean_type": "harmonic"});
        assert_eq!(ground.call(PROBES, "compute_mean", mean).await, Ok(json!(4.0)));
        for (func, arguments, said) in [
            ("query", json!({"query": "up{"}), "status 400"),
            ("query", json!({"query": "up", "verify_tls": false}), "verify_tls is false"),
            ("query_interval", json!({"query": "up", "start": "60", "end": "now"}), "argument \"start\""),
            ("query_interval", json!({"query": "up", "start": "1d", "end": "now"}), "exceeded maximum resolution"),
            ("compute_mean", json!({"query": "up", "window": "30s"}), "a mean is of one series"),
            ("nodes_cpu_usage_mean", json!({"window": "30s"}), "gives 0 over 30s"),
        ] {
            let why = ground.refused(PROBES, func, arguments).await;
            assert!(why.contains(said), "{why}");
        }
    });
}
