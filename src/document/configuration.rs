//! The `configuration` of a document: plain values, values out of the environment, and values that probes measure
//! before the run.

use super::activity::{Activity, ProviderKind};
use super::convert::convert;
use super::environment::Env;
use super::invalid::Invalid;
use super::marks::Path;
use super::secrets::Secrets;
use super::source::Source;
use super::substitute::Scope;
use super::variables::Vars;
use serde_json::Value;

/// A longer value is refused: it may be put into any text of the document, many times.
const BYTES: usize = 64 << 10;

const TOO_LONG: &str =
    "a value of the configuration is at most 64 KiB long, written as JSON: put a longer one into a file";

/// The configuration with its names in the order of the text; probes are not run yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    pub(crate) values: Vec<(String, Value)>,
}

impl Configuration {
    /// Resolves what needs no probe. Each value that cannot be is an error of its own; the order is the document's.
    pub(crate) fn load(source: &Source, vars: &Vars, env: &Env) -> Result<Configuration, Vec<Invalid>> {
        let path = Path::root().key("configuration");
        let Some(all) = source.value.get("configuration") else { return Ok(Configuration::default()) };
        let Some(all) = all.as_object() else {
            return Err(vec![
                source.invalid(&path, "configuration is a mapping of names to values: leave it out if there are none"),
            ]);
        };
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for key in source.keys(&path) {
            let Some(own) = all.get(key) else { continue };
            let value = vars.configuration.get(key).unwrap_or(own);
            match resolve(value, env) {
                Ok(value) if value.to_string().len() > BYTES => errors.push(source.invalid(&path.key(key), TOO_LONG)),
                Ok(value) => values.push((key.to_owned(), value)),
                Err(why) => errors.push(source.invalid(&path.key(key), why)),
            }
        }
        if errors.is_empty() { Ok(Configuration { values }) } else { Err(errors) }
    }

    /// What names mean before any probe is run.
    pub(crate) fn before_probes(&self, secrets: &Secrets) -> Scope {
        let known = self.values.iter().filter(|(_, value)| !is_probe(value));
        Scope { configuration: known.cloned().collect(), secrets: secrets.clone(), ..Scope::default() }
    }

    /// Runs the probes, in the order of the text: each sees what stands before it and all secrets, which `scope` has.
    /// `run` gives what the provider gave. A probe that fails leaves its name without a meaning, and a warning; the run goes on.
    pub(crate) async fn measure(
        self,
        mut scope: Scope,
        source: &Source,
        mut run: impl AsyncFnMut(Activity<'_>, &Scope) -> Result<Value, String>,
    ) -> (Scope, Vec<Invalid>) {
        let mut warnings = Vec::new();
        for (key, value) in self.values {
            if !is_probe(&value) {
                scope.configuration.insert(key, value);
                continue;
            }
            let path = Path::root().key("configuration").key(&*key);
            let probe = Activity::of(&value, &value, path.clone());
            let measured = match run(probe.clone(), &scope).await {
                Ok(output) => outcome(&probe, output),
                Err(why) => Err(why),
            };
            match measured {
                Ok(value) => {
                    scope.configuration.insert(key, value);
                }
                Err(why) => {
                    let message = format!("the probe of `{key}` failed, so ${{{key}}} stays as it is written: {why}");
                    warnings.push(source.invalid(&path, message));
                }
            }
        }
        (scope, warnings)
    }
}

/// Whether a value of the configuration is a probe that measures it.
pub(crate) fn is_probe(value: &Value) -> bool {
    value.get("type").is_some_and(|kind| kind == "probe")
}

fn resolve(value: &Value, env: &Env) -> Result<Value, String> {
    if value.get("type").is_none_or(|kind| kind != "env") {
        return Ok(value.clone());
    }
    let key =
        value.get("key").and_then(Value::as_str).ok_or("a value of type env has a `key`: the name of the variable")?;
    let kind = match value.get("env_var_type") {
        None | Some(Value::Null) => None,
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(_) => Some("?"),
    };
    let found = match (env.get(key), value.get("default")) {
        (Some(found), _) => Value::String(found),
        (None, Some(default)) => default.clone(),
        (None, None) => {
            return Err(format!("Configuration makes reference to an environment key that does not exist: {key}"));
        }
    };
    convert(kind, &found).map_err(|why| format!("{why} (environment variable {key})"))
}

/// The value out of what a provider gave.
fn outcome(probe: &Activity<'_>, output: Value) -> Result<Value, String> {
    match probe.provider_kind() {
        Some(ProviderKind::Process) => match output.get("status").and_then(Value::as_i64) {
            Some(0) => Ok(output.get("stdout").and_then(Value::as_str).unwrap_or_default().trim().into()),
            Some(status) => Err(format!("the process ended with status {status}")),
            None => Err("the process gave no status".into()),
        },
        Some(ProviderKind::Http) => Ok(output.get("body").cloned().unwrap_or_default()),
        _ => Ok(output),
    }
}

#[cfg(test)]
mod tests {
    use super::super::py::text;
    use super::super::source::Format;
    use super::*;
    use serde_json::json;

