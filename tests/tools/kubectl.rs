//! kubectl's everyday verbs.

use std::io::Write;
use std::process::Stdio;

use libtest_mimic::Trial;
use regex::Regex;
use serde_json::{Value, json};

use super::lab::{Lab, Said, lab, start, unique};
use super::{Needs, Outcome, find};

/// kubectl in a namespace of its own.
struct Kubectl {
    lab: Lab,
    namespace: String,
}

impl Kubectl {
    fn new() -> Result<Self, String> {
        Self::at(lab())
    }

    fn at(lab: Lab) -> Result<Self, String> {
        let kubectl = Self { lab, namespace: unique("kubectl") };
        kubectl.run("create namespace NS")?;
        Ok(kubectl)
    }

    fn with(&self, line: &str, stdin: &str) -> Said {
        let words = line.split(' ').map(|word| word.replace("NS", &self.namespace).replace('~', " "));
        let mut command = self.lab.command("kubectl");
        command.args(["-n", &self.namespace]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        // It may end without reading.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        Said::of(&child.wait_with_output().expect("kubectl ends"))
    }

    /// A line of words, `NS` standing for the namespace and `~` for a space in a word; it must end well.
    fn run(&self, line: &str) -> Result<String, String> {
        self.with(line, "").ok().map_err(|error| format!("kubectl {line}: {error}"))
    }

    fn apply(&self, object: &Value) -> Result<String, String> {
        self.with("apply -f -", &object.to_string()).ok()
    }

    fn json(&self, line: &str) -> Result<Value, String> {
        serde_json::from_str(&self.run(line)?).map_err(|error| error.to_string())
    }

    fn deployment(&self, name: &str, replicas: u32) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main", "image": self.lab.image, "imagePullPolicy": "Never", "args": ["back"],
                        "ports": [{"name": "http", "containerPort": 8002}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
                    }],
                }},
            },
        })
    }

    /// A Deployment whose pods are ready.
    fn deployed(&self, name: &str, replicas: u32) -> Result<(), String> {
        self.apply(&self.deployment(name, replicas))?;
        self.run(&format!("rollout status deployment/{name} --timeout=20s")).map(drop)
    }
}

fn matches(text: &str, pattern: &str) -> Result<(), String> {
    let found = Regex::new(pattern).expect("a pattern").is_match(text);
    if found { Ok(()) } else { Err(format!("no /{pattern}/ in:\n{text}")) }
}

fn equal<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("got {got:?}, expected {expected:?}")) }
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
}

/// One trial.
type Verb = fn(&Kubectl) -> Result<(), String>;

pub fn trials() -> (Needs, Vec<Trial>) {
    let missing = "no kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/";
    let needs = Needs::new("kubectl", find("kubectl").map(drop).ok_or(missing.to_owned()));
    let all: &[(&str, Verb)] = &[
        ("get", get),
        ("get_of_several_kinds", get_of_several_kinds),
        ("get_wide", get_wide),
        ("get_watch", get_watch),
        ("get_what_is_not_there", get_what_is_not_there),
        ("describe", describe),
        ("create", create),
        ("apply", apply),
        ("apply_server_side", apply_server_side),
        ("apply_dry_run", apply_dry_run),
        ("diff", diff),
        ("patch", patch),
        ("label_and_annotate", label_and_annotate),
        ("delete_waits", delete_waits),
        ("scale", scale),
        ("rollout", rollout),
        ("wait", wait),
        ("logs", logs),
        ("logs_follow", logs_follow),
        ("auth_can_i", auth_can_i),
        ("auth_whoami", auth_whoami),
        ("api_resources", api_resources),
        ("version_and_cluster_info", version_and_cluster_info),
        ("custom_resources", custom_resources),
        ("drain_and_cordon", drain_and_cordon),
        ("jobs", jobs),
        ("expose", expose),
        ("events", events),
    ];
    let trials = all.iter().map(|(name, run)| {
        let run: Box<dyn FnOnce() -> Outcome + Send> = Box::new(move || Ok(run(&Kubectl::new()?)?));
        needs.trial(&format!("kubectl::{name}"), run)
    });
    let trials = trials.collect();
    (needs, trials)
}

