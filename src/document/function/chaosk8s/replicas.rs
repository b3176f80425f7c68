//! Scaling what has replicas.

use serde_json::{Value, json};

use super::super::{Answer, Failed};
use super::{Call, Of, Stage, object, plain};
use crate::kubernetes::ObjectPatch;

/// How long its pods may take to come and to go: images are pulled, and slow programs start.
const READY_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Another number of replicas. Back to the number that there was before the document's own fault is the end of that
/// fault; another change of what a fault has changed first ends that.
pub(super) async fn scale(call: Call<'_>, stage: Stage<'_>, of: Of) -> Answer {
    let (namespace, name) = (call.namespace()?, call.required("name")?);
    let many = call.count("replicas")?.ok_or_else(|| Failed("argument \"replicas\" is missing".to_owned()))?;
    let workload = object(of, Some(&namespace), &name);
    let ended = stage.end(&workload).await?;
    if ended || stage.plain {
        let now = plain::read(stage.kubernetes(), &workload).await?["spec"]["replicas"].as_u64().unwrap_or(1);
        if now == u64::from(many) {
            return Ok(Value::Null);
        }
    }
    if stage.plain {
        let patch = ObjectPatch::Merge(json!({"spec": {"replicas": many}}));
        plain::patch(&stage, &workload, &patch).await?;
        return Ok(Value::Null);
    }
    let fault = stage.kubernetes().scale(workload.clone(), many).ready_within(READY_WITHIN);
    stage.inject(fault, vec![workload]).await?;
    Ok(Value::Null)
}
