//! Stored series, found by their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use promql_parser::label::{MatchOp, Matcher};

pub(super) use super::chunk::{Sample, Samples};
pub(super) use super::labels::Labels;

/// The bits of the NaN that marks the end of a series, as Prometheus has it.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// How long samples are kept, in milliseconds. The real one's default is 15 days; a lab forgets after one.
pub(super) const RETENTION: i64 = 24 * 60 * 60 * 1000;

/// How often old samples are looked for, in milliseconds.
const TIDY_EVERY: i64 = 10 * 60 * 1000;

/// Names a series as long as it has samples.
pub(super) type SeriesId = u32;

/// Why a sample was not taken. The scrape that it came with is none the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// There is a newer one.
    OutOfOrder,
    /// There is another value of the same time.
    Duplicate,
}

/// All series. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tsdb {
    shared: Arc<Mutex<Head>>,
}

#[derive(Default)]
struct Head {
    series: BTreeMap<SeriesId, Series>,
    by_labels: BTreeMap<Labels, SeriesId>,
    /// The series that have a label with a value: name → value → series, in order.
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<SeriesId>>>,
    next: SeriesId,
    tidied: i64,
}

struct Series {
    labels: Labels,
    samples: Samples,
}

/// What `/api/v1/status/tsdb` tells.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) series: usize,
    pub(super) chunks: usize,
    /// The oldest and the newest sample's time.
    pub(super) span: Option<(i64, i64)>,
    /// How many series each value of each label has.
    pub(super) pairs: Vec<(Arc<str>, Arc<str>, usize)>,
}

impl Tsdb {
    fn head(&self) -> MutexGuard<'_, Head> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a sample to the series with these labels.
    pub(super) fn append(&self, labels: &Labels, at: i64, value: f64) -> Result<SeriesId, NotTaken> {
        let mut head = self.head();
        let id = head.id(labels);
        head.append(id, (at, value)).map(|()| id)
    }

    /// Appends to a series that was named before; `None` if it is forgotten.
    pub(super) fn append_to(&self, id: SeriesId, labels: &Labels, at: i64, value: f64) -> Option<Result<(), NotTaken>> {
        let mut head = self.head();
        // Its number may have been given away since.
        (head.series.get(&id)?.labels == *labels).then(|| head.append(id, (at, value)))
    }

    /// Marks the end of a series.
    pub(super) fn end(&self, labels: &Labels, at: i64) {
        let mut head = self.head();
        if let Some(&id) = head.by_labels.get(labels) {
            // A series that is newer than its own end has not ended.
            let _ = head.append(id, (at, f64::from_bits(STALE)));
        }
    }

    /// The series that all matchers accept, in the order of their making.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<(Labels, Samples)> {
        let head = self.head();
        let found = head.matching(matchers).into_iter().filter_map(|id| head.series.get(&id));
        found.map(|series| (series.labels.clone(), series.samples.clone())).collect()
    }

    /// The labels of the series that all matchers accept and that have samples from `first` to `last`.
    pub(super) fn labels(&self, matchers: &[Matcher], first: i64, last: i64) -> Vec<Labels> {
        let head = self.head();
        let found = head.matching(matchers).into_iter().filter_map(|id| head.series.get(&id));
        found.filter(|series| series.samples.any_within(first, last)).map(|series| series.labels.clone()).collect()
    }

    pub(super) fn statistics(&self) -> Statistics {
        let head = self.head();
        let all = || head.series.values().map(|series| &series.samples);
        let span = all().filter_map(Samples::first).min();
        let span = span.zip(all().filter_map(Samples::last).map(|(at, _)| at).max());
        let pairs = head.postings.iter().flat_map(|(name, values)| {
            values.iter().map(|(value, series)| (name.clone(), value.clone(), series.len()))
        });
        Statistics { series: head.series.len(), chunks: all().map(Samples::chunks).sum(), span, pairs: pairs.collect() }
    }
}

