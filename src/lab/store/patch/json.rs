//! JSON patches (RFC 6902, as Kubernetes' library reads them) and merge patches (RFC 7396).

use serde_json::{Map, Value, json};

use super::go;
use crate::lab::status::Status;

/// The most operations of one JSON patch.
const MOST_OPERATIONS: usize = 10_000;
/// How many bytes the copies of one JSON patch may make.
const MOST_COPIED: usize = 3 * 1024 * 1024;

/// One step of a JSON patch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

fn rejected() -> Status {
    let message = "the server rejected our request due to an error in our request";
    Status { details: Some(json!({})), ..Status::new(422, "Invalid", message) }
}

fn decoding(why: &str) -> Status {
    Status::bad_request(format!("error decoding patch: {why}"))
}

/// Reads a JSON patch.
///
/// # Errors
/// 400 if it is none, 413 if it is too long.
pub(crate) fn operations(patch: Value) -> Result<Vec<Operation>, Status> {
    let Value::Array(steps) = patch else {
        let kind = go::json_kind(&patch);
        return Err(decoding(&format!("json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp")));
    };
    if steps.len() > MOST_OPERATIONS {
        let got = steps.len();
        let message = format!("The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {got}");
        let message = format!("Request entity too large: {message}");
        return Err(Status::new(413, "RequestEntityTooLarge", message));
    }
    steps.into_iter().map(operation).collect()
}

fn operation(step: Value) -> Result<Operation, Status> {
    let Value::Object(mut step) = step else {
        let kind = go::json_kind(&step);
        return Err(decoding(&format!("json: cannot unmarshal {kind} into Go value of type handlers.jsonPatchOp")));
    };
    let mut text = |field: &str| match step.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            let kind = go::json_kind(&other);
            let into = format!("Go struct field jsonPatchOp.{field} of type string");
            Err(decoding(&format!("json: cannot unmarshal {kind} into {into}")))
        }
    };
    let (op, path, from) = (text("op")?.unwrap_or_default(), text("path")?, text("from")?);
    Ok(Operation { op, path, from, value: step.remove("value") })
}

/// The object that a JSON patch makes of `before`.
///
/// # Errors
/// 422 if a step cannot be done or a test fails; then nothing is.
pub(crate) fn apply(before: &Value, patch: &[Operation]) -> Result<Value, Status> {
    let mut after = before.clone();
    let mut copied = 0;
    for step in patch {
        apply_one(&mut after, step, &mut copied).ok_or_else(rejected)?;
    }
    Ok(after)
}

fn apply_one(document: &mut Value, step: &Operation, copied: &mut usize) -> Option<()> {
    let path = steps(step.path.as_deref()?)?;
    match step.op.as_str() {
        "add" => add(document, &path, step.value.clone().unwrap_or_default()),
        "remove" => remove(document, &path).map(drop),
        "replace" => {
            *find_mut(document, &path)? = step.value.clone().unwrap_or_default();
            Some(())
        }
        "move" => {
            let moved = remove(document, &steps(step.from.as_deref()?)?)?;
            add(document, &path, moved)
        }
        "copy" => {
            let copy = find(document, &steps(step.from.as_deref()?)?)?.clone();
            *copied += copy.to_string().len();
            (*copied <= MOST_COPIED).then(|| add(document, &path, copy)).flatten()
        }
        "test" => {
            let wanted = step.value.as_ref().unwrap_or(&Value::Null);
            // A missing place is as good as null, but only where its parent is there.
            let (last, parent) = path.split_last()?;
            let there = match find(document, parent)? {
                Value::Object(map) => map.get(last),
                list => Some(find(list, std::slice::from_ref(last))?),
            };
            (there.unwrap_or(&Value::Null) == wanted).then_some(())
        }
        _ => None,
    }
}

/// The steps of a pointer; `None` if it does not begin with a slash.
fn steps(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let rest = pointer.strip_prefix('/')?;
    Some(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// A place in a list; negative ones count from its end.
fn place(step: &str, length: usize) -> Option<usize> {
    let at: i64 = step.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    let at = if at < 0 { at + length } else { at };
    usize::try_from(at).ok()
}

fn find<'d>(document: &'d Value, path: &[String]) -> Option<&'d Value> {
    path.iter().try_fold(document, |here, step| match here {
        Value::Object(map) => map.get(step),
        Value::Array(list) => list.get(place(step, list.len())?),
        _ => None,
    })
}

