//! The form of an activity and of its provider.

use super::{Judge, Known, truthy, written};
use crate::document::activity::Activities;
use crate::document::environment::Env;
use crate::document::marks::Path;
use serde_json::{Map, Value};

impl<'a> Judge<'a> {
    pub(super) fn activity(&mut self, activity: &'a Value, path: &Path) {
        if !truthy(Some(activity)) {
            return self.error(path, "empty activity is no activity");
        }
        if !activity.is_object() {
            return self.error(path, "an activity is a mapping with type, name and provider, or with ref");
        }
        self.own(activity, path, &["leave", "all", "trust"]);
        match activity.get("ref") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if !name.is_empty() => return,
            Some(_) => return self.error(&path.key("ref"), "reference to activity must be non-empty strings"),
        }
        match activity.get("type") {
            Some(Value::String(kind)) if kind == "action" || kind == "probe" => {}
            kind if !truthy(kind) => self.error(&path.key("type"), "an activity must have a type"),
            kind => {
                self.error(&path.key("type"), format!("'{}' is not a supported activity type", written(kind)));
            }
        }
        if !truthy(activity.get("name")) {
            self.error(&path.key("name"), "an activity must have a name");
        }
        let provider = self.provider(activity, path);
        self.optional(activity, path);
        if let Some((kind, provider)) = provider {
            let name = written(activity.get("name"));
            let at = path.key("provider");
            match kind {
                "python" => self.python(activity, provider, &name, &at),
                "process" => self.process(provider, &name, &at),
                _ => self.http(provider, &at),
            }
            self.permission(activity, path);
        }
    }

    /// The type of the provider, and the provider, where both are right.
    fn provider(&mut self, activity: &'a Value, path: &Path) -> Option<(&'a str, &'a Map<String, Value>)> {
        let path = path.key("provider");
        let provider = match activity.get("provider") {
            Some(Value::Object(provider)) if !provider.is_empty() => provider,
            provider if !truthy(provider) => {
                self.error(&path, "an activity requires a provider");
                return None;
            }
            _ => {
                self.error(&path, "a provider is a mapping with a type: process, http or python");
                return None;
            }
        };
        match provider.get("type") {
            Some(Value::String(kind)) if ["python", "process", "http"].contains(&kind.as_str()) => {
                Some((kind, provider))
            }
            kind if !truthy(kind) => {
                self.error(&path.key("type"), "a provider must have a type");
                None
            }
            kind => {
                self.error(&path.key("type"), format!("unknown provider type '{}'", written(kind)));
                None
            }
        }
    }

    fn optional(&mut self, activity: &Value, path: &Path) {
        // A bool is a number in Python.
        if activity
            .get("timeout")
            .is_some_and(|timeout| !(timeout.is_number() || timeout.is_boolean() || timeout.is_null()))
        {
            self.error(&path.key("timeout"), "activity timeout must be a number");
        }
        let pauses = path.key("pauses");
        match activity.get("pauses") {
            None => {}
            Some(Value::Object(both)) => {
                for when in ["before", "after"] {
                    self.pause(both.get(when), when, &pauses.key(when));
                }
            }
            // The original aborts its run there, and so do we: it is said before.
            Some(_) => {
                self.warn(&pauses, "pauses is a mapping of `before` and `after`, in seconds: the run is aborted here")
            }
        }
        if activity.get("background").is_some_and(|background| !background.is_boolean()) {
            self.error(&path.key("background"), "activity background must be a boolean");
        }
    }

    fn pause(&mut self, pause: Option<&Value>, when: &str, path: &Path) {
        let number = format!(
            "activity {when} pause must be a number or a pattern to a variable from the configuration or secrets"
        );
        match pause {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.starts_with("${") && text.ends_with('}') => {}
            Some(Value::Number(seconds)) if seconds.as_f64().is_some_and(|seconds| seconds < 0.0) => {
                self.warn(path, format!("a pause of {seconds} s is less than nothing: the run is aborted here"));
            }
            Some(Value::Number(_) | Value::Bool(_)) => {}
            Some(_) => self.error(path, number),
        }
    }

    fn python(&mut self, activity: &Value, provider: &Map<String, Value>, name: &str, path: &Path) {
        let text = |key: &str| provider.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(module) = text("module") else {
            return self.error(&path.key("module"), "a Python activity must have a module path");
        };
        let Some(func) = text("func") else {
            return self.error(&path.key("func"), "a Python activity must have a function name");
        };
        let arguments = match provider.get("arguments") {
            None | Some(Value::Null) => &Map::new(),
            Some(Value::Object(arguments)) => arguments,
            // A pattern as a whole has no names to be looked at yet.
            Some(Value::String(_)) => return,
            Some(_) => {
                return self.error(&path.key("arguments"), "the arguments of a Python activity are a mapping of names");
            }
        };
        match self.rules.functions.known(module, func) {
            Known::Replaced | Known::Allowed => {}
            Known::Native(parameters) => {
                for parameter in parameters.iter().filter(|parameter| parameter.required) {
                    if !arguments.contains_key(parameter.name) {
                        let message =
                            format!("required argument '{}' is missing from activity '{func}'", parameter.name);
                        self.error(&path.key("arguments"), message);
                    }
                }
                for argument in arguments.keys() {
                    if !parameters.iter().any(|parameter| parameter.name == argument) {
                        let message =
                            format!("argument '{argument}' is not part of the function signature in activity '{func}'");
                        self.error(&path.key("arguments").key(argument), message);
                    }
                }
            }
            Known::NoFunction => {
                let kind = written(activity.get("type"));
                let meant = self.meant(module, func);
                let message = format!(
                    "The python module '{module}' does not expose a function called '{func}' in {kind} '{name}'{meant}"
                );
                self.error(&path.key("func"), message);
            }
            // Whether it may run at all is said by `permission`, for every place where a provider can stand.
            Known::Unknown => {}
        }
    }

    fn process(&mut self, provider: &Map<String, Value>, name: &str, path: &Path) {
        let at = path.key("path");
        match provider.get("path") {
            found if !truthy(found) => self.error(&at, "a process activity must have a path"),
            Some(Value::String(program)) => {
                // That one is built in.
                if !crate::document::provider::is_vegeta(program) && !is_program(program, self.rules.env) {
                    self.error(&at, format!("path '{program}' cannot be found, in activity '{name}'"));
                }
            }
            other => self.error(&at, format!("path '{}' cannot be found, in activity '{name}'", written(other))),
        }
        if provider.get("arguments").is_some_and(Value::is_object) {
            self.warn(&path.key("arguments"), "arguments of a process as a mapping are deprecated: write a list");
        }
    }

    fn http(&mut self, provider: &Map<String, Value>, path: &Path) {
        if !truthy(provider.get("url")) {
            self.error(&path.key("url"), "a HTTP activity must have a URL");
        }
        if provider.get("headers").is_some_and(|headers| !headers.is_object() && truthy(Some(headers))) {
            self.error(&path.key("headers"), "a HTTP activities expect headers as a mapping");
        }
    }

    /// Whether what the activity does may be done here.
    pub(super) fn permission(&mut self, activity: &Value, path: &Path) {
        let Some(provider) = activity.get("provider") else { return };
        let text = |key: &str| provider.get(key).and_then(Value::as_str);
        let path = path.key("provider");
        match text("type") {
            Some("process") if !self.rules.processes => {
                self.error(
                    &path,
                    "processes are not allowed here (--no-process): take the activity out, or the option",
                );
            }
            Some("python") => {
                if let (Some(module), Some(func)) = (text("module"), text("func"))
                    && self.rules.functions.known(module, func) == Known::Unknown
                {
                    let name = written(activity.get("name"));
                    let message = format!(
                        "could not find Python module '{module}' in activity '{name}': {module}.{func} is not a function \
                         that is built in{}; say what to run instead of it (--replace {module}.{func}='{{…}}'), or let \
                         Python run it (--allow-python)",
                        self.meant(module, func)
                    );
                    self.error(&path.key("func"), message);
                }
            }
            _ => {}
        }
    }

    /// What was likely meant by the name of a function, as the end of a message; nothing where that is not known.
    fn meant(&self, module: &str, func: &str) -> String {
        let meant = self.rules.functions.meant(module, func);
        meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
    }

    /// A reference means something. The original looks only in the method, and dies of the others when it runs.
    pub(super) fn reference(&mut self, activity: &Value, path: &Path) {
        if let Some(name) = activity.get("ref").and_then(Value::as_str).filter(|name| !name.is_empty())
            && Activities::of(&self.source.value).named(name).is_none()
        {
            self.error(&path.key("ref"), format!("referenced activity '{name}' could not be found in the experiment"));
        }
    }
}

/// Whether a shell would find the program, as Python's `shutil.which` looks for it.
fn is_program(program: &str, env: &Env) -> bool {
    let runs = |path: &std::path::Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('\0') {
        return false;
    }
    if program.contains('/') {
        return runs(program.as_ref());
    }
    let path = env.get("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}
