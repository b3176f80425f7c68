//! Strategic merge patches: merge patches that know which lists are merged by which key.
//!
//! `$patch: replace|delete` in a map or in an item of a list, `$deleteFromPrimitiveList/x`, `$setElementOrder/x` and
//! `$retainKeys` are read as Kubernetes reads them. New items come first, unless `$setElementOrder` says otherwise.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::go;
use super::schema::{Type, View};
use crate::lab::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Fields = Map<String, Value>;

/// Reads a strategic patch.
///
/// # Errors
/// 400 if it is no object.
pub(crate) fn patch_of(patch: Value) -> Result<Fields, Status> {
    match patch {
        Value::Object(patch) => Ok(patch),
        Value::Null => Ok(Fields::new()),
        other => {
            let kind = go::json_kind(&other);
            let why = format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
            Err(Status::bad_request(why))
        }
    }
}

/// The object that a strategic patch makes of `before`.
///
/// # Errors
/// 400 and 500 for patches that contradict themselves, with the texts of the real server.
pub(crate) fn apply(view: View<'_>, before: &Value, patch: Fields) -> Result<Value, Status> {
    let original = before.as_object().cloned().unwrap_or_default();
    merge_map(view, original, patch).map(Value::Object)
}

/// An error that the real server does not wrap.
fn plain(message: impl Into<String>) -> Status {
    Status::new(500, "", message)
}

fn bad_directive(directive: &Value, holder: &Fields) -> Status {
    let holder = go::print(&Value::Object(holder.clone()));
    plain(format!("unknown patch type: {} in map: {holder}", go::print(directive)))
}

fn no_key(item: &Value, key: &str) -> Status {
    plain(format!("map: {} does not contain declared merge key: {key}", go::print(item)))
}

fn merge_map(view: View<'_>, mut original: Fields, mut patch: Fields) -> Result<Fields, Status> {
    if let Some(directive) = patch.get(DIRECTIVE).cloned() {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Fields::new()),
            // Merging is what is done anyway; the real server takes the word in an item of a list only.
            _ => Err(bad_directive(&directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(view, &mut original, &mut patch)?;
    for (key, value) in patch {
        if let Some(key) = key.strip_prefix(DELETE_FROM) {
            let Value::Array(gone) = value else {
                return Err(Status::bad_request("invalid patch format of primitive list"));
            };
            if let Some(Value::Array(list)) = original.get_mut(key) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                if view.field(&key).is_some_and(|field| field.replace) {
                    Value::Object(new)
                } else {
                    Value::Object(merge_map(view.child(&key), old, new)?)
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => merge_list(view, &key, old, new)?,
            (Some(old), new) if !is_collection(&old) && !is_collection(&new) => new,
            (_, new) => without_directives(new)?,
        };
        original.insert(key, merged);
    }
    Ok(original)
}

fn is_collection(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// A value that is new to the object: what is deleted in it is not there, what is null is absent.
fn without_directives(value: Value) -> Result<Value, Status> {
    match value {
        Value::Object(mut map) => {
            let mut kept = Fields::new();
            map.remove(DIRECTIVE);
            for (key, value) in map {
                let directive = key == RETAIN || key.starts_with(DELETE_FROM) || key.starts_with(ORDER);
                if !directive && !value.is_null() {
                    kept.insert(key, without_directives(value)?);
                }
            }
            Ok(Value::Object(kept))
        }
        Value::Array(items) => {
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                match item.get(DIRECTIVE).and_then(Value::as_str) {
                    Some("delete") => {}
                    // The mark alone; an item with fields keeps them.
                    Some("replace") if item.as_object().is_some_and(|item| item.len() == 1) => {}
                    _ => kept.push(without_directives(item)?),
                }
            }
            Ok(Value::Array(kept))
        }
        value => Ok(value),
    }
}

fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), Status> {
    let Some(retained) = patch.remove(RETAIN) else { return Ok(()) };
    let malformed = || Status::bad_request("invalid patch format of retainKeys");
    let Value::Array(retained) = retained else { return Err(malformed()) };
    let retained: BTreeSet<&str> = retained.iter().filter_map(Value::as_str).collect();
    for (key, value) in patch.iter() {
        let directive = key.starts_with('$');
        if !directive && !value.is_null() && !retained.contains(key.as_str()) {
            return Err(malformed());
        }
    }
    original.retain(|key, _| retained.contains(key.as_str()));
    Ok(())
}

/// Merges the lists whose order the patch gives, and takes them out of the patch.
fn set_orders(view: View<'_>, original: &mut Fields, patch: &mut Fields) -> Result<(), Status> {
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(ORDER)).cloned().collect();
    for order in orders {
        let key = order.strip_prefix(ORDER).unwrap_or_default().to_owned();
        let wanted = match patch.remove(&order) {
            Some(Value::Array(wanted)) => wanted,
            _ => return Err(Status::bad_request("invalid patch format of setElementOrder list")),
        };
        let merge_key = view.field(&key).and_then(|field| field.merge.clone()).unwrap_or_default();
        let listed = match patch.get(&key) {
            Some(Value::Array(list)) => Some(list.clone()),
            Some(_) => continue,
            None => None,
        };
        check_order(listed.as_deref().unwrap_or_default(), &wanted, &merge_key)?;
        let old = original.get(&key).and_then(Value::as_array).cloned();
        let merged = match (&old, listed) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(Value::Array(new))? {
                Value::Array(new) => new,
                _ => Vec::new(),
            },
            (Some(old), Some(new)) => match merge_list(view, &key, old.clone(), new)? {
                Value::Array(merged) => merged,
                _ => Vec::new(),
            },
        };
        let merged = put_in_order(merged, &wanted, &old.unwrap_or_default(), &merge_key);
        patch.remove(&key);
        original.insert(key, Value::Array(merged));
    }
    Ok(())
}

