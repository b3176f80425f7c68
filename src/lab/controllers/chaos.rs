//! NetworkChaos: the bad networks that objects ask for, in the form of Chaos Mesh's kind.
//!
//! Of that kind the lab has delay and loss for all selected pods, in the directions of `tc` on their side: `to` is what
//! they send. An object that is there is on; one that is changed, deleted or being deleted is off at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::kubernetes::Selector;
use crate::lab::fabric::{Fabric, Impaired, Impairment, Peers};
use crate::lab::store::{Change, Store};

const GROUP: &str = "chaos-mesh.org";
const VERSION: &str = "v1alpha1";
const PLURAL: &str = "networkchaos";

/// Serves the kind, as a definition would.
pub(in crate::lab) fn declare(store: &Store) {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let time = json!({"type": "string", "pattern": "^[0-9]{1,12}(us|ms|s)$"});
    let expression = json!({
        "type": "object", "required": ["key", "operator"],
        "properties": {"key": text, "operator": text, "values": texts},
    });
    let selector = json!({"type": "object", "properties": {
        "namespaces": texts,
        "labelSelectors": {"type": "object", "additionalProperties": text},
        "expressionSelectors": {"type": "array", "items": expression},
    }});
    let spec = json!({"type": "object", "required": ["action", "mode", "selector"], "properties": {
        "action": {"type": "string", "enum": ["delay", "loss"]},
        "mode": {"type": "string", "enum": ["all"]},
        "direction": {"type": "string", "enum": ["to", "from", "both"], "default": "to"},
        "selector": selector,
        "delay": {"type": "object", "required": ["latency"], "properties": {"latency": time, "jitter": time}},
        "loss": {"type": "object", "required": ["loss"], "properties": {
            "loss": {"type": "string", "pattern": "^(100|[0-9]{1,2}([.][0-9]+)?)$"},
        }},
    }});
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}});
    store.serve_kind(&json!({
        "group": GROUP, "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": PLURAL, "kind": "NetworkChaos", "listKind": "NetworkChaosList"},
        "versions": [{"name": VERSION, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
    }));
}

pub(super) struct NetworkChaos {
    fabric: Fabric,
    /// What is on, with the `spec` that it is for.
    on: BTreeMap<Key, (Value, Vec<Impaired>)>,
}

impl NetworkChaos {
    pub(super) fn new(fabric: Fabric) -> Self {
        Self { fabric, on: BTreeMap::new() }
    }
}

impl Controller for NetworkChaos {
    fn affected(&self, _: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.group == GROUP && change.resource.plural == PLURAL {
            into.insert(Key::of(&change.object));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let kind = store.kind(GROUP, VERSION, PLURAL);
        let found = kind.and_then(|kind| store.find(kind, &key.namespace, &key.name));
        let wanted = found.filter(|found| found["metadata"]["deletionTimestamp"].is_null());
        let Some(wanted) = wanted else {
            self.on.remove(key);
            return None;
        };
        let spec = &wanted["spec"];
        if self.on.get(key).is_none_or(|(of, _)| of != spec) {
            self.on.remove(key);
            let impaired = impair(&self.fabric, spec, &key.namespace);
            self.on.insert(key.clone(), (spec.clone(), impaired));
        }
        None
    }
}

fn impair(fabric: &Fabric, spec: &Value, own: &str) -> Vec<Impaired> {
    let what = match spec["action"].as_str() {
        Some("delay") => {
            let latency = time(&spec["delay"]["latency"]).unwrap_or_default();
            Impairment::default().latency(latency).jitter(time(&spec["delay"]["jitter"]).unwrap_or_default())
        }
        Some("loss") => {
            let percent = spec["loss"]["loss"].as_str().and_then(|loss| loss.parse::<f64>().ok()).unwrap_or(0.0);
            Impairment::default().loss(percent / 100.0)
        }
        _ => return Vec::new(),
    };
    let labels = json!({
        "matchLabels": spec["selector"]["labelSelectors"],
        "matchExpressions": spec["selector"]["expressionSelectors"],
    });
    // What is no selector takes nothing.
    let Ok(selector) = Selector::from_json(&labels) else { return Vec::new() };
    let namespaces: Vec<&str> = match spec["selector"]["namespaces"].as_array() {
        Some(namespaces) => namespaces.iter().filter_map(Value::as_str).collect(),
        None => vec![own],
    };
    let mut on = Vec::new();
    for namespace in namespaces {
        let pods = Peers::pods(namespace, selector.clone());
        if spec["direction"] != "from" {
            on.push(fabric.impair(pods.clone(), Peers::Anyone, what));
        }
        if spec["direction"] == "from" || spec["direction"] == "both" {
            on.push(fabric.impair(Peers::Anyone, pods, what));
        }
    }
    on
}

/// `250ms`, as the schema lets it through.
fn time(text: &Value) -> Option<Duration> {
    let text = text.as_str()?;
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    Some(match &text[unit..] {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        _ => Duration::from_secs(number),
    })
}
