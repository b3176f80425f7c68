//! Calls of kind and docker.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;

use super::KindError;
use crate::clock::Clock;

/// How much of what a program said stands in an error, in characters.
const WHY_LENGTH: usize = 600;

/// What kind begins with when it could make no cluster.
const FAILED: &str = "ERROR: failed to create cluster: ";

/// Whether docker and kind are there, and an engine answers.
pub(super) fn check() -> Result<(), KindError> {
    check_docker()?;
    if found("kind") { Ok(()) } else { Err(KindError::NoProgram { program: "kind", from: "https://kind.sigs.k8s.io" }) }
}

pub(super) fn check_docker() -> Result<(), KindError> {
    if !found("docker") {
        return Err(KindError::NoProgram { program: "docker", from: "https://docs.docker.com/engine/install" });
    }
    let asked = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    match asked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(KindError::NoDocker { why: said(&output) }),
        Err(error) => Err(KindError::NoDocker { why: error.to_string() }),
    }
}

fn found(program: &str) -> bool {
    let path = crate::variables::path("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a program to its end; its output, or what it complained of.
pub(super) fn run(doing: &str, program: &str, args: &[&str]) -> Result<String, KindError> {
    let failed = |why: String| KindError::Failed { doing: doing.to_owned(), why };
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(said(&output)))
}

fn said(output: &Output) -> String {
    shortened(&String::from_utf8_lossy(&output.stderr))
}

/// The end of a text, where programs say what went wrong.
pub(super) fn shortened(text: &str) -> String {
    let text = text.trim();
    let from = text.char_indices().rev().nth(WHY_LENGTH - 1).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

/// The names of the kind clusters of this machine.
pub(super) fn clusters() -> Result<Vec<String>, KindError> {
    Ok(run("list kind clusters", "kind", &["get", "clusters"])?.lines().map(str::to_owned).collect())
}

/// A container that is a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) name: String,
    /// `running`, `exited`, `paused` and other words of docker's.
    pub(super) state: String,
    pub(super) created: Timestamp,
}

/// The nodes of a cluster, in the order of their ids.
pub(super) fn nodes(cluster: &str) -> Result<Vec<Node>, KindError> {
    let of = format!("label=io.x-k8s.kind.cluster={cluster}");
    let doing = format!("look at the nodes of kind cluster {cluster}");
    let ids = run(&doing, "docker", &["ps", "--all", "--no-trunc", "--filter", &of, "--format", "{{.ID}}"])?;
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // Its list tells ages in words; here is the instant.
    let shape = ["inspect", "--type=container", "--format", "{{.Id}} {{.Name}} {{.State.Status}} {{.Created}}"];
    let told = run(&doing, "docker", &[&shape[..], &ids].concat())?;
    let mut nodes: Vec<Node> = told.lines().filter_map(node).collect();
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(nodes)
}

fn node(line: &str) -> Option<Node> {
    let mut words = line.split_whitespace();
    let (id, name, state) = (words.next()?, words.next()?, words.next()?);
    let (name, created) = (name.trim_start_matches('/'), words.next()?.parse().ok()?);
    Some(Node { id: id.into(), name: name.into(), state: state.into(), created })
}

/// Starts those nodes that do not run; when, if any was down and not only paused.
pub(super) fn start(cluster: &str, nodes: &[Node]) -> Result<Option<Timestamp>, KindError> {
    let mut since = None;
    for node in nodes.iter().filter(|node| node.state != "running") {
        crate::journal::complain(&format!("kind cluster {cluster}: starting {} ({})", node.name, node.state));
        let verb = if node.state == "paused" { "unpause" } else { "start" };
        if verb == "start" {
            since = since.or(Some(Clock::real().now()));
        }
        run(&format!("start node {}", node.name), "docker", &[verb, &node.id])?;
    }
    Ok(since)
}

/// What a cluster is made from.
pub(super) struct Source<'a> {
    pub(super) config: &'a Path,
    /// The user's name for the configuration.
    pub(super) named: &'a Path,
    pub(super) image: Option<&'a str>,
}

