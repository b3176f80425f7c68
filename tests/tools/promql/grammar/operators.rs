//! Aggregations, operators between two vectors, new labels, histograms.

use super::super::answers::COUNTED;
use super::super::samples::Kind;
use super::{Fit, Grammar, Vector, wrapped};

impl Grammar {
    fn grouping(&mut self, labels: &[&'static str]) -> (String, Vec<&'static str>) {
        let chosen = self.some(labels);
        let rest = labels.iter().copied().filter(|label| !chosen.contains(label)).collect();
        match self.rng.u32(..5) {
            0 => (String::new(), vec![]),
            1 | 2 => (format!("without ({})", chosen.join(", ")), rest),
            _ => (format!("by ({})", chosen.join(", ")), chosen),
        }
    }

    pub(super) fn aggregated(&mut self, depth: u32) -> Vector {
        // Which of equal values is among the first k is nobody's to say.
        let distinct: Fit<'_> = &|metric| metric.kind == Kind::Gauge && !matches!(metric.name, "odd" | "limits");
        let chooses = self.chance(5);
        let inner = if chooses { self.shifted(distinct) } else { self.vector(depth - 1) };
        let (grouping, labels) = self.grouping(&inner.labels);
        let (of, parameter, labels) = if chooses {
            let of = self.one(&["topk", "bottomk"]);
            (of, format!("{}, ", self.one(&["1", "2", "3", "0", "2.7"])), inner.labels)
        } else {
            match self.rng.u32(..12) {
                0 | 1 => ("quantile", format!("{}, ", self.one(&["0.5", "0.9", "0.99", "0", "1", "-1", "2"])), labels),
                2 => ("count_values", format!("\"{COUNTED}\", "), labels),
                3 => (self.one(&["group", "stdvar"]), String::new(), labels),
                _ => (self.one(&["sum", "avg", "count", "min", "max", "stddev"]), String::new(), labels),
            }
        };
        let text = if self.rng.bool() {
            format!("{of} {grouping} ({parameter}{})", inner.text)
        } else {
            format!("{of}({parameter}{}) {grouping}", inner.text)
        };
        Vector { text, labels }
    }

    fn operator(&mut self) -> String {
        match self.rng.u32(..9) {
            0..=4 => self.one(&["+", "-", "*", "/"]).to_owned(),
            5 => self.one(&["%", "^", "atan2"]).to_owned(),
            6 => format!("{} bool", self.one(&["==", "!=", "<", "<=", ">", ">="])),
            _ => self.one(&["==", "!=", "<", "<=", ">", ">="]).to_owned(),
        }
    }

    pub(super) fn operated(&mut self, depth: u32) -> Vector {
        let operator = self.operator();
        match self.rng.u32(..10) {
            0 | 1 => {
                let (inner, scalar) = (self.vector(depth - 1), self.scalar(depth - 1));
                let (vector, scalar) = (wrapped(&inner.text), wrapped(&scalar));
                let text = if self.rng.bool() {
                    format!("{vector} {operator} {scalar}")
                } else {
                    format!("{scalar} {operator} {vector}")
                };
                Vector { text, ..inner }
            }
            2 | 3 => {
                // Two views of one metric.
                let metric = self.metric(&|metric| metric.kind != Kind::Buckets).name;
                let fit: Fit<'_> = &|m| m.name == metric;
                let (left, right) = (self.family(depth - 1, fit), self.family(depth - 1, fit));
                let on = if self.rng.bool() { format!("on({})", left.labels.join(",")) } else { String::new() };
                Vector { text: format!("{} {operator} {on} {}", wrapped(&left.text), wrapped(&right.text)), ..left }
            }
            4 | 5 => self.many_to_one(depth, &operator),
            6 => {
                // Both grouped by the same.
                let by = self.one(&["job", "instance", "job, instance", "sort"]);
                let (a, b) = (self.vector(depth - 1).text, self.vector(depth - 1).text);
                let (f, g) = (self.one(&["sum", "avg", "max", "count"]), self.one(&["sum", "min", "count"]));
                let labels = if by == "job, instance" { vec!["job", "instance"] } else { vec![by] };
                Vector { text: format!("{f} by ({by}) ({a}) {operator} {g} by ({by}) ({b})"), labels }
            }
            7 | 8 => self.set(depth),
            _ => {
                // Whether they match is left to chance.
                let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
                let matching = match self.rng.u32(..3) {
                    0 => format!("on({})", self.some(&left.labels).join(",")),
                    1 => format!("ignoring({})", self.some(&right.labels).join(",")),
                    _ => String::new(),
                };
                Vector {
                    text: format!("{} {operator} {matching} {}", wrapped(&left.text), wrapped(&right.text)),
                    ..left
                }
            }
        }
    }

    fn many_to_one(&mut self, depth: u32, operator: &str) -> Vector {
        let of_target: Fit<'_> = &|metric| metric.labels.contains(&"job") && metric.kind != Kind::Buckets;
        let many = self.family(depth - 1, of_target);
        let (on, one, taken) = match self.rng.u32(..3) {
            0 => ("job", "limits".to_owned(), ""),
            1 if many.labels.contains(&"instance") => ("job, instance", "build_info".to_owned(), "version"),
            _ => (
                "job",
                format!("{} by (job) ({})", self.one(&["sum", "max"]), self.family(depth - 1, of_target).text),
                "",
            ),
        };
        let (left, right) = (wrapped(&many.text), wrapped(&one));
        let text = if self.rng.bool() {
            format!("{left} {operator} on({on}) group_left({taken}) {right}")
        } else {
            format!("{right} {operator} on({on}) group_right({taken}) {left}")
        };
        Vector { text, ..many }
    }

    fn set(&mut self, depth: u32) -> Vector {
        let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
        let operator = self.one(&["and", "or", "unless"]);
        let matching = match self.rng.u32(..4) {
            0 => "on()".to_owned(),
            1 => format!("on({})", self.one(&["job", "instance", "job, instance"])),
            2 => format!("ignoring({})", self.some(&left.labels).join(", ")),
            _ => String::new(),
        };
        let labels = left.labels.iter().copied().filter(|label| right.labels.contains(label)).collect();
        Vector { text: format!("{} {operator} {matching} {}", wrapped(&left.text), wrapped(&right.text)), labels }
    }

    pub(super) fn relabelled(&mut self, depth: u32) -> Vector {
        let inner = self.vector(depth - 1);
        let from =
            if inner.labels.is_empty() { "__name__" } else { inner.labels[self.rng.usize(..inner.labels.len())] };
        let text = match self.rng.u32(..5) {
            0 => format!("label_join({}, \"joined\", \"-\", \"{from}\", \"job\")", inner.text),
            1 => format!("label_join({}, \"{from}\", \"\", \"job\")", inner.text),
            2 => format!("label_replace({}, \"first\", \"$1\", \"{from}\", \"(.).*\")", inner.text),
            3 => format!("label_replace({}, \"pair\", \"${{2}}/$1\", \"{from}\", \"(.)(.*)\")", inner.text),
            _ => format!("label_replace({}, \"{from}\", \"\", \"job\", \"web\")", inner.text),
        };
        Vector { text, ..inner }
    }

    pub(super) fn quantile_of_histogram(&mut self, depth: u32) -> Vector {
        let buckets: Fit<'_> = &|metric| metric.kind == Kind::Buckets;
        let inner = match self.rng.u32(..4) {
            0 => self.shifted(buckets),
            1 => self.over_time(depth.min(1), buckets),
            _ => self.rated(depth.min(1), buckets),
        };
        let others: Vec<&'static str> = inner.labels.iter().copied().filter(|label| *label != "le").collect();
        let (text, labels) = if self.rng.bool() {
            let kept = self.some(&others);
            let by: Vec<&str> = kept.iter().copied().chain(["le"]).collect();
            (format!("sum by ({}) ({})", by.join(", "), inner.text), kept)
        } else {
            (inner.text, others)
        };
        let q = match self.rng.u32(..8) {
            0 => self.scalar(depth - 1),
            _ => self.one(&["0.5", "0.9", "0.99", "0.25", "0", "1", "-1", "1.5"]).to_owned(),
        };
        Vector { text: format!("histogram_quantile({q}, {text})"), labels }
    }
}