/// The patched items must stand in the order that the patch itself gives.
fn check_order(listed: &[Value], wanted: &[Value], key: &str) -> Result<(), Status> {
    let kept: Vec<&Value> = listed.iter().filter(|item| item.get(DIRECTIVE).is_none()).collect();
    let mut rest = wanted.iter();
    let in_order = kept.iter().all(|item| rest.any(|other| is_same(item, other, key)));
    if in_order {
        return Ok(());
    }
    let (list, order) = (go::print(&json!(listed)), go::print(&json!(wanted)));
    Err(plain(format!("The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n")))
}

fn is_same(one: &Value, other: &Value, key: &str) -> bool {
    if key.is_empty() { one == other } else { one.get(key).is_some() && one.get(key) == other.get(key) }
}

fn merge_list(view: View<'_>, key: &str, original: Vec<Value>, patch: Vec<Value>) -> Result<Value, Status> {
    let Some(merge_key) = view.field(key).and_then(|field| field.merge.as_deref()) else {
        return Ok(Value::Array(patch));
    };
    if original.is_empty() && patch.is_empty() {
        return Ok(Value::Array(original));
    }
    let of_maps = original.iter().chain(&patch).filter(|item| item.is_object()).count();
    if of_maps != 0 && of_maps != original.len() + patch.len() {
        let lists = go::print(&json!([original, patch]));
        return Err(plain(format!("list element types are not identical: {lists}")));
    }
    if of_maps == 0 {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(Value::Array(put_in_order(merged, &patch, &original, "")));
    }
    if merge_key.is_empty() {
        return Err(plain(format!("cannot merge lists without merge key for {key}")));
    }
    merge_items(view.child(key), original, patch, merge_key).map(Value::Array)
}