    fn source(text: &str) -> Source {
        Source::parse("test.yaml", text.as_bytes(), Format::Yaml).expect("a source")
    }

    #[test]
    fn values_come_out_of_the_environment_in_the_order_of_the_text() {
        let source = source(
            "configuration:\n  z: {type: env, key: Z, env_var_type: int}\n  a: {type: env, key: A, default: null}\n  \
             k: {type: other, key: K}\n  m: 1\n",
        );
        let vars =
            Vars { configuration: json!({"m": 2, "new": 3}).as_object().cloned().expect("map"), ..Vars::default() };
        let loaded = Configuration::load(&source, &vars, &Env::of([("Z", "42")])).expect("loads");
        let expected =
            [("z", json!(42)), ("a", json!(null)), ("k", json!({"type": "other", "key": "K"})), ("m", json!(2))];
        assert_eq!(loaded.values, expected.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn what_is_missing_is_said_with_its_place() {
        let source =
            source("configuration:\n  a: {type: env, key: NOPE}\n  b: {type: env, key: B, env_var_type: int}\n");
        let errors = Configuration::load(&source, &Vars::default(), &Env::of([("B", "abc")])).expect_err("missing");
        assert_eq!(
            errors[0].to_string(),
            "test.yaml:2:3: Configuration makes reference to an environment key that does not exist: NOPE \
             (at $.configuration.a)"
        );
        assert!(errors[1].message.contains("invalid literal for int() with base 10: 'abc'"), "{}", errors[1]);
    }

    #[test]
    fn a_value_that_would_make_texts_of_any_length_is_refused() {
        let of = |long: usize| {
            Configuration::load(
                &source(&format!("configuration:\n  short: 1\n  long: [{}]\n", "x".repeat(long))),
                &Vars::default(),
                &Env::of([]),
            )
        };
        assert!(of(BYTES - 4).is_ok());
        let errors = of(BYTES - 3).expect_err("too long");
        assert_eq!((errors[0].message.as_str(), errors[0].line), (TOO_LONG, 3));
    }

    #[test]
    fn a_probe_sees_what_stands_before_it() {
        let source = source(
            "configuration:\n  before: 1\n  p: {type: probe, name: p, provider: {type: process, path: x}}\n  \
             q: {type: probe, name: q, provider: {type: process, path: x}}\n  \
             h: {type: probe, name: h, provider: {type: http, url: x}}\n  \
             y: {type: probe, name: y, provider: {type: python, module: m, func: f}}\n  after: 2\n",
        );
        let loaded = Configuration::load(&source, &Vars::default(), &Env::of([])).expect("loads");
        let run = async |probe: Activity<'_>, scope: &Scope| {
            assert!(scope.get("after").is_none());
            match &*probe.name() {
                "p" => {
                    Ok(json!({"status": 0, "stdout": format!(" {} \n", text::str(&scope.put_into_text("$before")))}))
                }
                "q" => Ok(json!({"status": 3, "stdout": "x"})),
                "h" => Ok(json!({"status": 500, "body": {"p": scope.get("p")}})),
                _ => Err("no".into()),
            }
        };
        let measured = loaded.measure(Scope::default(), &source, run);
        let (scope, warnings) =
            tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(measured);
        assert_eq!(Value::Object(scope.configuration), json!({"before": 1, "p": "1", "h": {"p": "1"}, "after": 2}));
        let told: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(told, ["$.configuration.q", "$.configuration.y"]);
    }
}