/// How far kind has come with a cluster, as far as that matters to who may be killed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is about to create the containers.
    NodesBegin,
    /// All of them are there.
    NodesAreThere,
}

fn progress(line: &str) -> Option<Progress> {
    match line.trim().split_once(' ')? {
        ("•", what) if what.starts_with("Preparing nodes") => Some(Progress::NodesBegin),
        ("✓", what) if what.starts_with("Preparing nodes") => Some(Progress::NodesAreThere),
        _ => None,
    }
}

/// Creates a cluster. What kind says of its progress goes to standard error as it comes.
pub(super) fn create(
    name: &str,
    from: &Source<'_>,
    ready_within: Duration,
    kubeconfig: &Path,
    mut note: impl FnMut(Progress) -> Result<(), KindError>,
) -> Result<(), KindError> {
    let failed = |why: String| KindError::Failed { doing: format!("create kind cluster {name}"), why };
    let mut command = Command::new("kind");
    command.args(["create", "cluster", "--name", name, "--wait", &format!("{}s", ready_within.as_secs())]);
    command.arg("--config").arg(from.config).arg("--kubeconfig").arg(kubeconfig);
    command.args(from.image.into_iter().flat_map(|image| ["--image", image]));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    let mut told = String::new();
    for line in
        BufReader::new(child.stderr.take().into_iter().next().ok_or_else(|| failed("no output".into()))?).lines()
    {
        let Ok(line) = line else { break };
        if line.trim_start().starts_with(['•', '✓', '✗']) || line.starts_with("Creating cluster") {
            crate::journal::complain(&format!("kind: {}", line.trim()));
        }
        if let Some(progress) = progress(&line)
            && let Err(error) = note(progress)
        {
            // It costs a proof, and no cluster.
            crate::journal::complain(&error.to_string());
        }
        told.push_str(&line);
        told.push('\n');
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(why(name, from, &told));
    }
    if told.contains("WARNING: Timed out waiting for Ready") {
        return Err(KindError::NotReady { name: name.into(), within: ready_within });
    }
    Ok(())
}

/// What went wrong, from kind's words.
fn why(name: &str, from: &Source<'_>, told: &str) -> KindError {
    let name = name.to_owned();
    let line = |part: &str| told.lines().find(|line| line.contains(part)).map(str::trim);
    if let Some(taken) = line("port is already allocated").or_else(|| line("address already in use")) {
        return KindError::PortTaken { port: port(taken).unwrap_or_else(|| "of the configuration".into()), name };
    }
    for part in ["failed to pull image", "No such image", "manifest unknown", "pull access denied"] {
        if let Some(why) = line(part) {
            let why = why.strip_prefix(FAILED).unwrap_or(why);
            let more = line("Error response from daemon").map(|more| format!("; {more}")).unwrap_or_default();
            return KindError::NoImage { name, why: shortened(&format!("{why}{more}")) };
        }
    }
    if let Some(why) = line("could not find a log line") {
        let image = from.image.unwrap_or("the default").to_owned();
        return KindError::NoNode { name, image, why: why.strip_prefix(FAILED).unwrap_or(why).to_owned() };
    }
    // It reads the configuration before it says that it begins.
    if let Some((before, why)) = told.split_once(FAILED)
        && !before.contains("Creating cluster")
        && !why.contains("already exist")
    {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        return KindError::BadConfig { name, config: from.named.to_owned(), why: shortened(&why) };
    }
    KindError::Failed { doing: format!("create kind cluster {name}"), why: shortened(told) }
}

/// `30080` of `… Bind for 127.0.0.1:30080 failed: port is already allocated` and of
/// `… listen tcp4 127.0.0.1:30080: bind: address already in use`.
fn port(line: &str) -> Option<String> {
    let words = line.split([' ', '/']).filter_map(|word| word.trim_end_matches(':').rsplit_once(':'));
    words.map(|(_, port)| port.to_owned()).find(|port| port.parse::<u16>().is_ok())
}