fn get(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    matches(&k.run("get pods")?, r"^NAME +READY +STATUS +RESTARTS +AGE\nback-\w+-\w+ +1/1 +Running +0 +\d+s\n$")?;
    matches(&k.run("get deploy")?, r"^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nback +1/1 +1 +1 +\d+s\n$")?;
    equal(k.run("get deployment back -o name")?, "deployment.apps/back\n".into())?;
    equal(k.run("get deploy back -o jsonpath={.spec.replicas}")?, "1".into())?;
    equal(k.run("get deploy -o custom-columns=N:.metadata.name,R:.spec.replicas --no-headers")?, "back   1\n".into())?;
    equal(k.run("get deploy back -o go-template={{.metadata.name}}")?, "back".into())?;
    matches(&k.run("get deploy back -o yaml")?, r"(?s)^apiVersion: apps/v1\nkind: Deployment\n.*replicas: 1\n")?;
    let listed = k.json("get deploy,pods -o json")?;
    equal((&listed["kind"], listed["items"].as_array().map(Vec::len)), (&json!("List"), Some(2)))?;
    matches(&k.run("get pods --show-labels")?, r"LABELS\n.* app=back,pod-template-hash=\w+\n$")?;
    matches(&k.run("get pods -L app -l app=back --field-selector status.phase=Running")?, r"APP\n.* back\n$")?;
    matches(&k.run("get all")?, r"(?s)pod/back-.*deployment.apps/back .*replicaset.apps/back-")?;
    matches(&k.run("get pods -A --sort-by=.metadata.name")?, r"^NAMESPACE +NAME +READY(?s:.*)kubectl-\d+ +back-")
}

fn get_of_several_kinds(k: &Kubectl) -> Result<(), String> {
    k.apply(&config_map("m", "1"))?;
    k.run("create secret generic s --from-literal=a=b")?;
    equal(k.run("get cm/m secret/s -o name")?, "configmap/m\nsecret/s\n".into())?;
    equal(k.run("get secret s -o jsonpath={.data.a}")?, "Yg==".into())
}

fn get_wide(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    let wide = k.run("get pods -o wide")?;
    matches(&wide, r"AGE +IP +NODE +NOMINATED NODE +READINESS GATES\n.* \d+\.\d+\.\d+\.\d+ +\S+ +<none> +<none>\n$")?;
    matches(&k.run("get deploy -o wide")?, r"CONTAINERS +IMAGES +SELECTOR\n.* main +\S+ +app=back\n$")?;
    matches(&k.run("get nodes -o wide")?, r"NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP(?s:.*) Ready ")
}

fn get_watch(k: &Kubectl) -> Result<(), String> {
    k.apply(&config_map("first", "1"))?;
    let mut command = k.lab.command("kubectl");
    let line = "get cm first --watch --output-watch-events --no-headers --request-timeout=5s";
    let watching = command.args(["-n", &k.namespace]).args(line.split(' ')).stdout(Stdio::piped()).spawn();
    let mut watching = watching.map_err(|error| error.to_string())?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watching.stdout.take().expect("piped")));
    let mut next = || lines.next().expect("an event").expect("readable");
    matches(&next(), r"^ADDED +first +1 +\d+s$")?;
    k.run("delete cm first")?;
    matches(&next(), r"^DELETED +first +1 +\d+s$")?;
    watching.kill().and_then(|()| watching.wait()).map(drop).map_err(|error| error.to_string())
}

fn get_what_is_not_there(k: &Kubectl) -> Result<(), String> {
    let error = k.with("get deploy nothing", "").bad(1)?;
    equal(error, "Error from server (NotFound): deployments.apps \"nothing\" not found\n".into())?;
    let error = k.with("get gadgets", "").bad(1)?;
    equal(error, "error: the server doesn't have a resource type \"gadgets\"\n".into())?;
    let nothing = k.with("get pods", "");
    equal((nothing.code, nothing.err), (Some(0), format!("No resources found in {} namespace.\n", k.namespace)))
}

fn describe(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    let pod = k.run("describe pods -l app=back")?;
    for line in [
        r"(?m)^Status: +Running$",
        r"(?m)^Controlled By: +ReplicaSet/back-",
        r"(?m)^ +Ready +True",
        r"(?s)Events:.*Started",
    ] {
        matches(&pod, line)?;
    }
    let deployment = k.run("describe deployment back")?;
    matches(&deployment, r"(?m)^Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable$")?;
    matches(&deployment, r"(?s)StrategyType: +RollingUpdate.*25% max unavailable, 25% max surge.*ScalingReplicaSet")?;
    k.run("expose deployment back --port=80 --target-port=8002")?;
    matches(&k.run("describe service back")?, r"(?m)^Endpoints: +\d+\.\d+\.\d+\.\d+:8002$")?;
    matches(&k.run("describe node")?, r"(?m)^Unschedulable: +false$")?;
    matches(&k.run("describe namespace NS")?, r"(?m)^Status: +Active$")
}

