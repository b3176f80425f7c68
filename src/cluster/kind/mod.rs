//! A kind cluster on this machine: made if it is absent, reused if it is there, deleted only on request.
//!
//! What is known of it lies in the state folder: a lock, so that two test processes that start at once make one
//! cluster; a kubeconfig of its own, so that the user's is never touched; and a record, by which a cluster that a
//! killed run left half-made is told from one that is ready.

mod error;
mod images;
mod node_ports;
mod ready;
mod tools;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::network::NetworkCluster;
use crate::clock::Clock;
use crate::kubernetes::Context;
use crate::rollback::StateDir;

pub use error::KindError;
pub(super) use images::{Images, from_scratch};
pub(super) use node_ports::{Mapped, mapped};
use tools::{Node, Progress, Source};

/// The cluster that is made without a configuration of the user's: one node, with the ports of the shop.
const DEFAULT_CONFIG: &str = include_str!("../../../kind-config.yaml");

/// The file that a working directory may have for it.
const CONFIG_FILE: &str = "kind-config.yaml";

/// How long a new cluster may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// How long after kind began with the nodes of a cluster their containers are created, at most.
const NODES_WITHIN: Duration = Duration::from_secs(30);

/// A kind cluster by name. Nothing happens before [`create_or_reuse`](Self::create_or_reuse).
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `.create_or_reuse().await`"]
pub struct Kind {
    name: String,
    config: Option<PathBuf>,
    image: Option<String>,
    ready_within: Duration,
}

/// How far a cluster has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    Creating,
    Ready,
}

/// What this machine remembers of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    stage: Stage,
    /// The SHA-256 of its configuration.
    config: String,
    /// The images that were loaded into it: their names and ids.
    #[serde(default)]
    images: BTreeMap<String, String>,
    /// The containers of its nodes: those of another cluster of this name are others.
    #[serde(default)]
    nodes: Vec<String>,
    /// When kind began to create them, as long as it has not come further.
    #[serde(default)]
    nodes_begun: Option<Timestamp>,
}

/// A cluster that runs, or has just been started.
struct Up {
    kubeconfig: PathBuf,
    /// When its stopped nodes were started again, if they were.
    started: Option<Timestamp>,
}

/// A cluster of this machine while nobody else may change it.
struct Held {
    name: String,
    folder: PathBuf,
    _lock: File,
}

