//! What of a pod's spec may change: images, the deadline, more tolerations; nothing else.

use serde_json::Value;

use super::errors::{Errors, Path};

/// Lines of context in the difference that is shown.
const CONTEXT: usize = 3;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate(before: &Value, after: &Value, errors: &mut Errors) {
    let (old, new, path) = (&before["spec"], &after["spec"], Path::Root.at("spec"));
    let count = |spec: &Value, list: &str| spec[list].as_array().map_or(0, Vec::len);
    for list in ["containers", "initContainers"] {
        if count(old, list) != count(new, list) {
            errors.forbidden(&path.at(list), "pod updates may not add or remove containers");
            return;
        }
    }
    deadline(&old["activeDeadlineSeconds"], &new["activeDeadlineSeconds"], &path, errors);
    let had = old["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    let has = new["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    if had.iter().any(|toleration| !has.contains(toleration)) {
        errors
            .forbidden(&path.at("tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    }
    // With what may change put back, the two have to be equal.
    let mut masked = new.clone();
    for list in ["containers", "initContainers"] {
        let olds = old[list].as_array().into_iter().flatten();
        for (new, old) in masked.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().zip(olds) {
            if let (Some(new), Some(image)) = (new.as_object_mut(), old.get("image")) {
                new.insert("image".to_owned(), image.clone());
            }
        }
    }
    let gated = old["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let mut back = vec!["activeDeadlineSeconds", "tolerations"];
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|s| s < 0) && new["terminationGracePeriodSeconds"] == 1
    {
        back.push("terminationGracePeriodSeconds");
    }
    if gated {
        back.extend(["schedulingGates", "nodeSelector", "affinity"]);
    }
    if let Some(masked) = masked.as_object_mut() {
        for field in back {
            match old.get(field) {
                Some(value) => masked.insert(field.to_owned(), value.clone()),
                None => masked.remove(field),
            };
        }
    }
    if &masked != old {
        errors.forbidden(&path, &format!("{FORBIDDEN}\n{}", difference(old, &masked)));
    }
}

/// A deadline may be set, and brought forward.
fn deadline(old: &Value, new: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.at("activeDeadlineSeconds");
    match (old.as_i64(), new.as_i64()) {
        (Some(old), Some(new)) if new > old => {
            errors.invalid(&path, new, "must be less than or equal to previous value");
        }
        (Some(_), None) => errors.invalid(&path, Value::Null, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

/// The lines that differ, as a unified difference.
fn difference(old: &Value, new: &Value) -> String {
    let lines = |value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        // One space for each level, as the real server indents.
        let lines = text.lines().map(|line| {
            let inner = line.trim_start();
            format!("{}{inner}", " ".repeat((line.len() - inner.len()) / 2))
        });
        lines.collect::<Vec<_>>()
    };
    let (old, new) = (lines(old), lines(new));
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let from = same.saturating_sub(CONTEXT);
    let after = tail.min(CONTEXT);
    let mut text = format!("@@ -{},{} +{},{} @@\n", from + 1, old_end + after - from, from + 1, new_end + after - from);
    let mut write = |sign: char, lines: &[String]| {
        for line in lines {
            text.push(sign);
            text.push_str(line);
            text.push('\n');
        }
    };
    write(' ', &old[from..same]);
    write('-', &old[same..old_end]);
    write('+', &new[same..new_end]);
    write(' ', &old[old_end..old_end + after]);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::errors::Errors;
    use super::validate;
    use crate::lab::resource::PODS;

    fn update(change: impl Fn(&mut serde_json::Value)) -> Result<(), String> {
        let before = json!({"spec": {
            "containers": [{"name": "c", "image": "x"}], "restartPolicy": "Always",
            "tolerations": [{"key": "a", "operator": "Exists"}],
        }});
        let mut after = before.clone();
        change(&mut after);
        let mut errors = Errors::default();
        validate(&before, &after, &mut errors);
        errors.finish(&PODS, "p").map_err(|status| status.message)
    }

    #[test]
    fn images_deadlines_and_more_tolerations_may_change() {
        assert_eq!(update(|pod| pod["spec"]["containers"][0]["image"] = json!("y")), Ok(()));
        assert_eq!(update(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(5)), Ok(()));
        let more = json!([{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]);
        assert_eq!(update(|pod| pod["spec"]["tolerations"] = more.clone()), Ok(()));
    }

    #[test]
    fn nothing_else_may_change_and_the_difference_is_shown() {
        let refused = update(|pod| pod["spec"]["restartPolicy"] = json!("Never")).unwrap_err();
        assert!(
            refused.starts_with(
                "Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec."
            ),
            "{refused}"
        );
        assert!(refused.contains("\n- \"restartPolicy\": \"Always\",\n+ \"restartPolicy\": \"Never\",\n"), "{refused}");
        assert!(update(|pod| pod["spec"]["nodeName"] = json!("n")).is_err());
        let added = json!([{"name": "c", "image": "x"}, {"name": "d", "image": "x"}]);
        let refused = update(|pod| pod["spec"]["containers"] = added.clone()).unwrap_err();
        assert!(
            refused.ends_with("spec.containers: Forbidden: pod updates may not add or remove containers"),
            "{refused}"
        );
    }
}
