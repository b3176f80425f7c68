//! Revisions: the set of the template, made or found again, and the old ones that are kept.

use serde_json::{Value, json};

use super::{
    DEPLOYMENTS, DESIRED, Event, HASH, HISTORY, MAXIMUM, REPLICA_SETS, REVISION, Rollout, SOURCE, annotation,
    condition, controlled_by, count, create, deleting, edit, hash, is_of, names, remove, replicas, status,
};
use crate::lab::store::Object;

/// The longest list of earlier revisions that a set carries.
const HISTORY_LENGTH: usize = 2_000;

/// Annotations of a Deployment that are not its sets'.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
];

impl Rollout<'_> {
    /// Gives the set of the template the newest revision; makes it if asked to and there is none.
    pub(super) fn sync_revision(&mut self, make: bool) {
        let newest = self.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        let next = newest.saturating_add(1);
        match self.new.clone() {
            Some(set) => self.renew(&set, next),
            None if make => self.make(next),
            None => {}
        }
    }

    fn renew(&mut self, set: &Object, next: i64) {
        let mut wanted = (**set).clone();
        self.annotate(&mut wanted, next, false);
        let min_ready = &self.deployment["spec"]["minReadySeconds"];
        let min_ready_changed = count(min_ready) != count(&set["spec"]["minReadySeconds"]);
        if min_ready_changed {
            wanted["spec"]["minReadySeconds"] = min_ready.clone();
        }
        if wanted != **set {
            self.new = edit(self.store, &REPLICA_SETS, set, |set| *set = wanted).or_else(|| Some(set.clone()));
        }
        let Some(set) = self.new.clone() else { return };
        let mut status = self.deployment["status"].clone();
        let revised = self.revise(&revision(&set).to_string());
        let unknown = self.has_deadline() && condition(&status, "Progressing").is_none();
        if unknown {
            let message = format!("Found new replica set {:?}", names(&set).1);
            let found = self.condition("Progressing", "True", "FoundNewReplicaSet", &message);
            status::set_condition(&mut status, found);
        }
        if revised || unknown {
            self.write(status);
        }
    }

    fn make(&mut self, revision: i64) {
        let (namespace, name) = names(&self.deployment);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let mut collisions = self.deployment["status"]["collisionCount"].as_i64();
        // Another's set may have the name; then the next hash is tried.
        let (set, found) = loop {
            let hash = hash(&self.deployment["spec"]["template"], collisions);
            let set_name = format!("{name}-{hash}");
            match self.store.find(&REPLICA_SETS, &namespace, &set_name) {
                None => break (self.drawn(&set_name, &hash, revision), None),
                Some(set)
                    if controlled_by(&set, &self.deployment) && is_of(&set, &self.deployment["spec"]["template"]) =>
                {
                    break ((*set).clone(), Some(set));
                }
                Some(_) => collisions = Some(collisions.unwrap_or(0) + 1),
            }
        };
        let mut status = self.deployment["status"].clone();
        if collisions.is_some() {
            status["collisionCount"] = json!(collisions);
        }
        if let Some(found) = found {
            self.new = Some(found);
            return self.write(status);
        }
        let set_name = names(&set).1.to_owned();
        match create(self.store, &REPLICA_SETS, &namespace, set) {
            Ok(made) => {
                if replicas(&made) > 0 {
                    let message = format!("Scaled up replica set {set_name} from 0 to {}", replicas(&made));
                    self.events.record(&self.deployment, &Event::normal(SOURCE, "ScalingReplicaSet", message));
                }
                self.new = Some(made);
                self.revise(&revision.to_string());
                if self.has_deadline() {
                    let message = format!("Created new replica set {set_name:?}");
                    let made = self.condition("Progressing", "True", "NewReplicaSetCreated", &message);
                    status::set_condition(&mut status, made);
                }
            }
            Err(refused) => {
                let message = format!("Failed to create new replica set {set_name:?}: {}", refused.message);
                self.events.record(&self.deployment, &Event::warning(SOURCE, "ReplicaSetCreateError", message.clone()));
                let failed = self.condition("Progressing", "False", "ReplicaSetCreateError", &message);
                status::set_condition(&mut status, failed);
                self.refused = true;
            }
        }
        self.write(status);
    }

    /// A set of the Deployment's template with as many replicas as a rollout begins with.
    fn drawn(&self, name: &str, hash: &str, revision: i64) -> Value {
        let spec = &self.deployment["spec"];
        let mut template = spec["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = spec["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let mut set = json!({
            "apiVersion": REPLICA_SETS.api_version(), "kind": REPLICA_SETS.kind,
            "metadata": {
                "name": name, "labels": template["metadata"]["labels"],
                "ownerReferences": [super::super::objects::owner_reference(&self.deployment)],
            },
            "spec": {"replicas": self.first_replicas(), "selector": selector, "template": template},
        });
        if count(&spec["minReadySeconds"]) > 0 {
            set["spec"]["minReadySeconds"] = spec["minReadySeconds"].clone();
        }
        self.annotate(&mut set, revision, true);
        set
    }

    /// Copies the Deployment's annotations to a set, and numbers it if that is a newer revision.
    fn annotate(&self, set: &mut Value, next: i64, new: bool) {
        for (key, value) in self.deployment["metadata"]["annotations"].as_object().into_iter().flatten() {
            if !OWN.contains(&key.as_str()) {
                set["metadata"]["annotations"][key] = value.clone();
            }
        }
        let before = annotation(set, REVISION).map(str::to_owned);
        if revision(set) < next {
            set["metadata"]["annotations"][REVISION] = json!(next.to_string());
            if let Some(before) = before {
                let mut history = annotation(set, HISTORY).unwrap_or_default().to_owned();
                if !history.is_empty() {
                    history.push(',');
                }
                history.push_str(&before);
                while history.len() > HISTORY_LENGTH {
                    history = history.split_once(',').map_or(String::new(), |(_, rest)| rest.to_owned());
                }
                set["metadata"]["annotations"][HISTORY] = json!(history);
            }
        }
        if new {
            let wanted = replicas(&self.deployment);
            set["metadata"]["annotations"][DESIRED] = json!(wanted.to_string());
            set["metadata"]["annotations"][MAXIMUM] = json!((wanted + self.max_surge()).to_string());
        }
    }

    /// Notes the revision on the Deployment, to be written with its status; whether that is news.
    fn revise(&mut self, revision: &str) -> bool {
        let news = annotation(&self.deployment, REVISION) != Some(revision);
        if news {
            self.deployment["metadata"]["annotations"][REVISION] = json!(revision);
        }
        news
    }

    /// Deletes the oldest of the sets without pods that are more than the limit.
    pub(super) fn clean_up(&mut self) {
        let limit = self.deployment["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10);
        let Ok(limit) = usize::try_from(limit) else { return };
        let mut old: Vec<&Object> = self.old.iter().filter(|set| !deleting(set)).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| revision(set));
        for set in old.into_iter().take(surplus) {
            let seen = count(&set["metadata"]["generation"]) <= count(&set["status"]["observedGeneration"]);
            if count(&set["status"]["replicas"]) == 0 && replicas(set) == 0 && seen {
                remove(self.store, &REPLICA_SETS, set);
            }
        }
    }

    /// Whether the Deployment's number has changed since its sets were scaled.
    pub(super) fn is_scaling(&self) -> bool {
        debug_assert_eq!(self.deployment["kind"], DEPLOYMENTS.kind);
        let wanted = replicas(&self.deployment);
        let desired = |set: &Object| annotation(set, DESIRED)?.parse::<i64>().ok();
        self.all().filter(|set| replicas(set) > 0).filter_map(desired).any(|desired| desired != wanted)
    }
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}
