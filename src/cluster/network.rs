//! A cluster over a network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::ClusterError;
use super::kind::{self, Mapped};
use crate::clock::Clock;
use crate::kubernetes::{Context, KubeUndoer, Kubernetes, ServiceAddresses};
use crate::rollback::{Connect, Header, IN_CLUSTER, Ledger, LedgerError, StateDir, Undoer, sweep_command, this_host};
use crate::transport::{Network, Transport};

/// A context and who the cluster behind it is.
pub(super) struct NetworkCluster {
    context: Context,
    uid: String,
    /// The name of the kind cluster, where it is one.
    kind: Option<String>,
    /// Of a kind cluster: where its node ports are on this machine.
    mapped: Mapped,
}

impl NetworkCluster {
    /// Asks the cluster who it is, so that one that does not answer is known before anything is planned; then undoes
    /// what dead runs left there, once in this process.
    pub(super) async fn open(context: Context, kind: Option<String>) -> Result<Self, ClusterError> {
        let network = Self::reach(context, kind).await?;
        super::sweep::once(&network).await?;
        Ok(network)
    }

    /// Asks the cluster who it is, and leaves it as it is.
    pub(super) async fn reach(context: Context, kind: Option<String>) -> Result<Self, ClusterError> {
        let uid = context.connect()?.cluster_uid().await.map_err(|error| context.unreachable(error))?;
        let mapped = match kind.clone() {
            Some(name) => kind::blocking(move || kind::mapped(&name)).await?,
            None => Mapped::new(),
        };
        Ok(Self { context, uid, kind, mapped })
    }

    /// The context.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The uid of its `kube-system`.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// The name of the kind cluster, where it is one.
    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Where a node port is on this machine, if it is known.
    pub(super) fn mapped(&self, node_port: u16) -> Option<SocketAddr> {
        self.mapped.get(&node_port).copied()
    }

    pub(super) fn describe(&self) -> String {
        format!("context {:?} ({})", self.context.name, self.context.server)
    }

    /// The file that the context is from, if that is not the user's own.
    fn kubeconfig(&self) -> Option<PathBuf> {
        self.context.kubeconfig.clone().or_else(|| crate::variables::path("KUBECONFIG"))
    }

    /// How a person sweeps it, also in another shell, and the kubeconfig for that.
    pub(super) fn sweep(&self) -> (String, Option<PathBuf>) {
        let kubeconfig = self.kubeconfig();
        (sweep_command(&self.context.name, kubeconfig.as_deref()), kubeconfig)
    }

    pub(super) fn kubernetes(&self) -> Result<Kubernetes, ClusterError> {
        Ok(self.context.connect()?)
    }

    pub(super) fn transport(&self) -> Result<Arc<dyn Transport>, ClusterError> {
        let kubernetes = self.context.connect()?;
        let services = match () {
            () if self.kind.is_some() => ServiceAddresses::of_kind(kubernetes, self.mapped.clone()),
            () if self.context.name == IN_CLUSTER => ServiceAddresses::inside(kubernetes),
            () if self.context.is_of_lab() => ServiceAddresses::on_this_machine(kubernetes),
            () if self.context.is_on_loopback() => ServiceAddresses::on_loopback(kubernetes),
            // A node port of this machine would be somebody else's.
            () => ServiceAddresses::from_afar(kubernetes),
        };
        Ok(Arc::new(Network::new(Some(Arc::new(services)))?))
    }

    pub(super) fn undoer(&self, kubernetes: &Kubernetes) -> Arc<dyn Undoer> {
        let context = self.context.clone();
        let connect: Connect = Arc::new(move || {
            let context = context.clone();
            Box::pin(async move {
                let kubernetes = context.connect().map_err(|error| error.to_string())?;
                Ok(Box::new(KubeUndoer::awaited(kubernetes)) as Box<dyn Undoer>)
            })
        });
        Arc::new(KubeUndoer::new(kubernetes.clone(), connect))
    }

    pub(super) fn ledger(&self, run: &str, clock: &Clock) -> Result<Ledger, LedgerError> {
        let header = Header {
            run: run.to_owned(),
            cluster: self.uid.clone(),
            server: self.context.server.clone(),
            context: self.context.name.clone(),
            kubeconfig: self.kubeconfig(),
            pid: std::process::id(),
            host: this_host(),
            started: clock.now(),
        };
        Ok(Ledger::create(&StateDir::from_env()?, header)?.leashed())
    }
}
