//! The form of controls: of the experiment, the hypothesis, the activities.

use super::{Judge, truthy, written};
use crate::document::marks::Path;
use serde_json::Value;

impl<'a> Judge<'a> {
    pub(super) fn controls(&mut self, document: &'a Value) {
        let root = Path::root();
        let hypothesis = document.get("steady-state-hypothesis").map(|one| (one, root.key("steady-state-hypothesis")));
        let mut places: Vec<(&Value, Path)> = vec![(document, root.clone())];
        places.extend(hypothesis.clone());
        let mut listed = |owner: Option<&'a Value>, key: &str, path: Path| {
            let all = owner.and_then(|owner| owner.get(key)).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            places.extend(all.iter().enumerate().map(|(index, activity)| (activity, path.item(index))));
        };
        if let Some((hypothesis, path)) = hypothesis {
            listed(Some(hypothesis), "probes", path.key("probes"));
        }
        listed(Some(document), "method", root.key("method"));
        listed(Some(document), "rollbacks", root.key("rollbacks"));
        let mut all = Vec::new();
        for (owner, path) in places {
            let path = path.key("controls");
            match owner.get("controls") {
                None => {}
                Some(Value::Array(controls)) => {
                    all.extend(controls.iter().enumerate().map(|(index, control)| (control, path.item(index))));
                }
                Some(nothing) if !truthy(Some(nothing)) => {}
                Some(_) => self.error(&path, "controls is a list"),
            }
        }
        let declared = |control: &Value| control.get("ref").is_none().then(|| control.get("name").cloned()).flatten();
        let names: Vec<Value> = all.iter().filter_map(|(control, _)| declared(control)).collect();
        for (control, path) in all {
            self.control(control, &path, &names);
        }
    }

    fn control(&mut self, control: &Value, path: &Path, names: &[Value]) {
        if let Some(reference) = control.get("ref")
            && !names.contains(reference)
        {
            return self.error(&path.key("ref"), "Control reference '{}' declaration cannot be found");
        }
        if control.get("name").is_none() {
            return self.error(path, "A control must have a `name` property");
        }
        let name = written(control.get("name"));
        let Some(provider) = control.get("provider") else {
            return self.error(path, format!("Control '{name}' must have a `provider` property"));
        };
        if let Some(scope) = control.get("scope").filter(|scope| truthy(Some(scope)))
            && scope != "before"
            && scope != "after"
        {
            self.error(&path.key("scope"), format!("Control '{name}' scope property must be 'before' or 'after' only"));
        }
        if provider.get("type").is_none_or(|kind| kind != "python") {
            return;
        }
        let path = path.key("provider").key("module");
        match provider.get("module") {
            Some(Value::String(module)) if !module.is_empty() => {
                if !self.rules.functions.has_control(module) {
                    self.warn(
                        &path,
                        format!(
                            "Could not find Python module '{module}' in control '{name}'. Did you install the Python \
                             module? The experiment will carry on running nonetheless."
                        ),
                    );
                }
            }
            _ => self.error(&path, format!("Control '{name}' must have a module path")),
        }
    }
}