fn merge_items(view: View<'_>, mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Vec<Value>, Status> {
    let items = match view.ty() {
        Type::List { .. } => view.items(),
        _ => view,
    };
    let mut plain_items = Vec::with_capacity(patch.len());
    let mut replaced = false;
    for mut item in patch {
        let Some(directive) = item.get(DIRECTIVE).cloned() else {
            plain_items.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let Some(value) = item.get(key) else { return Err(no_key(&item, key)) };
                original.retain(|other| other.get(key) != Some(value));
            }
            Some("replace") => {
                replaced = true;
                if let Some(item) = item.as_object_mut() {
                    item.remove(DIRECTIVE);
                }
            }
            Some("merge") => return Err(plain("merging lists cannot yet be specified in the patch")),
            _ => return Err(bad_directive(&directive, item.as_object().unwrap_or(&Fields::new()))),
        }
    }
    if replaced {
        return Ok(plain_items);
    }
    let mut merged = original.clone();
    for item in &plain_items {
        let Some(value) = item.get(key) else { return Err(no_key(item, key)) };
        match merged.iter_mut().find(|other| other.get(key) == Some(value)) {
            Some(Value::Object(old)) => {
                let new = item.as_object().cloned().unwrap_or_default();
                *old = merge_map(items, std::mem::take(old), new)?;
            }
            _ => merged.push(without_directives(item.clone())?),
        }
    }
    Ok(put_in_order(merged, &plain_items, &original, key))
}

