//! What requests ask for: one target, or several in turn.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::body::Bytes;

use crate::transport::Address;

/// One kind of request.
#[derive(Clone, Debug)]
#[must_use = "a target does nothing until a load has it"]
pub struct Target {
    /// The method.
    pub method: Method,
    /// Where to.
    pub address: Address,
    /// Headers beside `Host` and `Content-Length`; a `Host` among them replaces the address'.
    pub headers: HeaderMap,
    /// The body, empty for none.
    pub body: Bytes,
    /// How often it comes in comparison to the others; 1 by default, 0 for never.
    pub weight: u32,
    wrong: Option<String>,
}

/// The longest cycle of weighted targets.
const LONGEST_CYCLE: u64 = 100_000;

impl Target {
    /// Any request.
    pub fn new(method: Method, address: impl Into<Address>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, address: address.into(), headers, body, weight: 1, wrong: None }
    }

    /// A GET request.
    pub fn get(address: impl Into<Address>) -> Self {
        Self::new(Method::GET, address)
    }

    /// A POST request; chain [`body`](Self::body).
    pub fn post(address: impl Into<Address>) -> Self {
        Self::new(Method::POST, address)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.append(name, value)),
            _ => self.wrong = Some(format!("{name:?} or its value is no header")),
        }
        self
    }

    /// Sends a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// How often it comes in comparison to the others.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn checked(&self) -> Result<(), crate::BoxError> {
        self.address.checked()?;
        match &self.wrong {
            Some(wrong) => Err(wrong.clone().into()),
            None => Ok(()),
        }
    }

    pub(super) fn described(&self) -> String {
        format!("{} {}", self.method, self.address)
    }
}

/// Which target each request has: a cycle, so that request i is known without the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Cycle(Vec<usize>);

impl Cycle {
    /// Interleaves weights as evenly as they go: 5, 1, 1 gives a a b a c a a.
    pub(super) fn of(weights: &[u32]) -> Result<Self, String> {
        if !weights.is_empty() && weights.iter().all(|weight| *weight == 1) && weights.len() as u64 <= LONGEST_CYCLE {
            // What follows would come to the same, in a time that grows with the square.
            return Ok(Self((0..weights.len()).collect()));
        }
        let divisor = weights.iter().fold(0, |a, b| greatest_common_divisor(a, *b)).max(1);
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
        let total: i64 = weights.iter().sum();
        if total == 0 {
            return Err("it has no target; give one at least".into());
        }
        if total.unsigned_abs() > LONGEST_CYCLE {
            return Err(format!("its weights add up to {total}; give weights with a sum up to {LONGEST_CYCLE}"));
        }
        let mut credit = vec![0_i64; weights.len()];
        let mut cycle = Vec::new();
        for _ in 0..total {
            credit.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
            // The first of the largest.
            let next = (0..credit.len()).rev().max_by_key(|place| credit[*place]).unwrap_or(0);
            credit[next] -= total;
            cycle.push(next);
        }
        Ok(Self(cycle))
    }

    /// The target of a request.
    pub(super) fn at(&self, number: u64) -> usize {
        if let [only] = self.0.as_slice() {
            return *only;
        }
        let place = number % (self.0.len() as u64).max(1);
        usize::try_from(place).ok().and_then(|place| self.0.get(place)).copied().unwrap_or(0)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_cycle_has_each_target_by_its_weight(weights in proptest::collection::vec(0_u32..50, 1..8)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let cycle = Cycle::of(&weights).unwrap();
            let length: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let mut seen = vec![0; weights.len()];
            (0..length).for_each(|number| seen[cycle.at(number)] += 1);
            prop_assert_eq!(seen, weights);
        }
    }

    #[test]
    fn targets_are_interleaved() {
        let cycle = Cycle::of(&[5, 1, 1]).unwrap();
        assert_eq!((0..8).map(|number| cycle.at(number)).collect::<Vec<_>>(), [0, 0, 1, 0, 2, 0, 0, 0]);
        let equal = Cycle::of(&[1, 1, 1]).unwrap();
        assert_eq!((0..5).map(|number| equal.at(number)).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        assert!(Cycle::of(&[0]).unwrap_err().contains("no target") && Cycle::of(&[99_999, 100_000]).is_err());
    }
}
