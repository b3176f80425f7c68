//! Samples that nobody scraped: what a test wants to have been before it.

use super::labels::{Labels, NAME, is_label_name, is_metric_name};
use super::numbers::shown;
use super::tsdb::{NotTaken, Tsdb};
use crate::clock::Timestamp;

/// Samples that the lab's Prometheus does not take.
#[derive(Debug, thiserror::Error)]
#[error("failed to take the samples of {series}: {why}")]
pub struct BadSamples {
    series: String,
    why: String,
}

/// Appends samples to one series. What came before the one that is not taken stays.
pub(super) fn append(
    tsdb: &Tsdb,
    labels: &[(&str, &str)],
    samples: impl IntoIterator<Item = (Timestamp, Option<f64>)>,
) -> Result<(), BadSamples> {
    let labels = Labels::of(labels);
    let bad = |why: String| BadSamples { series: shown(&labels), why };
    if !is_metric_name(labels.get(NAME)) {
        return Err(bad(format!("{NAME} holds no name of a metric; give one, such as http_requests_total")));
    }
    if let Some((name, _)) = labels.pairs().iter().find(|(name, _)| !is_label_name(name)) {
        return Err(bad(format!("{name:?} is no name of a label; use letters, digits and underscores")));
    }
    for (time, value) in samples {
        let at = time.as_millisecond();
        match value {
            None => tsdb.end(&labels, at),
            Some(value) => match tsdb.append(&labels, at, value) {
                Ok(_) => {}
                Err(NotTaken::OutOfOrder) => {
                    return Err(bad(format!("there is a newer one than that of {time}; give them oldest first")));
                }
                Err(NotTaken::Duplicate) => return Err(bad(format!("there is another value of {time}"))),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn samples_are_taken_oldest_first() {
        let (tsdb, x) = (Tsdb::default(), [(NAME, "x"), ("a", "1")]);
        append(&tsdb, &x, [(at(1), Some(1.0)), (at(2), Some(2.0)), (at(3), None)]).unwrap();
        let found = tsdb.select(&[]);
        assert_eq!(found[0].0, Labels::of(&x));
        assert_eq!(found[0].1.last().map(|(at, value)| (at, value.is_nan())), Some((3000, true)));
        let told = append(&tsdb, &x, [(at(2), Some(2.0))]).unwrap_err().to_string();
        let wanted = "failed to take the samples of {__name__=\"x\", a=\"1\"}: there is a newer one than that of \
                      1970-01-01T00:00:02Z; give them oldest first";
        assert_eq!(told, wanted);
        append(&tsdb, &x, [(at(4), Some(1.0))]).unwrap();
        assert!(
            append(&tsdb, &x, [(at(4), Some(2.0))])
                .unwrap_err()
                .to_string()
                .ends_with("another value of 1970-01-01T00:00:04Z")
        );
    }

    #[test]
    fn a_series_has_names_that_can_be_asked_for() {
        let told = |labels: &[(&str, &str)]| append(&Tsdb::default(), labels, []).unwrap_err().to_string();
        assert!(told(&[("a", "1")]).contains("__name__ holds no name of a metric"));
        assert!(told(&[(NAME, "x"), ("a-b", "1")]).contains("\"a-b\" is no name of a label"));
    }
}
