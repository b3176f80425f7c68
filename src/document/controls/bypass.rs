//! `chaosaddons.controls.bypass`: activities that are not done, by their type or their names. The original's are done.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{At, Given, Hooks, Moment, Trouble, When};
use crate::document::run::log::{Level, Log};

pub(super) struct Bypass {
    pub(super) log: Log,
}

fn names(given: &Given) -> Vec<&str> {
    let names = given.arguments.get("target_names").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn kind(given: &Given) -> Option<&str> {
    given.arguments.get("target_type").and_then(Value::as_str).filter(|kind| !kind.is_empty())
}

impl Bypass {
    fn announce(&self, given: &Given) {
        if let Some(kind) = kind(given) {
            (self.log)(Level::Warning, &format!("No '{kind}' will be executed as configured by the bypass control"));
        }
        let names = names(given);
        if !names.is_empty() {
            let line = format!("The following activities will not be executed: {}", names.join(", "));
            (self.log)(Level::Warning, &line);
        }
    }
}

impl Hooks for Bypass {
    fn hook<'a>(
        &'a self,
        at: At,
        when: When,
        given: &'a Given,
        moment: &'a mut Moment,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            if (at, when) == (At::Experiment, When::Before) {
                self.announce(given);
            }
            let Some(activity) = moment.context().filter(|_| at == At::Activity).and_then(Value::as_object_mut) else {
                return Ok(());
            };
            let text = |key: &str| activity.get(key).and_then(Value::as_str);
            let by_type = kind(given).is_some_and(|kind| text("type") == Some(kind));
            if by_type || text("name").is_some_and(|name| names(given).contains(&name)) {
                match when {
                    When::Before => drop(activity.insert("dry".to_owned(), json!(true))),
                    When::After => drop(activity.remove("dry")),
                }
            }
            Ok(())
        })
    }
}
