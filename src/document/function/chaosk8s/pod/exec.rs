//! `exec_in_pods`.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::super::{Answer, Failed, functions};
use super::pick::{Pick, names};
use super::{Call, Stage};
use crate::kubernetes::KubernetesError;

functions! { ACTIONS: "chaosk8s.pod.actions", Action, cluster: true {
    exec_in_pods(cmd; label_selector, name_pattern, all, rand, mode, qty, ns, order, container_name, request_timeout)
        = exec_in_pods;
} }

/// The annotation that names a pod's container for whoever names none.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Of each pod, what the command wrote and how it ended. What it did there nobody undoes: a command that takes it back
/// is the document's.
async fn exec_in_pods(call: Call<'_>, stage: Stage<'_>) -> Answer {
    let words = words(&call)?;
    let (pick, within) = (Pick::of(&call)?, call.seconds("request_timeout", 60)?);
    let picked = pick.picked(&stage).await?;
    if let Some(planned) = stage.planned() {
        names(&picked).iter().for_each(|name| planned.left(format!("run {words:?} in pod {}/{name}", pick.namespace)));
        return Ok(Value::Null);
    }
    let container = call.text("container_name")?;
    let api: Api<Pod> = Api::namespaced(stage.kubernetes().client().clone(), &pick.namespace);
    let mut ended = Vec::new();
    for (pod, name) in picked.iter().zip(names(&picked)) {
        let container = container.clone().or_else(|| default(pod));
        let run = run(&api, &name, container, &words);
        let Ok(one) = tokio::time::timeout(within, run).await else {
            return Err(Failed(format!("the command did not end in pod {}/{name} within {within:?}", pick.namespace)));
        };
        let (exit_code, stdout, stderr) = one?;
        let cmd = words.join(" ");
        ended.push(json!({"pod_name": name, "exit_code": exit_code, "cmd": cmd, "stdout": stdout, "stderr": stderr}));
    }
    Ok(Value::Array(ended))
}

/// The command, split as a shell does it, without one.
fn words(call: &Call<'_>) -> Result<Vec<String>, Failed> {
    let wrong = || Failed("argument \"cmd\" is no command: give a text, or a list of texts".to_owned());
    let words = match call.value("cmd") {
        Some(Value::String(text)) => shlex::split(text).ok_or_else(wrong)?,
        Some(Value::Array(words)) => {
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    if words.is_empty() { Err(wrong()) } else { Ok(words) }
}

/// As kubectl takes it: the one that is named so, or the first.
fn default(pod: &Pod) -> Option<String> {
    let named = pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CONTAINER)).cloned();
    named.or_else(|| Some(pod.spec.as_ref()?.containers.first()?.name.clone()))
}

async fn run(
    api: &Api<Pod>,
    pod: &str,
    container: Option<String>,
    words: &[String],
) -> Result<(i64, String, String), Failed> {
    let params = AttachParams { container, ..AttachParams::default().stderr(true) };
    let started = api.exec(pod, words, &params).await;
    let mut started = started.map_err(KubernetesError::api(format!("run a command in pod {pod}")))?;
    let (out, err, status) = (started.stdout(), started.stderr(), started.take_status());
    let status = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let (out, err, status) = tokio::join!(read(out), read(err), status);
    let joined = started.join().await;
    let code = exit_code(status.as_ref());
    match code {
        Some(code) => Ok((code, out, err)),
        None => {
            let why = status.and_then(|status| status.message).or_else(|| joined.err().map(|error| error.to_string()));
            let why = why.unwrap_or_else(|| "the connection ended before it did".to_owned());
            Err(Failed(format!("how the command ended in pod {pod} is not known: {why}")))
        }
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What came before it broke is all there is.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the status channel says of the process.
fn exit_code(status: Option<&Status>) -> Option<i64> {
    let status = status?;
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    code.message.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_channel_says_how_a_process_ended() {
        let of = |status: Value| exit_code(serde_json::from_value(status).ok().as_ref());
        assert_eq!(of(json!({"status": "Success"})), Some(0));
        let causes = json!([{"reason": "ExitCode", "message": "3"}]);
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}});
        assert_eq!(of(failed), Some(3));
        assert_eq!(of(json!({"status": "Failure", "message": "no such file"})), None);
        assert_eq!(exit_code(None), None);
    }

    #[test]
    fn a_command_is_a_text_or_a_list() {
        let of = |cmd: Value| {
            let arguments = json!({"cmd": cmd});
            let arguments = arguments.as_object().expect("a map");
            let none = serde_json::Map::new();
            words(&Call { arguments, secrets: None, configuration: &none }).ok()
        };
        assert_eq!(of(json!("sh -c 'echo a b'")), Some(["sh", "-c", "echo a b"].map(str::to_owned).into()));
        assert_eq!(of(json!(["echo", "a b"])), Some(["echo", "a b"].map(str::to_owned).into()));
        for none in [json!(""), json!([]), json!("'"), json!(3), json!(["a", 3])] {
            assert_eq!(of(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn a_container_that_is_not_named_is_the_default_one() {
        let pod = |annotations: Value| {
            let spec = json!({"containers": [{"name": "first"}, {"name": "second"}]});
            serde_json::from_value::<Pod>(json!({"metadata": {"annotations": annotations}, "spec": spec})).unwrap()
        };
        assert_eq!(default(&pod(json!({}))).as_deref(), Some("first"));
        assert_eq!(default(&pod(json!({DEFAULT_CONTAINER: "second"}))).as_deref(), Some("second"));
    }
}
