//! What series there are: `/series`, `/labels`, label values, and `/federate`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use promql_parser::label::Matcher;
use serde_json::Value;

use super::parameters::Parameters;
use super::{Api, Wrong, bad, bad_parameter, object};
use crate::lab::prometheus::eval::LOOKBACK;
use crate::lab::prometheus::labels::{Labels, NAME, is_label_name};
use crate::lab::prometheus::numbers::write_value;
use crate::lab::prometheus::promql::{self, Refusal, go_quoted};
use crate::lab::prometheus::tsdb::is_stale;

const NON_EMPTY: &str = "match[] must contain at least one non-empty matcher";

fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::BadData(why) | Refusal::Execution(why) | Refusal::Timeout(why) => why,
    }
}

/// The selectors of `match[]`.
fn selectors(parameters: &Parameters) -> Result<Vec<Vec<Matcher>>, String> {
    let one = |text: &str| {
        let matchers = promql::selector(text).map_err(why)?;
        if matchers.iter().all(|matcher| matcher.is_match("")) { Err(NON_EMPTY.into()) } else { Ok(matchers) }
    };
    parameters.all("match[]").into_iter().map(one).collect()
}

/// The labels of all series that any selector takes, or of all if there is none, with samples in the span asked for.
fn found(api: &Api, parameters: &Parameters, selectors: &[Vec<Matcher>]) -> Result<BTreeSet<Labels>, Wrong> {
    let start = parameters.time_or("start", i64::MIN)?;
    let end = parameters.time_or("end", i64::MAX)?;
    let all = [Vec::new()];
    let selectors = if selectors.is_empty() { &all[..] } else { selectors };
    Ok(selectors.iter().flat_map(|matchers| api.tsdb.labels(matchers, start, end)).collect())
}

pub(super) fn series(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    if parameters.all("match[]").is_empty() {
        return Err(bad("no match[] parameter provided"));
    }
    // Before the selectors, as the real one does.
    parameters.time_or("start", 0).and_then(|_| parameters.time_or("end", 0))?;
    let selectors = selectors(parameters).map_err(|why| bad_parameter("match[]", &why))?;
    let found = found(api, parameters, &selectors)?;
    Ok(Value::from_iter(found.iter().map(object)).to_string())
}

pub(super) fn labels(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    parameters.time_or("start", 0).and_then(|_| parameters.time_or("end", 0))?;
    let selectors = selectors(parameters).map_err(bad)?;
    let found = found(api, parameters, &selectors)?;
    let names: BTreeSet<&str> = found.iter().flat_map(Labels::pairs).map(|(name, _)| &**name).collect();
    Ok(Value::from_iter(names).to_string())
}

pub(super) fn values(api: &Api, name: &str, parameters: &Parameters) -> Result<String, Wrong> {
    if !is_label_name(name) {
        return Err(bad(format!("invalid label name: {}", go_quoted(name))));
    }
    parameters.time_or("start", 0).and_then(|_| parameters.time_or("end", 0))?;
    let selectors = selectors(parameters).map_err(bad)?;
    let found = found(api, parameters, &selectors)?;
    let values: BTreeSet<&str> =
        found.iter().map(|labels| labels.get(name)).filter(|value| !value.is_empty()).collect();
    Ok(Value::from_iter(values).to_string())
}

/// The newest samples of the selected series, as a page to be scraped.
pub(super) fn federate(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let selectors = parameters.all("match[]").into_iter().map(|text| promql::selector(text).map_err(|e| bad(why(e))));
    let selectors = selectors.collect::<Result<Vec<_>, _>>()?;
    let now = api.clock.now().as_millisecond();
    let mut samples: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
    for (labels, stored) in selectors.iter().flat_map(|matchers| api.tsdb.select(matchers)) {
        if let Some((at, value)) = stored.last().filter(|(at, value)| *at >= now - LOOKBACK && !is_stale(*value)) {
            samples.insert(labels, (at, value));
        }
    }
    let (mut page, mut last) = (String::new(), String::new());
    for (labels, (at, value)) in samples {
        let name = labels.get(NAME);
        if name.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = if last == name { Ok(()) } else { writeln!(page, "# TYPE {name} untyped") };
        name.clone_into(&mut last);
        let instance = if labels.has("instance") { None } else { Some("instance=\"\"".to_owned()) };
        let pairs = labels.pairs().iter().filter(|(name, _)| **name != *NAME);
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", go_quoted(value))).chain(instance).collect();
        let _ = write!(page, "{name}{{{}}} ", pairs.join(","));
        write_value(&mut page, value);
        let _ = writeln!(page, " {at}");
    }
    Ok(page)
}