fn create(k: &Kubectl) -> Result<(), String> {
    equal(k.run("create configmap m --from-literal=a=1")?, "configmap/m created\n".into())?;
    let again = k.with("create configmap m --from-literal=a=1", "").bad(1)?;
    equal(again, "error: failed to create configmap: configmaps \"m\" already exists\n".into())?;
    let image = k.lab.image.clone();
    equal(k.run(&format!("create deployment d --image={image} --replicas=0"))?, "deployment.apps/d created\n".into())?;
    equal(
        k.run("create role reader --verb=get --resource=pods")?,
        "role.rbac.authorization.k8s.io/reader created\n".into(),
    )?;
    let mut typo = k.deployment("typo", 0);
    typo["spec"]["replicaz"] = json!(1);
    let error = k.with("create -f -", &typo.to_string()).bad(1)?;
    matches(&error, r#"strict decoding error: unknown field "spec.replicaz""#)?;
    let error = k.with("create -f -", &config_map("No_Name", "1").to_string()).bad(1)?;
    matches(&error, r#"The ConfigMap "No_Name" is invalid: metadata.name: Invalid value: "No_Name""#)
}

fn apply(k: &Kubectl) -> Result<(), String> {
    let mut deployment = k.deployment("back", 0);
    equal(k.apply(&deployment)?, "deployment.apps/back created\n".into())?;
    equal(k.apply(&deployment)?, "deployment.apps/back unchanged\n".into())?;
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    equal(k.apply(&deployment)?, "deployment.apps/back configured\n".into())?;
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "B", "value": "2"}]);
    k.apply(&deployment)?;
    equal(k.run("get deploy back -o jsonpath={.spec.template.spec.containers[0].env[*].name}")?, "B".into())?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [config_map("a", "1"), config_map("b", "1")]});
    equal(k.apply(&list)?, "configmap/a created\nconfigmap/b created\n".into())
}