fn find_mut<'d>(document: &'d mut Value, path: &[String]) -> Option<&'d mut Value> {
    path.iter().try_fold(document, |here, step| match here {
        Value::Object(map) => map.get_mut(step),
        Value::Array(list) => {
            let at = place(step, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Option<()> {
    let Some((last, parent)) = path.split_last() else {
        *document = value;
        return Some(());
    };
    match find_mut(document, parent)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            // Counted in the list as it will be.
            let at = place(last, list.len() + 1).filter(|at| *at <= list.len())?;
            list.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parent) = path.split_last()?;
    match find_mut(document, parent)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = place(last, list.len()).filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

/// Reads a merge patch.
///
/// # Errors
/// 400 if it is no object.
pub(crate) fn merge_patch(patch: Value) -> Result<Map<String, Value>, Status> {
    match patch {
        Value::Object(patch) => Ok(patch),
        Value::Null => Ok(Map::new()),
        other => {
            let kind = go::json_kind(&other);
            Err(decoding(&format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")))
        }
    }
}

/// Merges a merge patch into an object: null takes away, maps are merged, all else is replaced.
pub(crate) fn merge(into: &mut Value, patch: Map<String, Value>) {
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.remove(&key)),
            Value::Object(inner) => merge(into.entry(key).or_insert(Value::Null), inner),
            value => drop(into.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(before: Value, patch: Value) -> Result<Value, Status> {
        apply(&before, &operations(patch)?)
    }

    #[test]
    fn every_operation() {
        let before = json!({"data": {"a": "1", "b": "2"}, "list": [1, 2, 3]});
        let after = patched(
            before,
            json!([
                {"op": "test", "path": "/data/a", "value": "1"},
                {"op": "test", "path": "/data/none", "value": null},
                {"op": "add", "path": "/metadata", "value": {"x/y": "0"}},
                {"op": "replace", "path": "/metadata/x~1y", "value": "n"},
                {"op": "copy", "from": "/data/a", "path": "/data/d"},
                {"op": "move", "from": "/data/b", "path": "/data/e"},
                {"op": "add", "path": "/list/-", "value": 4},
                {"op": "add", "path": "/list/0", "value": 0},
                {"op": "remove", "path": "/list/-1"},
                {"op": "replace", "path": "/list/1", "value": 9},
            ]),
        );
        let expected = json!({"data": {"a": "1", "d": "1", "e": "2"}, "metadata": {"x/y": "n"}, "list": [0, 9, 2, 3]});
        assert_eq!(after.unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_done_is_rejected() {
        let before = json!({"data": {"a": "1"}, "list": [1]});
        for step in [
            json!({"op": "remove", "path": "/data/none"}),
            json!({"op": "replace", "path": "/none/x", "value": 1}),
            json!({"op": "replace", "path": "/data/none", "value": 1}),
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "add", "path": "/list/3", "value": 1}),
            json!({"op": "add", "path": "/list/x", "value": 1}),
            json!({"op": "test", "path": "/data/a", "value": "2"}),
            json!({"op": "jump", "path": "/data/a"}),
            json!({"op": "add", "value": 1}),
            json!({"op": "copy", "path": "/data/b"}),
            json!({"op": "remove", "path": "/list/1"}),
            json!({"op": "remove", "path": ""}),
        ] {
            let status = patched(before.clone(), json!([step])).unwrap_err();
            assert_eq!((status.code, status.reason), (422, "Invalid"), "{step}");
        }
    }

    #[test]
    fn what_is_no_patch_is_a_bad_request() {
        let told = |patch: Value| patched(json!({}), patch).unwrap_err().message;
        let prefix = "error decoding patch: json: cannot unmarshal";
        assert_eq!(told(json!({})), format!("{prefix} object into Go value of type []handlers.jsonPatchOp"));
        assert_eq!(told(json!([5])), format!("{prefix} number into Go value of type handlers.jsonPatchOp"));
        let into = "Go struct field jsonPatchOp.op of type string";
        assert_eq!(told(json!([{"op": 5}])), format!("{prefix} number into {into}"));
        let many = Value::Array(vec![json!({"op": "add", "path": "/a", "value": 1}); MOST_OPERATIONS + 1]);
        assert_eq!(patched(json!({}), many).unwrap_err().code, 413);
    }

    #[test]
    fn merge_patches_set_and_take_away() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "list": [1]});
        let patch = json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "list": [2], "none": null});
        merge(&mut object, merge_patch(patch).unwrap());
        assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 1}}, "list": [2]}));
        assert_eq!(merge_patch(json!([1])).unwrap_err().code, 400);
    }
}
