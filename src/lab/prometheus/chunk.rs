//! Samples of one series, held small: what is scraped regularly costs no times, what stands still no values.

use std::sync::Arc;

/// One sample: milliseconds since 1970, and the value.
pub(super) type Sample = (i64, f64);

/// How many samples a chunk takes before it is closed.
const CHUNK: usize = 240;

/// A closed chunk.
#[derive(Debug)]
struct Chunk {
    times: Times,
    values: Values,
    last: i64,
}

#[derive(Debug)]
enum Times {
    /// The first and the distance.
    Regular(i64, i64),
    Each(Box<[i64]>),
}

#[derive(Debug)]
enum Values {
    Same(f64, usize),
    Each(Box<[f64]>),
}

impl Chunk {
    fn of(samples: &[Sample]) -> Self {
        let (first, last) = (samples[0].0, samples[samples.len() - 1].0);
        let distance = if samples.len() > 1 { samples[1].0 - first } else { 1 };
        let regular = samples.windows(2).all(|pair| pair[1].0 - pair[0].0 == distance);
        let times = if regular {
            Times::Regular(first, distance)
        } else {
            Times::Each(samples.iter().map(|(at, _)| *at).collect())
        };
        let bits = samples[0].1.to_bits();
        let values = if samples.iter().all(|(_, value)| value.to_bits() == bits) {
            Values::Same(samples[0].1, samples.len())
        } else {
            Values::Each(samples.iter().map(|(_, value)| *value).collect())
        };
        Self { times, values, last }
    }

    fn first(&self) -> i64 {
        match &self.times {
            Times::Regular(first, _) => *first,
            Times::Each(times) => times[0],
        }
    }

    fn time(&self, n: usize) -> i64 {
        match &self.times {
            #[expect(clippy::cast_possible_wrap, reason = "a chunk is short")]
            Times::Regular(first, distance) => first + distance * n as i64,
            Times::Each(times) => times[n],
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Same(_, len) => *len,
            Values::Each(values) => values.len(),
        }
    }

    fn value(&self, n: usize) -> f64 {
        match &self.values {
            Values::Same(value, _) => *value,
            Values::Each(values) => values[n],
        }
    }
}

/// The samples of a series, oldest first. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    closed: Vec<Arc<Chunk>>,
    open: Vec<Sample>,
}

impl Samples {
    pub(super) fn last(&self) -> Option<Sample> {
        self.open.last().copied().or_else(|| {
            let chunk = self.closed.last()?;
            Some((chunk.last, chunk.value(chunk.len() - 1)))
        })
    }

    pub(super) fn first(&self) -> Option<i64> {
        self.closed.first().map(|chunk| chunk.first()).or_else(|| Some(self.open.first()?.0))
    }

    /// Appends a sample that is newer than all.
    pub(super) fn push(&mut self, sample: Sample) {
        self.open.push(sample);
        if self.open.len() >= CHUNK {
            self.closed.push(Arc::new(Chunk::of(&self.open)));
            self.open.clear();
        }
    }

    /// Forgets whole chunks that end before a time.
    pub(super) fn forget_before(&mut self, at: i64) {
        self.closed.retain(|chunk| chunk.last >= at);
        if self.open.last().is_some_and(|(last, _)| *last < at) {
            self.open = Vec::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    pub(super) fn chunks(&self) -> usize {
        self.closed.len() + usize::from(!self.open.is_empty())
    }

    /// Whether there is a sample from `first` to `last`, both included.
    pub(super) fn any_within(&self, first: i64, last: i64) -> bool {
        let closed = self.closed.iter().any(|chunk| chunk.first() <= last && chunk.last >= first);
        closed || self.open.iter().any(|(at, _)| (first..=last).contains(at))
    }

    /// Fills `into` with the samples from `first` to `last`, both included.
    pub(super) fn copy_within(&self, first: i64, last: i64, into: &mut Vec<Sample>) {
        into.clear();
        let from = self.closed.partition_point(|chunk| chunk.last < first);
        for chunk in self.closed[from..].iter().take_while(|chunk| chunk.first() <= last) {
            let samples = (0..chunk.len()).map(|n| (chunk.time(n), chunk.value(n)));
            if chunk.first() >= first && chunk.last <= last {
                into.extend(samples);
            } else {
                into.extend(samples.filter(|(at, _)| (first..=last).contains(at)));
            }
        }
        into.extend(self.open.iter().filter(|(at, _)| (first..=last).contains(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(samples: &Samples, first: i64, last: i64) -> Vec<Sample> {
        let mut found = Vec::new();
        samples.copy_within(first, last, &mut found);
        found
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut samples = Samples::default();
        let mut plain = Vec::new();
        for n in 0..1000_i32 {
            // Regular and still, then regular and rising, then neither.
            let at = i64::from(n) * 2000 + if n > 600 { i64::from(n % 7) } else { 0 };
            let value = if n < 300 { 5.0 } else { f64::from(n) };
            samples.push((at, value));
            plain.push((at, value));
        }
        assert_eq!(all(&samples, i64::MIN, i64::MAX), plain);
        assert_eq!(all(&samples, 400_000, 404_000), plain[200..=202]);
        assert_eq!(all(&samples, 960_001, 961_999), []);
        assert_eq!((samples.first(), samples.last()), (Some(0), plain.last().copied()));
        assert!(samples.any_within(1_998_000, i64::MAX) && !samples.any_within(-5, -1));
        samples.forget_before(1_000_000);
        assert!(samples.first().unwrap() > 900_000 && samples.last() == plain.last().copied());
        samples.forget_before(i64::MAX);
        assert!(samples.is_empty());
    }
}
