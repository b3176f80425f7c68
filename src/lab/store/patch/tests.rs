//! Properties of patches and of field management, over whole objects.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::managed::{self, Apply, Writer};
use super::schema::Model;
use super::strategic;
use crate::lab::resource::{CONFIG_MAPS, DEPLOYMENTS};
use crate::lab::status::Status;

fn writer(name: &str, at: u64) -> Writer {
    Writer {
        name: name.into(),
        subresource: String::new(),
        version: "v1".into(),
        time: format!("2026-01-01T00:00:{at:02}Z"),
    }
}

fn apply_as(model: &Model, live: Option<&Value>, config: &Value, name: &str, force: bool) -> Result<Value, Status> {
    let writer = writer(name, 1);
    managed::apply(model, live, Apply { config, writer: &writer, force, custom: false, has_status: true })
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data})
}

fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    bare["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
    bare
}

fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|e| (text(&e["manager"]), text(&e["operation"]), e["fieldsV1"].clone())).collect()
}

#[test]
fn an_update_owns_what_it_made_and_what_it_changes() {
    let model = Model::of(&CONFIG_MAPS, None);
    let mut object = config_map(json!({"k": "v"}));
    managed::created(&model, &object.clone(), &mut object, &writer("maker", 1));
    assert_eq!(owners(&object), [("maker".into(), "Update".into(), json!({"f:data": {".": {}, "f:k": {}}}))]);
    let mut after = object.clone();
    after["data"] = json!({"k": "v", "z": "1"});
    managed::updated(&model, &object, &mut after, &writer("other", 2));
    assert_eq!(owners(&after)[1], ("other".into(), "Update".into(), json!({"f:data": {"f:z": {}}})));
    let mut last = after.clone();
    last["data"] = json!({"k": "w", "z": "2"});
    managed::updated(&model, &after, &mut last, &writer("third", 3));
    assert_eq!(owners(&last)[0], ("maker".into(), "Update".into(), json!({"f:data": {}})));
    assert_eq!(owners(&last)[1], ("third".into(), "Update".into(), json!({"f:data": {"f:k": {}, "f:z": {}}})));
}

#[test]
fn a_write_of_the_same_changes_no_owner() {
    let model = Model::of(&CONFIG_MAPS, None);
    let mut object = config_map(json!({"k": "v"}));
    managed::created(&model, &object.clone(), &mut object, &writer("maker", 1));
    for sent in [None, Some(json!([])), Some(object["metadata"]["managedFields"].clone())] {
        let mut after = bare(&object);
        if let Some(sent) = sent {
            after["metadata"]["managedFields"] = sent;
        }
        managed::updated(&model, &object, &mut after, &writer("maker", 9));
        assert_eq!(after, object);
    }
    let mut cleared = object.clone();
    cleared["metadata"]["managedFields"] = json!([{}]);
    managed::updated(&model, &object, &mut cleared, &writer("maker", 9));
    assert_eq!(cleared, bare(&object));
}

#[test]
fn an_apply_after_none_calls_the_rest_before_first_apply() {
    let model = Model::of(&CONFIG_MAPS, None);
    let live = config_map(json!({"k": "v"}));
    let applied = apply_as(&model, Some(&live), &config_map(json!({"a": "1"})), "one", false).unwrap();
    assert_eq!(owners(&applied)[0].0, "one");
    assert_eq!(owners(&applied)[1].0, "before-first-apply");
    let status = apply_as(&model, Some(&live), &config_map(json!({"k": "x"})), "one", false).unwrap_err();
    let text = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k";
    assert_eq!((status.code, status.message.as_str()), (409, text));
}

#[test]
fn conflicts_name_owners_and_fields() {
    let model = Model::of(&CONFIG_MAPS, None);
    let one = apply_as(&model, None, &config_map(json!({"a": "1", "b": "1"})), "one", false).unwrap();
    let two = config_map(json!({"a": "2", "b": "2"}));
    let status = apply_as(&model, Some(&one), &two, "two", false).unwrap_err();
    assert_eq!(status.message, "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b");
    let causes = &status.details.unwrap()["causes"];
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"});
    assert_eq!(causes[0], cause);
    let forced = apply_as(&model, Some(&one), &two, "two", true).unwrap();
    assert_eq!(forced["data"], json!({"a": "2", "b": "2"}));
    assert_eq!(owners(&forced).len(), 1, "one has lost both fields");
}

