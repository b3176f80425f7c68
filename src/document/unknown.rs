//! Keys that nobody reads: each is a warning, with the key that was likely meant. The original keeps silent, so that
//! `tolerence` is a probe without a tolerance.

use super::invalid::Invalid;
use super::marks::Path;
use super::source::Source;
use serde_json::Value;

const DOCUMENT: &[&str] = &[
    "version",
    "title",
    "description",
    "method",
    "steady-state-hypothesis",
    "rollbacks",
    "configuration",
    "secrets",
    "controls",
    "extensions",
    "tags",
    "contributions",
    "runtime",
    "dry",
];
const HYPOTHESIS: &[&str] = &["title", "probes", "controls"];
const ACTIVITY: &[&str] = &[
    "type",
    "name",
    "provider",
    "ref",
    "background",
    "pauses",
    "controls",
    "tolerance",
    "dry",
    "timeout",
    "description",
];
const PAUSES: &[&str] = &["before", "after"];
const PROCESS: &[&str] = &["type", "path", "arguments", "timeout", "secrets"];
const HTTP: &[&str] =
    &["type", "url", "method", "headers", "timeout", "arguments", "verify_tls", "max_retries", "secrets"];
const PYTHON: &[&str] = &["type", "module", "func", "arguments", "secrets", "timeout"];
const REGEX: &[&str] = &["type", "pattern", "target", "name"];
const JSON_PATH: &[&str] = &["type", "path", "target", "count", "expect", "name"];
const RANGE: &[&str] = &["type", "range", "target", "name"];
const CONTROL: &[&str] = &["name", "provider", "scope", "automatic", "ref"];
const ENV: &[&str] = &["type", "key", "default", "env_var_type"];

/// Looks at every mapping whose keys are known.
pub(crate) fn look(source: &Source, warnings: &mut Vec<Invalid>) {
    let mut look = Look { source, warnings };
    let (document, root) = (&source.value, Path::root());
    look.keys(document, &root, DOCUMENT, "an experiment");
    look.controls(document, &root);
    if let Some(hypothesis) = document.get("steady-state-hypothesis") {
        let path = root.key("steady-state-hypothesis");
        look.keys(hypothesis, &path, HYPOTHESIS, "a hypothesis");
        look.controls(hypothesis, &path);
        look.activities(hypothesis, "probes", &path);
    }
    look.activities(document, "method", &root);
    look.activities(document, "rollbacks", &root);
    let path = root.key("configuration");
    for (key, value) in document.get("configuration").and_then(Value::as_object).into_iter().flatten() {
        match value.get("type").and_then(Value::as_str) {
            Some("env") => look.keys(value, &path.key(key), ENV, "a value out of the environment"),
            Some("probe") => look.activity(value, &path.key(key)),
            _ => {}
        }
    }
}

struct Look<'a> {
    source: &'a Source,
    warnings: &'a mut Vec<Invalid>,
}

