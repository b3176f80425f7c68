//! Looks at safeguards: probes beside the run.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::Conductor;
use super::record::Record;
use crate::document::activity::Activity;
use crate::document::controls::{Sample, Sampled};
use crate::document::marks::Path;

impl Sample for Conductor {
    fn sample<'a>(&'a self, probe: &'a Value) -> BoxFuture<'a, Sampled> {
        Box::pin(async move {
            let definition = match probe["ref"].as_str() {
                None => probe.clone(),
                Some(name) => match self.living.named(name) {
                    Some((_, definition)) => definition,
                    None => return Sampled::Failed(format!("no activity of the document is named {name:?}")),
                },
            };
            let activity = Activity::of(&definition, probe, Path::root().key("controls"));
            let phase = self.run.phase_beside();
            let mut record = Record::of(definition.clone(), self.clock.now());
            record.output = match self.provide(&activity, phase).await {
                Ok(output) => output,
                Err(trouble) => return Sampled::Failed(format!("it failed: {trouble}")),
            };
            let tolerance = probe.get("tolerance").or_else(|| definition.get("tolerance")).unwrap_or(&Value::Null);
            let found = match self.tolerated(tolerance, &record, &self.run.scene(phase)).await {
                Ok(found) => found,
                Err(halt) => return Sampled::Failed(halt.to_string()),
            };
            let why = found.remark.unwrap_or_else(|| format!("out of its tolerance, with {}", record.output));
            match found.met {
                Some(true) => Sampled::Within,
                Some(false) if !found.failed => Sampled::Out(why),
                _ => Sampled::Failed(why),
            }
        })
    }
}
