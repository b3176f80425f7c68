//! Walks over a value by its type: which fields it has, what differs, what two make together.
//!
//! The rules are those of Kubernetes' structured merge: an item of a list is known by its keys or its value, a map
//! by its keys; what is atomic is one value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{Element, Fields, Scalar};
use super::go;
use super::schema::{Atom, Relation, Type, View};

/// What differs between two values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Only in the new one.
    pub added: Fields,
    /// In both, and not the same.
    pub modified: Fields,
    /// Only in the old one.
    pub removed: Fields,
}

/// The step to an item of a list; the reason if it cannot be told from others.
fn element(view: View<'_>, relation: &Relation, item: &Value) -> Result<Element, String> {
    let Relation::Keys(keys) = relation else {
        return match item {
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            item => Ok(Element::Item(Scalar(item.clone()))),
        };
    };
    match item {
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        Value::Object(_) => {}
        _ => return Err("associative list with keys may not have non-map elements".into()),
    }
    // A key that is missing and has no default is no part of the step.
    let mut found: Vec<(String, Scalar)> = Vec::with_capacity(keys.len());
    for key in keys {
        let default = || view.field(key).and_then(|field| field.default.clone());
        found.extend(item.get(key).cloned().or_else(default).map(|value| (key.clone(), Scalar(value))));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Element::Keys(found))
}

/// The items of a list by their steps, in order; items that cannot be told are left out, those that come twice are
/// all there.
fn index<'v>(view: View<'_>, relation: &Relation, list: Option<&'v Value>) -> Vec<(Element, &'v Value)> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| Some((element(view, relation, item).ok()?, item))).collect()
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// The fields that a value has: what an apply of it owns.
pub(crate) fn fields_of(view: View<'_>, value: &Value) -> Fields {
    let mut fields = Fields::default();
    match (view.atom(Some(value)), value) {
        (Atom::List(relation, items), Value::Array(_)) => {
            let found = index(items, relation, Some(value));
            let mut counts: BTreeMap<&Element, usize> = BTreeMap::new();
            for (element, _) in &found {
                *counts.entry(element).or_default() += 1;
            }
            for (element, item) in &found {
                fields.insert(element.clone());
                if counts.get(element) == Some(&1) && !matches!(items.atom(Some(item)), Atom::Leaf) {
                    fields.insert_below(element.clone(), fields_of(items, item));
                }
            }
        }
        (Atom::Map(view), Value::Object(map)) => {
            for (key, value) in map {
                let step = Element::Field(key.clone());
                let child = view.child(key);
                let whole = match child.atom(Some(value)) {
                    Atom::Leaf => true,
                    _ => value.is_null() || value.as_object().is_some_and(Map::is_empty),
                };
                if whole || view.field(key).is_none() {
                    fields.insert(step.clone());
                }
                if !whole {
                    fields.insert_below(step, fields_of(child, value));
                }
            }
        }
        _ => {}
    }
    fields
}

/// What makes `new` of `old`.
pub(crate) fn compare(view: View<'_>, old: &Value, new: &Value) -> Comparison {
    let mut found = Comparison::default();
    if old != new {
        compare_into(view, Some(old), Some(new), None, &mut found);
    }
    found
}

/// `at` is the step that led here; what is found lies below it.
fn compare_into(view: View<'_>, old: Option<&Value>, new: Option<&Value>, at: Option<&Element>, into: &mut Comparison) {
    let (was, is) = (view.atom(old.or(new)), view.atom(new.or(old)));
    let blank = is_blank(old) && is_blank(new);
    let mut below = Comparison::default();
    let leaf = match (was, is) {
        (Atom::List(relation, items), Atom::List(..)) if !blank => {
            let (before, after) = (index(items, relation, old), index(items, relation, new));
            compare_items(items, &before, &after, &mut below);
            false
        }
        (Atom::Map(_), Atom::Map(view)) if !blank => {
            let maps = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            compare_maps(view, maps, &mut below);
            false
        }
        _ => true,
    };
    let Some(at) = at else {
        *into = below;
        return;
    };
    match (old, new) {
        (None, Some(_)) => into.added.insert(at.clone()),
        (Some(_), None) => into.removed.insert(at.clone()),
        (old, new) if leaf && old != new => into.modified.insert(at.clone()),
        _ => {}
    }
    into.added.insert_below(at.clone(), below.added);
    into.modified.insert_below(at.clone(), below.modified);
    into.removed.insert_below(at.clone(), below.removed);
}

