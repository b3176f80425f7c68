//! Where a document runs that acts on no cluster: this machine.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::BoxError;
use crate::clock::{Clock, Seed};
use crate::experiment::{Environment, ExperimentError, Right};
use crate::rollback::{InDrop, Ledger, Standing, Undo, UndoOutcome, Undoer};
use crate::transport::{Address, Connection, Failure, Network, Request, Response, Transport};

/// This machine, without a cluster: nothing can be injected here.
pub(crate) struct Machine {
    clock: Clock,
    seed: Seed,
    network: Arc<OnDemand>,
}

impl Machine {
    pub(crate) fn new() -> Result<Self, ExperimentError> {
        let cluster = |source: BoxError| ExperimentError::Cluster {
            doing: "set up the network",
            cluster: "this machine".to_owned(),
            source,
        };
        let seed = Seed::from_env_or_entropy().map_err(|error| cluster(error.into()))?;
        Ok(Self { clock: Clock::real(), seed, network: Arc::default() })
    }
}

impl Environment for Machine {
    fn describe(&self) -> String {
        "this machine, no cluster".to_owned()
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    fn new_run(&self) -> String {
        let mut rng = self.seed.rng("run");
        std::iter::repeat_with(|| rng.lowercase()).take(8).collect()
    }

    fn transport(&self) -> Arc<dyn Transport> {
        self.network.clone()
    }

    fn undoer(&self) -> Arc<dyn Undoer> {
        Arc::new(Nothing)
    }

    fn ledger<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Ledger, BoxError>> {
        Box::pin(async move { Ok(Ledger::memory(run)) })
    }

    fn lacking<'a>(&'a self, _: &'a [Right]) -> BoxFuture<'a, Result<Vec<Right>, BoxError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn undo_layers(&self) -> Vec<String> {
        Vec::new()
    }

    fn outputs(&self) -> PathBuf {
        PathBuf::from(".")
    }
}

/// The network, made when somebody first asks for it: the machine's root certificates take longer to read than most
/// documents to run.
#[derive(Default)]
struct OnDemand(OnceCell<Network>);

impl OnDemand {
    async fn network(&self) -> Result<&Network, Failure> {
        Ok(self.0.get_or_try_init(async || Network::new(None)).await?)
    }
}

impl Transport for OnDemand {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async move { self.network().await?.connect(address).await })
    }

    fn url<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Option<http::Uri>, Failure>> {
        Box::pin(async move { self.network().await?.url(address).await })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move { self.network().await?.send(request).await })
    }
}

/// There is nothing to undo.
struct Nothing;

const NOTHING: &str = "there is no cluster here";

impl Undoer for Nothing {
    fn undo<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(async { UndoOutcome::Unverified { why: NOTHING.to_owned() } })
    }

    fn stands<'a>(&'a self, _: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        Box::pin(async { Err(NOTHING.to_owned()) })
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Inline
    }
}