fn apply_server_side(k: &Kubectl) -> Result<(), String> {
    let by = |manager: &str, value: &str, more: &str| {
        let line = format!("apply --server-side --field-manager={manager}{more} -f -");
        k.with(&line, &config_map("m", value).to_string())
    };
    equal(by("one", "1", "").ok()?, "configmap/m serverside-applied\n".into())?;
    let conflict = by("two", "2", "").bad(1)?;
    matches(&conflict, r#"(?s)Apply failed with 1 conflict: conflict with "one": \.data\.k.*--force-conflicts"#)?;
    by("two", "2", " --force-conflicts").ok()?;
    equal(k.run("get cm m -o jsonpath={.data.k}")?, "2".into())?;
    let fields = k.json("get cm m -o json --show-managed-fields")?;
    let managers = fields["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    equal(managers.iter().filter_map(|m| m["manager"].as_str()).collect(), vec!["two"])
}

fn apply_dry_run(k: &Kubectl) -> Result<(), String> {
    let map = config_map("m", "1").to_string();
    equal(k.with("apply --dry-run=server -f -", &map).ok()?, "configmap/m created (server dry run)\n".into())?;
    k.with("get cm m", "").bad(1).map(drop)
}

fn diff(k: &Kubectl) -> Result<(), String> {
    k.apply(&config_map("m", "1"))?;
    equal(k.with("diff -f -", &config_map("m", "1").to_string()).ok()?, String::new())?;
    let other = k.with("diff -f -", &config_map("m", "2").to_string());
    equal(other.code, Some(1))?;
    matches(&other.out, "(?m)^-  k: \"1\"\n\\+  k: \"2\"$")?;
    equal(k.run("get cm m -o jsonpath={.data.k}")?, "1".into())
}

fn patch(k: &Kubectl) -> Result<(), String> {
    k.apply(&k.deployment("back", 0))?;
    let strategic = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:1"}]}}}}"#;
    equal(k.run(&format!("patch deploy back -p {strategic}"))?, "deployment.apps/back patched\n".into())?;
    let names = "get deploy back -o jsonpath={.spec.template.spec.containers[*].name}";
    equal(k.run(names)?, "side main".into())?;
    let json_patch = r#"[{"op":"remove","path":"/spec/template/spec/containers/0"}]"#;
    k.run(&format!("patch deploy back --type=json -p {json_patch}"))?;
    equal(k.run(names)?, "main".into())?;
    let merge = r#"{"metadata":{"annotations":{"a":"1"}}}"#;
    k.run(&format!("patch deploy back --type=merge -p {merge}"))?;
    let nothing = k.run(&format!("patch deploy back --type=merge -p {merge}"))?;
    equal(nothing, "deployment.apps/back patched (no change)\n".into())?;
    equal(k.run("set image deploy/back main=other:2")?, "deployment.apps/back image updated\n".into())?;
    equal(k.run("get deploy back -o jsonpath={.spec.template.spec.containers[*].image}")?, "other:2".into())
}

fn label_and_annotate(k: &Kubectl) -> Result<(), String> {
    k.apply(&config_map("m", "1"))?;
    equal(k.run("label cm m tier=web")?, "configmap/m labeled\n".into())?;
    let refused = k.with("label cm m tier=db", "").bad(1)?;
    matches(&refused, "'tier' already has a value \\(web\\), and --overwrite is false")?;
    k.run("label cm m tier=db --overwrite")?;
    equal(k.run("get cm -l tier=db -o name")?, "configmap/m\n".into())?;
    equal(k.run("label cm m tier-")?, "configmap/m unlabeled\n".into())?;
    equal(k.run("annotate cm m note=a~b")?, "configmap/m annotated\n".into())?;
    equal(k.run("get cm m -o jsonpath={.metadata.annotations.note}")?, "a b".into())
}

fn delete_waits(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    let deleted = k.run("delete pod -l app=back --wait --timeout=20s")?;
    matches(&deleted, r#"^pod "back-\w+-\w+" deleted from kubectl-\d+ namespace\n$"#)?;
    equal(k.run("delete deploy back")?, format!("deployment.apps \"back\" deleted from {} namespace\n", k.namespace))?;
    k.run("wait --for=delete pod -l app=back --timeout=20s")?;
    equal(k.run("delete cm nothing --ignore-not-found")?, String::new())?;
    k.with("delete cm nothing", "").bad(1)?;
    k.run("create namespace NS-second")?;
    k.run("-n NS-second create configmap m --from-literal=a=1")?;
    equal(
        k.run("delete namespace NS-second --timeout=30s")?,
        format!("namespace \"{}-second\" deleted\n", k.namespace),
    )?;
    k.with("get namespace NS-second", "").bad(1).map(drop)
}

fn scale(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    equal(k.run("scale deploy back --replicas=2")?, "deployment.apps/back scaled\n".into())?;
    k.run("rollout status deploy/back --timeout=20s")?;
    equal(k.run("get deploy back -o jsonpath={.status.readyReplicas}")?, "2".into())?;
    let refused = k.with("scale deploy back --current-replicas=7 --replicas=1", "").bad(1)?;
    matches(&refused, "Expected replicas to be 7, was 2")
}

fn rollout(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    let before = k.run("get pods -l app=back -o name")?;
    equal(k.run("rollout restart deploy/back")?, "deployment.apps/back restarted\n".into())?;
    matches(&k.run("rollout status deploy/back --timeout=20s")?, "deployment \"back\" successfully rolled out\n$")?;
    k.run(&format!("wait --for=delete {} --timeout=20s", before.trim()))?;
    let after = k.run("get pods -l app=back -o name")?;
    equal((before == after, after.lines().count()), (false, 1))?;
    matches(&k.run("rollout history deploy/back")?, r"REVISION +CHANGE-CAUSE\n1 +<none>\n2 +<none>\n")?;
    equal(k.run("rollout undo deploy/back")?, "deployment.apps/back rolled back\n".into())?;
    k.run("rollout status deploy/back --timeout=20s")?;
    matches(&k.run("rollout history deploy/back")?, r"CHANGE-CAUSE\n2 +<none>\n3 +<none>\n")?;
    equal(k.run("rollout pause deploy/back")?, "deployment.apps/back paused\n".into())?;
    equal(k.run("rollout resume deploy/back")?, "deployment.apps/back resumed\n".into())
}

fn wait(k: &Kubectl) -> Result<(), String> {
    k.apply(&k.deployment("back", 1))?;
    equal(
        k.run("wait --for=condition=Available deploy/back --timeout=20s")?,
        "deployment.apps/back condition met\n".into(),
    )?;
    k.run("wait --for=condition=Ready pod -l app=back --timeout=20s")?;
    k.run("wait --for=jsonpath={.status.phase}=Running pod -l app=back --timeout=20s")?;
    let late = k.with("wait --for=condition=Nothing deploy/back --timeout=1s", "").bad(1)?;
    matches(&late, "timed out waiting for the condition")
}

/// A pod that logs one line for each of its readiness probes.
fn talkative(k: &Kubectl) -> Result<(), String> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talks"}});
    pod["spec"] = k.deployment("x", 1)["spec"]["template"]["spec"].clone();
    pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = json!("/");
    k.apply(&pod)?;
    k.run("wait --for=condition=Ready pod/talks --timeout=20s").map(drop)
}

fn logs(k: &Kubectl) -> Result<(), String> {
    talkative(k)?;
    matches(&k.run("logs talks")?, "GET /\n")?;
    equal(k.run("logs talks --tail=1")?.lines().count(), 1)?;
    matches(&k.run("logs talks --timestamps --since=1h -c main")?, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z .*GET /\n")?;
    let error = k.with("logs talks -c other", "").bad(1)?;
    matches(&error, "container other is not valid for pod talks")?;
    let error = k.with("logs talks --previous", "").bad(1)?;
    matches(&error, r#"previous terminated container "main" in pod "talks" not found"#)
}

fn logs_follow(k: &Kubectl) -> Result<(), String> {
    talkative(k)?;
    let mut command = k.lab.command("kubectl");
    let following =
        command.args(["-n", &k.namespace, "logs", "-f", "talks", "--tail=1"]).stdout(Stdio::piped()).spawn();
    let mut following = following.map_err(|error| error.to_string())?;
    let lines = std::io::BufRead::lines(std::io::BufReader::new(following.stdout.take().expect("piped")));
    // One line was there, two more come while it follows; the stream ends with the pod.
    let mut seen = 0;
    for line in lines {
        matches(&line.map_err(|error| error.to_string())?, "GET /$")?;
        seen += 1;
        if seen == 3 {
            k.run("delete pod talks --wait=false")?;
        }
    }
    if seen < 3 {
        return Err(format!("{seen} lines"));
    }
    equal(following.wait().map_err(|error| error.to_string())?.success(), true)
}

fn auth_can_i(k: &Kubectl) -> Result<(), String> {
    equal(k.run("auth can-i create deployments")?, "yes\n".into())?;
    k.run("create serviceaccount robot")?;
    let robot = "--as=system:serviceaccount:NS:robot";
    let denied = k.with(&format!("auth can-i get pods {robot}"), "");
    equal((denied.code, denied.out), (Some(1), "no\n".into()))?;
    k.run("create role reader --verb=get,list --resource=pods")?;
    k.run("create rolebinding reader --role=reader --serviceaccount=NS:robot")?;
    equal(k.run(&format!("auth can-i get pods {robot}"))?, "yes\n".into())?;
    matches(&k.run(&format!("auth can-i --list {robot}"))?, r"pods +\[\] +\[\] +\[get list\]")?;
    let error = k.with(&format!("delete pod x {robot}"), "").bad(1)?;
    matches(
        &error,
        r#"pods "x" is forbidden: User "system:serviceaccount:kubectl-\d+:robot" cannot delete resource "pods""#,
    )?;
    equal(k.run(&format!("get pods {robot} -o name"))?, String::new())
}

fn auth_whoami(k: &Kubectl) -> Result<(), String> {
    let robot = k.run("auth whoami --as=system:serviceaccount:NS:robot")?;
    matches(&robot, r"Username +system:serviceaccount:kubectl-\d+:robot")?;
    matches(&robot, r"Groups +\[system:serviceaccounts system:serviceaccounts:kubectl-\d+ system:authenticated\]")
}

fn api_resources(k: &Kubectl) -> Result<(), String> {
    let all = k.run("api-resources")?;
    for line in [
        r"(?m)^pods +po +v1 +true +Pod$",
        r"(?m)^deployments +deploy +apps/v1 +true +Deployment$",
        r"(?m)^networkpolicies +netpol +networking.k8s.io/v1 +true +NetworkPolicy$",
        r"(?m)^nodes +no +v1 +false +Node$",
    ] {
        matches(&all, line)?;
    }
    let apps = k.run("api-resources --api-group=apps -o name")?;
    let names =
        ["controllerrevisions.apps", "daemonsets.apps", "deployments.apps", "replicasets.apps", "statefulsets.apps"];
    equal(apps.lines().collect(), names.to_vec())?;
    matches(&k.run("api-versions")?, r"(?m)^policy/v1$")
}

fn version_and_cluster_info(k: &Kubectl) -> Result<(), String> {
    matches(&k.run("version")?, r"Server Version: v1\.34\.")?;
    matches(&k.run("cluster-info")?, "Kubernetes control plane.* is running at .*http://127.0.0.1:")?;
    equal(k.run("get --raw /readyz")?, "ok".into())
}

fn custom_resources(k: &Kubectl) -> Result<(), String> {
    let group = format!("{}.example.com", k.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object", "required": ["size"],
                    "properties": {"size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red"}},
                }}}},
            }],
        },
    });
    k.apply(&definition)?;
    k.run(&format!("wait --for=condition=Established crd/gadgets.{group} --timeout=10s"))?;
    let gadget = |size: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": size}});
    equal(k.apply(&gadget(json!(3)))?, format!("gadget.{group}/g created\n"))?;
    matches(&k.run(&format!("get gadgets.{group}"))?, r"^NAME +SIZE\ng +3\n$")?;
    equal(k.run(&format!("get gadgets.{group} g -o jsonpath={{.spec.color}}"))?, "red".into())?;
    let error = k.with("apply -f -", &gadget(json!(0)).to_string()).bad(1)?;
    matches(&error, r"spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1")?;
    k.run(&format!("delete crd gadgets.{group} --timeout=20s"))?;
    let error = k.with(&format!("get gadgets.{group}"), "").bad(1)?;
    matches(&error, "the server doesn't have a resource type")
}