impl Look<'_> {
    fn activities(&mut self, owner: &Value, key: &str, path: &Path) {
        let path = path.key(key);
        for (index, activity) in owner.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = path.item(index);
            self.activity(activity, &path);
            self.controls(activity, &path);
        }
    }

    fn activity(&mut self, activity: &Value, path: &Path) {
        self.keys(activity, path, ACTIVITY, "an activity");
        if activity.get("timeout").is_some() {
            self.warn(
                &path.key("timeout"),
                "`timeout` of an activity has no effect: write it into its provider".into(),
            );
        }
        if let Some(pauses) = activity.get("pauses") {
            self.keys(pauses, &path.key("pauses"), PAUSES, "pauses");
        }
        if let Some(provider) = activity.get("provider") {
            let known = match provider.get("type").and_then(Value::as_str) {
                Some("process") => Some((PROCESS, "a process provider")),
                Some("http") => Some((HTTP, "a http provider")),
                Some("python") => Some((PYTHON, "a python provider")),
                _ => None,
            };
            if let Some((known, what)) = known {
                self.keys(provider, &path.key("provider"), known, what);
            }
        }
        if let Some(tolerance) = activity.get("tolerance") {
            let path = path.key("tolerance");
            match tolerance.get("type").and_then(Value::as_str) {
                Some("regex") => self.keys(tolerance, &path, REGEX, "a regex tolerance"),
                Some("jsonpath") => self.keys(tolerance, &path, JSON_PATH, "a jsonpath tolerance"),
                Some("range") => self.keys(tolerance, &path, RANGE, "a range tolerance"),
                Some("probe") => self.activity(tolerance, &path),
                _ => {}
            }
        }
    }

    fn controls(&mut self, owner: &Value, path: &Path) {
        let path = path.key("controls");
        for (index, control) in owner.get("controls").and_then(Value::as_array).into_iter().flatten().enumerate() {
            self.keys(control, &path.item(index), CONTROL, "a control");
        }
    }

    fn keys(&mut self, value: &Value, path: &Path, known: &[&str], what: &str) {
        let Some(entries) = value.as_object() else { return };
        let order: Vec<String> = self.source.keys(path).into_iter().map(str::to_owned).collect();
        for key in order.iter().filter(|key| entries.contains_key(*key)) {
            // Extensions of whoever wrote the document; ours are judged elsewhere.
            if known.contains(&key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let meant = meant(key, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            self.warn(&path.key(key), format!("{what} has no key `{key}`: it is ignored{meant}"));
        }
    }

    fn warn(&mut self, path: &Path, message: String) {
        self.warnings.push(self.source.invalid(path, message));
    }
}

/// The known key that is one or two slips away.
pub(super) fn meant<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |key: &str| key.to_lowercase().replace(['_', ' '], "-");
    let far = |other: &&str| strsim::osa_distance(&plain(key), &plain(other));
    let nearest = known.iter().min_by_key(|other| far(other))?;
    // A long key of a hostile document is far from all of them, and comparing it would take long.
    (far(nearest) <= 2.min(nearest.len() / 3)).then_some(*nearest)
}

#[cfg(test)]
mod tests {
    use super::super::source::Format;
    use super::*;

    #[test]
    fn unknown_keys_are_told_with_what_was_meant() {
        let text = r#"{"titel": 1, "x-mine": 2, "steady_state_hypothesis": {}, "zzz": 1,
            "steady-state-hypothesis": {"probes": [{"tolerence": 1, "tolerance": {"type": "range", "rang": 1}}]},
            "method": [{"provider": {"type": "process", "pat": "x", "expected_status": 1}, "pauses": {"befor": 1}, "timeout": 3}]}"#;
        let source = Source::parse("x.json", text.as_bytes(), Format::Json).expect("a source");
        let mut warnings = Vec::new();
        look(&source, &mut warnings);
        let told: Vec<String> = warnings.iter().map(|one| format!("{} {}", one.path, one.message)).collect();
        assert_eq!(
            told,
            [
                "$.titel an experiment has no key `titel`: it is ignored; did you mean `title`?",
                "$.steady_state_hypothesis an experiment has no key `steady_state_hypothesis`: it is ignored; did you mean `steady-state-hypothesis`?",
                "$.zzz an experiment has no key `zzz`: it is ignored",
                "$.steady-state-hypothesis.probes[0].tolerence an activity has no key `tolerence`: it is ignored; did you mean `tolerance`?",
                "$.steady-state-hypothesis.probes[0].tolerance.rang a range tolerance has no key `rang`: it is ignored; did you mean `range`?",
                "$.method[0].timeout `timeout` of an activity has no effect: write it into its provider",
                "$.method[0].pauses.befor pauses has no key `befor`: it is ignored; did you mean `before`?",
                "$.method[0].provider.pat a process provider has no key `pat`: it is ignored; did you mean `path`?",
                "$.method[0].provider.expected_status a process provider has no key `expected_status`: it is ignored",
            ]
        );
    }
}
