//! `/targets` and what targets say of their metrics.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Api, Wrong, bad_parameter, object};
use crate::lab::prometheus::exposition::Described;
use crate::lab::prometheus::promql::{self, Refusal};
use crate::lab::prometheus::scrape::{Told, described, written};

/// The time of what has not happened, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn targets(api: &Api, parameters: &Parameters) -> String {
    let state = parameters.get("state").to_ascii_lowercase();
    let pool = parameters.get("scrapePool");
    let known = api.targets.known();
    let wanted = |which: &str| {
        state.is_empty() || state == "any" || state == which || !["active", "dropped"].contains(&state.as_str())
    };
    let mut active: Vec<&Told> =
        known.active.values().filter(|told| wanted("active") && (pool.is_empty() || told.pool == pool)).collect();
    active.sort_by(|a, b| (&a.pool, &a.labels).cmp(&(&b.pool, &b.labels)));
    let dropped = known.dropped.iter().filter(|labels| wanted("dropped") && (pool.is_empty() || labels["job"] == pool));
    let dropped: Vec<Value> = dropped.map(|labels| json!({"discoveredLabels": labels})).collect();
    let active: Vec<Value> = active.into_iter().map(told).collect();
    json!({"activeTargets": active, "droppedTargets": dropped}).to_string()
}

fn told(told: &Told) -> Value {
    json!({
        "discoveredLabels": *told.discovered, "labels": object(&told.labels), "scrapePool": told.pool,
        "scrapeUrl": told.url, "globalUrl": told.url, "lastError": told.error,
        "lastScrape": told.scraped.map_or_else(|| NEVER.to_owned(), |at| at.to_string()),
        "lastScrapeDuration": told.took.as_secs_f64(), "health": told.health,
        "scrapeInterval": written(told.interval), "scrapeTimeout": written(told.timeout),
    })
}

fn shown(described: &Described) -> Value {
    json!({"type": described.kind, "help": described.help, "unit": described.unit})
}

pub(super) fn metadata(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let limit = parameters.limit()?;
    let metric = parameters.get("metric");
    let known = api.targets.known();
    let all = described(known.active.values());
    let chosen = all.into_iter().filter(|(name, _)| metric.is_empty() || *name == metric);
    let chosen: BTreeMap<&str, Vec<Value>> = chosen
        .take(limit.unwrap_or(usize::MAX))
        .map(|(name, things)| (name, things.into_iter().map(shown).collect()))
        .collect();
    Ok(json!(chosen).to_string())
}

pub(super) fn targets_metadata(api: &Api, parameters: &Parameters) -> Result<String, Wrong> {
    let limit = parameters.limit()?;
    let matchers = match parameters.get("match_target") {
        "" => vec![],
        text => promql::selector(text).map_err(|refusal| match refusal {
            Refusal::BadData(why) => bad_parameter("match_target", &why),
            other => other.into(),
        })?,
    };
    let metric = parameters.get("metric");
    let known = api.targets.known();
    let mut found = Vec::new();
    for told in known.active.values() {
        if !matchers.iter().all(|matcher| matcher.is_match(told.labels.get(&matcher.name))) {
            continue;
        }
        for (name, described) in told.described.iter().filter(|(name, _)| metric.is_empty() || *name == metric) {
            let mut one = shown(described);
            one["target"] = object(&told.labels);
            if metric.is_empty() {
                one["metric"] = json!(name);
            }
            found.push(one);
        }
    }
    found.truncate(limit.unwrap_or(usize::MAX));
    Ok(Value::from(found).to_string())
}
