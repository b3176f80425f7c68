//! A control in Python.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::{At, Given, Hooks, Moment, Trouble, When};
use crate::document::python::{Context, Hook, Python};

pub(super) struct Control {
    python: Python,
    module: String,
    /// The functions that it has, once they are known.
    functions: tokio::sync::OnceCell<Vec<String>>,
}

impl Control {
    pub(super) fn new(python: Python, module: &str) -> Self {
        Self { python, module: module.to_owned(), functions: tokio::sync::OnceCell::new() }
    }

    /// What it changed, and how it ended.
    async fn call(
        &self,
        name: &str,
        given: &Given,
        objects: Map<String, Value>,
        context: Option<Context<'_>>,
    ) -> (Map<String, Value>, Result<(), Trouble>) {
        match self.functions.get_or_try_init(|| self.python.hooks(&self.module)).await {
            Ok(functions) if functions.iter().any(|function| function == name) => {}
            Ok(_) => return (Map::new(), Ok(())),
            Err(why) => return (Map::new(), Err(Trouble::Failed(why))),
        }
        let hook = Hook {
            module: &self.module,
            name,
            arguments: given.arguments.clone(),
            given: objects,
            context,
            ..Hook::default()
        };
        let (changed, done) = self.python.hook(hook).await;
        (changed, done.map_err(Trouble::from))
    }

    async fn call_in(
        &self,
        name: &str,
        given: &Given,
        moment: &mut Moment,
        context: bool,
        state: bool,
    ) -> Result<(), Trouble> {
        let mut objects = Map::new();
        objects.insert("experiment".into(), moment.experiment.clone());
        objects.insert("configuration".into(), moment.configuration.clone());
        objects.insert("secrets".into(), moment.secrets.clone());
        objects.insert("settings".into(), given.settings.clone());
        if state {
            objects.insert("state".into(), moment.state.clone());
        }
        let pointer = moment.pointer.clone();
        let (changed, done) = self.call(name, given, objects, context.then_some(Context::Within(&pointer))).await;
        for (name, value) in changed {
            match name.as_str() {
                "experiment" => moment.experiment = value,
                "configuration" => moment.configuration = value,
                "secrets" => moment.secrets = value,
                "state" => moment.state = value,
                // Changed settings are nobody else's.
                _ => {}
            }
        }
        done
    }
}

impl Hooks for Control {
    fn configure<'a>(&'a self, given: &'a Given, moment: &'a mut Moment) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(self.call_in("configure_control", given, moment, false, false))
    }

    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        moment: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let name = format!("{}_{}_control", when.name(), at.name());
            self.call_in(&name, given, moment, true, true).await
        })
    }

    fn loading<'a>(
        &'a self,
        when: When,
        given: &'a Given,
        source: &'a str,
        state: &'a mut Value,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let name = format!("{}_loading_experiment_control", when.name());
            let mut objects = Map::new();
            objects.insert("state".into(), state.clone());
            for absent in ["experiment", "configuration", "secrets"] {
                objects.insert(absent.into(), Value::Null);
            }
            objects.insert("settings".into(), given.settings.clone());
            let (mut changed, done) = self.call(&name, given, objects, Some(Context::Text(source))).await;
            if let Some(changed) = changed.remove("state") {
                *state = changed;
            }
            done
        })
    }

    fn validate<'a>(&'a self, control: &'a Value) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            // A module that is not there is a warning only.
            let functions = self.functions.get_or_try_init(|| self.python.hooks(&self.module)).await;
            let name = "validate_control";
            if !functions.is_ok_and(|functions| functions.iter().any(|function| function == name)) {
                return Ok(());
            }
            let hook = Hook { module: &self.module, name, positional: vec![control.clone()], ..Hook::default() };
            self.python.hook(hook).await.1.map_err(Trouble::from)
        })
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async { self.call("cleanup_control", &Given::default(), Map::new(), None).await.1 })
    }
}
