//! The real network, made when somebody first asks for it.

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{Address, Connection, Failure, Network, Request, Response, Transport};

/// The machine's root certificates take longer to read than most documents to run.
#[derive(Default)]
pub(crate) struct OnDemand(OnceCell<Network>);

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
