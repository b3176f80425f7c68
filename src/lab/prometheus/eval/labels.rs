//! `label_replace` and `label_join`.

use super::{Series, distinct, execution};
use crate::lab::prometheus::labels::is_label_name;
use crate::lab::prometheus::promql::{Refusal, regular};

/// `label_replace(v, to, replacement, from, regex)`.
pub(super) fn replace(mut series: Vec<Series>, texts: &[String]) -> Result<Vec<Series>, Refusal> {
    let [to, replacement, from, regex] = texts else { return execution("an argument of label_replace is missing") };
    let Ok(regex) = regular(regex) else {
        return execution(format!("invalid regular expression in label_replace(): {regex}"));
    };
    if !is_label_name(to) {
        return execution(format!("invalid destination label name in label_replace(): {to}"));
    }
    for one in &mut series {
        if let Some(found) = regex.captures(one.labels.get(from)) {
            let mut value = String::new();
            found.expand(replacement, &mut value);
            one.labels = one.labels.with(to, &value);
        }
    }
    distinct(series)
}

/// `label_join(v, to, separator, from, …)`.
pub(super) fn join(mut series: Vec<Series>, texts: &[String]) -> Result<Vec<Series>, Refusal> {
    let [to, separator, from @ ..] = texts else { return execution("an argument of label_join is missing") };
    if let Some(bad) = from.iter().find(|name| !is_label_name(name)) {
        return execution(format!("invalid source label name in label_join(): {bad}"));
    }
    if !is_label_name(to) {
        return execution(format!("invalid destination label name in label_join(): {to}"));
    }
    for one in &mut series {
        let values: Vec<&str> = from.iter().map(|name| one.labels.get(name)).collect();
        one.labels = one.labels.with(to, &values.join(separator));
    }
    distinct(series)
}
