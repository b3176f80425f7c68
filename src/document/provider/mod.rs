//! What carries out an activity: HTTP, a process, or a function.

mod http;
mod process;
mod replacements;
mod vegeta;

use serde_json::{Map, Value};

use super::activity::{Activity, ProviderKind};
use super::function::{self, Call, Guards, Hand, Stage};
use super::load::Loaded;
use super::python::{Ended, Function, Python};
use super::run::log::{Level, Log};
use super::substitute::Scope;
use crate::cluster::Cluster;
use crate::experiment::{Phase, Run, Scene};
pub(crate) use http::{AGENT, NO_TIMEOUT, prepared as request};
pub(crate) use replacements::{Replacements, is_provider};
pub(crate) use vegeta::{Attack, attack_words, is_meant as is_vegeta};

/// Why an activity did not return a value.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It failed, which its record says: the original's `ActivityFailed`.
    Failed(String),
    /// The original would have died of it.
    Fatal(String),
    /// It asks for the end of the experiment.
    Interrupt(String),
    /// It asks this process to end, with this code.
    Exit(i64),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) | Self::Fatal(why) | Self::Interrupt(why) => f.write_str(why),
            Self::Exit(code) => write!(f, "SystemExit: {code}"),
        }
    }
}

impl From<function::Failed> for Trouble {
    fn from(function::Failed(why): function::Failed) -> Self {
        Self::Failed(why)
    }
}

/// Where an activity is carried out.
pub(crate) struct Site<'a> {
    pub(crate) names: &'a Scope,
    pub(crate) run: &'a Run,
    pub(crate) scene: Scene,
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) guards: &'a Guards,
    /// Whether what it changes is no fault, and nobody's to undo.
    pub(crate) plain: bool,
    /// Whether its faults are left at the end.
    pub(crate) leave: bool,
    /// Whether it may take more nodes and pods than a call may unasked.
    pub(crate) all: bool,
    /// Why a fault may be believed without a proof.
    pub(crate) trust: Option<&'a str>,
    /// Whether a tolerance judges what it returns: then nobody needs to be warned of it.
    pub(crate) judged: bool,
    pub(crate) log: &'a Log,
}

impl Site<'_> {
    fn warn(&self, line: &str) {
        if !self.judged {
            (self.log)(Level::Warning, line);
        }
    }
}

/// The providers of a run.
#[derive(Clone, Default)]
pub(crate) struct Providers {
    /// Variables for processes, beside those of this process.
    variables: Vec<(String, String)>,
    replacements: Replacements,
    no_process: bool,
    attack: Option<Attack>,
    /// With `--allow-python`.
    python: Option<Python>,
}

impl Providers {
    pub(crate) fn of(loaded: &Loaded, attack: Option<Attack>, python: Option<Python>) -> Self {
        let variables = loaded.env.overlay().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variables, replacements: loaded.replacements.clone(), no_process: loaded.no_process, attack, python }
    }

    /// The tolerance that stands for a function, if the user gave one.
    pub(crate) fn tolerance_for(&self, provider: &Value) -> Option<&Value> {
        let (module, func) = named(provider);
        self.replacements.get(module, func).filter(|replaced| !is_provider(replaced))
    }

    /// Carries out an activity, by its provider.
    pub(crate) async fn call(&self, activity: &Activity<'_>, site: &Site<'_>) -> Result<Value, Trouble> {
        let provider = &activity.definition["provider"];
        match activity.provider_kind() {
            Some(ProviderKind::Http) => http::call(provider, site).await,
            Some(ProviderKind::Process) if self.no_process => {
                Err(Trouble::Failed(format!("{} runs a program, and --no-process was given", activity.name())))
            }
            Some(ProviderKind::Process) => process::call(provider, &self.variables, self.attack, site).await,
            Some(ProviderKind::Python) => self.function(activity, site).await,
            None => Err(Trouble::Fatal(format!("{} has no provider of type http, process or python", activity.name()))),
        }
    }

    /// The provider that carries out an activity: its own, or what stands for its function.
    pub(crate) fn carrying_out<'a>(&'a self, activity: &Activity<'a>) -> &'a Value {
        let provider = &activity.definition["provider"];
        let (module, func) = named(provider);
        self.replacements.get(module, func).filter(|replaced| is_provider(replaced)).unwrap_or(provider)
    }

    /// Whether an activity is to change the cluster: nothing is shown where it fails.
    pub(crate) fn is_fault(activity: &Activity<'_>) -> bool {
        let (module, func) = named(&activity.definition["provider"]);
        let function = function::find(module, func);
        function.is_some_and(|function| function.kind == function::Kind::Action && function.needs_cluster)
    }

    async fn function(&self, activity: &Activity<'_>, site: &Site<'_>) -> Result<Value, Trouble> {
        let provider = &activity.definition["provider"];
        let (module, func) = named(provider);
        if let Some(replaced) = self.replacements.get(module, func).filter(|replaced| is_provider(replaced)) {
            let mut definition = activity.definition.clone();
            definition["provider"] = replaced.clone();
            // What stands for it is never replaced again.
            let once = Self { replacements: Replacements::default(), ..self.clone() };
            return Box::pin(once.call(&Activity::of(&definition, &definition, activity.path.clone()), site)).await;
        }
        let arguments = match site.names.put_into_arguments(&provider["arguments"]) {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            other => {
                return Err(Trouble::Fatal(format!("the arguments of {module}.{func} must be a mapping, got {other}")));
            }
        };
        let secrets = (!activity.secrets().is_empty()).then(|| site.names.secrets_of(&activity.secrets()));
        let Some(function) = function::find(module, func) else {
            let configuration = Some(Value::Object(site.names.configuration.clone()));
            let secrets = secrets.map(Value::Object);
            let background = activity.background() || matches!(site.scene.phase, Phase::Watch { .. });
            let function =
                Function { module, name: func, arguments, configuration, secrets, timeout: None, background };
            return self.in_python(&function).await;
        };
        let call = Call { arguments: &arguments, secrets: secrets.as_ref(), configuration: &site.names.configuration };
        let stage = Stage {
            hand: Hand::Run(site.run),
            cluster: site.cluster,
            scene: &site.scene,
            guards: site.guards,
            plain: site.plain,
            leave: site.leave,
            all: site.all,
            trust: site.trust,
        };
        Ok(function.call(call, stage).await?)
    }

    async fn in_python(&self, function: &Function<'_>) -> Result<Value, Trouble> {
        let Some(python) = &self.python else {
            return Err(Trouble::Failed(format!(
                "there is no function {}.{}; let Python run it (--allow-python)",
                function.module, function.name
            )));
        };
        match python.call(function).await {
            Ended::Returned(value) => Ok(value),
            Ended::Failed(why) => Err(Trouble::Failed(why)),
            Ended::Interrupted(why) => Err(Trouble::Interrupt(why)),
            Ended::Exit(code) => Err(Trouble::Exit(code)),
        }
    }
}

/// The function of a Python provider: its module and its name.
pub(crate) fn named(provider: &Value) -> (&str, &str) {
    (provider["module"].as_str().unwrap_or_default(), provider["func"].as_str().unwrap_or_default())
}