fn drain_and_cordon(_: &Kubectl) -> Result<(), String> {
    // A lab of its own: a drained node is empty for everybody.
    let own = start();
    let k = Kubectl::at(own.lab.clone())?;
    let node = k.run("get nodes -o jsonpath={.items[0].metadata.name}")?;
    k.deployed("back", 1)?;
    k.run("create poddisruptionbudget guard --selector=app=back --min-available=1")?;
    k.run("wait --for=jsonpath={.status.currentHealthy}=1 pdb/guard --timeout=10s")?;
    equal(k.run(&format!("cordon {node}"))?, format!("node/{node} cordoned\n"))?;
    matches(&k.run("get nodes")?, "Ready,SchedulingDisabled")?;
    let guarded = k.with(&format!("drain {node} --force --timeout=3s"), "").bad(1)?;
    matches(&guarded, "Cannot evict pod as it would violate the pod's disruption budget")?;
    k.run("delete pdb guard")?;
    let drained = k.run(&format!("drain {node} --force --timeout=60s"))?;
    matches(&drained, &format!("pod/back-\\S+ evicted(?s:.*)node/{node} drained"))?;
    k.run("wait --for=jsonpath={.status.phase}=Pending pod -l app=back --timeout=10s")?;
    matches(&k.run("describe pods -l app=back")?, "node\\(s\\) were unschedulable")?;
    equal(k.run(&format!("uncordon {node}"))?, format!("node/{node} uncordoned\n"))?;
    k.run("wait --for=condition=Ready pod -l app=back --timeout=20s").map(drop)
}

