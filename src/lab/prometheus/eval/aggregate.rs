//! Aggregations.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM, T_TOPK,
};
use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::range::quantile;
use super::select::number;
use super::{Engine, Series, Value, execution};
use crate::lab::prometheus::labels::{NAME, is_label_name};
use crate::lab::prometheus::numbers::{plain, write_value};
use crate::lab::prometheus::promql::{Refusal, go_quoted};
use crate::lab::prometheus::tsdb::Labels;

/// Which labels make a group.
enum Grouping {
    By(BTreeSet<String>),
    Without(BTreeSet<String>),
}

impl Grouping {
    fn of(modifier: Option<&LabelModifier>) -> Self {
        match modifier {
            None => Self::By(BTreeSet::new()),
            Some(LabelModifier::Include(labels)) => Self::By(labels.labels.iter().cloned().collect()),
            Some(LabelModifier::Exclude(labels)) => {
                Self::Without(labels.labels.iter().cloned().chain([NAME.to_owned()]).collect())
            }
        }
    }

    fn group(&self, labels: &Labels) -> Labels {
        match self {
            Self::By(names) => labels.only(names),
            Self::Without(names) => labels.without(names),
        }
    }
}

/// What has been gathered of a group at one step.
#[derive(Clone, Copy)]
struct Gathered {
    value: f64,
    mean: f64,
    count: f64,
}

impl Gathered {
    fn first(operation: u16, value: f64) -> Self {
        let begun = if matches!(operation, T_STDDEV | T_STDVAR) { 0.0 } else { value };
        Self { value: begun, mean: value, count: 1.0 }
    }

    fn add(&mut self, operation: u16, value: f64) {
        self.count += 1.0;
        match operation {
            T_SUM => self.value += value,
            T_AVG => {
                let same = value.is_infinite() && (self.mean > 0.0) == (value > 0.0);
                if !(self.mean.is_infinite() && (same || value.is_finite())) {
                    self.mean += value / self.count - self.mean / self.count;
                }
            }
            T_MAX if self.value < value || self.value.is_nan() => self.value = value,
            T_MIN if self.value > value || self.value.is_nan() => self.value = value,
            T_STDDEV | T_STDVAR => {
                let delta = value - self.mean;
                self.mean += delta / self.count;
                self.value += delta * (value - self.mean);
            }
            _ => {}
        }
    }

    fn result(self, operation: u16) -> f64 {
        match operation {
            T_AVG => self.mean,
            T_COUNT => self.count,
            T_GROUP => 1.0,
            T_STDDEV => (self.value / self.count).sqrt(),
            T_STDVAR => self.value / self.count,
            _ => self.value,
        }
    }
}

