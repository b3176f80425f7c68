//! The samples that both have: counters that fall back, gauges below zero, gaps, births and ends, buckets, what is no
//! number; as OpenMetrics, and as a remote write, which can say that a series has ended.

use std::fmt::Write;

use fastrand::Rng;

/// When they begin, in milliseconds since 1970: two hours before virtual time, so that a block of two hours has them all.
pub const FIRST: i64 = 1_767_218_400_000;

/// How long they go on, in milliseconds.
pub const SPAN: i64 = 4_500_000;

/// A series. A sample without a value marks its end.
pub struct Series {
    pub labels: Vec<(&'static str, String)>,
    pub samples: Vec<(i64, Option<f64>)>,
}

/// What a metric counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Many series have the same value.
    Coarse,
    Buckets,
}

/// A metric that queries ask for.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Its labels, beside the name.
    pub labels: &'static [&'static str],
}

pub const METRICS: &[Metric] = &[
    Metric { name: "requests_total", kind: Kind::Counter, labels: &["job", "instance", "code"] },
    Metric { name: "work_seconds_total", kind: Kind::Counter, labels: &["job", "instance"] },
    Metric { name: "big_total", kind: Kind::Counter, labels: &["job"] },
    Metric { name: "lonely_total", kind: Kind::Counter, labels: &[] },
    Metric { name: "temperature_celsius", kind: Kind::Gauge, labels: &["room", "floor"] },
    Metric { name: "load", kind: Kind::Gauge, labels: &["job", "instance"] },
    Metric { name: "slow", kind: Kind::Gauge, labels: &["job"] },
    Metric { name: "limits", kind: Kind::Gauge, labels: &["job"] },
    Metric { name: "odd", kind: Kind::Gauge, labels: &["sort"] },
    Metric { name: "queue_length", kind: Kind::Coarse, labels: &["job", "instance"] },
    Metric { name: "build_info", kind: Kind::Coarse, labels: &["job", "instance", "version"] },
    Metric { name: "flips", kind: Kind::Coarse, labels: &["job"] },
    Metric { name: "latency_seconds_bucket", kind: Kind::Buckets, labels: &["job", "instance", "le"] },
    Metric { name: "broken_bucket", kind: Kind::Buckets, labels: &["sort", "le"] },
];

/// The values of a label that matchers ask for.
pub fn values(label: &str) -> &'static [&'static str] {
    match label {
        "job" => &["api", "web"],
        "instance" => &["a:1", "b:1", "c:1"],
        "code" => &["200", "404", "500"],
        "room" => &["attic", "cellar", "hall"],
        "floor" => &["1", "2"],
        "sort" => &["no number", "rising", "falling", "mixed", "zero", "tiny", "huge", "half", "low", "twice", "back"],
        "version" => &["v1", "v2"],
        "le" => &["0.1", "0.25", "0.5", "1", "2.5", "+Inf"],
        _ => &[],
    }
}

/// Collects series, each with chances of its own.
struct Maker<'a> {
    rng: &'a mut Rng,
    made: Vec<Series>,
}

