//! What comes back from Python.

use serde_json::{Map, Value};

/// The objects that a control changed, by the names of its parameters.
pub(crate) type Changes = Map<String, Value>;

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    /// With a value. What JSON does not have became text: dates in ISO 8601, numbers that are none, bytes.
    Returned(Value),
    /// With an exception, `module.Name: text`, or it could not be called, or Python died of it.
    Failed(String),
    /// With `SystemExit`: the code.
    Exit(i64),
    /// With what interrupts an experiment: `KeyboardInterrupt`, or a control's `InterruptExecution`, whose text this is.
    Interrupted(String),
}

/// An answer of the child.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    whole: Value,
    /// How it ended, if not well.
    trouble: Option<Ended>,
}

impl Answer {
    pub(super) fn of(whole: Value) -> Self {
        let text = |name: &str| whole.get(name).and_then(Value::as_str).map(str::to_owned);
        let trouble = match (text("failed"), text("interrupt"), whole.get("exit").and_then(Value::as_i64)) {
            (Some(why), ..) => Some(Ended::Failed(why)),
            (_, Some(why), _) => Some(Ended::Interrupted(why)),
            (.., Some(code)) => Some(Ended::Exit(code)),
            _ => None,
        };
        Self { whole, trouble }
    }

    pub(super) fn failed(why: String) -> Self {
        Self { whole: Value::Null, trouble: Some(Ended::Failed(why)) }
    }

    pub(super) fn ended(mut self) -> Ended {
        self.trouble.unwrap_or_else(|| Ended::Returned(self.whole["value"].take()))
    }

    /// What a hook changed, however it ended.
    pub(super) fn changed(mut self) -> (Changes, Result<(), Ended>) {
        let changes = match self.whole.get_mut("value").map(Value::take) {
            Some(Value::Object(changes)) => changes,
            _ => Changes::new(),
        };
        (changes, self.trouble.map_or(Ok(()), Err))
    }

    /// The whole of it, or why it is none.
    pub(super) fn well(self) -> Result<Value, String> {
        match self.trouble {
            None => Ok(self.whole),
            Some(Ended::Failed(why) | Ended::Interrupted(why)) => Err(why),
            Some(Ended::Exit(code)) => Err(format!("SystemExit: {code}")),
            Some(Ended::Returned(value)) => Err(value.to_string()),
        }
    }
}

/// What a look at a function says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inspection {
    /// It can be called so.
    Fits(Vec<Parameter>),
    /// It is there; what it takes is not known, as of some that are written in C.
    Unknown,
    /// The module is not there or cannot be imported, and why.
    NoModule(String),
    /// The module has no such function; a class is none.
    NoFunction,
    /// A required argument is missing: its name in quotes, or several.
    Missing(String),
    /// An argument that the function does not take: its name in quotes.
    Extra(String),
    /// It cannot be called so for another reason.
    Other(String),
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// Python's name for its kind, such as `KEYWORD_ONLY`.
    pub(crate) kind: String,
    /// Whether it has no default.
    pub(crate) required: bool,
}

impl Inspection {
    pub(super) fn of(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        match answer["no"].as_str() {
            Some("module") => Self::NoModule(text("why")),
            Some("function") => Self::NoFunction,
            Some("argument") => Self::Missing(text("name")),
            Some("parameter") => Self::Extra(text("name")),
            Some(_) => Self::Other(text("why")),
            None => match &answer["parameters"] {
                Value::Array(parameters) => Self::Fits(parameters.iter().map(Parameter::of).collect()),
                _ => Self::Unknown,
            },
        }
    }

    /// What the validator says of it: Chaos Toolkit's sentence, if there is something wrong.
    pub(crate) fn message(&self, module: &str, func: &str, kind: &str, activity: &str) -> Option<String> {
        match self {
            Self::Fits(_) | Self::Unknown => None,
            Self::NoModule(_) => Some(format!("could not find Python module '{module}' in activity '{activity}'")),
            Self::NoFunction => Some(format!(
                "The python module '{module}' does not expose a function called '{func}' in {kind} '{activity}'"
            )),
            Self::Missing(name) => Some(format!("required argument {name} is missing from activity '{activity}'")),
            Self::Extra(name) => {
                Some(format!("argument {name} is not part of the function signature in activity '{activity}'"))
            }
            Self::Other(why) => Some(format!("{module}.{func} cannot be called as activity '{activity}' does: {why}")),
        }
    }

    /// What the original does not say: why a module is not there.
    pub(crate) fn remark(&self) -> Option<&str> {
        match self {
            Self::NoModule(why) => Some(why),
            _ => None,
        }
    }
}

impl Parameter {
    fn of(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Self { name: text("name"), kind: text("kind"), required: answer["required"] == Value::Bool(true) }
    }
}