type Fielded<'v> = Option<&'v Map<String, Value>>;

fn compare_maps(view: View<'_>, (old, new): (Fielded<'_>, Fielded<'_>), into: &mut Comparison) {
    let keys: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
    for key in keys {
        let (was, is) = (old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)));
        if was != is {
            compare_into(view.child(key), was, is, Some(&Element::Field(key.clone())), into);
        }
    }
}

fn compare_items(view: View<'_>, old: &[(Element, &Value)], new: &[(Element, &Value)], into: &mut Comparison) {
    let gather = |list: &[(Element, &Value)]| {
        let mut gathered: BTreeMap<Element, Vec<Value>> = BTreeMap::new();
        for (element, item) in list {
            gathered.entry(element.clone()).or_default().push((*item).clone());
        }
        gathered
    };
    let (old, new) = (gather(old), gather(new));
    let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
    for element in elements {
        let (was, is) = (old.get(element), new.get(element));
        if was == is {
            continue;
        }
        let once = |list: Option<&Vec<Value>>| list.is_none_or(|list| list.len() == 1);
        if once(was) && once(is) {
            compare_into(view, was.map(|list| &list[0]), is.map(|list| &list[0]), Some(element), into);
            continue;
        }
        match (was, is) {
            (None, _) => into.added.insert(element.clone()),
            (_, None) => into.removed.insert(element.clone()),
            _ => into.modified.insert(element.clone()),
        }
    }
}

/// `live` with what `applied` has: of two values the applied one, of two lists with keys the items of both.
pub(crate) fn merge(view: View<'_>, live: Option<&Value>, applied: Option<&Value>) -> Value {
    let (Some(old), Some(new)) = (live, applied) else {
        return applied.or(live).cloned().unwrap_or_default();
    };
    match view.atom(Some(new)) {
        Atom::List(relation, items) if !(is_blank(live) && is_blank(applied)) && (new.is_array() || new.is_null()) => {
            Value::Array(merge_items(items, relation, old, new))
        }
        Atom::Map(view) if !(is_blank(live) && is_blank(applied)) && (new.is_object() || new.is_null()) => {
            let mut merged = old.as_object().cloned().unwrap_or_default();
            for (key, value) in new.as_object().into_iter().flatten() {
                let made = merge(view.child(key), old.get(key), Some(value));
                merged.insert(key.clone(), made);
            }
            Value::Object(merged)
        }
        _ => new.clone(),
    }
}

/// The items of both lists. Those of the applied list keep its order, those of the live one alone keep their place
/// before the next one that both have.
fn merge_items(view: View<'_>, relation: &Relation, live: &Value, applied: &Value) -> Vec<Value> {
    let (old, new) = (index(view, relation, Some(live)), index(view, relation, Some(applied)));
    let mut was: BTreeMap<&Element, &Value> = BTreeMap::new();
    for (element, item) in &old {
        was.entry(element).or_insert(item);
    }
    let wanted: BTreeMap<&Element, &Value> = new.iter().map(|(element, item)| (element, *item)).collect();
    let mut shared = new.iter().map(|(element, _)| element).filter(|element| was.contains_key(element));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&Element> = BTreeSet::new();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if let (Some((here, _)), Some((there, item))) = (old.get(left), new.get(right)) {
            if here == there {
                done.insert(there);
                merged.push(merge(view, was.get(here).copied(), Some(item)));
                left += 1;
                right += 1;
                next_shared = shared.next();
                continue;
            }
            if wanted.contains_key(here) && next_shared.is_some_and(|next| next != here) {
                // It is shared, but its turn comes later.
                left += 1;
                continue;
            }
        }
        if let Some((here, item)) = old.get(left) {
            if !wanted.contains_key(here) {
                merged.push((*item).clone());
                left += 1;
                continue;
            }
            if done.contains(here) {
                left += 1;
                continue;
            }
        }
        if let Some((there, item)) = new.get(right) {
            done.insert(there);
            merged.push(merge(view, was.get(there).copied(), Some(item)));
            right += 1;
            if next_shared == Some(there) {
                next_shared = shared.next();
            }
        }
    }
    merged
}

