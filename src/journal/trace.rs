//! The trace of a run: its ids in the formats of OpenTelemetry and W3C Trace Context.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// The header of W3C Trace Context that names a trace and a span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header of W3C Baggage.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The trace that a run is part of, for tracing systems. All ids of a run's spans follow from its root span's, so that
/// a journal made into spans again has the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The trace: 32 hexadecimal digits.
    pub id: String,
    /// The span of the whole run.
    pub root: SpanId,
    /// The span of whoever started it, such as a job of CI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// Whether it is recorded at all, as who started it says.
    pub sampled: bool,
    /// What goes along with it, in the form of the header `baggage`: `steadfast.run=x7k2m9pq`.
    #[serde(default)]
    pub baggage: String,
}

impl Trace {
    /// The span of part number so-and-so of a kind.
    #[must_use]
    pub fn span(&self, kind: &str, number: u64) -> SpanId {
        self.spans(kind).number(number)
    }

    /// The spans of a kind.
    #[must_use]
    pub fn spans(&self, kind: &str) -> Spans {
        // FNV-1a, from the root's id on.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Spans { base: kind.bytes().fold(mixed(self.root.0), hash) }
    }

    /// The value of the header `traceparent` for a request whose span is this one.
    #[must_use]
    pub fn traceparent(&self, span: SpanId) -> String {
        format!("00-{}-{span}-{}", self.id, self.flags())
    }

    /// Says in a request's headers that it is part of the run, unless they say something else already.
    pub fn mark(&self, headers: &mut HeaderMap, span: SpanId) {
        for (name, value) in [(TRACEPARENT, self.traceparent(span)), (BAGGAGE, self.baggage.clone())] {
            if let (false, Ok(value)) = (headers.contains_key(&name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }

    /// The flags of a `traceparent`, in two digits.
    #[must_use]
    pub fn flags(&self) -> &'static str {
        if self.sampled { "01" } else { "00" }
    }
}

/// The ids of many spans of one kind, such as the requests of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    base: u64,
}

impl Spans {
    /// The id of number so-and-so: no two have the same.
    #[must_use]
    pub fn number(self, number: u64) -> SpanId {
        SpanId::of(mixed(self.base.wrapping_add(number)))
    }
}

/// A span: 16 hexadecimal digits, not all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(u64);

impl SpanId {
    /// The id with these bits; 0, which is none, becomes 1.
    #[must_use]
    pub fn of(bits: u64) -> Self {
        Self(bits.max(1))
    }

    /// Its bytes, as they are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The id that these 16 digits stand for.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u64::from_str_radix(text, 16).ok().filter(|bits| digits && *bits != 0)?;
        Some(Self(bits))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SpanId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no id of a span")))
    }
}

/// The mixing of splitmix64: a bijection, so that no two numbers become one.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn trace(root: u64) -> Trace {
        Trace {
            id: "0af7651916cd43dd8448eb211c80319c".into(),
            root: SpanId::of(root),
            parent: None,
            sampled: true,
            baggage: "steadfast.run=a".into(),
        }
    }

    #[test]
    fn ids_follow_from_the_root_and_differ() {
        let ids: BTreeSet<_> = ["check", "fault", "load a", "load b"]
            .iter()
            .flat_map(|kind| (0..1000).map(|number| trace(7).span(kind, number)))
            .collect();
        assert_eq!(ids.len(), 4000);
        assert_eq!(trace(7).span("check", 3), trace(7).span("check", 3));
        assert_ne!(trace(7).span("check", 3), trace(8).span("check", 3));
    }

    #[test]
    fn a_context_is_written_as_the_standard_says() {
        let trace = trace(0xb7ad_6b71_6920_3331);
        assert_eq!(trace.traceparent(trace.root), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let not = Trace { sampled: false, ..trace };
        assert!(not.traceparent(SpanId::of(0)).ends_with("-0000000000000001-00"));
        let json = serde_json::to_string(&not).unwrap();
        assert_eq!(serde_json::from_str::<Trace>(&json).unwrap(), not);
        let mut headers = HeaderMap::new();
        headers.insert(BAGGAGE, HeaderValue::from_static("user=1"));
        not.mark(&mut headers, not.root);
        assert_eq!(
            (&headers[&TRACEPARENT], &headers[&BAGGAGE]),
            (&not.traceparent(not.root).parse().unwrap(), &"user=1".parse().unwrap())
        );
        for wrong in ["", "0000000000000000", "+af7651916cd43dd", "b7ad6b7169203331b"] {
            assert_eq!(SpanId::parse(wrong), None, "{wrong}");
        }
    }
}
