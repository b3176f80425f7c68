//! From a source to a document that can be run: read, given what comes from outside, judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::configuration::Configuration;
use super::controls::When;
use super::environment::Env;
use super::invalid::Invalid;
use super::notifications::{Event, Notifications};
use super::outside::{Outside, Purpose};
use super::provider::Replacements;
use super::python::{Inspection, Python};
use super::redact::Redactor;
use super::run::log::Log;
use super::secrets::{self, Secrets};
use super::settings_file::UserSettings;
use super::source::{self, Source};
use super::validate::{self, Checks, Functions, Known, Rules};
use super::variables::Vars;
use super::{function, marks, tolerance};
use crate::experiment::{HypothesisStrategy, RollbackStrategy};
use serde_json::Value;

/// What the command says of a document.
pub(crate) struct Asked<'a> {
    /// A file, or a URL.
    pub(crate) source: &'a str,
    /// `NAME[:TYPE]=VALUE`.
    pub(crate) vars: &'a [String],
    pub(crate) var_files: &'a [PathBuf],
    /// `MODULE.FUNC=JSON`.
    pub(crate) replace: &'a [String],
    pub(crate) allow_python: bool,
    pub(crate) no_process: bool,
    pub(crate) verify_tls: bool,
    pub(crate) control_files: &'a [PathBuf],
    /// Chaos Toolkit's settings.
    pub(crate) settings: Option<&'a Path>,
    /// Whether what is wrong with its form is an error.
    pub(crate) validates: bool,
    pub(crate) purpose: Purpose,
    /// Hears what Python and the controls say meanwhile.
    pub(crate) log: Log,
}

#[cfg(test)]
impl<'a> Asked<'a> {
    /// A source alone, for a look.
    pub(crate) fn of(source: &'a str) -> Self {
        Self {
            source,
            vars: &[],
            var_files: &[],
            replace: &[],
            allow_python: false,
            no_process: false,
            verify_tls: true,
            control_files: &[],
            settings: None,
            validates: true,
            purpose: Purpose::Look,
            log: Arc::new(|_, _| {}),
        }
    }
}

/// A document that can be run.
pub(crate) struct Loaded {
    pub(crate) source: Source,
    pub(crate) configuration: Configuration,
    pub(crate) secrets: Secrets,
    pub(crate) env: Env,
    pub(crate) redact: Arc<Redactor>,
    /// What is hidden beside the secrets.
    pub(crate) hidden: Vec<String>,
    /// With `--allow-python`.
    pub(crate) python: Option<Python>,
    pub(crate) user: UserSettings,
    /// Controls for all documents.
    pub(crate) globals: Vec<Value>,
    pub(crate) notifications: Notifications,
    pub(crate) replacements: Replacements,
    pub(crate) no_process: bool,
    pub(crate) strategies: (HypothesisStrategy, RollbackStrategy),
    pub(crate) warnings: Vec<Invalid>,
}

/// Loads a document and judges its form.
///
/// # Errors
/// All that is wrong with it, the first being what the original would have said.
pub(crate) async fn load(asked: &Asked<'_>) -> Result<Loaded, Vec<Invalid>> {
    let mut env = Env::of_process();
    let (vars, mut warnings) = Vars::read(asked.var_files, asked.vars, &mut env).map_err(|error| vec![error])?;
    let replacements = Replacements::read(asked.source, asked.replace).map_err(|error| vec![error])?;
    let mut outside = Outside::of(asked, &env).await.map_err(|error| vec![error])?;
    warnings.append(&mut outside.warnings);
    let token = env.get(source::TOKEN);
    let source = read(asked, &outside, token.as_deref()).await.map_err(|error| vec![error])?;
    let mut hidden: Vec<String> = outside.user.secrets().into_iter().map(str::to_owned).collect();
    hidden.extend(token);
    let others: Vec<&str> = hidden.iter().map(String::as_str).collect();
    let known = secrets::load(&source, &vars, &env).unwrap_or_default();
    let mut shown = source.value.clone();
    Redactor::of(&known, &others).redact_document(&mut shown);
    outside.tell(asked, Purpose::Run, Event::RunStarted, &shown, None).await;
    outside.tell(asked, Purpose::Validate, Event::ValidateStarted, &shown, None).await;
    match judged(asked, &outside, &source, &replacements, &env).await {
        Ok(told) => warnings.extend(told),
        Err(errors) => {
            let first = errors.first().map(ToString::to_string);
            outside.tell(asked, Purpose::Validate, Event::ValidateFailed, &shown, first.as_deref()).await;
            return Err(errors);
        }
    }
    outside.tell(asked, Purpose::Validate, Event::ValidateCompleted, &shown, None).await;
    let configuration = Configuration::load(&source, &vars, &env)?;
    let secrets = secrets::load(&source, &vars, &env)?;
    let redact = Arc::new(Redactor::of(&secrets, &others));
    for short in redact.too_short() {
        let message = format!("the secret {short} is too short to be kept out of the journal; use a longer one");
        warnings.push(Invalid::of(&*source.name, message));
    }
    let strategies = strategies(&source, &outside.user)?;
    let Outside { user, python, notifications, globals, .. } = outside;
    Ok(Loaded {
        source,
        configuration,
        secrets,
        env,
        redact,
        hidden,
        python,
        user,
        globals,
        notifications,
        replacements,
        no_process: asked.no_process,
        strategies,
        warnings,
    })
}

