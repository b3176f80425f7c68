//! A load over time, for a journal.

use std::collections::BTreeMap;

use super::{Outcome, Recording};
use crate::journal::{LoadOutcome, LoadRow, LoadSeries, MOST_SAMPLES};

impl Recording {
    /// The load over time; `name` is its step's.
    pub(in crate::load) fn timeline(&self, name: String) -> LoadSeries {
        let seconds = self.seconds.at_most(MOST_SAMPLES);
        let all = seconds.rows.iter().flat_map(|row| row.outcomes.keys().map(|outcome| (outcome, ())));
        let outcomes: Vec<&Outcome> = all.collect::<BTreeMap<_, _>>().into_keys().collect();
        let rows = seconds.rows.iter().map(|row| {
            let latency = |slowest: std::time::Duration, part| {
                let at = row.quantile(part).min(slowest);
                (at.as_secs_f64() * 1e6).round() / 1e3
            };
            LoadRow {
                counts: outcomes
                    .iter()
                    .map(|outcome| row.outcomes.get(*outcome).copied().unwrap_or_default())
                    .collect(),
                latencies_ms: row
                    .slowest
                    .as_ref()
                    .map(|slowest| [0.5, 0.95, 0.99, 1.0].map(|part| latency(slowest.latency(), part))),
            }
        });
        LoadSeries {
            load: name,
            started: self.started,
            width: seconds.width.as_secs_f64(),
            rows: rows.collect(),
            figures: serde_json::Value::Null,
            outcomes: outcomes
                .iter()
                .map(|outcome| LoadOutcome { name: outcome.name().into_owned(), success: outcome.is_success() })
                .collect(),
        }
    }
}
