//! Values from outside of the document: `--var NAME[:TYPE]=VALUE` and `--var-file`.

use super::convert::convert;
use super::environment::Env;
use super::invalid::Invalid;
use super::source::{Format, Source};
use serde_json::{Map, Value};
use std::path::Path;

/// What replaces values of the document's `configuration` and targets of its `secrets`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars {
    pub(crate) configuration: Map<String, Value>,
    pub(crate) secrets: Map<String, Value>,
}

impl Vars {
    /// Reads the files in their order, then the options, which win. A file of variables for the environment (neither
    /// JSON nor YAML, or one without a value) goes into `env`. A JSON or YAML file that cannot be read as one is left
    /// out and told in the second part of the result.
    pub(crate) fn read(
        files: &[impl AsRef<Path>],
        options: &[String],
        env: &mut Env,
    ) -> Result<(Vars, Vec<Invalid>), Invalid> {
        let mut vars = Vars::default();
        let mut left_out = Vec::new();
        for file in files {
            let file = file.as_ref();
            let bytes = std::fs::read(file)
                .map_err(|error| Invalid::of(file.display().to_string(), format!("failed to read: {error}")))?;
            if let Err(why) = vars.add_file(&file.display().to_string(), &bytes, env)? {
                left_out.push(why);
            }
        }
        for option in options {
            let (name, value) = option_of(option).map_err(|why| Invalid::of("--var", why))?;
            vars.configuration.insert(name, value);
        }
        Ok((vars, left_out))
    }

    fn add_file(&mut self, name: &str, bytes: &[u8], env: &mut Env) -> Result<Result<(), Invalid>, Invalid> {
        if let Some(format) = Format::of_name(name) {
            let source = match Source::parse(name, bytes, format) {
                Ok(source) => source,
                Err(why) => return Ok(Err(why)),
            };
            match source.value {
                Value::Object(mut entries) if !entries.is_empty() => {
                    for (key, into) in [("configuration", &mut self.configuration), ("secrets", &mut self.secrets)] {
                        match entries.remove(key) {
                            Some(Value::Object(values)) => into.extend(values),
                            Some(Value::Null) | None => {}
                            Some(_) => {
                                let path = super::marks::Path::root().key(key);
                                let place = source.marks.nearest(&path);
                                return Err(Invalid {
                                    message: format!("`{key}` of a file of variables is a mapping of names to values"),
                                    file: name.into(),
                                    line: place.line,
                                    column: place.column,
                                    path: path.to_string(),
                                });
                            }
                        }
                    }
                    return Ok(Ok(()));
                }
                Value::Array(items) if !items.is_empty() => {
                    return Err(Invalid::of(
                        name,
                        "a file of variables is a mapping with `configuration` or `secrets`",
                    ));
                }
                // A file without a value is read as variables for the environment.
                _ => {}
            }
        }
        environment(name, &String::from_utf8_lossy(bytes), env).map(Ok)
    }
}

/// `NAME=VALUE` a line, unchanged; blank lines and those that begin with `#` say nothing.
fn environment(file: &str, text: &str, env: &mut Env) -> Result<(), Invalid> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.is_empty() && !line.contains('\0') => env.set(name, value),
            _ => {
                let message = "a line of a file of environment variables is NAME=VALUE, or begins with #".into();
                return Err(Invalid { message, file: file.into(), line: index + 1, column: 1, path: String::new() });
            }
        }
    }
    Ok(())
}

fn option_of(option: &str) -> Result<(String, Value), String> {
    let (key, value) =
        option.split_once('=').ok_or_else(|| format!("`{option}` has no `=`: write NAME=VALUE or NAME:TYPE=VALUE"))?;
    let (name, kind) = key.rsplit_once(':').map_or((key, None), |(name, kind)| (name, Some(kind)));
    let value = convert(kind, &Value::String(value.into())).map_err(|why| format!("`{option}`: {why}"))?;
    Ok((name.into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn add(vars: &mut Vars, env: &mut Env, name: &str, text: &str) -> Result<Result<(), Invalid>, Invalid> {
        vars.add_file(name, text.as_bytes(), env)
    }

    #[test]
    fn options_split_at_the_first_sign_and_the_last_colon() {
        assert_eq!(option_of("a=1=2"), Ok(("a".into(), json!("1=2"))));
        assert_eq!(option_of("a:b:int=3"), Ok(("a:b".into(), json!(3))));
        assert!(option_of("a").is_err_and(|why| why.contains("NAME=VALUE")));
        assert!(option_of("a:int=abc").is_err_and(|why| why.contains("`a:int=abc`")));
    }

    #[test]
    fn later_files_win_by_key_and_secrets_by_target() {
        let (mut vars, mut env) = (Vars::default(), Env::of([]));
        let first = r#"{"configuration": {"a": 1, "b": 1}, "secrets": {"t": {"x": "1", "y": "1"}}}"#;
        assert_eq!(add(&mut vars, &mut env, "1.json", first), Ok(Ok(())));
        let second = "configuration: {b: yes}\nsecrets: {t: {x: two}}";
        assert_eq!(add(&mut vars, &mut env, "2.yaml", second), Ok(Ok(())));
        assert_eq!(Value::Object(vars.configuration), json!({"a": 1, "b": true}));
        assert_eq!(Value::Object(vars.secrets), json!({"t": {"x": "two"}}));
    }

    #[test]
    fn variables_of_the_environment_stay_in_the_overlay() {
        let (mut vars, mut env) = (Vars::default(), Env::of_process());
        let text = "# note\n\nSTEADFAST_NOWHERE = a=b\nQUOTED=\"x\"\n";
        assert_eq!(add(&mut vars, &mut env, "my.env", text), Ok(Ok(())));
        assert_eq!(env.get("STEADFAST_NOWHERE "), Some(" a=b".into()));
        assert_eq!(env.get("QUOTED"), Some("\"x\"".into()));
        assert!(crate::variables::text("QUOTED").is_none());
        let wrong = add(&mut vars, &mut env, "my.env", "\nnothing").expect_err("no sign");
        assert_eq!((wrong.line, wrong.file.as_str()), (2, "my.env"));
    }

    #[test]
    fn a_file_that_is_no_json_is_left_out_and_told() {
        let (mut vars, mut env) = (Vars::default(), Env::of([]));
        let told = add(&mut vars, &mut env, "1.json", "{").expect("no error").expect_err("told");
        assert_eq!(told.file, "1.json");
        assert!(add(&mut vars, &mut env, "1.json", "{\"configuration\": [1]}").is_err());
        assert_eq!(add(&mut vars, &mut env, "empty.yaml", "# A=B\n"), Ok(Ok(())));
    }
}
