//! The alerting rules of a server.

use serde::Deserialize;

use super::Prometheus;
use super::client::NoData;
use super::decode::Labels;
use super::settle::DEFAULT_INTERVAL;
use crate::clock::Timestamp;
use crate::experiment::Scene;

/// How many names are told where one is not found.
const MOST_NAMES: usize = 5;

/// An alerting rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Those that it sets itself; they may be templates.
    pub(super) labels: Labels,
    /// Why its last evaluation failed, if it did.
    pub(super) error: Option<String>,
    /// When it was last evaluated, in seconds since 1970 on the server's clock; long ago if never.
    pub(super) evaluated: f64,
    /// The time between two evaluations, in seconds.
    pub(super) interval: f64,
    firing: Vec<Labels>,
}

impl Rule {
    /// The labels of its alerts that fire.
    pub(super) fn firing(&self) -> impl Iterator<Item = &Labels> {
        self.firing.iter()
    }
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    interval: Option<f64>,
    #[serde(default)]
    rules: Vec<Told>,
}

/// What servers tell of a rule; not all tell everything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    name: String,
    #[serde(default)]
    r#type: String,
    labels: Option<Labels>,
    #[serde(default)]
    health: String,
    last_error: Option<String>,
    last_evaluation: Option<String>,
    alerts: Option<Vec<Active>>,
}

#[derive(Deserialize)]
struct Active {
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    state: String,
}

impl Prometheus {
    /// Its alerting rules, in the order of their groups.
    pub(super) async fn rules(&self, scene: &Scene) -> Result<Vec<Rule>, NoData> {
        let data = self.ask(scene, "/api/v1/rules?type=alert", &[]).await?;
        let rules: Rules = serde_json::from_value(data)
            .map_err(|error| self.unavailable(format!("what it says of its rules cannot be read: {error}")))?;
        let of_group = |group: Group| {
            let interval = group.interval.unwrap_or(DEFAULT_INTERVAL);
            group.rules.into_iter().filter(|rule| rule.r#type != "recording").map(move |rule| Rule {
                error: (rule.health == "err").then(|| rule.last_error.unwrap_or_else(|| "it does not say why".into())),
                evaluated: evaluated(rule.last_evaluation.as_deref()),
                firing: rule
                    .alerts
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|alert| alert.state == "firing")
                    .map(|alert| alert.labels)
                    .collect(),
                labels: rule.labels.unwrap_or_default(),
                name: rule.name,
                interval,
            })
        };
        Ok(rules.groups.into_iter().flat_map(of_group).collect())
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// A rule that was never evaluated has the first instant of the year 1, or says nothing.
fn evaluated(at: Option<&str>) -> f64 {
    at.and_then(|at| at.parse().ok()).map_or(f64::NEG_INFINITY, seconds)
}

/// What there is instead of a rule of this name.
pub(super) fn near(name: &str, rules: &[Rule]) -> String {
    let mut names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|known| distance(&name.to_lowercase(), &known.to_lowercase()));
    names.truncate(MOST_NAMES);
    if names.is_empty() { "the server has none at all".to_owned() } else { format!("near it are {}", names.join(", ")) }
}

/// How many letters have to be added, taken away or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (done, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (at, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            let added_or_taken_away = row[at].min(row[at + 1]) + 1;
            diagonal = std::mem::replace(&mut row[at + 1], changed.min(added_or_taken_away));
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_of_names_is_in_letters() {
        for (a, b, letters) in [("down", "down", 0), ("down", "dwn", 1), ("", "abc", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), letters, "{a} {b}");
            assert_eq!(distance(b, a), letters, "{b} {a}");
        }
    }
}