impl Kind {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), config: None, image: None, ready_within: READY_WITHIN }
    }

    /// The kind configuration to make it from: by default `kind-config.yaml` of the working directory, else one node
    /// with the ports 30080 and 30090 on 127.0.0.1.
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(path.into());
        self
    }

    /// The node image: by default `STEADFAST_KIND_IMAGE`, else kind's own.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// How long a new one may take to get ready; 3 min by default.
    pub fn ready_within(mut self, duration: Duration) -> Self {
        self.ready_within = duration;
        self
    }

    /// The cluster, made if there is none. Its progress goes to standard error.
    ///
    /// # Errors
    /// Docker or kind is missing, the configuration is wrong or another one than the cluster's, a port is taken, the
    /// image cannot be had; a cluster that could not be made is deleted again. One that is there does not answer.
    pub async fn create_or_reuse(&self) -> Result<Cluster, super::ClusterError> {
        self.open("experiment").await
    }

    /// As [`create_or_reuse`](Self::create_or_reuse), with the witness' image in it; outputs go to a folder named
    /// after `test`.
    pub(super) async fn open(&self, test: &str) -> Result<Cluster, super::ClusterError> {
        let context = self.context().await?;
        if crate::variables::text(crate::kubernetes::WITNESS_IMAGE_VARIABLE).is_none()
            && let Err(error) = Images::of(&self.name).witness().await
        {
            // Most of a cluster is of use without: a fault that needs one will say that nothing proves it.
            crate::journal::complain(&format!("no witness on kind cluster {}: {error}", self.name));
        }
        let network = NetworkCluster::open(context, Some(self.name.clone())).await?;
        Cluster::on_network(network, test)
    }

    /// Where its kubeconfig lies, once it has been made.
    ///
    /// # Errors
    /// The name cannot be a cluster's, or there is no state folder.
    pub fn kubeconfig(&self) -> Result<PathBuf, KindError> {
        Ok(kubeconfig(&self.name, &folder(&self.name)?))
    }

    /// Deletes it, and what this machine remembers of it. One that is not there is no error.
    ///
    /// # Errors
    /// Docker or kind is missing, or kind fails.
    pub async fn delete(&self) -> Result<(), KindError> {
        let kind = self.clone();
        blocking(move || {
            tools::check()?;
            let held = Held::take(&kind.name)?;
            tools::delete(&kind.name, &held.kubeconfig())?;
            held.forget()
        })
        .await
    }

    /// The context of the cluster, made if there is none, started if it was stopped; it answers.
    pub(super) async fn context(&self) -> Result<Context, super::ClusterError> {
        let kind = self.clone();
        let up = blocking(move || kind.up()).await?;
        let context = Context::in_file(&up.kubeconfig, &format!("kind-{}", self.name)).await?;
        match up.started {
            Some(since) => ready::again(&self.name, &context, since, self.ready_within).await?,
            None => ready::answers(&self.name, &context).await?,
        }
        Ok(context)
    }

    fn up(&self) -> Result<Up, KindError> {
        tools::check()?;
        let held = Held::take(&self.name)?;
        let (path, config) = self.configuration()?;
        let sum = hex(digest::digest(&digest::SHA256, config.as_bytes()).as_ref());
        if tools::clusters()?.contains(&self.name) {
            let nodes = tools::nodes(&self.name)?;
            // That of another cluster of this name says nothing of this one.
            let record = held.record()?.filter(|record| record.stage == Stage::Creating || record.is_of(&nodes));
            if let Some(left) = record.as_ref().filter(|record| record.stage == Stage::Creating)
                && !left.began(&nodes)
            {
                return Err(KindError::NotProved { name: self.name.clone(), record: held.record_path() });
            }
            if let Some(up) = self.reuse(&held, record, &nodes, &path, &sum)? {
                return Ok(up);
            }
            tools::delete(&self.name, &held.kubeconfig())?;
        }
        self.make(&held, &path, &config, sum)
    }

    /// The cluster that is there, running; `None` if it is to be made anew.
    fn reuse(
        &self,
        held: &Held,
        record: Option<Record>,
        nodes: &[Node],
        config: &Path,
        sum: &str,
    ) -> Result<Option<Up>, KindError> {
        let record = match record {
            Some(record) if record.stage == Stage::Creating => {
                crate::journal::complain(&format!("kind cluster {} was left half-made; making it anew", self.name));
                return Ok(None);
            }
            Some(record) if self.config.is_some() && record.config != sum => {
                return Err(KindError::OtherConfig { name: self.name.clone(), config: config.to_owned() });
            }
            Some(record) => record,
            // Somebody made it by hand: it is theirs, and good enough.
            None => Record { nodes: ids(nodes), ..Record::new(Stage::Ready, sum) },
        };
        // It may hold what somebody wants to keep: only who asks for it has it deleted.
        let stopped = |error: KindError| KindError::Stopped { name: self.name.clone(), why: error.to_string() };
        let started = tools::start(&self.name, nodes).map_err(stopped)?;
        held.write(&record)?;
        tools::write_kubeconfig(&self.name, &held.kubeconfig())?;
        Ok(Some(Up { kubeconfig: held.kubeconfig(), started }))
    }

    fn make(&self, held: &Held, path: &Path, config: &str, sum: String) -> Result<Up, KindError> {
        let mut record = Record::new(Stage::Creating, &sum);
        held.write(&record)?;
        let kubeconfig = held.kubeconfig();
        let image = self.image.clone().or_else(|| crate::variables::text("STEADFAST_KIND_IMAGE"));
        let file = tempfile::Builder::new().prefix("kind-config-").suffix(".yaml").tempfile();
        let written = file.and_then(|file| fs::write(file.path(), config).map(|()| file));
        let made = written.map_err(KindError::file("write", path)).and_then(|file| {
            let from = Source { config: file.path(), named: path, image: image.as_deref() };
            tools::create(&self.name, &from, self.ready_within, &kubeconfig, |progress| {
                record.note(progress, &self.name)?;
                held.write(&record)
            })
        });
        if let Err(error) = made {
            // What kind leaves of a failed cluster would be in the way of the next; another's cluster is left alone.
            let left = tools::nodes(&self.name)?;
            let ours = left.is_empty() || record.began(&left);
            match if ours { tools::delete(&self.name, &kubeconfig) } else { Ok(()) } {
                Ok(()) => held.forget()?,
                // The record stays: by it the next run knows that it is half-made.
                Err(left) => crate::journal::complain(&left.to_string()),
            }
            return Err(error);
        }
        (record.stage, record.nodes_begun) = (Stage::Ready, None);
        record.nodes = ids(&tools::nodes(&self.name)?);
        held.write(&record)?;
        Ok(Up { kubeconfig, started: None })
    }

    /// Where the configuration comes from, and its text.
    fn configuration(&self) -> Result<(PathBuf, String), KindError> {
        let local = Path::new(CONFIG_FILE);
        match &self.config {
            Some(path) => Ok((path.clone(), read_config(path)?)),
            None if local.is_file() => Ok((local.to_owned(), read_config(local)?)),
            None => Ok((local.to_owned(), DEFAULT_CONFIG.to_owned())),
        }
    }
}