impl Maker<'_> {
    fn put(
        &mut self,
        labels: &[(&'static str, &str)],
        times: impl IntoIterator<Item = i64>,
        mut value: impl FnMut(&mut Rng) -> f64,
    ) {
        let samples = times.into_iter().map(|at| (at, Some(value(self.rng)))).collect();
        self.made
            .push(Series { labels: labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(), samples });
    }

    /// A counter that falls back to zero now and then.
    fn count(&mut self, labels: &[(&'static str, &str)], times: Vec<i64>, most: u32) {
        let mut total = 0_u32;
        self.put(labels, times, |rng| {
            total = if rng.u32(..60) == 0 { 0 } else { total + if rng.bool() { rng.u32(..=most) } else { 0 } };
            f64::from(total)
        });
    }

    /// A gauge that wanders.
    fn wander(&mut self, labels: &[(&'static str, &str)], times: Vec<i64>, step: f64) {
        let mut value = (self.rng.f64() - 0.5) * 20.0 * step;
        self.put(labels, times, |rng| {
            value += (rng.f64() - 0.5) * step;
            value
        });
    }
}

/// From `first` to `last`, in seconds after the beginning, each `step`.
fn every(step: i64, first: i64, last: i64) -> Vec<i64> {
    (first..=last).filter(|second| (second - first) % step == 0).map(|second| FIRST + second * 1000).collect()
}

/// All but those within `gap`, in seconds.
fn without(times: Vec<i64>, gap: std::ops::Range<i64>) -> Vec<i64> {
    times.into_iter().filter(|at| !gap.contains(&((at - FIRST) / 1000))).collect()
}

/// The samples of one seed, the series in the order of their labels.
pub fn made(rng: &mut Rng) -> Vec<Series> {
    let mut maker = Maker { rng, made: Vec::new() };
    for job in ["api", "web"] {
        for instance in ["a:1", "b:1", "c:1"] {
            // What happens to all series of a target: none, a short gap, a long one, an early end, a late birth.
            let times = match (job, instance) {
                ("api", "b:1") => without(every(15, 5, 3600), 1000..1200),
                ("api", "c:1") => without(every(15, 3, 3600), 1500..2100),
                ("web", "b:1") => every(15, 0, 1800),
                ("web", "c:1") => every(15, 2000, 3600),
                _ => every(15, 0, 3600),
            };
            targets(&mut maker, job, instance, &times);
        }
        maker.wander(&[("__name__", "slow"), ("job", job)], every(240, 0, 3600), 10.0);
        let limit = if job == "api" { 40.0 } else { 7.5 };
        maker.put(&[("__name__", "limits"), ("job", job)], every(60, 0, 3600), |_| limit);
        let mut up = 0.0;
        let flip = |rng: &mut Rng| {
            up = if rng.u32(..4) == 0 { 1.0 - up } else { up };
            up
        };
        maker.put(&[("__name__", "flips"), ("job", job)], every(10, 0, 3600), flip);
        let mut total = 9e15;
        let big = |rng: &mut Rng| {
            total += f64::from(rng.u32(..3));
            total
        };
        maker.put(&[("__name__", "big_total"), ("job", job)], every(30, 0, 3600), big);
    }
    let mut total = 0.0;
    let lonely = |rng: &mut Rng| {
        total = if rng.u32(..100) == 0 { 0.25 } else { total + rng.f64() };
        total
    };
    maker.put(&[("__name__", "lonely_total")], every(1, 600, 1500), lonely);
    for room in ["attic", "cellar", "hall"] {
        for floor in ["1", "2"] {
            // Never in step with anything: eighths of a second can be told exactly.
            let times = every(10, 0, 3600).into_iter().map(|at| at + 125 * maker.rng.i64(0..16)).collect();
            maker.wander(&[("__name__", "temperature_celsius"), ("room", room), ("floor", floor)], times, 1.5);
        }
    }
    oddities(&mut maker);
    let mut made = maker.made;
    for series in &mut made {
        series.labels.sort();
    }
    made.sort_by(|a, b| a.labels.cmp(&b.labels));
    made
}

fn targets(maker: &mut Maker<'_>, job: &str, instance: &str, times: &[i64]) {
    let of = |name: &'static str| [("__name__", name), ("job", job), ("instance", instance)];
    let with = |name: &'static str, more: (&'static str, &'static str)| {
        of(name).into_iter().chain([more]).collect::<Vec<(&'static str, &str)>>()
    };
    for (code, most) in [("200", 40), ("404", 4), ("500", 1)] {
        // One that is born long after its target.
        let born = if code == "500" { FIRST + 900_000 } else { 0 };
        let times = times.iter().copied().filter(|at| *at >= born).collect();
        maker.count(&with("requests_total", ("code", code)), times, most);
    }
    let mut total = 0.0;
    let work = |rng: &mut Rng| {
        total = if rng.u32(..80) == 0 { rng.f64() } else { total + rng.f64() * 3.0 };
        total
    };
    maker.put(&of("work_seconds_total"), times.iter().copied(), work);
    maker.wander(&of("load"), times.to_vec(), 2.0);
    maker.put(&of("queue_length"), times.iter().copied(), |rng| f64::from(rng.u32(..6)));
    let version = if instance == "a:1" { "v1" } else { "v2" };
    maker.put(&with("build_info", ("version", version)), times.iter().copied(), |_| 1.0);
    // Buckets hold all that is below their bound, so they grow together.
    let mut counts = [0_u32; 6];
    let rows: Vec<[u32; 6]> = times
        .iter()
        .map(|_| {
            for _ in 0..maker.rng.u32(..5) {
                let slowest = maker.rng.usize(..6);
                counts[slowest..].iter_mut().for_each(|count| *count += 1);
            }
            counts
        })
        .collect();
    for (n, bound) in values("le").iter().enumerate() {
        let mut row = rows.iter();
        let count = |_: &mut Rng| row.next().map_or(0.0, |row| f64::from(row[n]));
        maker.put(&with("latency_seconds_bucket", ("le", bound)), times.iter().copied(), count);
    }
}

/// What is no number or hardly one, and buckets that make no histogram.
fn oddities(maker: &mut Maker<'_>) {
    for sort in ["no number", "rising", "falling", "mixed", "zero", "tiny", "huge"] {
        maker.put(&[("__name__", "odd"), ("sort", sort)], every(20, 0, 3600), |rng| match sort {
            "no number" => f64::NAN,
            "rising" => f64::INFINITY,
            "falling" => f64::NEG_INFINITY,
            "mixed" => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 2.5][rng.usize(..6)],
            "zero" => [0.0, -0.0][rng.usize(..2)],
            "tiny" => rng.f64() * 1e-300,
            _ => rng.f64() * 1.5e308,
        });
    }
    // No bucket of everything; nothing but that; a bound twice; counts that fall; bounds below zero.
    for (sort, bounds) in [
        ("half", &["0.5", "1"] as &[&str]),
        ("low", &["+Inf"]),
        ("twice", &["1", "1.0", "2", "+Inf"]),
        ("back", &["1", "2", "3", "+Inf"]),
        ("mixed", &["-2", "-1", "0", "1", "+Inf"]),
        ("zero", &["1", "none", "+Inf"]),
    ] {
        let mut grown = 0.0;
        for (n, bound) in bounds.iter().enumerate() {
            grown += if sort == "back" && n == 2 { -1.0 } else { 2.0 };
            let mut count = 0.0;
            let rising = |_: &mut Rng| {
                count += if sort == "zero" { 0.0 } else { grown };
                count
            };
            maker.put(&[("__name__", "broken_bucket"), ("sort", sort), ("le", bound)], every(30, 0, 3600), rising);
        }
    }
}

/// The same, but each series ends where it has a gap and where it is over, and now and then of its own accord.
pub fn with_ends(mut all: Vec<Series>, rng: &mut Rng) -> Vec<Series> {
    for series in &mut all {
        let usual = match series.samples[..] {
            [(first, _), (second, _), ..] => (second - first).max(1000),
            _ => 15_000,
        };
        let mut samples = Vec::new();
        let mut absent = 0_u32;
        for (n, sample) in series.samples.iter().enumerate() {
            let ended = samples.last().is_none_or(|(_, value): &(i64, Option<f64>)| value.is_none());
            absent = match absent {
                0 if rng.u32(..40) == 0 => rng.u32(1..20),
                absent => absent.saturating_sub(1),
            };
            samples.extend(match absent {
                0 => Some(*sample),
                _ => (!ended).then_some((sample.0, None)),
            });
            let next = series.samples.get(n + 1).map_or(i64::MAX, |(at, _)| *at);
            if absent == 0 && next - sample.0 > 2 * usual {
                samples.push((sample.0 + usual, None));
            }
        }
        series.samples = samples;
    }
    all
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn value(number: f64) -> String {
    match number {
        n if n.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        n => format!("{n:e}"),
    }
}

/// All of them as OpenMetrics with times, for `promtool`.
pub fn open_metrics(all: &[Series]) -> String {
    let mut page = String::new();
    for series in all {
        let name = series.labels.iter().find(|(label, _)| *label == "__name__").map_or("", |(_, name)| name);
        let labels = series.labels.iter().filter(|(label, _)| *label != "__name__");
        let labels: Vec<String> = labels.map(|(label, text)| format!("{label}=\"{}\"", quoted(text))).collect();
        for (at, number) in series.samples.iter().filter_map(|(at, number)| Some((*at, (*number)?))) {
            let (seconds, rest) = (at / 1000, at % 1000);
            // Writing to a string does not fail.
            let _ = writeln!(page, "{name}{{{}}} {} {seconds}.{rest:03}", labels.join(","), value(number));
        }
    }
    page.push_str("# EOF\n");
    page
}

/// The bits of the NaN that marks the end of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A field of protobuf that has a length.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// All samples from `first` to before `last`, as the body of a remote write: protobuf in snappy, which compresses nothing.
pub fn remote_write(all: &[Series], first: i64, last: i64) -> Vec<u8> {
    let mut request = Vec::new();
    for series in all {
        let mut one = Vec::new();
        for (name, text) in &series.labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, text.as_bytes());
            field(&mut one, 1, &label);
        }
        let labelled = one.len();
        for (at, number) in series.samples.iter().filter(|(at, _)| (first..last).contains(at)) {
            let bits = number.map_or(STALE, f64::to_bits);
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&bits.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, at.unsigned_abs());
            field(&mut one, 2, &sample);
        }
        if one.len() > labelled {
            field(&mut request, 1, &one);
        }
    }
    let mut body = Vec::new();
    varint(&mut body, request.len() as u64);
    for literal in request.chunks(1 << 16) {
        let [low, high, ..] = (literal.len() - 1).to_le_bytes();
        body.extend_from_slice(&[61 << 2, low, high]);
        body.extend_from_slice(literal);
    }
    body
}