/// Reads the document, between the controls for that.
async fn read(asked: &Asked<'_>, outside: &Outside, token: Option<&str>) -> Result<Source, Invalid> {
    outside.loading(When::Before, asked.source, &mut Value::Null).await?;
    let mut source = if source::is_url(asked.source) && !Path::new(asked.source).exists() {
        let client = client(asked.verify_tls).map_err(|why| Invalid::of(asked.source, why))?;
        let bearer = token.map(|token| format!("bearer {token}"));
        let authorization = bearer.or_else(|| outside.user.authorization(source::host(asked.source)));
        Source::fetch(&client, asked.source, authorization.as_deref()).await?
    } else {
        Source::read(Path::new(asked.source))?
    };
    outside.loading(When::After, asked.source, &mut source.value).await?;
    Ok(source)
}

/// Judges the form of a document; what it is warned of, or all that is wrong with it.
async fn judged(
    asked: &Asked<'_>,
    outside: &Outside,
    source: &Source,
    replacements: &Replacements,
    env: &Env,
) -> Result<Vec<Invalid>, Vec<Invalid>> {
    let refused = outside.refuse_controls(asked, source);
    let (broken, mut warnings) = outside.judge_controls(source).await;
    if !asked.validates {
        return if refused.is_empty() { Ok(warnings) } else { Err(refused) };
    }
    let table = Table { replacements, allow_python: asked.allow_python };
    let rules = Rules { functions: &table, checks: &Languages, env, processes: !asked.no_process };
    let mut report = validate::validate(source, &rules);
    if let Some(python) = &outside.python {
        report.errors.extend(inspected(source, &table, python).await);
    }
    report.errors.extend(broken);
    report.errors.extend(refused);
    if report.errors.is_empty() {
        warnings.extend(report.warnings);
        return Ok(warnings);
    }
    // An unknown key may be what is wrong.
    report.errors.extend(report.warnings);
    Err(report.errors)
}

/// What is wrong with the form of a document, and what it is warned of, by itself: nothing is replaced, and Python not allowed.
pub(crate) fn judge_form(source: &Source, env: &Env) -> Vec<Invalid> {
    let replacements = Replacements::default();
    let table = Table { replacements: &replacements, allow_python: false };
    let report = validate::validate(source, &Rules { functions: &table, checks: &Languages, env, processes: true });
    let strategies = strategies(source, &UserSettings::default()).err().unwrap_or_default();
    [report.errors, report.warnings, strategies].concat()
}

/// What Python says of the functions that it is to run.
async fn inspected(source: &Source, table: &Table<'_>, python: &Python) -> Vec<Invalid> {
    let root = marks::Path::root();
    let hypothesis = root.key("steady-state-hypothesis").key("probes");
    let lists = [
        (&source.value["steady-state-hypothesis"]["probes"], hypothesis),
        (&source.value["method"], root.key("method")),
        (&source.value["rollbacks"], root.key("rollbacks")),
    ];
    let mut errors = Vec::new();
    for (list, path) in lists {
        for (number, activity) in list.as_array().into_iter().flatten().enumerate() {
            let path = path.item(number);
            // A tolerance may be a probe.
            for (activity, path) in [(activity, path.clone()), (&activity["tolerance"], path.key("tolerance"))] {
                if let Some(why) = misfit(activity, table, python).await {
                    errors.push(source.invalid(&path.key("provider"), why));
                }
            }
        }
    }
    errors
}

/// Why Python cannot call the function of an activity.
async fn misfit(activity: &Value, table: &Table<'_>, python: &Python) -> Option<String> {
    let provider = activity.get("provider").filter(|provider| provider["type"] == "python")?;
    let (module, func) = (provider["module"].as_str()?, provider["func"].as_str()?);
    if table.known(module, func) != Known::Allowed {
        return None;
    }
    let arguments = match &provider["arguments"] {
        Value::Null => serde_json::Map::new(),
        Value::Object(arguments) => arguments.clone(),
        // A pattern as a whole has no names to be looked at yet.
        _ => return None,
    };
    let kind = activity["type"].as_str().unwrap_or("activity");
    let inspection = match python.inspect(module, func, &arguments).await {
        Ok(inspection) => inspection,
        Err(why) => return Some(why),
    };
    let message = inspection.message(module, func, kind, activity["name"].as_str().unwrap_or(func))?;
    let meant = || function::meant(module, func).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Some(match &inspection {
        Inspection::NoModule(_) => format!("{message}: {}{}", inspection.remark().unwrap_or_default(), meant()),
        Inspection::NoFunction => message + &meant(),
        _ => message,
    })
}

