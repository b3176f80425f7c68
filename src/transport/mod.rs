//! The seam between a driver and a network.
//!
//! Probes, the Prometheus client and the load generator reach the system under test through a
//! [`Transport`]: [`Network`] on a real cluster, the lab's fabric on the embedded one. It promises to tell
//! apart a system that gives [no answer](NoAnswer), which is an observation, from a request that could not
//! be made at all, which is an [`Error`].

mod address;
#[cfg(any(feature = "otel", feature = "prometheus"))]
mod again;
mod exchange;
mod network;
#[cfg(feature = "cli")]
mod on_demand;
#[cfg(any(feature = "load", feature = "prometheus"))]
pub(crate) mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub use address::{Address, AddressError};
#[cfg(any(feature = "otel", feature = "prometheus"))]
pub(crate) use again::retry_after;
pub(crate) use exchange::exchange;
#[cfg(feature = "kubernetes")]
pub use network::install_crypto_provider;
pub use network::{Network, Resolve};
#[cfg(feature = "cli")]
pub(crate) use on_demand::OnDemand;

/// How long a request waits for its answer, unless it says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest body that is read, in bytes, unless a request says otherwise; a longer one is an [`Error::TooLarge`].
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// A byte stream to the system under test.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection, and what to ask for on it.
pub struct Connection {
    /// The bytes.
    pub stream: Box<dyn Stream>,
    /// `host:port`, for the `Host` header.
    pub authority: String,
    /// The path and query of the address.
    pub path: String,
}

/// A request to an [`Address`].
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub address: Address,
    /// Headers beside `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body, empty for none.
    pub body: Bytes,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
    /// How much of the body is read at most, in bytes.
    pub body_limit: usize,
    /// A PEM file whose certificates vouch for the server, instead of the machine's roots. It is read for each request;
    /// the lab, which speaks no TLS, never reads it.
    pub roots: Option<PathBuf>,
    /// Believes any certificate. The lab speaks no TLS.
    pub insecure: bool,
}

impl Request {
    /// A request without headers and body, with the time-out [`TIMEOUT`] and the limit [`BODY_LIMIT`].
    #[must_use]
    pub fn new(method: Method, address: Address) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, address, headers, body, timeout: TIMEOUT, body_limit: BODY_LIMIT, roots: None, insecure: false }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The way to the system under test.
pub trait Transport: Send + Sync {
    /// Opens a connection. It may hang, as a packet that is dropped does: callers bound it in time.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`] when nobody takes the connection, [`Failure::Error`] when it could not be tried.
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>>;

    /// The URL under which real sockets of this machine reach an address; `None` where there are none, as in the
    /// lab. A load's own threads open their connections to it.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    fn url<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Option<http::Uri>, Failure>> {
        let _ = address;
        Box::pin(async { Ok(None) })
    }

    /// Sends one request on a new connection and reads the whole answer within the request's time-out.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); a time-out is [`NoAnswer::TimedOut`].
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move {
            let answer = async {
                let connection = self.connect(&request.address).await?;
                exchange(connection, request).await
            };
            match tokio::time::timeout(request.timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::NoAnswer(NoAnswer::TimedOut { after: request.timeout })),
            }
        })
    }
}

/// A shared transport.
pub type SharedTransport = Arc<dyn Transport>;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The system under test did not answer: an observation.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The request could not be made: our own inability.
    #[error(transparent)]
    Error(#[from] Error),
}

/// How the system under test failed to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// Nobody listens, or no endpoint is ready.
    #[error("connection refused")]
    Refused,
    /// The connection was cut before the answer was complete.
    #[error("connection reset")]
    Reset,
    /// No complete answer in time; packets may have been dropped.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The time-out that ran out.
        after: Duration,
    },
    /// The name does not resolve.
    #[error("no address for {name}")]
    NameNotResolved {
        /// The host name.
        name: String,
    },
    /// Anything else that ended the exchange, in words.
    #[error("{0}")]
    Broken(String),
}

/// A request that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The embedded cluster reaches its own addresses only.
    #[error(
        "{address} is outside the embedded cluster, which reaches only its own services, node ports and Prometheus ({known}); use one of these, which tests have of `namespace.service(NAME).url(PATH)`, or set STEADFAST_CLUSTER to a real cluster"
    )]
    OutsideTheLab {
        /// What was asked for.
        address: String,
        /// What the lab does know.
        known: String,
    },
    /// A namespace that the cluster does not have.
    #[error("there is no namespace {namespace}; there are: {known}")]
    NoSuchNamespace {
        /// Its name.
        namespace: String,
        /// Those that exist, by name.
        known: String,
    },
    /// A service that the cluster does not have.
    #[error("service {namespace}/{name} does not exist; the namespace has: {known}")]
    NoSuchService {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The services that exist, by name.
        known: String,
    },
    /// A service whose port has to be named.
    #[error("service {namespace}/{name} {why}")]
    ServicePort {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is missing, and the remedy.
        why: String,
    },
    /// The answer is larger than the request's `body_limit`; it was not read to its end.
    #[error("the answer of {address} is larger than {limit} bytes")]
    TooLarge {
        /// Where it came from.
        address: String,
        /// The limit.
        limit: usize,
    },
    /// The file of a request's `roots` cannot be used.
    #[error("{0}; give a PEM file with the certificate of the authority that signed the server's")]
    Roots(String),
    /// The client for the network could not be made.
    #[error("failed to set up the HTTP client: {0}")]
    Client(String),
}
