//! Answers of the query API.

use std::collections::BTreeMap;

use serde_json::Value;

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One sample: seconds since 1970, and the value.
pub(super) type Sample = (f64, f64);

/// A series of an answer; an instant one has one sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) samples: Vec<Sample>,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refused {
    /// The query is wrong: our own inability.
    BadQuery(String),
    /// Anything else: the source of evidence is not available.
    Unavailable(String),
}

/// The `data` of an answer. By content, not by status: a proxy answers 200 with HTML, an error comes as JSON.
pub(super) fn data(status: u16, body: &[u8]) -> Result<Value, Refused> {
    let Ok(envelope) = serde_json::from_slice::<Value>(body) else {
        let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
        return Err(Refused::Unavailable(format!("status {status} without JSON: {text:?}")));
    };
    match (envelope["status"].as_str(), envelope["errorType"].as_str()) {
        (Some("success"), _) => Ok(envelope["data"].clone()),
        (Some("error"), Some("bad_data")) => Err(Refused::BadQuery(text(&envelope["error"]))),
        (Some("error"), kind) => Err(Refused::Unavailable(format!(
            "{} ({}, status {status})",
            text(&envelope["error"]),
            kind.unwrap_or("error")
        ))),
        _ => Err(Refused::Unavailable(format!("status {status} with JSON that is no answer of Prometheus"))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The series of a vector, a matrix or a scalar.
pub(super) fn series(data: &Value) -> Result<Vec<Series>, Refused> {
    let broken = |what: &str| Refused::Unavailable(format!("{what} in the answer cannot be read"));
    let result = &data["result"];
    if data["resultType"] == "scalar" {
        let sample = sample(result).ok_or_else(|| broken("the scalar"))?;
        return Ok(vec![Series { labels: Labels::new(), samples: vec![sample] }]);
    }
    let list = result.as_array().ok_or_else(|| broken("the result"))?;
    list.iter()
        .map(|entry| {
            if entry.get("histogram").is_some() || entry.get("histograms").is_some() {
                return Err(Refused::Unavailable("the series is a native histogram, which has no single value".into()));
            }
            let labels = serde_json::from_value(entry["metric"].clone()).map_err(|_| broken("a label set"))?;
            let points: Vec<&Value> = match entry.get("values") {
                Some(values) => values.as_array().ok_or_else(|| broken("a series"))?.iter().collect(),
                None => vec![&entry["value"]],
            };
            let samples =
                points.into_iter().map(sample).collect::<Option<Vec<_>>>().ok_or_else(|| broken("a sample"))?;
            Ok(Series { labels, samples })
        })
        .collect()
}

/// `[seconds, "value"]`; whole seconds come as integers.
fn sample(point: &Value) -> Option<Sample> {
    Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_by_their_content() {
        let ok = json!({"status": "success", "data": {"resultType": "vector", "result": []}}).to_string();
        assert_eq!(series(&data(200, ok.as_bytes()).unwrap()), Ok(vec![]));
        let bad = json!({"status": "error", "errorType": "bad_data", "error": "parse error"}).to_string();
        assert_eq!(data(400, bad.as_bytes()), Err(Refused::BadQuery("parse error".into())));
        let limit = json!({"status": "error", "errorType": "execution", "error": "too many samples"}).to_string();
        assert!(matches!(data(422, limit.as_bytes()), Err(Refused::Unavailable(why)) if why.contains("too many")));
        assert!(matches!(data(502, b"<html>Bad Gateway"), Err(Refused::Unavailable(why)) if why.contains("502")));
        assert!(matches!(data(200, b"{}"), Err(Refused::Unavailable(_))));
    }

    #[test]
    fn samples_are_read_with_and_without_a_dot() {
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"a": "1"}, "values": [[1, "2"], [1.5, "NaN"], [2, "+Inf"]]},
        ]});
        let series = series(&data).unwrap();
        assert_eq!(series[0].samples[0], (1.0, 2.0));
        assert!(series[0].samples[1].1.is_nan());
        assert_eq!(series[0].samples[2].1, f64::INFINITY);
    }

    #[test]
    fn what_cannot_be_read_is_no_value() {
        for result in
            [json!([{"metric": {}, "value": [1, 2]}]), json!([{"metric": {}, "histogram": [1, {}]}]), json!(null)]
        {
            let data = json!({"resultType": "vector", "result": result});
            assert!(matches!(series(&data), Err(Refused::Unavailable(_))), "{data}");
        }
    }
}
