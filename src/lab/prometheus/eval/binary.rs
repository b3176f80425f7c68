//! Operators between two expressions.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_MOD, T_MUL, T_NEQ, T_POW, T_SUB,
};
use promql_parser::parser::{BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::{Engine, Series, Value, distinct, execution};
use crate::lab::prometheus::labels::NAME;
use crate::lab::prometheus::numbers::shown;
use crate::lab::prometheus::promql::Refusal;
use crate::lab::prometheus::tsdb::Labels;

/// The result of an operator, and whether a filter lets the left value pass.
fn apply(operator: u16, left: f64, right: f64) -> (f64, bool) {
    match operator {
        T_ADD => (left + right, true),
        T_SUB => (left - right, true),
        T_MUL => (left * right, true),
        T_DIV => (left / right, true),
        T_MOD => (left % right, true),
        T_POW => (left.powf(right), true),
        T_ATAN2 => (left.atan2(right), true),
        T_EQLC => (left, left == right),
        T_NEQ => (left, left != right),
        T_GTR => (left, left > right),
        T_LSS => (left, left < right),
        T_GTE => (left, left >= right),
        T_LTE => (left, left <= right),
        _ => (f64::NAN, false),
    }
}

fn compares(operator: u16) -> bool {
    matches!(operator, T_EQLC | T_NEQ | T_GTR | T_LSS | T_GTE | T_LTE)
}

/// Whether the result is another quantity, so that it has no name. Of `atan2` the real one keeps it.
fn drops_name(operator: u16, boolean: bool) -> bool {
    boolean || matches!(operator, T_ADD | T_SUB | T_MUL | T_DIV | T_MOD | T_POW)
}

/// How the series of two vectors find each other.
struct Matching {
    on: bool,
    names: BTreeSet<String>,
    /// What the result has from the side that has one for many.
    include: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    OneToOne,
    ManyToOne,
    OneToMany,
}

impl Matching {
    fn of(binary: &BinaryExpr) -> Self {
        let modifier = binary.modifier.as_ref();
        let (on, mut names) = match modifier.and_then(|modifier| modifier.matching.as_ref()) {
            Some(LabelModifier::Include(labels)) => (true, labels.labels.iter().cloned().collect::<BTreeSet<_>>()),
            Some(LabelModifier::Exclude(labels)) => (false, labels.labels.iter().cloned().collect()),
            None => (false, BTreeSet::new()),
        };
        if !on {
            names.insert(NAME.to_owned());
        }
        let (kind, include) = match modifier.map(|modifier| &modifier.card) {
            Some(VectorMatchCardinality::ManyToOne(labels)) => (Kind::ManyToOne, labels.labels.clone()),
            Some(VectorMatchCardinality::OneToMany(labels)) => (Kind::OneToMany, labels.labels.clone()),
            _ => (Kind::OneToOne, vec![]),
        };
        Self { on, names, include, kind }
    }

    /// What two series must have in common.
    fn common(&self, labels: &Labels) -> Labels {
        if self.on { labels.only(&self.names) } else { labels.without(&self.names) }
    }

    /// The labels of what comes of one series of each side.
    fn result(&self, many: &Labels, one: &Labels, drops_name: bool) -> Labels {
        let mut labels = if drops_name { many.without_name() } else { many.clone() };
        if self.kind == Kind::OneToOne {
            let mut ignored = self.names.clone();
            ignored.remove(NAME);
            labels = if self.on { labels.only(&self.names) } else { labels.without(&ignored) };
        }
        for name in &self.include {
            labels = labels.with(name, one.get(name));
        }
        labels
    }
}

impl Engine<'_> {
    pub(super) fn binary(&self, binary: &BinaryExpr) -> Result<Value, Refusal> {
        let operator = binary.op.id();
        let boolean = binary.return_bool();
        let kept = |left: f64, right: f64| {
            let (value, keep) = apply(operator, left, right);
            if compares(operator) && boolean { Some(f64::from(u8::from(keep))) } else { keep.then_some(value) }
        };
        match (self.evaluate(&binary.lhs)?, self.evaluate(&binary.rhs)?) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let both = left.into_iter().zip(right);
                Ok(Value::Scalar(both.map(|(l, r)| kept(l, r).unwrap_or(f64::NAN)).collect()))
            }
            (Value::Vector(series), Value::Scalar(scalars)) => {
                let of = |step: u32, value: f64| kept(value, scalars[step as usize]);
                Ok(Value::Vector(with_scalar(series, drops_name(operator, boolean), of)?))
            }
            (Value::Scalar(scalars), Value::Vector(series)) => {
                let filters = compares(operator) && !boolean;
                // A filter passes the vector's value, whichever side it stands on.
                let of = |step: u32, value: f64| {
                    kept(scalars[step as usize], value).map(|r| if filters { value } else { r })
                };
                Ok(Value::Vector(with_scalar(series, drops_name(operator, boolean), of)?))
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let matching = Matching::of(binary);
                Ok(Value::Vector(match operator {
                    T_LAND => self.intersection(&matching, left, &right, true),
                    T_LOR => self.union(&matching, left, right)?,
                    T_ADD | T_SUB | T_MUL | T_DIV | T_MOD | T_POW | T_ATAN2 | T_EQLC | T_NEQ | T_GTR | T_LSS
                    | T_GTE | T_LTE => self.matched(&matching, left, right, drops_name(operator, boolean), kept)?,
                    _ => self.intersection(&matching, left, &right, false),
                }))
            }
            _ => execution("a string where none can be"),
        }
    }

    /// At which steps there is any of these series.
    fn present<'s>(&self, series: impl IntoIterator<Item = &'s Series>) -> Vec<bool> {
        let mut present = vec![false; self.steps.count];
        for (step, _) in series.into_iter().flat_map(|series| &series.points) {
            present[*step as usize] = true;
        }
        present
    }

    /// The left series at the steps where the right side has a partner, or has none.
    fn intersection(&self, matching: &Matching, left: Vec<Series>, right: &[Series], wanted: bool) -> Vec<Series> {
        let mut partners: BTreeMap<Labels, Vec<&Series>> = BTreeMap::new();
        for series in right {
            partners.entry(matching.common(&series.labels)).or_default().push(series);
        }
        let present: BTreeMap<Labels, Vec<bool>> =
            partners.into_iter().map(|(common, series)| (common, self.present(series))).collect();
        let mut found = left;
        for series in &mut found {
            let partner = present.get(&matching.common(&series.labels));
            series.points.retain(|(step, _)| partner.is_some_and(|present| present[*step as usize]) == wanted);
        }
        found.retain(|series| !series.points.is_empty());
        found
    }

    /// The left series, and the right ones at the steps where the left side has no partner.
    fn union(&self, matching: &Matching, left: Vec<Series>, right: Vec<Series>) -> Result<Vec<Series>, Refusal> {
        let alone = self.intersection(matching, right, &left, false);
        distinct(left.into_iter().chain(alone).collect())
    }

    fn matched(
        &self,
        matching: &Matching,
        left: Vec<Series>,
        right: Vec<Series>,
        drops_name: bool,
        of: impl Fn(f64, f64) -> Option<f64>,
    ) -> Result<Vec<Series>, Refusal> {
        let swapped = matching.kind == Kind::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let both = {
            let (many, one) = (self.present(&many), self.present(&one));
            many.into_iter().zip(one).map(|(a, b)| a && b).collect::<Vec<bool>>()
        };
        let mut groups: BTreeMap<Labels, (Vec<Series>, Vec<Series>)> = BTreeMap::new();
        for series in many {
            groups.entry(matching.common(&series.labels)).or_default().0.push(series);
        }
        for series in one {
            groups.entry(matching.common(&series.labels)).or_default().1.push(series);
        }
        let mut found = Vec::new();
        for (common, (many, one)) in groups {
            // The one partner at each step: its number and its value.
            let mut partner: Vec<Option<(usize, f64)>> = vec![None; self.steps.count];
            for (n, series) in one.iter().enumerate() {
                for &(step, value) in &series.points {
                    let place = &mut partner[step as usize];
                    match place {
                        Some((other, _)) if both[step as usize] => {
                            let side = if swapped { "left" } else { "right" };
                            let (new, old) = (shown(&series.labels), shown(&one[*other].labels));
                            return execution(format!(
                                "found duplicate series for the match group {} on the {side} hand-side of the \
                                 operation: [{new}, {old}];many-to-many matching not allowed: matching labels must \
                                 be unique on one side",
                                shown(&common)
                            ));
                        }
                        _ => *place = Some((n, value)),
                    }
                }
            }
            let mut outcomes: BTreeMap<Labels, Vec<(u32, f64)>> = BTreeMap::new();
            let mut taken = vec![false; self.steps.count];
            for series in &many {
                let mut labels: BTreeMap<usize, Labels> = BTreeMap::new();
                for &(step, value) in &series.points {
                    let Some((n, other)) = partner[step as usize] else { continue };
                    let (l, r) = if swapped { (other, value) } else { (value, other) };
                    let Some(result) = of(l, r) else { continue };
                    if matching.kind == Kind::OneToOne && std::mem::replace(&mut taken[step as usize], true) {
                        return execution(
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                        );
                    }
                    let labels =
                        labels.entry(n).or_insert_with(|| matching.result(&series.labels, &one[n].labels, drops_name));
                    match outcomes.get_mut(labels) {
                        Some(points) => points.push((step, result)),
                        None => {
                            outcomes.insert(labels.clone(), vec![(step, result)]);
                        }
                    }
                }
            }
            for (labels, mut points) in outcomes {
                points.sort_by_key(|(step, _)| *step);
                if points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    return execution("multiple matches for labels: grouping labels must ensure unique matches");
                }
                found.push(Series { labels, points });
            }
        }
        distinct(found)
    }
}

fn with_scalar(
    series: Vec<Series>,
    drops_name: bool,
    of: impl Fn(u32, f64) -> Option<f64>,
) -> Result<Vec<Series>, Refusal> {
    let one = |series: Series| {
        let labels = if drops_name { series.labels.without_name() } else { series.labels };
        let points = series.points.into_iter().filter_map(|(step, value)| Some((step, of(step, value)?))).collect();
        Series { labels, points }
    };
    let found = series.into_iter().map(one).filter(|series| !series.points.is_empty());
    distinct(found.collect())
}