/// The items in the order of the patch; those that only the server has keep their order among themselves, and stand
/// before the first item that the server had after them.
fn put_in_order(merged: Vec<Value>, patch: &[Value], server: &[Value], key: &str) -> Vec<Value> {
    let at = |list: &[Value], item: &Value| list.iter().position(|other| is_same(other, item, key));
    let (mut patched, mut alone): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| at(patch, item).is_some());
    patched.sort_by_key(|item| at(patch, item));
    alone.sort_by_key(|item| at(server, item));
    let (mut patched, mut alone) = (patched.into_iter().peekable(), alone.into_iter().peekable());
    let mut ordered = Vec::new();
    loop {
        let server_first = match (alone.peek(), patched.peek()) {
            (None, None) => return ordered,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => match (at(server, left), at(server, right)) {
                (Some(left), Some(right)) => left < right,
                _ => false,
            },
        };
        ordered.extend(if server_first { alone.next() } else { patched.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::resource::{CONFIG_MAPS, DEPLOYMENTS, SERVICES};
    use crate::lab::store::patch::schema::Model;

    fn pod(spec: Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    fn patched(before: &Value, patch: Value) -> Result<Value, Status> {
        apply(Model::of(&DEPLOYMENTS, None).view(), before, patch_of(patch)?)
    }

    fn containers(before: Value, patch: Value) -> Value {
        let after = patched(&pod(json!({"containers": before})), pod(json!({"containers": patch}))).unwrap();
        after["spec"]["template"]["spec"]["containers"].clone()
    }

    #[test]
    fn new_items_come_first() {
        let merged =
            containers(json!([{"name": "c", "image": "i"}]), json!([{"name": "side"}, {"name": "c", "tty": true}]));
        assert_eq!(merged, json!([{"name": "side"}, {"name": "c", "image": "i", "tty": true}]));
        let merged = containers(json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "new"}]));
        assert_eq!(merged, json!([{"name": "new"}, {"name": "a"}, {"name": "b"}]));
    }

    #[test]
    fn an_order_puts_items_in_their_place() {
        let before = pod(json!({"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}));
        let order = json!([{"name": "b"}, {"name": "a"}, {"name": "c"}]);
        let patch = json!({"$setElementOrder/containers": order, "containers": [{"name": "c"}]});
        let after = patched(&before, pod(patch)).unwrap();
        assert_eq!(
            after["spec"]["template"]["spec"]["containers"],
            json!([{"name": "x"}, {"name": "b"}, {"name": "a"}, {"name": "c"}])
        );
    }

    #[test]
    fn directives_replace_and_delete() {
        let before = json!([{"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]);
        assert_eq!(containers(before.clone(), json!([{"name": "a", "$patch": "delete"}])), json!([{"name": "b"}]));
        assert_eq!(containers(before.clone(), json!([{"$patch": "replace"}, {"name": "n"}])), json!([{"name": "n"}]));
        let inner = json!([{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]);
        assert_eq!(containers(before.clone(), inner)[0], json!({"name": "a", "env": []}));
        let whole = json!({"spec": {"$patch": "replace", "replicas": 1}});
        assert_eq!(patched(&pod(json!({"containers": before})), whole).unwrap(), json!({"spec": {"replicas": 1}}));
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        let before = pod(json!({"tolerations": [{"key": "a"}], "containers": [{"name": "c", "args": ["x", "y"]}]}));
        let patch = pod(json!({"tolerations": [{"key": "b"}], "containers": [{"name": "c", "args": ["z"]}]}));
        let after = patched(&before, patch.clone()).unwrap();
        assert_eq!(after, patch);
    }

    #[test]
    fn plain_values_are_united_and_deleted() {
        let model = Model::of(&CONFIG_MAPS, None);
        let before = json!({"metadata": {"finalizers": ["a", "b"]}});
        let made = |metadata: Value| {
            let patch = patch_of(json!({"metadata": metadata})).unwrap();
            apply(model.view(), &before, patch).unwrap()["metadata"]["finalizers"].clone()
        };
        assert_eq!(made(json!({"finalizers": ["c", "a"]})), json!(["c", "a", "b"]));
        assert_eq!(made(json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), json!(["b"]));
        let order = json!({"$setElementOrder/finalizers": ["b", "c"], "finalizers": ["c"],
            "$deleteFromPrimitiveList/finalizers": ["a"]});
        assert_eq!(made(order), json!(["b", "c"]));
    }

    #[test]
    fn retained_keys_are_all_that_is_left() {
        let before = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(patched(&before, patch).unwrap(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
        let wrong = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {"maxSurge": 2}}}});
        let status = patched(&before, wrong).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, "invalid patch format of retainKeys"));
        let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        let other =
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]});
        let after = patched(&pod(volumes), pod(other)).unwrap();
        let expected = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        assert_eq!(after["spec"]["template"]["spec"]["volumes"], expected);
    }

    #[test]
    fn ports_of_containers_and_services_have_other_keys() {
        let before = json!([{"name": "c", "ports": [{"containerPort": 80, "name": "a"}]}]);
        let merged = containers(before, json!([{"name": "c", "ports": [{"containerPort": 80, "name": "b"}]}]));
        assert_eq!(merged[0]["ports"], json!([{"containerPort": 80, "name": "b"}]));
        let model = Model::of(&SERVICES, None);
        let before = json!({"spec": {"ports": [{"port": 80, "name": "a"}]}});
        let patch = patch_of(json!({"spec": {"ports": [{"port": 81}]}})).unwrap();
        let after = apply(model.view(), &before, patch).unwrap();
        assert_eq!(after["spec"]["ports"], json!([{"port": 81}, {"port": 80, "name": "a"}]));
    }

    #[test]
    fn what_is_new_carries_no_directive() {
        let patch = pod(json!({"volumes": [{"name": "v", "$retainKeys": ["name"]}, {"name": "w", "$patch": "delete"}],
            "securityContext": {"runAsUser": null, "$patch": "replace"}}));
        let after = patched(&pod(json!({})), patch).unwrap();
        assert_eq!(after, pod(json!({"volumes": [{"name": "v"}], "securityContext": {}})));
    }

    #[test]
    fn faults_have_the_texts_of_the_real_server() {
        let before = pod(json!({"containers": [{"name": "c"}]}));
        let told = |spec: Value| {
            let status = patched(&before, pod(spec)).unwrap_err();
            assert_eq!((status.code, status.reason), (500, ""));
            status.message
        };
        assert_eq!(
            told(json!({"containers": [{"image": "i", "args": ["a", "b"]}]})),
            "map: map[args:[a b] image:i] does not contain declared merge key: name"
        );
        assert_eq!(
            told(json!({"containers": [{"name": "c", "$patch": "nono"}]})),
            "unknown patch type: nono in map: map[$patch:nono name:c]"
        );
        assert_eq!(told(json!({"$patch": "nono"})), "unknown patch type: nono in map: map[$patch:nono]");
        assert_eq!(
            told(json!({"$setElementOrder/containers": [{"name": "d"}], "containers": [{"name": "c"}]})),
            "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:d]]\n"
        );
        assert_eq!(told(json!({"containers": ["x"]})), "list element types are not identical: [[map[name:c]] [x]]");
        assert_eq!(patch_of(json!([1])).unwrap_err().code, 400);
    }
}