#[test]
fn what_is_shared_goes_with_its_last_applier() {
    let model = Model::of(&CONFIG_MAPS, None);
    let one = apply_as(&model, None, &config_map(json!({"a": "1"})), "one", false).unwrap();
    let both = apply_as(&model, Some(&one), &config_map(json!({"a": "1", "b": "2"})), "two", false).unwrap();
    let left = apply_as(&model, Some(&both), &config_map(json!({})), "one", false).unwrap();
    assert_eq!(left["data"], json!({"a": "1", "b": "2"}));
    let gone = apply_as(&model, Some(&left), &config_map(json!({"b": "2"})), "two", false).unwrap();
    assert_eq!(gone["data"], json!({"b": "2"}));
}

#[test]
fn what_an_updater_has_stays_when_its_applier_drops_it() {
    let model = Model::of(&CONFIG_MAPS, None);
    let one = apply_as(&model, None, &config_map(json!({"a": "1"})), "one", false).unwrap();
    let mut both = one.clone();
    both["data"]["b"] = json!("2");
    managed::updated(&model, &one, &mut both, &writer("hand", 2));
    let mut empty = config_map(json!({}));
    empty.as_object_mut().unwrap().remove("data");
    let left = apply_as(&model, Some(&both), &empty, "one", false).unwrap();
    assert_eq!(left["data"], json!({"b": "2"}));
    assert_eq!(owners(&left).len(), 1);
}

#[test]
fn kubectl_takes_over_what_it_applied_on_its_own_side() {
    let model = Model::of(&CONFIG_MAPS, None);
    let applied = config_map(json!({"k": "v"}));
    let mut live = applied.clone();
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{applied}\n")});
    managed::created(&model, &live.clone(), &mut live, &writer("kubectl-client-side-apply", 1));
    let changed = config_map(json!({"k": "w"}));
    assert_eq!(apply_as(&model, Some(&live), &changed, "two", false).unwrap_err().code, 409);
    let taken = apply_as(&model, Some(&live), &changed, "kubectl", false).unwrap();
    assert_eq!(taken["data"]["k"], "w");
    let kept = taken["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(kept).unwrap()["data"]["k"], "w");
}

#[test]
fn who_scales_owns_the_count_without_a_time() {
    let model = Model::of(&DEPLOYMENTS, None);
    let scaled = |count: u8| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": count}});
    let live = apply_as(&model, None, &scaled(1), "maker", false).unwrap();
    let through = |name: &str| Writer { subresource: "scale".into(), version: "apps/v1".into(), ..writer(name, 2) };
    let mut after = live.clone();
    after["spec"]["replicas"] = json!(2);
    managed::updated(&model, &live, &mut after, &through("hand"));
    let entry = json!([{"manager": "hand", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}}, "subresource": "scale"}]);
    assert_eq!(after["metadata"]["managedFields"], entry);
    let (config, writer) = (scaled(3), through("other"));
    let apply = Apply { config: &config, writer: &writer, force: false, custom: false, has_status: true };
    let status = managed::apply(&model, Some(&after), apply).unwrap_err();
    let text = "Apply failed with 1 conflict: conflict with \"hand\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    assert_eq!(status.message, text);
    let forced = managed::apply(&model, Some(&after), Apply { force: true, ..apply }).unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(forced["metadata"]["managedFields"][0]["time"], Value::Null);
}

#[test]
fn the_oldest_updaters_are_put_together() {
    let model = Model::of(&CONFIG_MAPS, None);
    let mut object = config_map(json!({"k": "v"}));
    managed::created(&model, &object.clone(), &mut object, &writer("maker", 0));
    for turn in 1..20 {
        let before = object.clone();
        object["data"][format!("k{turn}")] = json!("v");
        managed::updated(&model, &before, &mut object, &writer(&format!("m{turn}"), turn));
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    assert_eq!(owners[0].0, "ancient-changes");
    assert!(owners[0].2["f:data"]["f:k9"].is_object() && owners[9].0 == "m19");
}

/// A small change from one object to another, as a strategic patch says it: what the tests check `apply` with.
fn difference(view: super::schema::View<'_>, from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, new) in to {
        let merge_key = view.field(key).and_then(|field| field.merge.as_deref()).filter(|key| !key.is_empty());
        match (from.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), Value::Object(difference(view.child(key), old, new)));
            }
            (Some(Value::Array(old)), Value::Array(new)) if merge_key.is_some() => {
                let merge_key = merge_key.unwrap_or_default();
                let same = |list: &[Value], item: &Value| {
                    list.iter().find(|other| other[merge_key] == item[merge_key]).and_then(Value::as_object).cloned()
                };
                let mut items: Vec<Value> = Vec::new();
                for item in new {
                    match (same(old, item), item.as_object()) {
                        (Some(before), Some(after)) => {
                            let mut changed = difference(view.child(key).items(), &before, after);
                            changed.insert(merge_key.into(), item[merge_key].clone());
                            items.push(Value::Object(changed));
                        }
                        _ => items.push(item.clone()),
                    }
                }
                for item in old.iter().filter(|item| same(new, item).is_none()) {
                    items.push(json!({merge_key: item[merge_key], "$patch": "delete"}));
                }
                let order: Vec<Value> = new.iter().map(|item| json!({merge_key: item[merge_key]})).collect();
                patch.insert(format!("$setElementOrder/{key}"), Value::Array(order));
                patch.insert(key.clone(), Value::Array(items));
            }
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    patch
}

