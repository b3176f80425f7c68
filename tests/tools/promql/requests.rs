//! Requests that are refused, and others at the edge of it.

use http::Method;

use super::answers::Asked;
use super::samples::FIRST;

/// Queries that are not taken, or not answered.
const WRONG: &[&str] = &[
    "",
    "load[5m",
    "load)",
    "sum(",
    "load *",
    "load load",
    "load{job=api}",
    "load{job=\"api\"",
    "load{job=~\"(\"}",
    "{}",
    "{job=~\".*\"}",
    "load{__name__=\"x\"}",
    "rate(load)",
    "rate(load[5m], 1)",
    "sum(load[5m])",
    "topk(load)",
    "topk(load, load)",
    "quantile(\"a\", load)",
    "nope(load)",
    "abs()",
    "abs(load, load)",
    "clamp(load, 1)",
    "round(load, 1, 2)",
    "time(1)",
    "1 < 2",
    "load + bool load",
    "load and 1",
    "load * on(job) 1",
    "load * on(job) group_left(job) limits",
    "load or on(job) group_left() load",
    "load == \"a\"",
    "-load[5m]",
    "1[5m]",
    "1[5m:]",
    "sum(load) offset 5m",
    "sum(load) @ 5",
    "load offset 5",
    "load @ x",
    "load @ Inf",
    "load[0s]",
    "load[5m:0s]",
    "load[1h1h]",
    "load[5m] offset 5m offset 5m",
    "load @ 1 @ 2",
    "'a",
    "\"\\q\"",
    "0x",
    "1.2.3",
    "5m",
    "load # why\n nope",
    // Right as texts, but not with these samples.
    "load * load{job=\"api\"} * on(job) load",
    "load + on() load",
    "limits * on(job) load",
    "load * ignoring(instance) group_left() load",
    "limits * on(job) group_right() load * on(job) group_left() build_info",
    "label_replace(load, \"a b\", \"x\", \"job\", \".*\")",
    "label_replace(load, \"a\", \"x\", \"job\", \"(\")",
    "label_replace(load, \"job\", \"x\", \"\", \"\") + 1",
    "label_replace(load, \"instance\", \"\", \"\", \"\")",
    "label_join(load, \"a b\", \"-\", \"job\")",
    "label_join(load, \"a\", \"-\", \"b c\")",
    "label_join(load, \"instance\", \"-\", \"job\")",
    "count_values(\"a b\", load)",
    "topk(NaN, load)",
    "topk(Inf, load)",
    "bottomk(1e300, load)",
    "topk(-1, load)",
    "abs({job=\"api\"})",
    "rate({job=\"api\"}[5m])",
    "-{job=\"api\"}",
    "holt_winters(load[5m], 0, 0.5)",
    "holt_winters(load[5m], 0.5, 1)",
    "sum by (job) (load) == on(job) load",
    // Of types that have no steps.
    "\"a\"",
    "load[5m]",
];

/// Parameters of `query`, beside a query.
const AT: &[&str] = &[
    "time=noon",
    "time=1e3",
    "time=-1",
    "time=NaN",
    "time=2026-01-01T00:00:00Z",
    "time=2026-01-01",
    "time=2026-01-01T00:00:00.5%2B01:00",
    "time=1&timeout=0",
    "time=1&timeout=soon",
    "time=1&timeout=1ms0",
    "time=1&timeout=1e99",
    "time=1&timeout=5m",
    "time=1&limit=1",
    "time=1&nope=1",
];

/// Parameters of `query_range`, beside a query.
const STEPS: &[&str] = &[
    "",
    "start=1",
    "start=1&end=2",
    "start=1&end=2&step=",
    "start=1&end=2&step=0",
    "start=1&end=2&step=-1",
    "start=1&end=2&step=x",
    "start=1&end=2&step=1e99",
    "start=1&end=2&step=0.0001",
    "start=2&end=1&step=1",
    "start=x&end=1&step=1",
    "start=1&end=x&step=1",
    "start=0&end=11000&step=1",
    "start=0&end=11001&step=1",
    "start=0&end=10999&step=1s",
    "start=0&end=11001&step=1s",
    "start=1&end=2&step=1&timeout=x",
    "start=1&end=2&step=1&timeout=0",
    "start=1&end=1&step=1d",
];

/// Other paths, with their parameters.
const PATHS: &[&str] = &[
    "/api/v1/nope",
    "/api/v1/",
    "/api/v1/query/",
    "/nope",
    "/-/healthy",
    "/-/ready",
    "/api/v1/series",
    "/api/v1/series?match[]=",
    "/api/v1/series?match[]=%7B%7D",
    "/api/v1/series?match[]=load[5m]",
    "/api/v1/series?match[]=load&start=x",
    "/api/v1/series?match[]=load&end=x",
    "/api/v1/labels?match[]=sum(load)",
    "/api/v1/labels?start=x",
    "/api/v1/label/a-b/values",
    "/api/v1/label/job/values?match[]=%7B%7D",
    "/api/v1/label/job/values?end=x",
    "/api/v1/rules?type=nope",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/metadata?limit=x",
    "/api/v1/metadata",
    "/api/v1/targets/metadata?limit=x",
    "/api/v1/targets/metadata?match_target=nope(",
    "/api/v1/query_exemplars?query=load&start=2&end=1",
    "/api/v1/query_exemplars?query=load(",
    "/api/v1/query_exemplars?query=load",
    "/api/v1/format_query?query=load(",
    "/api/v1/format_query?query=sum(load)by(job)",
    "/api/v1/alertmanagers",
];

pub fn all() -> Vec<Asked> {
    let encoded = |pairs: &[(&str, &str)]| form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let second = (FIRST / 1000 + 1200).to_string();
    let mut all = Vec::new();
    for query in WRONG {
        let post = |path: &str, form: String| Asked { method: Method::POST, path: path.to_owned(), form };
        all.push(post("/api/v1/query", encoded(&[("query", query), ("time", &second)])));
        let steps = [("query", *query), ("start", &second), ("end", &second), ("step", "15")];
        all.push(post("/api/v1/query_range", encoded(&steps)));
        all.push(post("/api/v1/series", encoded(&[("match[]", query)])));
    }
    all.extend(AT.iter().map(|more| Asked::get(&format!("/api/v1/query?query=vector(1)&{more}"))));
    all.push(Asked::get("/api/v1/query"));
    all.push(Asked::get("/api/v1/query_range"));
    all.extend(STEPS.iter().map(|more| Asked::get(&format!("/api/v1/query_range?query=vector(1)&{more}"))));
    all.extend(PATHS.iter().map(|path| Asked::get(path)));
    for (method, path) in [
        (Method::PUT, "/api/v1/query"),
        (Method::POST, "/api/v1/query/"),
        (Method::PUT, "/api/v1/query/"),
        (Method::GET, "/api/v1/query/?query=up&time=1"),
        (Method::GET, "/api/v1/label/job/values/"),
        (Method::DELETE, "/api/v1/series"),
        (Method::POST, "/api/v1/rules"),
        (Method::POST, "/api/v1/label/job/values"),
        (Method::POST, "/api/v1/admin/tsdb/snapshot"),
        (Method::POST, "/-/reload"),
        (Method::GET, "/-/reload"),
    ] {
        all.push(Asked { method, ..Asked::get(path) });
    }
    all
}
