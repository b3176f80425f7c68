//! Calls of kind and docker.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::KindError;

/// How much of what a program said stands in an error, in characters.
const WHY_LENGTH: usize = 600;

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
    let path = std::env::var_os("PATH").unwrap_or_default();
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

/// Creates a cluster. What kind says of its progress goes to standard error as it comes.
pub(super) fn create(
    name: &str,
    config: &Path,
    image: Option<&str>,
    ready_within: Duration,
    kubeconfig: &Path,
) -> Result<(), KindError> {
    let failed = |why: String| KindError::Failed { doing: format!("create kind cluster {name}"), why };
    let mut command = Command::new("kind");
    command.args(["create", "cluster", "--name", name, "--wait", &format!("{}s", ready_within.as_secs())]);
    command.arg("--config").arg(config).arg("--kubeconfig").arg(kubeconfig);
    command.args(image.into_iter().flat_map(|image| ["--image", image]));
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
        told.push_str(&line);
        told.push('\n');
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(why(name, &told));
    }
    if told.contains("WARNING: Timed out waiting for Ready") {
        return Err(KindError::NotReady { name: name.into(), within: ready_within });
    }
    Ok(())
}

/// What went wrong, from kind's words.
fn why(name: &str, told: &str) -> KindError {
    let name = name.to_owned();
    let line = |part: &str| told.lines().find(|line| line.contains(part)).map(|line| line.trim().to_owned());
    if let Some(taken) = line("port is already allocated").or_else(|| line("address already in use")) {
        return KindError::PortTaken { port: port(&taken).unwrap_or_else(|| "of the configuration".into()), name };
    }
    for part in ["failed to pull image", "No such image", "manifest unknown", "pull access denied"] {
        if let Some(why) = line(part) {
            return KindError::NoImage { name, why: shortened(&why) };
        }
    }
    for part in [
        "unable to decode config",
        "invalid configuration",
        "unknown apiVersion",
        "error converting YAML",
        "error unmarshaling",
    ] {
        if let Some(why) = line(part) {
            return KindError::BadConfig { name, why: shortened(&why) };
        }
    }
    KindError::Failed { doing: format!("create kind cluster {name}"), why: shortened(told) }
}

/// `30080` of `… Bind for 127.0.0.1:30080 failed: port is already allocated`.
fn port(line: &str) -> Option<String> {
    let words = line.split([' ', '/']).filter_map(|word| word.rsplit_once(':'));
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

    #[test]
    fn kinds_words_are_understood() {
        let taken = "ERROR: failed to create cluster: command \"docker run\" failed\n\
            docker: Error response from daemon: driver failed: Bind for 127.0.0.1:30080 failed: port is already allocated.";
        let error = why("steadfast", taken).to_string();
        assert!(error.contains("port 30080 of this machine is taken"), "{error}");
        let absent = "ERROR: failed to create cluster: failed to pull image \"nobody/node:v1\": command failed";
        let error = why("steadfast", absent).to_string();
        assert!(error.contains("nobody/node:v1") && error.contains("STEADFAST_KIND_IMAGE"), "{error}");
        let error = why("steadfast", "something else\nat the end").to_string();
        assert!(error.ends_with("at the end"), "{error}");
    }

    #[test]
    fn a_long_text_is_shortened_to_its_end() {
        assert_eq!(shortened(" short "), "short");
        let long = "ä".repeat(2 * WHY_LENGTH) + "end";
        let short = shortened(&long);
        assert!(short.ends_with("end") && short.chars().count() == WHY_LENGTH);
    }
}