impl Record {
    fn new(stage: Stage, config: &str) -> Self {
        Self { stage, config: config.into(), images: BTreeMap::new(), nodes: Vec::new(), nodes_begun: None }
    }

    /// What proves later that the containers are those of this making.
    fn note(&mut self, progress: Progress, cluster: &str) -> Result<(), KindError> {
        match progress {
            Progress::NodesBegin => self.nodes_begun = Some(Clock::real().now()),
            Progress::NodesAreThere => self.nodes = ids(&tools::nodes(cluster)?),
        }
        Ok(())
    }

    /// Whether these nodes are those whose making it is of: by their ids; or, where none was noted, by the instant at
    /// which they were created.
    fn began(&self, nodes: &[Node]) -> bool {
        let known = |node: &Node| self.nodes.contains(&node.id);
        let then = |node: &Node| {
            let after = self.nodes_begun.map(|begun| node.created.duration_since(begun));
            // Docker's clock counts whole milliseconds in places.
            after.is_some_and(|after| {
                after >= jiff::SignedDuration::from_secs(-1) && after.unsigned_abs() <= NODES_WITHIN
            })
        };
        if self.nodes.is_empty() { nodes.iter().all(then) } else { nodes.iter().all(known) }
    }

    /// Whether it was written of the cluster that has these nodes.
    fn is_of(&self, nodes: &[Node]) -> bool {
        self.nodes.is_empty() || self.nodes == ids(nodes)
    }
}

fn ids(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.id.clone()).collect()
}

fn read_config(path: &Path) -> Result<String, KindError> {
    fs::read_to_string(path).map_err(|source| KindError::NoConfig { path: path.to_owned(), source })
}

/// The folder of what is known of a cluster; its name is one that a cluster can have.
fn folder(name: &str) -> Result<PathBuf, KindError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(['.', '-']) {
        return Err(KindError::BadName { name: name.into() });
    }
    Ok(StateDir::from_env()?.kind()?)
}

fn kubeconfig(name: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{name}.kubeconfig"))
}

impl Held {
    /// Waits until nobody else changes this cluster.
    fn take(name: &str) -> Result<Self, KindError> {
        let folder = folder(name)?;
        let path = folder.join(format!("{name}.lock"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(KindError::file("lock", &path))?;
        Ok(Self { name: name.into(), folder, _lock: lock })
    }

    fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.name, &self.folder)
    }

    fn record_path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    fn record(&self) -> Result<Option<Record>, KindError> {
        let path = self.record_path();
        match fs::read(&path) {
            // One that cannot be read says as little as none.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KindError::file("read", &path)(error)),
        }
    }

    fn write(&self, record: &Record) -> Result<(), KindError> {
        let path = self.record_path();
        let text = serde_json::to_vec_pretty(record).map_err(|error| KindError::file("write", &path)(error.into()))?;
        crate::journal::write_atomically(&path, &text).map_err(|error| KindError::State(error.to_string()))
    }

    fn forget(&self) -> Result<(), KindError> {
        for path in [self.record_path(), self.kubeconfig()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(KindError::file("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KindError> + Send + 'static,
) -> Result<T, KindError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(KindError::State(error.to_string())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, created: &str) -> Node {
        Node { id: id.into(), name: "n".into(), state: "running".into(), created: created.parse().unwrap() }
    }

    #[test]
    fn only_nodes_of_its_own_making_are_a_left_over_records() {
        let mut left = Record::new(Stage::Creating, "");
        let ours = [node("a", "2026-01-01T00:00:05Z"), node("b", "2026-01-01T00:00:06Z")];
        let later = [node("c", "2026-01-01T00:00:05Z"), node("d", "2026-01-01T00:01:06Z")];
        assert!(!left.began(&ours), "killed before kind made a node: these are another's");
        left.nodes_begun = Some("2026-01-01T00:00:00Z".parse().unwrap());
        assert!(left.began(&ours) && !left.began(&later), "killed while nodes were made");
        left.nodes_begun = Some("2026-01-01T00:00:20Z".parse().unwrap());
        assert!(!left.began(&ours), "they were there before");
        left.nodes = vec!["a".into(), "b".into()];
        assert!(left.began(&ours) && left.began(&ours[..1]) && !left.began(&later), "killed with its nodes noted");
    }

    #[test]
    fn a_record_without_proof_is_still_read() {
        let read: Record = serde_json::from_str(r#"{"stage": "creating", "config": "x"}"#).unwrap();
        assert_eq!(read, Record::new(Stage::Creating, "x"));
    }
}