impl Engine<'_> {
    pub(super) fn aggregate(&self, aggregate: &AggregateExpr) -> Result<Value, Refusal> {
        let operation = aggregate.op.id();
        let grouping = Grouping::of(aggregate.modifier.as_ref());
        let parameter = aggregate.param.as_deref();
        let scalar = || parameter.map_or_else(|| execution("a parameter is missing"), |expr| self.scalar(expr));
        match operation {
            T_SUM | T_AVG | T_MAX | T_MIN | T_COUNT | T_GROUP | T_STDDEV | T_STDVAR => {
                Ok(Value::Vector(self.gathered(operation, &grouping, self.vector(&aggregate.expr)?)))
            }
            T_TOPK | T_BOTTOMK => {
                let most = scalar()?;
                let series = self.vector(&aggregate.expr)?;
                Ok(Value::Vector(self.extremes(operation == T_TOPK, &grouping, &most, series)?))
            }
            T_QUANTILE => {
                let ranks = scalar()?;
                let series = self.vector(&aggregate.expr)?;
                Ok(Value::Vector(self.quantiles(&grouping, &ranks, series)))
            }
            T_COUNT_VALUES => {
                let label = match parameter {
                    Some(expr) => self.string(expr)?,
                    None => String::new(),
                };
                if !is_label_name(&label) {
                    return execution(format!("invalid label name {}", go_quoted(&label)));
                }
                let series = self.vector(&aggregate.expr)?;
                Ok(Value::Vector(self.counted_values(&label, grouping, series)))
            }
            _ => execution(format!("the lab does not evaluate the aggregation \"{}\"", aggregate.op)),
        }
    }

    /// The series of each group, groups in the order of their first.
    fn groups(grouping: &Grouping, series: Vec<Series>) -> Vec<(Labels, Vec<Series>)> {
        let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
        let mut groups: Vec<(Labels, Vec<Series>)> = Vec::new();
        for one in series {
            let labels = grouping.group(&one.labels);
            let place = *places.entry(labels.clone()).or_insert_with(|| {
                groups.push((labels, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(one);
        }
        groups
    }

    fn gathered(&self, operation: u16, grouping: &Grouping, series: Vec<Series>) -> Vec<Series> {
        let groups = Self::groups(grouping, series);
        let of_group = |(labels, members): (Labels, Vec<Series>)| {
            let mut gathered: Vec<Option<Gathered>> = vec![None; self.steps.count];
            for (step, value) in members.iter().flat_map(|member| &member.points) {
                match &mut gathered[*step as usize] {
                    Some(begun) => begun.add(operation, *value),
                    none => *none = Some(Gathered::first(operation, *value)),
                }
            }
            let points = gathered.into_iter().enumerate();
            let points = points.filter_map(|(step, g)| Some((number(step), g?.result(operation)))).collect();
            Series { labels, points }
        };
        groups.into_iter().map(of_group).collect()
    }

    /// The values of a group's members at each step, with the members' numbers.
    fn by_step(&self, members: &[Series]) -> Vec<Vec<(usize, f64)>> {
        let mut steps = vec![Vec::new(); self.steps.count];
        for (n, member) in members.iter().enumerate() {
            for (step, value) in &member.points {
                steps[*step as usize].push((n, *value));
            }
        }
        steps
    }

    fn extremes(
        &self,
        top: bool,
        grouping: &Grouping,
        most: &[f64],
        series: Vec<Series>,
    ) -> Result<Vec<Series>, Refusal> {
        for most in most {
            #[expect(clippy::cast_precision_loss, reason = "bounds")]
            if !(*most <= i64::MAX as f64 && *most >= i64::MIN as f64) {
                let mut value = String::new();
                write_value(&mut value, *most);
                return execution(format!("Scalar value {value} overflows int64"));
            }
        }
        let mut found = Vec::new();
        for (_, members) in Self::groups(grouping, series) {
            let mut chosen: Vec<Series> =
                members.iter().map(|member| Series { labels: member.labels.clone(), points: vec![] }).collect();
            let mut order: Vec<usize> = Vec::new();
            for (step, mut values) in self.by_step(&members).into_iter().enumerate() {
                values.sort_by(|(_, a), (_, b)| {
                    let by_value = if top { b.partial_cmp(a) } else { a.partial_cmp(b) };
                    by_value.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
                });
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
                values.truncate(most[step].max(0.0) as usize);
                for (n, value) in values {
                    if chosen[n].points.is_empty() {
                        order.push(n);
                    }
                    chosen[n].points.push((number(step), value));
                }
            }
            let mut chosen: Vec<Option<Series>> = chosen.into_iter().map(Some).collect();
            found.extend(order.into_iter().filter_map(|n| chosen[n].take()));
        }
        Ok(found)
    }

    fn quantiles(&self, grouping: &Grouping, ranks: &[f64], series: Vec<Series>) -> Vec<Series> {
        let of_group = |(labels, members): (Labels, Vec<Series>)| {
            let steps = self.by_step(&members).into_iter().enumerate().filter(|(_, values)| !values.is_empty());
            let points = steps.map(|(step, values)| {
                let mut values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
                (number(step), quantile(ranks[step], &mut values))
            });
            Series { labels, points: points.collect() }
        };
        Self::groups(grouping, series).into_iter().map(of_group).collect()
    }

    fn counted_values(&self, label: &str, mut grouping: Grouping, series: Vec<Series>) -> Vec<Series> {
        if let Grouping::By(names) = &mut grouping {
            names.insert(label.to_owned());
        }
        let mut counted: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for one in &series {
            for (step, value) in &one.points {
                let labels = grouping.group(&one.labels.with(label, &plain(*value)));
                counted.entry(labels).or_insert_with(|| vec![0.0; self.steps.count])[*step as usize] += 1.0;
            }
        }
        let nonzero = |counts: Vec<f64>| {
            let counts = counts.into_iter().enumerate().filter(|(_, count)| *count > 0.0);
            counts.map(|(step, count)| (number(step), count)).collect()
        };
        counted.into_iter().map(|(labels, counts)| Series { labels, points: nonzero(counts) }).collect()
    }
}
