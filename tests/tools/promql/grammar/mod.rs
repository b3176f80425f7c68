//! Expressions of the query language by chance, typed, so that most of them have an answer.

mod operators;

use fastrand::Rng;

use super::samples::{FIRST, METRICS, Metric, SPAN, values};

/// When an expression is asked for, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(i64),
    Steps { first: i64, last: i64, step: i64 },
}

/// An expression, and when it is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    pub expr: String,
    pub when: When,
    /// Of a range vector: the samples themselves.
    pub raw: bool,
}

/// An instant vector, with the labels that its series have.
#[derive(Clone)]
struct Vector {
    text: String,
    labels: Vec<&'static str>,
}

/// Which metrics will do.
type Fit<'a> = &'a dyn Fn(&Metric) -> bool;

pub struct Grammar {
    rng: Rng,
}

/// Functions of each value.
const SIMPLE: &[&str] = &["abs", "ceil", "floor", "sgn", "sqrt", "exp", "ln", "log2", "log10", "timestamp"];

/// Functions of each value that few ask for.
const RARE: &[&str] = &["deg", "rad", "sin", "cos", "tan", "atan", "sinh", "tanh", "asinh"];

const DATES: &[&str] =
    &["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];

const OVER_TIME: &[&str] = &[
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "changes",
    "resets",
];

const RATES: &[&str] = &["rate", "increase", "irate", "delta", "idelta", "deriv"];

const RANGES: &[&str] = &["15s", "30s", "45s", "1m", "90s", "2m", "5m", "7m30s", "10m", "20m", "1h"];

const NUMBERS: &[&str] = &["0", "1", "2", "0.5", "-1", "3.7", "10", "100", "1e3", "0x1F", "1e-3", "Inf", "-Inf", "NaN"];

impl Grammar {
    pub fn new(rng: Rng) -> Self {
        Self { rng }
    }

    pub fn instant(&mut self) -> Question {
        let raw = self.chance(20);
        let expr = match self.rng.u32(..19) {
            _ if raw => self.range(1).text,
            0 | 1 => self.scalar(2),
            2 => self.ordered(),
            _ => self.whole(),
        };
        // Now and then at a time that is no multiple of anything.
        let odd = [0, 0, 0, 125, 500, 637][self.rng.usize(..6)];
        let at = FIRST - 60_000 + self.rng.i64(0..SPAN / 5000) * 5000 + odd;
        Question { expr, when: When::At(at), raw }
    }

    pub fn steps(&mut self) -> Question {
        let expr = if self.rng.u32(..12) == 0 { self.scalar(2) } else { self.whole() };
        let first = FIRST - 60_000 + self.rng.i64(0..SPAN / 5000) * 5000 + [0, 0, 0, 250][self.rng.usize(..4)];
        let step = [1000, 5000, 15_000, 37_500, 60_000, 300_000][self.rng.usize(..6)];
        let last = first + self.rng.i64(0..40) * step + self.rng.i64(0..step);
        Question { expr, when: When::Steps { first, last, step }, raw: false }
    }

    fn whole(&mut self) -> String {
        let depth = self.rng.u32(1..4);
        self.vector(depth).text
    }

    /// What has an order.
    fn ordered(&mut self) -> String {
        let inner = self.vector(1).text;
        let of = self.one(&["sort", "sort_desc"]);
        format!("{of}({inner})")
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.rng.usize(..of.len())]
    }

    fn chance(&mut self, of: u32) -> bool {
        self.rng.u32(..of) == 0
    }

    /// Some of the labels.
    fn some(&mut self, labels: &[&'static str]) -> Vec<&'static str> {
        labels.iter().copied().filter(|_| self.rng.bool()).collect()
    }

    fn metric(&mut self, fit: Fit<'_>) -> &'static Metric {
        let fitting: Vec<&Metric> = METRICS.iter().filter(|metric| fit(metric)).collect();
        fitting[self.rng.usize(..fitting.len())]
    }

    fn scalar(&mut self, depth: u32) -> String {
        match if depth == 0 { self.rng.u32(..4) } else { self.rng.u32(..9) } {
            0..=2 => self.one(NUMBERS).to_owned(),
            3 => "time()".to_owned(),
            4 => format!("scalar({})", self.vector(depth - 1).text),
            5 => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let operator = self.one(&["+", "-", "*", "/", "%", "^", "atan2"]);
                format!("({left}) {operator} {right}")
            }
            6 => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let operator = self.one(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({left}) {operator} bool ({right})")
            }
            7 => format!("-({})", self.scalar(depth - 1)),
            _ => format!("scalar({})", self.total()),
        }
    }

    /// One series without labels.
    fn total(&mut self) -> String {
        let of = self.one(&["sum", "avg", "min", "max", "count"]);
        let inner = self.family(1, &|_| true).text;
        format!("{of}({inner})")
    }

    fn matchers(&mut self, labels: &[&'static str]) -> String {
        let mut parts = Vec::new();
        for label in self.some(labels) {
            let known = values(label);
            let (first, second) = (self.one(known), self.one(known));
            let escaped = |text: &str| text.replace('+', "\\\\+");
            parts.push(match self.rng.u32(..8) {
                0 | 1 => format!("{label}=\"{first}\""),
                2 => format!("{label}!=\"{first}\""),
                3 | 4 => format!("{label}=~\"{}|{}\"", escaped(first), escaped(second)),
                5 => format!("{label}!~\"{}\"", escaped(first)),
                6 => format!("{label}=~\"{}.*\"", first.chars().next().filter(|c| *c != '+').unwrap_or('.')),
                _ => format!("{label}!=''"),
            });
        }
        if self.chance(25) {
            parts.push(self.one(&["nope=\"\"", "nope!=\"x\"", "nope=~\".*\"", "job=~\".+\""]).to_owned());
        }
        parts.join(",")
    }

    /// `@` and `offset`, in either order.
    fn shift(&mut self) -> String {
        let offset = match self.rng.u32(..8) {
            0 => format!(" offset {}", self.one(RANGES)),
            1 => format!(" offset -{}", self.one(&["15s", "1m", "10m"])),
            _ => String::new(),
        };
        let at = match self.rng.u32(..14) {
            0 => format!(" @ {}", FIRST / 1000 + self.rng.i64(0..SPAN / 1000)),
            1 => format!(" @ {}.5", FIRST / 1000 + self.rng.i64(0..SPAN / 1000)),
            2 => " @ start()".to_owned(),
            3 => " @ end()".to_owned(),
            _ => String::new(),
        };
        if self.rng.bool() { format!("{at}{offset}") } else { format!("{offset}{at}") }
    }

    /// A selector without `@` and `offset`.
    fn selector(&mut self, fit: Fit<'_>) -> Vector {
        let metric = self.metric(fit);
        let mut matchers = self.matchers(metric.labels);
        let mut name = metric.name.to_owned();
        if self.chance(20) {
            let half = &metric.name[..metric.name.len() - 2];
            let by_name = self.rng.bool();
            let by_name = if by_name { format!("__name__=\"{name}\"") } else { format!("__name__=~\"{half}.+\"") };
            matchers = if matchers.is_empty() { by_name } else { format!("{by_name},{matchers}") };
            name.clear();
        }
        let text = if matchers.is_empty() { name } else { format!("{name}{{{matchers}}}") };
        Vector { text, labels: metric.labels.to_vec() }
    }

    fn shifted(&mut self, fit: Fit<'_>) -> Vector {
        let selector = self.selector(fit);
        Vector { text: format!("{}{}", selector.text, self.shift()), labels: selector.labels }
    }

    /// A range vector.
    fn range(&mut self, depth: u32) -> Vector {
        self.range_of(depth, &|_| true)
    }

    fn range_of(&mut self, depth: u32, fit: Fit<'_>) -> Vector {
        let range = self.one(RANGES);
        if depth > 0 && self.chance(4) {
            let inner = self.family(depth - 1, fit);
            let step = self.one(&["", "10s", "15s", "1m", "7s", "2m"]);
            let text = format!("({})[{range}:{step}]{}", inner.text, self.shift());
            return Vector { text, labels: inner.labels };
        }
        let inner = self.selector(fit);
        Vector { text: format!("{}[{range}]{}", inner.text, self.shift()), labels: inner.labels }
    }

    /// Something of one metric that has each of its series at most once.
    fn family(&mut self, depth: u32, fit: Fit<'_>) -> Vector {
        if depth == 0 {
            return self.shifted(fit);
        }
        match self.rng.u32(..10) {
            0 | 1 => self.shifted(fit),
            2..=4 => self.rated(depth, fit),
            5 | 6 => self.over_time(depth, fit),
            7 => {
                let inner = self.family(depth - 1, fit);
                let of = self.one(SIMPLE);
                Vector { text: format!("{of}({})", inner.text), ..inner }
            }
            8 => {
                let inner = self.family(depth - 1, fit);
                let (scalar, operator) = (self.scalar(depth - 1), self.one(&["+", "-", "*", "/"]));
                let text = if self.rng.bool() {
                    format!("({}) {operator} ({scalar})", inner.text)
                } else {
                    format!("({scalar}) {operator} ({})", inner.text)
                };
                Vector { text, ..inner }
            }
            _ => self.bounded(depth, fit),
        }
    }

    fn rated(&mut self, depth: u32, fit: Fit<'_>) -> Vector {
        let inner = self.range_of(depth, fit);
        let of = self.one(RATES);
        Vector { text: format!("{of}({})", inner.text), ..inner }
    }

    fn over_time(&mut self, depth: u32, fit: Fit<'_>) -> Vector {
        let inner = self.range_of(depth, fit);
        let text = match self.rng.u32(..14) {
            0 => format!("quantile_over_time({}, {})", self.one(&["0.5", "0.9", "0", "1", "-1", "2"]), inner.text),
            1 => format!("predict_linear({}, {})", inner.text, self.one(&["60", "-600", "3600"])),
            2 => format!("holt_winters({}, {}, {})", inner.text, self.one(&["0.3", "0.9"]), self.one(&["0.1", "0.6"])),
            _ => format!("{}({})", self.one(OVER_TIME), inner.text),
        };
        Vector { text, ..inner }
    }

    fn bounded(&mut self, depth: u32, fit: Fit<'_>) -> Vector {
        let inner = self.family(depth - 1, fit);
        let (a, b) = (self.scalar(depth - 1), self.scalar(depth - 1));
        let text = match self.rng.u32(..5) {
            0 => format!("clamp({}, {a}, {b})", inner.text),
            1 => format!("clamp_min({}, {a})", inner.text),
            2 => format!("clamp_max({}, {a})", inner.text),
            3 => format!("round({})", inner.text),
            _ => format!("round({}, {})", inner.text, self.one(&["0.1", "5", "0.25", "-1", "0"])),
        };
        Vector { text, ..inner }
    }

    fn vector(&mut self, depth: u32) -> Vector {
        if depth == 0 {
            return self.shifted(&|_| true);
        }
        match self.rng.u32(..40) {
            0..=9 => self.family(depth, &|_| true),
            10..=17 => self.aggregated(depth),
            18..=27 => self.operated(depth),
            28 => {
                let inner = self.vector(depth - 1);
                Vector { text: format!("-({})", inner.text), ..inner }
            }
            29 => {
                let text = format!("vector({})", self.scalar(depth - 1));
                Vector { text, labels: vec![] }
            }
            30 | 31 => self.relabelled(depth),
            32 => {
                let inner = self.vector(depth - 1);
                Vector { text: format!("absent({})", inner.text), labels: vec![] }
            }
            33 => {
                let inner = self.range(depth - 1);
                Vector { text: format!("absent_over_time({})", inner.text), labels: vec![] }
            }
            34..=36 => self.quantile_of_histogram(depth),
            37 => {
                let part = self.one(DATES);
                if self.rng.bool() {
                    return Vector { text: format!("{part}()"), labels: vec![] };
                }
                let inner = self.vector(depth - 1);
                Vector { text: format!("{part}({} * 86400)", wrapped(&inner.text)), ..inner }
            }
            38 => {
                let (of, inner) = (self.one(&["sort", "sort_desc"]), self.vector(depth - 1));
                Vector { text: format!("{of}({})", inner.text), ..inner }
            }
            _ => {
                // Of what was stored: they make much of the last digit.
                let (of, inner) = (self.one(RARE), self.shifted(&|_| true));
                Vector { text: format!("{of}({})", inner.text), ..inner }
            }
        }
    }
}

/// In parentheses, unless it is one piece.
fn wrapped(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if text.chars().all(plain) { text.to_owned() } else { format!("({text})") }
}