pub(super) fn delete(name: &str, kubeconfig: &Path) -> Result<(), KindError> {
    let kubeconfig = kubeconfig.to_string_lossy();
    let args = ["delete", "cluster", "--name", name, "--kubeconfig", &*kubeconfig];
    run(&format!("delete kind cluster {name}"), "kind", &args).map(drop)
}

/// Writes the kubeconfig of a cluster that is there, for this user alone.
pub(super) fn write_kubeconfig(name: &str, path: &Path) -> Result<(), KindError> {
    let doing = format!("read the kubeconfig of kind cluster {name}");
    let text = run(&doing, "kind", &["get", "kubeconfig", "--name", name])?;
    let write = || {
        let beside = path.with_extension("kubeconfig.new");
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    write().map_err(KindError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let from = Source { config: Path::new("/tmp/copy.yaml"), named: Path::new("my.yaml"), image: Some("a/b:1") };
        why("steadfast", &from, text).to_string()
    }

    #[test]
    fn kinds_words_are_understood() {
        let bind = "Creating cluster\nERROR: failed to create cluster: command \"docker run\" failed\n\
            docker: Error response from daemon: driver failed: Bind for 127.0.0.1:30080 failed: port is already allocated.";
        let proxy = "docker: Error response from daemon: driver failed: Error starting userland proxy: \
            listen tcp4 127.0.0.1:30080: bind: address already in use";
        for text in [bind, proxy] {
            assert!(told(text).contains("port 30080 of this machine is taken"), "{}", told(text));
        }
        let absent = told(
            "Creating cluster\nERROR: failed to create cluster: failed to pull image \"nobody/node:v1\": failed\n\
            Command Output: Error response from daemon: no such host",
        );
        for part in ["(failed to pull image \"nobody/node:v1\"", "no such host)", "STEADFAST_KIND_IMAGE"] {
            assert!(absent.contains(part), "{absent}");
        }
        let error = told("Creating cluster\nERROR: failed to create cluster: could not find a log line that matches x");
        assert!(error.contains("is a/b:1 a node image of kind"), "{error}");
        let error = told("Creating cluster\nERROR: failed to create cluster: something else\nat the end");
        assert!(
            error.starts_with("failed to create kind cluster steadfast: Creating") && error.ends_with("at the end")
        );
    }

    #[test]
    fn what_kind_says_before_it_begins_is_of_the_configuration() {
        let error =
            told("ERROR: failed to create cluster: unable to decode config: yaml: errors:\n  line 3: no nodez\n");
        assert!(
            error.contains("my.yaml of cluster steadfast: unable to decode config: yaml: errors: line 3: no nodez;")
        );
        let exists = told("ERROR: failed to create cluster: node(s) already exist for a cluster with the name \"x\"");
        assert!(exists.starts_with("failed to create kind cluster steadfast: ERROR"), "{exists}");
    }

    #[test]
    fn dockers_list_of_nodes_is_read() {
        let read = node("0123 /steadfast-control-plane exited 2026-11-25T07:58:37.123456789Z").unwrap();
        assert_eq!((&*read.id, &*read.name, &*read.state), ("0123", "steadfast-control-plane", "exited"));
        assert_eq!(read.created.to_string(), "2026-11-25T07:58:37.123456789Z");
        assert_eq!(node(""), None);
    }

    #[test]
    fn kinds_progress_is_read() {
        assert_eq!(progress(" • Preparing nodes 📦   ..."), Some(Progress::NodesBegin));
        assert_eq!(progress(" ✓ Preparing nodes 📦"), Some(Progress::NodesAreThere));
        assert_eq!(progress(" ✗ Preparing nodes 📦").or(progress("")).or(progress(" ✓ Starting it")), None);
    }

    #[test]
    fn a_long_text_is_shortened_to_its_end() {
        assert_eq!(shortened(" short "), "short");
        let long = "ä".repeat(2 * WHY_LENGTH) + "end";
        let short = shortened(&long);
        assert!(short.ends_with("end") && short.chars().count() == WHY_LENGTH);
    }
}