fn client(verify_tls: bool) -> Result<reqwest::Client, String> {
    crate::transport::install_crypto_provider();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(!verify_tls).build();
    client.map_err(|error| format!("failed to set up the HTTP client: {error}"))
}

/// What the document's `runtime` says, or else the user's settings. A strategy that is missing there is the default one.
fn strategies(source: &Source, user: &UserSettings) -> Result<(HypothesisStrategy, RollbackStrategy), Vec<Invalid>> {
    let root = marks::Path::root().key("runtime");
    let own = source.value["runtime"].as_object().is_some_and(|runtime| !runtime.is_empty());
    let of = |part: &str, of_user: &Option<String>| {
        let value = source.value["runtime"][part]["strategy"].as_str().map(str::to_owned);
        (if own { value } else { of_user.clone() }, root.key(part).key("strategy"))
    };
    let (hypothesis, place) = of("hypothesis", &user.hypothesis_strategy);
    // Here the default is the original's.
    let hypothesis = hypothesis.as_deref().unwrap_or("default");
    let hypothesis = HypothesisStrategy::named(hypothesis).ok_or_else(|| {
        let message = format!(
            "there is no hypothesis strategy {hypothesis:?}; use default, before-method-only, after-method-only, \
             during-method-only, continuously or skip"
        );
        vec![source.invalid(&place, message)]
    })?;
    let (rollbacks, place) = of("rollbacks", &user.rollbacks_strategy);
    let rollbacks = rollbacks.as_deref().unwrap_or("default");
    let rollbacks = RollbackStrategy::named(rollbacks).ok_or_else(|| {
        let message = format!("there is no rollback strategy {rollbacks:?}; use default, always, never or deviated");
        vec![source.invalid(&place, message)]
    })?;
    Ok((hypothesis, rollbacks))
}

/// The functions of Python that there are.
struct Table<'a> {
    replacements: &'a Replacements,
    allow_python: bool,
}

impl Functions for Table<'_> {
    fn known(&self, module: &str, func: &str) -> Known {
        if self.replacements.has(module, func) {
            Known::Replaced
        } else if let Some(function) = function::find(module, func) {
            Known::Native(function.arguments)
        } else if self.allow_python {
            Known::Allowed
        } else if function::of_module(module).next().is_some() {
            Known::NoFunction
        } else {
            Known::Unknown
        }
    }

    fn meant(&self, module: &str, func: &str) -> Option<String> {
        function::meant(module, func)
    }

    fn has_control(&self, _: &str) -> bool {
        // Which of them are not applied, and why, is told beside this.
        true
    }
}

/// The languages of tolerances.
struct Languages;

impl Checks for Languages {
    fn pattern(&self, pattern: &str) -> Result<(), String> {
        super::py::regex::Pattern::compile(pattern).map(drop).map_err(|error| error.to_string())
    }

    fn json_path(&self, path: &str) -> Result<(), String> {
        tolerance::jsonpath::Path::parse(path).map(drop).map_err(|error| error.to_string())
    }

    fn own(&self, kind: &str, tolerance: &Value) -> Option<Result<(), String>> {
        tolerance::own(kind, tolerance)
    }
}

impl Loaded {
    /// Whether an activity speaks to a cluster.
    pub(crate) fn needs_cluster(&self) -> bool {
        let mut needed = false;
        look(&self.source.value, &mut |provider| {
            let (module, func) = (provider["module"].as_str(), provider["func"].as_str());
            if let (Some(module), Some(func)) = (module, func)
                && !self.replacements.has(module, func)
            {
                needed |= function::find(module, func).is_some_and(|function| function.needs_cluster);
            }
        });
        needed
    }
}

/// Every provider of a document, wherever it stands.
fn look(value: &Value, seen: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            if let Some(provider) = fields.get("provider") {
                seen(provider);
            }
            fields.values().for_each(|value| look(value, seen));
        }
        Value::Array(items) => items.iter().for_each(|item| look(item, seen)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_of_the_document_replaces_both_strategies_of_the_settings() {
        let user = UserSettings {
            hypothesis_strategy: Some("after-method-only".to_owned()),
            rollbacks_strategy: Some("always".to_owned()),
            ..UserSettings::default()
        };
        let of = |text: &str| {
            let source = Source::parse("d.yaml", text.as_bytes(), source::Format::Yaml).expect("a source");
            strategies(&source, &user).expect("strategies")
        };
        let both = (HypothesisStrategy::AfterMethodOnly, RollbackStrategy::Always);
        assert_eq!((of("title: t"), of("runtime: {}")), (both, both));
        assert_eq!(source::host("https://u:p@h:8443/x@y?q"), "h:8443");
        let own = (HypothesisStrategy::Skip, RollbackStrategy::Default);
        assert_eq!(of("runtime: {hypothesis: {strategy: skip}}"), own);
    }
}