impl Head {
    fn id(&mut self, labels: &Labels) -> SeriesId {
        if let Some(id) = self.by_labels.get(labels) {
            return *id;
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        // Series of one target share the text of their labels.
        let mut shared = Vec::with_capacity(labels.pairs().len());
        for (name, value) in labels.pairs() {
            let values = match self.postings.get_key_value(name) {
                Some((known, _)) => {
                    let known = known.clone();
                    shared.push((known.clone(), value.clone()));
                    self.postings.entry(known).or_default()
                }
                None => {
                    shared.push((name.clone(), value.clone()));
                    self.postings.entry(name.clone()).or_default()
                }
            };
            if let (Some((known, _)), Some(last)) = (values.get_key_value(value), shared.last_mut()) {
                last.1 = known.clone();
            }
            values.entry(value.clone()).or_default().insert(id);
        }
        let labels = Labels::new(shared);
        self.by_labels.insert(labels.clone(), id);
        self.series.insert(id, Series { labels, samples: Samples::default() });
        id
    }

    fn append(&mut self, id: SeriesId, sample: Sample) -> Result<(), NotTaken> {
        self.tidy(sample.0);
        let Some(series) = self.series.get_mut(&id) else { return Ok(()) };
        match series.samples.last() {
            Some((last, _)) if sample.0 < last => return Err(NotTaken::OutOfOrder),
            Some((last, value)) if sample.0 == last => {
                return if value.to_bits() == sample.1.to_bits() { Ok(()) } else { Err(NotTaken::Duplicate) };
            }
            _ => series.samples.push(sample),
        }
        Ok(())
    }

    /// Forgets what is older than the retention, now and then.
    fn tidy(&mut self, now: i64) {
        if now < self.tidied + TIDY_EVERY {
            return;
        }
        self.tidied = now;
        let mut empty = Vec::new();
        for (&id, series) in &mut self.series {
            let had = !series.samples.is_empty();
            series.samples.forget_before(now - RETENTION);
            if had && series.samples.is_empty() {
                empty.push(id);
            }
        }
        for id in empty {
            let Some(series) = self.series.remove(&id) else { continue };
            self.by_labels.remove(&series.labels);
            for (name, value) in series.labels.pairs() {
                let Some(values) = self.postings.get_mut(name) else { continue };
                if let Some(ids) = values.get_mut(value) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        values.remove(value);
                    }
                }
                if values.is_empty() {
                    self.postings.remove(name);
                }
            }
        }
    }

    /// The series that all matchers accept. The narrowest matcher is looked up, the others are tested.
    fn matching(&self, matchers: &[Matcher]) -> Vec<SeriesId> {
        let none = BTreeSet::new();
        let looked_up = matchers.iter().filter(|matcher| !matcher.is_match("")).filter_map(|matcher| {
            let values = self.postings.get(matcher.name.as_str());
            match matcher.op {
                MatchOp::Equal => Some(values.and_then(|values| values.get(matcher.value.as_str())).unwrap_or(&none)),
                _ => None,
            }
        });
        let accepted = |id: &SeriesId| {
            let labels = self.series.get(id).map(|series| &series.labels);
            labels.is_some_and(|labels| matchers.iter().all(|m| m.is_match(labels.get(&m.name))))
        };
        if let Some(fewest) = looked_up.min_by_key(|ids| ids.len()) {
            return fewest.iter().copied().filter(accepted).collect();
        }
        // Then by a matcher that wants the label to be there, each of whose values is tested once.
        match matchers.iter().find(|matcher| !matcher.is_match("")) {
            Some(matcher) => {
                let values = self.postings.get(matcher.name.as_str()).into_iter().flatten();
                let ids = values.filter(|(value, _)| matcher.is_match(value)).flat_map(|(_, ids)| ids);
                let ids: BTreeSet<SeriesId> = ids.copied().collect();
                ids.into_iter().filter(accepted).collect()
            }
            None => self.series.keys().copied().filter(accepted).collect(),
        }
    }
}

pub(super) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(name: &str, value: &str) -> Matcher {
        Matcher::new(MatchOp::Equal, name, value)
    }

    #[test]
    fn order_and_duplicates() {
        let (tsdb, x) = (Tsdb::default(), Labels::of(&[("a", "1")]));
        let id = tsdb.append(&x, 10, 1.0).unwrap();
        assert_eq!(tsdb.append(&x, 10, 1.0), Ok(id), "the same again is no news");
        assert_eq!(tsdb.append(&x, 10, 2.0), Err(NotTaken::Duplicate));
        assert_eq!(tsdb.append(&x, 9, 2.0), Err(NotTaken::OutOfOrder));
        assert_eq!(tsdb.append_to(id, &x, 11, 2.0), Some(Ok(())));
        assert_eq!(tsdb.append_to(id + 1, &x, 12, 2.0), None);
        tsdb.end(&x, 12);
        tsdb.end(&Labels::of(&[("a", "2")]), 12);
        let found = tsdb.select(&[equal("a", "1")]);
        assert!(is_stale(found[0].1.last().unwrap().1));
        assert_eq!(tsdb.statistics().series, 1, "the end of what never was makes no series");
    }

    #[test]
    fn series_are_found_by_any_matcher() {
        let tsdb = Tsdb::default();
        for n in 0..4 {
            let labels = Labels::of(&[("n", &n.to_string()), ("odd", if n % 2 == 1 { "yes" } else { "" })]);
            tsdb.append(&labels, 0, 0.0).unwrap();
        }
        let found = |matchers: &[Matcher]| {
            tsdb.labels(matchers, 0, 0).iter().map(|labels| labels.get("n").to_owned()).collect::<String>()
        };
        let regex = |text: &str| MatchOp::Re(text.parse().unwrap());
        assert_eq!(found(&[equal("n", "2")]), "2");
        assert_eq!(found(&[equal("odd", "")]), "02");
        assert_eq!(found(&[Matcher::new(MatchOp::NotEqual, "odd", "")]), "13");
        assert_eq!(found(&[Matcher::new(regex("^(?:1|2)$"), "n", "1|2"), equal("odd", "yes")]), "1");
        assert_eq!(found(&[Matcher::new(regex("^(?:1|2)$"), "n", "1|2")]), "12");
        assert_eq!(found(&[Matcher::new(MatchOp::NotEqual, "n", "2")]), "013");
        assert_eq!(found(&[equal("n", "9")]), "");
    }

    #[test]
    fn what_is_old_is_forgotten_with_its_series() {
        let (tsdb, x, y) = (Tsdb::default(), Labels::of(&[("a", "1")]), Labels::of(&[("a", "2"), ("b", "c")]));
        tsdb.append(&y, 0, 1.0).unwrap();
        for n in 0..2000 {
            tsdb.append(&x, n * 60_000, 1.0).unwrap();
        }
        assert!(tsdb.select(&[equal("a", "2")]).is_empty());
        assert_eq!(tsdb.statistics().pairs.len(), 1);
        let (first, last) = tsdb.statistics().span.unwrap();
        assert_eq!(last, 1999 * 60_000);
        assert!(last - first <= RETENTION + TIDY_EVERY + 240 * 60_000, "{first}");
    }
}
