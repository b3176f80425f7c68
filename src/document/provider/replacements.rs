//! What stands for a Python function of the user's: `--replace module.func={…}`, or `[replace]` in a `steadfast.toml` beside
//! the document. A tolerance stands for a function that judges, a provider for one that acts or looks.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::document::invalid::Invalid;
use crate::document::tolerance::Tolerance;

/// By `module.func`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replacements(BTreeMap<String, Value>);

impl Replacements {
    /// Those of the file beside a document, and of the command, which win.
    ///
    /// # Errors
    /// One is no JSON, or stands for nothing.
    pub(crate) fn read(document: &str, options: &[String]) -> Result<Self, Invalid> {
        let mut all = Self::of_file(&Path::new(document).with_file_name(crate::settings::FILE))?;
        for option in options {
            let invalid = |why: String| Invalid::of("--replace", why);
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| invalid(format!("{option:?} has no `=`; write module.func={{\"type\": …}}")))?;
            let value = serde_json::from_str(value)
                .map_err(|error| invalid(format!("what stands for {name} is no JSON: {error}")))?;
            all.add(name, value).map_err(invalid)?;
        }
        Ok(all)
    }

    fn of_file(path: &Path) -> Result<Self, Invalid> {
        let name = path.display().to_string();
        let read = crate::settings::tables(path).map_err(|why| Invalid::of(&*name, why))?;
        let mut all = Self::default();
        for (function, value) in read.get("replace").and_then(Value::as_object).into_iter().flatten() {
            all.add(function, value.clone()).map_err(|why| Invalid::of(&*name, why))?;
        }
        Ok(all)
    }

    fn add(&mut self, name: &str, value: Value) -> Result<(), String> {
        if !name.contains('.') {
            return Err(format!("{name:?} is no function; write module.func"));
        }
        if !is_provider(&value) {
            Tolerance::parse(&value).map_err(|why| {
                format!("what stands for {name} must be a provider (http, process, python) or a tolerance: {why}")
            })?;
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    pub(crate) fn get(&self, module: &str, func: &str) -> Option<&Value> {
        if self.0.is_empty() { None } else { self.0.get(&format!("{module}.{func}")) }
    }

    pub(crate) fn has(&self, module: &str, func: &str) -> bool {
        self.get(module, func).is_some()
    }
}

/// Whether what stands for a function is a provider rather than a tolerance.
pub(crate) fn is_provider(value: &Value) -> bool {
    matches!(value["type"].as_str(), Some("http" | "process" | "python"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_wins_over_the_file_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = "[replace]\n\"t.grows\" = { type = \"growth\", at_most = 0 }\n\"t.is\" = { type = \"range\", range = [1, 2] }\n";
        std::fs::write(folder.path().join(crate::settings::FILE), file).expect("it is written");
        let document = folder.path().join("experiment.json").display().to_string();
        let all = Replacements::read(&document, &["t.grows={\"type\": \"growth\", \"at_most\": 1}".to_owned()])
            .expect("read");
        assert_eq!(all.get("t", "grows").expect("there")["at_most"], 1);
        assert!(all.has("t", "is") && !all.has("t", "no"));
        for (option, why) in
            [("a", "no `=`"), ("a={}", "no function"), ("a.b=x", "no JSON"), ("a.b={\"type\": \"x\"}", "a.b must be")]
        {
            let error = Replacements::read(&document, &[option.to_owned()]).expect_err(option).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