fn env() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[A-C]", "[a-b]", 0..3).prop_map(|env| {
        Value::Array(env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect())
    })
}

fn container() -> impl Strategy<Value = Value> {
    ("[x-z]", proptest::collection::vec("[a-b]", 0..2), env(), proptest::collection::btree_set(80_u16..83, 0..3))
        .prop_map(|(image, args, env, ports)| {
            let ports: Vec<Value> = ports.into_iter().map(|port| json!({"containerPort": port})).collect();
            json!({"image": image, "args": args, "env": env, "ports": ports})
        })
}

fn deployment() -> impl Strategy<Value = Value> {
    let containers = proptest::collection::vec(("[a-d]", container()), 0..4);
    let labels = proptest::collection::btree_map("[a-c]", "[x-z]", 0..3);
    (containers, labels, 0_u8..3).prop_map(|(mut containers, labels, replicas)| {
        let mut seen = std::collections::BTreeSet::new();
        containers.retain(|(name, _)| seen.insert(name.clone()));
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, mut container)| {
                container["name"] = json!(name);
                container
            })
            .collect();
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": labels},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
        })
    })
}

proptest! {
    #[test]
    fn a_patch_of_the_difference_gives_the_object(from in deployment(), to in deployment()) {
        let model = Model::of(&DEPLOYMENTS, None);
        let patch = difference(model.view(), from.as_object().unwrap(), to.as_object().unwrap());
        prop_assert_eq!(strategic::apply(model.view(), &from, patch).unwrap(), to);
    }

    #[test]
    fn applying_twice_is_applying_once(live in deployment(), config in deployment()) {
        let model = Model::of(&DEPLOYMENTS, None);
        let once = apply_as(&model, Some(&live), &config, "one", true).unwrap();
        let twice = apply_as(&model, Some(&once), &config, "one", false).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn who_applies_all_and_then_nothing_leaves_the_object(live in deployment(), config in deployment()) {
        let model = Model::of(&DEPLOYMENTS, None);
        // Only what is new, so that nothing of the live object is taken over.
        let mut config = config;
        config["metadata"]["name"] = json!("d");
        config["spec"].as_object_mut().unwrap().remove("replicas");
        config["metadata"]["labels"] = json!({"new": "1"});
        for container in config["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap() {
            container["name"] = json!(format!("new-{}", container["name"].as_str().unwrap()));
        }
        let with = apply_as(&model, Some(&live), &config, "one", false).unwrap();
        let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        let without = apply_as(&model, Some(&with), &nothing, "one", false).unwrap();
        let full = |object: &Value| {
            // An emptied list or map is an absent one in Go.
            let mut object = bare(object);
            drop_empty(&mut object);
            object
        };
        prop_assert_eq!(full(&without), full(&live));
    }

    #[test]
    fn appliers_of_other_fields_never_conflict(
        one in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3),
        two in proptest::collection::btree_map("[d-f]", "[x-z]", 0..3),
        turns in proptest::collection::vec(any::<bool>(), 1..6),
    ) {
        let model = Model::of(&CONFIG_MAPS, None);
        let mut object = apply_as(&model, None, &config_map(json!({})), "none", false).unwrap();
        for first in turns {
            let (name, data) = if first { ("one", &one) } else { ("two", &two) };
            object = apply_as(&model, Some(&object), &config_map(json!(data)), name, false).unwrap();
            for (key, value) in data {
                prop_assert_eq!(&object["data"][key], value);
            }
        }
    }
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_empty);
            map.retain(|_, value| {
                !value.is_null()
                    && value.as_object().is_none_or(|m| !m.is_empty())
                    && value.as_array().is_none_or(|l| !l.is_empty())
            });
        }
        Value::Array(list) => list.iter_mut().for_each(drop_empty),
        _ => {}
    }
}
