//! The way from goose's sockets to a service of the cluster: a loopback port, relayed over the cluster's transport.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::AttackError;
use crate::transport::{Address, Error, Failure, Transport};

/// A loopback port that stands for a service.
pub(super) struct Relay {
    /// Its URL, with the service's path.
    pub(super) url: String,
    listener: TcpListener,
    service: Address,
    transport: Arc<dyn Transport>,
}

impl Relay {
    pub(super) async fn open(service: &Address, transport: Arc<dyn Transport>) -> Result<Self, AttackError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let path = if let Address::Service { path, .. } = service { path.as_str() } else { "/" };
        let url = format!("http://{}{path}", listener.local_addr()?);
        Ok(Self { url, listener, service: service.clone(), transport })
    }

    /// Relays connections, all of which end when this is dropped. Returns when the service cannot be reached at all:
    /// that is a mistake, and no result.
    pub(super) async fn serve(self) -> Error {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(done) = connections.join_next() => {
                    if let Ok(Some(error)) = done {
                        return error;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (service, transport) = (self.service.clone(), self.transport.clone());
                        connections.spawn(async move { relay(stream, &service, &*transport).await });
                    }
                    // No descriptors left, for instance: others must get a turn to give theirs back.
                    Err(_) => tokio::task::yield_now().await,
                },
            }
        }
    }
}

async fn relay(mut stream: TcpStream, service: &Address, transport: &dyn Transport) -> Option<Error> {
    // Small requests must not wait for more.
    let _ = stream.set_nodelay(true);
    match transport.connect(service).await {
        Ok(mut connection) => {
            // Either side may end it at any time.
            let _ = copy_bidirectional(&mut stream, &mut connection.stream).await;
            None
        }
        Err(Failure::NoAnswer(_)) => {
            // goose's user learns at once that nobody is there.
            let _ = stream.set_zero_linger();
            None
        }
        Err(Failure::Error(error)) => Some(error),
    }
}
