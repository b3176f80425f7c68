//! The `secrets` of a document: targets of values, out of the environment, out of files, or written in the text.

use super::environment::Env;
use super::invalid::Invalid;
use super::marks::Path;
use super::source::Source;
use super::variables::Vars;
use serde_json::{Map, Value};
use std::io::Read;

/// A longer secret is refused: it could not be kept out of what is shown.
const BYTES: usize = 64 << 10;

const TOO_LONG: &str = "a secret is at most 64 KiB long";

/// Targets with their secrets, in the order of the text.
pub(crate) type Secrets = Vec<(String, Map<String, Value>)>;

/// Resolves the secrets. Each that cannot be is an error of its own.
pub(crate) fn load(source: &Source, vars: &Vars, env: &Env) -> Result<Secrets, Vec<Invalid>> {
    let path = Path::root().key("secrets");
    let Some(all) = source.value.get("secrets") else { return Ok(Secrets::new()) };
    let Some(all) = all.as_object() else {
        return Err(vec![source.invalid(&path, "secrets is a mapping of targets: leave it out if there are none")]);
    };
    let (mut secrets, mut errors) = (Secrets::new(), Vec::new());
    for target in source.keys(&path) {
        let Some(own) = all.get(target) else { continue };
        let path = path.key(target);
        match vars.secrets.get(target).unwrap_or(own) {
            Value::Object(values) if special(values).is_none() => {
                let mut resolved = Map::new();
                for (name, value) in values {
                    let mut fail = |path: &Path, why: String| errors.push(source.invalid(path, why));
                    resolved.insert(name.clone(), resolve(value, env, &path.key(name), &mut fail));
                }
                secrets.push((target.to_owned(), resolved));
            }
            _ => errors.push(source.invalid(
                &path,
                format!("the target `{target}` of the secrets is a mapping of names to values: write {{\"{target}\": {{\"name\": …}}}}"),
            )),
        }
    }
    if errors.is_empty() { Ok(secrets) } else { Err(errors) }
}

/// The type of a value that stands for a secret and is none itself.
fn special(value: &Map<String, Value>) -> Option<&str> {
    value.get("type")?.as_str().filter(|kind| ["env", "vault", "file"].contains(kind))
}

fn resolve(value: &Value, env: &Env, path: &Path, fail: &mut impl FnMut(&Path, String)) -> Value {
    let entries = match value {
        Value::Object(entries) => entries,
        Value::String(text) if text.len() > BYTES => {
            fail(path, TOO_LONG.into());
            return Value::Null;
        }
        _ => return value.clone(),
    };
    let text = |key: &str| entries.get(key).and_then(Value::as_str);
    let found = match special(entries) {
        None => {
            return entries
                .iter()
                .map(|(name, value)| (name.clone(), resolve(value, env, &path.key(name), fail)))
                .collect::<Map<_, _>>()
                .into();
        }
        Some("env") => match text("key") {
            Some(key) => env
                .get(key)
                .ok_or_else(|| format!("Secrets make reference to an environment key that does not exist: {key}")),
            None => Err("a secret of type env has a `key`: the name of the variable".into()),
        },
        Some("file") => match text("path") {
            Some(file) => read(file).map_err(|error| format!("failed to read the secret's file {file}: {error}")),
            None => Err("a secret of type file has a `path`".into()),
        },
        Some(_) => Err("secrets of Vault are not supported; put it into the environment: \
                        {\"type\": \"env\", \"key\": \"NAME\"}, or into a file: {\"type\": \"file\", \"path\": \"…\"}"
            .into()),
    };
    match found.and_then(|secret| if secret.len() > BYTES { Err(TOO_LONG.into()) } else { Ok(secret) }) {
        Ok(secret) => Value::String(secret),
        Err(why) => {
            fail(path, why);
            Value::Null
        }
    }
}

/// The text of a file without the line's end that editors leave.
fn read(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?.take(BYTES as u64 + 1);
    file.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() > BYTES {
        return Err(TOO_LONG.into());
    }
    let long = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text).len();
    text.truncate(long);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::source::Format;
    use super::*;
    use serde_json::json;

    fn resolved(text: &str) -> Result<Secrets, Vec<Invalid>> {
        let source = Source::parse("test.yaml", text.as_bytes(), Format::Yaml).expect("a source");
        load(&source, &Vars::default(), &Env::of([("TOKEN", "s3cr3t")]))
    }

    #[test]
    fn every_kind_of_secret() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "of a file\n").expect("written");
        let text = format!(
            "secrets:\n  z: {{a: {{type: env, key: TOKEN}}, b: inline, c: {{d: {{e: {{type: env, key: TOKEN}}}}}}}}\n  a: {{f: {{type: file, path: '{}'}}}}\n",
            file.path().display()
        );
        let secrets = resolved(&text).expect("resolves");
        let all: Vec<_> = secrets.into_iter().map(|(target, values)| (target, Value::Object(values))).collect();
        assert_eq!(
            all,
            [
                ("z".to_owned(), json!({"a": "s3cr3t", "b": "inline", "c": {"d": {"e": "s3cr3t"}}})),
                ("a".to_owned(), json!({"f": "of a file"})),
            ]
        );
    }

    #[test]
    fn a_secret_that_is_too_long_to_be_hidden_is_refused() {
        let text = format!("secrets: {{t: {{a: {{b: {}}}}}}}", "x".repeat(BYTES + 1));
        let errors = resolved(&text).expect_err("too long");
        assert_eq!((errors[0].message.as_str(), errors[0].path.as_str()), (TOO_LONG, "$.secrets.t.a.b"));
        let long = "x".repeat(BYTES + 1);
        let of_env = serde_json::from_str(r#"{"type": "env", "key": "LONG"}"#).expect("a value");
        let mut told = Vec::new();
        resolve(&of_env, &Env::of([("LONG", &long)]), &Path::root(), &mut |_, why| told.push(why));
        assert_eq!(told, [TOO_LONG]);
    }

    #[test]
    fn what_cannot_be_resolved_is_said_with_its_place() {
        let errors = resolved(
            "secrets:\n  t:\n    a: {type: env, key: NOPE}\n    b: {type: vault, path: x}\n    c: {type: file, path: /none/such}\n  flat: text\n  direct: {type: env, key: TOKEN}\n",
        )
        .expect_err("errors");
        let told: Vec<_> = errors.iter().map(|error| (error.line, error.path.as_str())).collect();
        let places = [
            (3, "$.secrets.t.a"),
            (4, "$.secrets.t.b"),
            (5, "$.secrets.t.c"),
            (6, "$.secrets.flat"),
            (7, "$.secrets.direct"),
        ];
        assert_eq!(told, places);
        assert_eq!(errors[0].message, "Secrets make reference to an environment key that does not exist: NOPE");
        assert!(errors[1].message.contains("put it into the environment"));
    }
}