/// `value` without these fields. A map or list that has nothing left becomes null.
pub(crate) fn remove(view: View<'_>, value: &Value, fields: &Fields) -> Value {
    match (view.atom(Some(value)), value) {
        (Atom::List(relation, items), Value::Array(list)) => {
            let kept: Vec<Value> = list
                .iter()
                .filter_map(|item| {
                    let Ok(step) = element(items, relation, item) else { return Some(item.clone()) };
                    if fields.has(&step) {
                        return None;
                    }
                    Some(fields.below(&step).map_or_else(|| item.clone(), |below| remove(items, item, below)))
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        (Atom::Map(view), Value::Object(map)) => {
            let kept: Map<String, Value> = map
                .iter()
                .filter_map(|(key, value)| {
                    let step = Element::Field(key.clone());
                    if fields.has(&step) {
                        return None;
                    }
                    let below = fields.below(&step);
                    let kept = below.map_or_else(|| value.clone(), |below| remove(view.child(key), value, below));
                    Some((key.clone(), kept))
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Atom::Leaf, value) if !value.is_object() && !value.is_array() => value.clone(),
        _ => Value::Null,
    }
}

/// The set with every named field on the way to its paths: what owns a part of a struct's field owns the field.
pub(crate) fn with_parents(view: View<'_>, fields: &Fields) -> Fields {
    let mut all = fields.clone();
    for (step, below) in fields.children() {
        let child = match step {
            Element::Field(key) => {
                if view.field(key).is_some() {
                    all.insert(step.clone());
                }
                view.child(key)
            }
            _ => view.items(),
        };
        all.insert_below(step.clone(), with_parents(child, below));
    }
    all
}

/// What an applied value has that its kind has not: `.spec.replicaz: field not declared in schema`.
pub(crate) fn faults(view: View<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(view, value, "", &mut found);
    found
}

fn check(view: View<'_>, value: &Value, path: &str, into: &mut Vec<String>) {
    let mut expected = |what: &str| {
        let got = match value {
            Value::String(text) => format!("&{{{text}}}"),
            Value::Object(_) | Value::Array(_) => format!("&{{{}}}", go::print(value)),
            other => format!("&value.valueUnstructured{{Value:{other}}}"),
        };
        let got = match what {
            // Texts of the scalar check name the type alone where it expects a number.
            "numeric (int or float)" => kind_of(value).to_owned(),
            "map" if !value.is_object() && !value.is_array() => format!("&{{{}}}", go::print(value)),
            _ => got,
        };
        into.push(format!("{path}: expected {what}, got {got}"));
    };
    match (view.ty(), value) {
        (_, Value::Null) | (Type::Any, _) => {}
        (Type::Text, value) if !value.is_string() => expected("string"),
        (Type::Number, value) if !value.is_number() => expected("numeric (int or float)"),
        (Type::Boolean, value) if !value.is_boolean() => expected("boolean"),
        (Type::List { items, relation }, value) => {
            let _ = items;
            let Some(list) = value.as_array() else { return expected("list") };
            check_items(view.items(), relation, list, path, into);
        }
        (Type::Map { .. } | Type::Struct(_), value) => {
            let Some(map) = value.as_object() else { return expected("map") };
            for (key, value) in map {
                if view.refuses(key) {
                    into.push(format!("{path}.{key}: field not declared in schema"));
                } else {
                    check(view.child(key), value, &format!("{path}.{key}"), into);
                }
            }
        }
        _ => {}
    }
}

fn check_items(view: View<'_>, relation: &Relation, list: &[Value], path: &str, into: &mut Vec<String>) {
    let (mut seen, mut told) = (BTreeSet::new(), BTreeSet::new());
    for (at, item) in list.iter().enumerate() {
        let step = match relation {
            Relation::Atomic => Element::Index(at as u64),
            relation => match element(view, relation, item) {
                Ok(step) => step,
                Err(why) => {
                    into.push(format!("{path}: element {at}: {why}"));
                    return;
                }
            },
        };
        if !seen.insert(step.clone()) && told.insert(step.clone()) {
            into.push(format!("{path}: duplicate entries for key {step}"));
        }
        check(view, item, &format!("{path}{step}"), into);
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lab::resource::{CONFIG_MAPS, DEPLOYMENTS};
    use crate::lab::store::patch::schema::Model;

    fn pod(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn an_apply_owns_its_leaves() {
        let model = Model::of(&DEPLOYMENTS, None);
        let mut value = pod(json!([{"name": "c", "args": ["a"], "ports": [{"containerPort": 80}]}]));
        value["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
        value["metadata"] =
            json!({"labels": {"x": "y"}, "finalizers": ["q/r"], "ownerReferences": [{"uid": "u", "name": "n"}]});
        let port = json!({".": {}, "f:containerPort": {}});
        let container = json!({".": {}, "f:name": {}, "f:args": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": port}});
        assert_eq!(
            fields_of(model.view(), &value).encode(),
            json!({
                "f:metadata": {"f:labels": {"f:x": {}}, "f:finalizers": {"v:\"q/r\"": {}}, "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}},
                "f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": container}}}},
            })
        );
    }

    #[test]
    fn a_new_map_is_added_with_its_keys() {
        let model = Model::of(&CONFIG_MAPS, None);
        let found = compare(model.view(), &json!({"metadata": {}}), &json!({"metadata": {}, "data": {"k": "v"}}));
        assert_eq!(found.added.encode(), json!({"f:data": {".": {}, "f:k": {}}}));
        let found =
            compare(model.view(), &json!({"data": {"k": "v", "l": "1"}}), &json!({"data": {"k": "w", "m": "2"}}));
        assert_eq!(found.added.encode(), json!({"f:data": {"f:m": {}}}));
        assert_eq!(found.modified.encode(), json!({"f:data": {"f:k": {}}}));
        assert_eq!(found.removed.encode(), json!({"f:data": {"f:l": {}}}));
    }

    #[test]
    fn order_alone_is_no_change_in_a_list_with_keys() {
        let model = Model::of(&DEPLOYMENTS, None);
        let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
        let found = compare(model.view(), &pod(json!([a, b])), &pod(json!([b, a])));
        assert_eq!(found, Comparison::default());
    }

    #[test]
    fn lists_merge_by_key_in_the_applied_order() {
        let model = Model::of(&DEPLOYMENTS, None);
        let names = |list: &[&str]| pod(list.iter().map(|name| json!({"name": name})).collect());
        let merged = |live: &[&str], applied: &[&str]| {
            let merged = merge(model.view(), Some(&names(live)), Some(&names(applied)));
            let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
            containers.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<String>()
        };
        assert_eq!(merged(&["a", "b"], &["c"]), "abc");
        assert_eq!(merged(&["a", "b", "c"], &["c", "a"]), "bca");
        assert_eq!(merged(&["a", "x", "b"], &["b", "a"]), "xba");
        assert_eq!(merged(&["a", "x", "b"], &["a", "b"]), "axb");
        assert_eq!(merged(&[], &["b", "a"]), "ba");
    }

    #[test]
    fn what_is_removed_leaves_null() {
        let model = Model::of(&CONFIG_MAPS, None);
        let value = json!({"data": {"a": "1", "b": "2"}});
        let fields = |value| Fields::decode(&value).unwrap();
        assert_eq!(remove(model.view(), &value, &fields(json!({"f:data": {"f:a": {}}}))), json!({"data": {"b": "2"}}));
        let both = fields(json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(remove(model.view(), &value, &both), json!({"data": null}));
        assert_eq!(remove(model.view(), &value, &with_parents(model.view(), &both)), Value::Null);
    }

    #[test]
    fn faults_have_the_texts_of_the_real_server() {
        let model = Model::of(&DEPLOYMENTS, None);
        let told = |spec: Value| faults(model.view(), &json!({"spec": spec}));
        assert_eq!(told(json!({"replicaz": 1})), [".spec.replicaz: field not declared in schema"]);
        assert_eq!(told(json!({"replicas": "a"})), [".spec.replicas: expected numeric (int or float), got string"]);
        let pod = |spec: Value| told(json!({"template": {"spec": spec}}));
        assert_eq!(
            pod(json!({"dnsPolicy": 1, "hostNetwork": "x", "containers": {"a": 1}})),
            [
                ".spec.template.spec.containers: expected list, got &{map[a:1]}",
                ".spec.template.spec.dnsPolicy: expected string, got &value.valueUnstructured{Value:1}",
                ".spec.template.spec.hostNetwork: expected boolean, got &{x}",
            ]
        );
        assert_eq!(
            pod(json!({"containers": [{"name": "c"}, {"name": "c"}, {"name": "c"}]})),
            [".spec.template.spec.containers: duplicate entries for key [name=\"c\"]"]
        );
        assert_eq!(
            pod(json!({"containers": ["a"]})),
            [".spec.template.spec.containers: element 0: associative list with keys may not have non-map elements"]
        );
        assert_eq!(
            pod(json!({"containers": [{"name": "c", "foo": 1}]})),
            [".spec.template.spec.containers[name=\"c\"].foo: field not declared in schema"]
        );
        assert_eq!(told(json!(5)), [".spec: expected map, got &{5}"]);
    }
}
