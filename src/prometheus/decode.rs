//! Answers of the query API.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One sample: seconds since 1970, and the value.
pub(super) type Sample = (f64, f64);

/// How much of a page that is no answer is shown, in characters.
const SHOWN: usize = 200;

/// The last second of the year 9999: a later time is none, and would overflow what is computed with it.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A series of an answer; an instant one has one sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) samples: Vec<Sample>,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value for each series; a scalar is one without labels.
    Vector,
    /// Values over time for each series.
    Matrix,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

/// A decoded answer, with what the server said beside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer<T> {
    pub(super) data: T,
    /// Of these, that the answer is not whole.
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refused {
    /// The query is wrong: our own inability.
    BadQuery(String),
    /// Anything else: the source of evidence is not available.
    Unavailable(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    status: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    infos: Option<Vec<String>>,
    /// `VictoriaMetrics` says so where Thanos and Mimir warn.
    is_partial: Option<bool>,
}

/// The `data` of an answer. By content, not by status: a proxy answers 200 with HTML, an error comes as JSON.
pub(super) fn answer<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<Answer<T>, Refused> {
    let unavailable = |why: String| Err(Refused::Unavailable(why));
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return unavailable(format!("status {status} with JSON that is no answer of Prometheus: {}", shown(body)));
        }
        Err(error) if error.is_eof() && body.trim_ascii_start().first() == Some(&b'{') => {
            return unavailable(format!("status {status} with JSON that ends early, after {} bytes", body.len()));
        }
        Err(_) => return unavailable(format!("status {status} without JSON: {}", shown(body))),
    };
    if envelope.status != "success" {
        let why = envelope.error.unwrap_or_default();
        let kind = envelope.error_type.as_deref().unwrap_or("error");
        return match kind {
            // VictoriaMetrics names the status instead of the kind.
            "bad_data" | "execution" | "400" | "422" => Err(Refused::BadQuery(why)),
            _ => unavailable(format!("{why} ({kind}, status {status})")),
        };
    }
    let data = envelope.data.map_or("null", RawValue::get);
    let data = serde_json::from_str(data)
        .map_err(|error| Refused::Unavailable(format!("what it answers cannot be read: {error}")))?;
    let mut warnings = envelope.warnings.unwrap_or_default();
    if envelope.is_partial == Some(true) {
        warnings.push("the answer is partial".to_owned());
    }
    Ok(Answer { data, warnings, infos: envelope.infos.unwrap_or_default() })
}

fn shown(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
    format!("{text:?}")
}

/// The `data` of a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) shape: Shape,
    pub(super) series: Vec<Series>,
}

impl Found {
    /// The series, if they come as they have to for what was asked.
    pub(super) fn of(self, wanted: Shape) -> Result<Vec<Series>, Refused> {
        if self.shape == wanted {
            return Ok(self.series);
        }
        let (got, wanted) = (self.shape.name(), wanted.name());
        Err(Refused::Unavailable(format!("it answers with a {got} where a {wanted} was asked for")))
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            result_type: String,
            result: Box<RawValue>,
        }
        #[derive(Deserialize)]
        struct One {
            metric: Labels,
            value: Option<Point>,
            values: Option<Vec<Point>>,
            histogram: Option<IgnoredAny>,
            histograms: Option<IgnoredAny>,
        }
        let Typed { result_type, result } = Typed::deserialize(deserializer)?;
        let shape = match result_type.as_str() {
            "scalar" => {
                let Point(at, value) = serde_json::from_str(result.get()).map_err(D::Error::custom)?;
                let series = vec![Series { labels: Labels::new(), samples: vec![(at, value)] }];
                return Ok(Self { shape: Shape::Vector, series });
            }
            "vector" => Shape::Vector,
            "matrix" => Shape::Matrix,
            other => return Err(D::Error::custom(format!("a result of the type {other:?} has no values"))),
        };
        let list: Vec<One> = serde_json::from_str(result.get()).map_err(D::Error::custom)?;
        let of_one = |one: One| {
            if one.histogram.is_some() || one.histograms.is_some() {
                return Err(D::Error::custom("the series is a native histogram, which has no single value"));
            }
            let points = match (shape, one.value, one.values) {
                (Shape::Vector, Some(point), None) => vec![point],
                (Shape::Matrix, None, Some(points)) => points,
                _ => return Err(D::Error::custom(format!("a series of the {} has no values of it", shape.name()))),
            };
            if points.windows(2).any(|pair| pair[0].0 > pair[1].0) {
                return Err(D::Error::custom("the samples of a series are not in the order of their times"));
            }
            let samples = points.into_iter().map(|Point(at, value)| (at, value)).collect();
            Ok(Series { labels: one.metric, samples })
        };
        let series = list.into_iter().map(of_one).collect::<Result<_, _>>()?;
        Ok(Self { shape, series })
    }
}