fn jobs(k: &Kubectl) -> Result<(), String> {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "never"},
        "spec": {"parallelism": 0, "activeDeadlineSeconds": 2, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "absent:1", "imagePullPolicy": "Never"}],
        }}},
    });
    k.apply(&job)?;
    k.run("wait --for=condition=Failed job/never --timeout=10s")?;
    matches(&k.run("describe job never")?, "DeadlineExceeded")?;
    matches(&k.run("get jobs")?, r"^NAME +STATUS +COMPLETIONS +DURATION +AGE\nnever +Failed +0/1")
}

fn expose(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    equal(k.run("expose deploy back --port=80 --target-port=8002")?, "service/back exposed\n".into())?;
    matches(&k.run("get svc back")?, r"back +ClusterIP +\d+\.\d+\.\d+\.\d+ +<none> +80/TCP +\d+s\n$")?;
    matches(
        &k.run("get endpointslices -l kubernetes.io/service-name=back")?,
        r"back-\w{5} +IPv4 +8002 +\d+\.\d+\.\d+\.\d+ ",
    )
}

fn events(k: &Kubectl) -> Result<(), String> {
    k.deployed("back", 1)?;
    let events = k.run("get events --sort-by=.metadata.creationTimestamp")?;
    for reason in ["Scheduled", "Created", "Started", "SuccessfulCreate", "ScalingReplicaSet"] {
        matches(&events, reason)?;
    }
    matches(&k.run("events --for deployment/back")?, "Scaled up replica set back-")
}
