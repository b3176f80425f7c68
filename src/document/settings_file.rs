//! The user's settings: `~/.chaostoolkit/settings.yaml`, or what `--settings` names, and files of controls.
//!
//! Read before anything else. A file that is not there is an empty one; one that is no YAML is told and taken for empty,
//! as in the original. Only `runtime`, `controls`, `notifications` and `auths` mean something here; all of it is handed to
//! controls that ask for settings.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::marks;
use super::source::{Format, Source};

/// What the settings say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UserSettings {
    /// All of it; null where there is none.
    pub(crate) whole: Value,
    /// `runtime.hypothesis.strategy`, as it is written.
    pub(crate) hypothesis_strategy: Option<String>,
    /// `runtime.rollbacks.strategy`, as it is written.
    pub(crate) rollbacks_strategy: Option<String>,
    /// Controls for all documents, each with its name, in the order of the text.
    pub(crate) controls: Vec<Value>,
    /// Where events are told.
    pub(crate) notifications: Vec<Value>,
}

/// Where the settings are unless it is said.
pub(crate) fn usual() -> Option<PathBuf> {
    Some(crate::variables::path("HOME")?.join(".chaostoolkit").join("settings.yaml"))
}

/// The settings of a file, and what is wrong with it. Nothing is substituted in it.
pub(crate) fn load(path: &Path) -> (UserSettings, Option<String>) {
    let told = |why: &dyn std::fmt::Display| Some(format!("{why}; the settings are taken for empty"));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (UserSettings::default(), None),
        Err(error) => {
            let why = format!("the settings {} cannot be read: {error}", path.display());
            return (UserSettings::default(), told(&why));
        }
    };
    if bytes.trim_ascii().is_empty() {
        return (UserSettings::default(), None);
    }
    match Source::parse(&path.display().to_string(), &bytes, Format::Yaml) {
        Err(invalid) => (UserSettings::default(), told(&invalid)),
        Ok(source) if source.value.is_null() => (UserSettings::default(), None),
        Ok(source) if !source.value.is_object() => {
            let why = format!("the settings {} are no mapping", path.display());
            (UserSettings::default(), told(&why))
        }
        Ok(source) => (UserSettings::of(&source), None),
    }
}

impl UserSettings {
    fn of(source: &Source) -> Self {
        let whole = source.value.clone();
        let strategy = |of: &str| whole["runtime"][of]["strategy"].as_str().map(str::to_owned);
        Self {
            hypothesis_strategy: strategy("hypothesis"),
            rollbacks_strategy: strategy("rollbacks"),
            controls: controls(source, &marks::Path::root().key("controls"), &whole["controls"]),
            notifications: whole["notifications"].as_array().cloned().unwrap_or_default(),
            whole,
        }
    }

    /// The header `Authorization` for documents of a host, such as `example.com:8443`.
    pub(crate) fn authorization(&self, host: &str) -> Option<String> {
        let auth = self.whole["auths"].get(host)?;
        Some(format!("{} {}", auth["type"].as_str()?, auth["value"].as_str()?))
    }

    /// What may be a secret in it: the values of `auths`, and the headers of notifications.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let auths = self.whole["auths"].as_object().into_iter().flat_map(|auths| auths.values());
        let auths = auths.filter_map(|auth| auth["value"].as_str());
        let headers = self.notifications.iter().filter_map(|channel| channel["headers"].as_object());
        let headers =
            headers.flat_map(|headers| headers.iter()).filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        auths.chain(headers.filter_map(|(_, value)| value.as_str())).collect()
    }
}

/// The controls of a `--control-file`, each with its name, in the order of the text.
///
/// # Errors
/// It cannot be read: the original then goes on without it.
pub(crate) fn control_file(path: &Path) -> Result<Vec<Value>, String> {
    let name = path.display().to_string();
    let failed = |why: &dyn std::fmt::Display| format!("Failed to parse control file '{name}': {why}");
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let format = Format::of_name(&name).ok_or_else(|| failed(&"only .json, .yaml and .yml are known"))?;
    let source = Source::parse(&name, &bytes, format).map_err(|invalid| failed(&invalid))?;
    if !source.value.is_object() {
        return Err(failed(&"it must be a mapping of names to controls"));
    }
    Ok(controls(&source, &marks::Path::root(), &source.value))
}

fn controls(source: &Source, path: &marks::Path, all: &Value) -> Vec<Value> {
    let named = |name: &&str| {
        let mut control = all.get(*name).filter(|control| control.is_object())?.clone();
        control["name"] = json!(name);
        Some(control)
    };
    source.keys(path).iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_means_something_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.yaml");
        let text = "
runtime: {hypothesis: {strategy: after-method-only}, rollbacks: {strategy: always}}
controls:
  z: {provider: {type: python, module: m}}
  a: {provider: {type: python, module: n}}
notifications:
- {type: http, url: http://h, headers: {Authorization: Bearer t}}
auths:
  h:8443: {type: bearer, value: XYZ}
";
        std::fs::write(&path, text).expect("written");
        let (settings, told) = load(&path);
        assert_eq!(told, None);
        assert_eq!(settings.hypothesis_strategy.as_deref(), Some("after-method-only"));
        assert_eq!(settings.rollbacks_strategy.as_deref(), Some("always"));
        let names: Vec<_> = settings.controls.iter().map(|control| control["name"].as_str()).collect();
        assert_eq!(names, [Some("z"), Some("a")]);
        assert_eq!(settings.authorization("h:8443").as_deref(), Some("bearer XYZ"));
        assert_eq!(settings.authorization("h"), None);
        assert_eq!(settings.secrets(), ["XYZ", "Bearer t"]);
    }

    #[test]
    fn what_cannot_be_read_is_empty_and_told() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(load(&folder.path().join("none.yaml")), (UserSettings::default(), None));
        let path = folder.path().join("settings.yaml");
        for (text, told) in [("", false), ("# nothing\n", false), ("a: [", true), ("- a", true)] {
            std::fs::write(&path, text).expect("written");
            let (settings, why) = load(&path);
            assert_eq!((settings, why.is_some()), (UserSettings::default(), told), "{text:?}");
        }
    }

    #[test]
    fn files_of_controls_keep_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("controls.json");
        std::fs::write(&path, r#"{"z": {"provider": {}}, "a": {"name": "other"}}"#).expect("written");
        let controls = control_file(&path).expect("controls");
        assert_eq!(controls, [json!({"name": "z", "provider": {}}), json!({"name": "a"})]);
        std::fs::write(&path, "[").expect("written");
        let why = control_file(&path).expect_err("it is no JSON");
        assert!(why.starts_with("Failed to parse control file '"), "{why}");
    }
}
