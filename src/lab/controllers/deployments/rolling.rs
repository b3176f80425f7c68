//! How many replicas each set gets.

use super::{MAXIMUM, Rollout, Which, annotation, count, replicas, stamp};
use crate::lab::store::Object;

impl Rollout<'_> {
    fn total(&self) -> i64 {
        self.all().map(|set| replicas(set)).sum()
    }

    fn available(&self) -> i64 {
        self.all().map(|set| count(&set["status"]["availableReplicas"])).sum()
    }

    /// How many a set of the template begins with.
    pub(super) fn first_replicas(&self) -> i64 {
        self.grown(0)
    }

    /// How many a set of the template with `now` replicas may have: all that the surge leaves room for.
    fn grown(&self, now: i64) -> i64 {
        let wanted = replicas(&self.deployment);
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            return wanted;
        }
        let room = wanted + self.max_surge() - self.total();
        if room <= 0 { now } else { now + room.min(wanted - now) }
    }

    pub(super) fn scale_new_up(&mut self) -> bool {
        let Some(now) = self.new.as_ref().map(|set| replicas(set)) else { return false };
        let wanted = replicas(&self.deployment);
        let to = if now >= wanted { wanted } else { self.grown(now) };
        to != now && self.scale(Which::New, to)
    }

    /// Takes from the old sets what availability allows: first what is not healthy, which costs nothing.
    pub(super) fn scale_old_down(&mut self) -> bool {
        if self.old.iter().all(|set| replicas(set) == 0) {
            return false;
        }
        let least = replicas(&self.deployment) - self.max_unavailable();
        let new_unavailable =
            self.new.as_ref().map_or(0, |set| replicas(set) - count(&set["status"]["availableReplicas"]));
        let most = self.total() - least - new_unavailable;
        if most <= 0 {
            return false;
        }
        let mut unhealthy = 0;
        for number in 0..self.old.len() {
            let set = &self.old[number];
            let (now, available) = (replicas(set), count(&set["status"]["availableReplicas"]));
            let down = (most - unhealthy).min(now - available);
            if down > 0 {
                self.scale(Which::Old(number), now - down);
                unhealthy += down;
            }
        }
        let mut healthy = 0;
        let spare = self.available() - least;
        for number in 0..self.old.len() {
            let now = replicas(&self.old[number]);
            let down = (spare - healthy).min(now);
            if down > 0 {
                self.scale(Which::Old(number), now - down);
                healthy += down;
            }
        }
        unhealthy + healthy > 0
    }

    /// After a change of the Deployment's number: the one set with replicas gets it; amid a rollout each set its part.
    pub(super) fn scale_in_proportion(&mut self) {
        let wanted = replicas(&self.deployment);
        let olds = (0..self.old.len()).map(Which::Old);
        let all: Vec<Which> = olds.clone().chain(self.new.is_some().then_some(Which::New)).collect();
        let replicas_of = |rollout: &Self, which: Which| rollout.set(which).map_or(0, |set| replicas(set));
        let active: Vec<Which> = all.iter().copied().filter(|which| replicas_of(self, *which) > 0).collect();
        let only = match active[..] {
            // The set of the template, else the youngest.
            [] => all.last().copied(),
            [one] => Some(one),
            _ => None,
        };
        if let Some(only) = only {
            if replicas_of(self, only) != wanted {
                self.scale(only, wanted);
            }
            return;
        }
        if active.is_empty() {
            return;
        }
        let saturated = self.new.as_ref().is_some_and(|set| {
            let desired = annotation(set, super::DESIRED).and_then(|desired| desired.parse().ok());
            let available = count(&set["status"]["availableReplicas"]);
            desired == Some(wanted) && replicas(set) == wanted && available == wanted
        });
        if saturated {
            for which in olds.filter(|which| active.contains(which)).collect::<Vec<_>>() {
                self.scale(which, 0);
            }
            return;
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            return;
        }
        let allowed = if wanted > 0 { wanted + self.max_surge() } else { 0 };
        let to_add = allowed - self.total();
        let mut parts = active;
        // The largest first; among equals the youngest grow first and the oldest shrink first.
        parts.sort_by_key(|which| {
            let made = self.set(*which).and_then(|set| stamp(&set["metadata"]["creationTimestamp"]));
            let made = made.map_or(0, |made| made.as_second());
            (-replicas_of(self, *which), if to_add > 0 { -made } else { made })
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for which in parts {
            let Some(set) = self.set(which) else { continue };
            let part = if to_add == 0 { 0 } else { self.part(set, to_add, added) };
            added += part;
            sizes.push((which, replicas(set) + part));
        }
        if let Some((_, first)) = sizes.first_mut() {
            // What rounding has left over.
            *first = (*first + to_add - added).max(0);
        }
        for (which, size) in sizes {
            self.scale(which, size);
        }
    }

    /// A set's part of what is to be added, or taken away.
    fn part(&self, set: &Object, to_add: i64, added: i64) -> i64 {
        let now = replicas(set);
        if now == 0 || to_add == added {
            return 0;
        }
        let allowed = to_add - added;
        let wanted = replicas(&self.deployment);
        let fraction = if wanted == 0 {
            -now
        } else {
            let noted = annotation(set, MAXIMUM).and_then(|most| most.parse().ok()).filter(|most| *most > 0);
            let before = noted.unwrap_or_else(|| count(&self.deployment["status"]["replicas"])).max(1);
            // Rounded to the nearest.
            (2 * now * (wanted + self.max_surge()) + before).div_euclid(2 * before) - now
        };
        if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
    }
}