/// `[seconds, "value"]`; whole seconds come as integers.
struct Point(f64, f64);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, value): (f64, &str) = Deserialize::deserialize(deserializer)?;
        let value = value.parse().map_err(|_| D::Error::custom(format!("the value {value:?} is no number")))?;
        if (0.0..=LAST_SECOND).contains(&at) {
            Ok(Self(at, value))
        } else {
            Err(D::Error::custom(format!("the time {at} of a sample is none")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(data: &Value) -> Result<Found, Refused> {
        let envelope = json!({"status": "success", "data": data}).to_string();
        answer::<Found>(200, envelope.as_bytes()).map(|answer| answer.data)
    }

    fn unavailable(status: u16, body: &[u8]) -> String {
        match answer::<Value>(status, body) {
            Err(Refused::Unavailable(why)) => why,
            other => panic!("{status} {}: {other:?}", String::from_utf8_lossy(body)),
        }
    }

    #[test]
    fn answers_are_told_by_their_content() {
        let error = |kind: &str| json!({"status": "error", "errorType": kind, "error": "no"}).to_string();
        for (status, kind) in [(400, "bad_data"), (422, "execution"), (400, "400"), (422, "422")] {
            let refused = answer::<Value>(status, error(kind).as_bytes());
            assert_eq!(refused, Err(Refused::BadQuery("no".into())), "{kind}");
        }
        for (status, kind) in [
            (503, "timeout"),
            (503, "unavailable"),
            (499, "canceled"),
            (500, "internal"),
            (404, "not_found"),
            (406, "not_acceptable"),
            (429, "too_many_requests"),
        ] {
            assert_eq!(unavailable(status, error(kind).as_bytes()), format!("no ({kind}, status {status})"));
        }
        assert_eq!(unavailable(502, b"<html>Bad Gateway"), "status 502 without JSON: \"<html>Bad Gateway\"");
        assert_eq!(unavailable(200, b""), "status 200 without JSON: \"\"");
        assert!(unavailable(200, b"{}").contains("no answer of Prometheus"));
        assert!(unavailable(200, br#"{"status": 200}"#).contains("no answer of Prometheus"));
        let whole = json!({"status": "success", "data": {"resultType": "vector", "result": []}}).to_string();
        for end in 1..whole.len() {
            let why = unavailable(200, &whole.as_bytes()[..end]);
            assert_eq!(why, format!("status 200 with JSON that ends early, after {end} bytes"));
        }
    }

    #[test]
    fn what_the_server_says_beside_its_answer_is_kept() {
        let body = json!({"status": "success", "data": 1, "warnings": ["a store is away"], "infos": ["no counter"]});
        let said = answer::<Value>(200, body.to_string().as_bytes()).unwrap();
        assert_eq!((said.warnings, said.infos), (vec!["a store is away".to_owned()], vec!["no counter".to_owned()]));
        let body = json!({"status": "success", "isPartial": true, "data": 1, "warnings": null}).to_string();
        assert_eq!(answer::<Value>(200, body.as_bytes()).unwrap().warnings, ["the answer is partial"]);
        let body = json!({"status": "success", "isPartial": false, "data": 1}).to_string();
        assert!(answer::<Value>(200, body.as_bytes()).unwrap().warnings.is_empty());
    }

    #[test]
    fn samples_are_read_with_and_without_a_dot() {
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"a": "1"}, "values": [[1, "2"], [1.5, "NaN"], [2, "+Inf"]]},
        ]});
        let series = found(&data).unwrap().of(Shape::Matrix).unwrap();
        assert_eq!(series[0].samples[0], (1.0, 2.0));
        assert!(series[0].samples[1].1.is_nan());
        assert_eq!(series[0].samples[2].1, f64::INFINITY);
        let scalar = json!({"resultType": "scalar", "result": [1.5, "3"]});
        assert_eq!(found(&scalar).unwrap().of(Shape::Vector).unwrap()[0].samples, [(1.5, 3.0)]);
    }

    #[test]
    fn one_shape_is_not_taken_for_another() {
        let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]});
        let why = "it answers with a matrix where a vector was asked for";
        assert_eq!(found(&matrix).unwrap().of(Shape::Vector), Err(Refused::Unavailable(why.into())));
        let vector = json!({"resultType": "vector", "result": []});
        assert!(found(&vector).unwrap().of(Shape::Matrix).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_no_value() {
        for (kind, result) in [
            ("vector", json!([{"metric": {}, "value": [1, 2]}])),
            ("vector", json!([{"metric": {}, "value": [1, "two"]}])),
            ("vector", json!([{"metric": {}, "value": [1e300, "2"]}])),
            ("vector", json!([{"metric": {}, "value": [-1, "2"]}])),
            ("vector", json!([{"metric": {}, "value": [1, "2", "3"]}])),
            ("vector", json!([{"metric": {}, "values": [[1, "2"]]}])),
            ("matrix", json!([{"metric": {}, "value": [1, "2"]}])),
            ("vector", json!([{"metric": {"a": 1}, "value": [1, "2"]}])),
            ("vector", json!([{"metric": {}, "histogram": [1, {}]}])),
            ("matrix", json!([{"metric": {}, "values": [], "histograms": [[1, {}]]}])),
            ("vector", json!(null)),
            ("vector", json!({})),
            ("string", json!([1, "abc"])),
            ("streams", json!([])),
        ] {
            let data = json!({"resultType": kind, "result": result});
            let Err(Refused::Unavailable(why)) = found(&data) else { panic!("{data}") };
            assert!(why.starts_with("what it answers cannot be read: "), "{why}");
        }
        assert!(matches!(found(&json!(null)), Err(Refused::Unavailable(_))));
        let deep = format!("{{\"status\":\"success\",\"data\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(unavailable(200, deep.as_bytes()).contains("recursion"), "an error, no overflow");
    }
}
