//! The real network: reqwest for whole requests, TCP for the load generator's connections.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Uri;
use tokio::net::TcpStream;

use super::{Address, Connection, Error, Failure, NoAnswer, Request, Response, Transport};

/// Finds the URL under which a cluster's service is reached from outside.
pub trait Resolve: Send + Sync {
    /// The URL of the service, path included.
    ///
    /// # Errors
    /// The service does not exist, its port is not clear, or the cluster does not answer.
    fn resolve<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Uri, Error>>;
}

/// The network of this machine.
#[derive(Clone)]
pub struct Network {
    client: reqwest::Client,
    services: Option<Arc<dyn Resolve>>,
}

/// Makes ring the TLS provider of this process, unless it has one: without any, the first kube client panics.
#[cfg(feature = "kubernetes")]
pub fn install_crypto_provider() {
    // An error means that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Network {
    /// A transport that knows plain URLs, and services if it gets somebody to resolve them.
    /// Redirects are not followed and the environment's proxies not used: a probe sees what it asked for.
    ///
    /// # Errors
    /// The HTTP client cannot be set up, for instance because the machine has no root certificates.
    pub fn new(services: Option<Arc<dyn Resolve>>) -> Result<Self, Error> {
        #[cfg(feature = "kubernetes")]
        install_crypto_provider();
        let client = client().build().map_err(|e| Error::Client(causes(&e)))?;
        Ok(Self { client, services })
    }

    /// The client for a request: the one that believes the machine's roots, or one of its own.
    fn client(&self, request: &Request) -> Result<reqwest::Client, Error> {
        match &request.roots {
            None if request.insecure => {
                client().tls_danger_accept_invalid_certs(true).build().map_err(|e| Error::Client(causes(&e)))
            }
            None => Ok(self.client.clone()),
            #[cfg(any(feature = "load", feature = "prometheus"))]
            Some(path) => {
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let vouched = super::trust::vouched_by([path.as_path()], &provider).map_err(Error::Roots)?;
                let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
                let tls = tls.map_err(|e| Error::Client(e.to_string()))?;
                let tls = tls.dangerous().with_custom_certificate_verifier(vouched).with_no_client_auth();
                client().tls_backend_preconfigured(tls).build().map_err(|e| Error::Client(causes(&e)))
            }
            #[cfg(not(any(feature = "load", feature = "prometheus")))]
            Some(path) => Err(Error::Roots(format!("{}: this needs the feature `prometheus`", path.display()))),
        }
    }

    async fn found(&self, address: &Address) -> Result<Uri, Failure> {
        match (address.checked().map_err(Error::from)?, &self.services) {
            (Address::Url(uri), _) => Ok(uri.clone()),
            (service, Some(services)) => Ok(services.resolve(service).await?),
            (Address::Service { namespace, name, .. }, None) => Err(Error::NoSuchService {
                namespace: namespace.clone(),
                name: name.clone(),
                known: "none: this transport belongs to no cluster".into(),
            }
            .into()),
            (Address::Malformed { .. }, None) => unreachable!("a checked address is not malformed"),
        }
    }
}

impl Transport for Network {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async move {
            let uri = self.found(address).await?;
            if uri.scheme_str() == Some("https") {
                let why = "connections of a load are plain http so far; use an http:// address".to_owned();
                return Err(Error::from(super::AddressError { text: address.to_string(), why }).into());
            }
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(80);
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = match bare.parse::<IpAddr>() {
                Ok(ip) => TcpStream::connect((ip, port)).await,
                Err(_) => TcpStream::connect((bare, port)).await,
            };
            let stream = stream.map_err(|e| refused(&e, bare))?;
            Ok(Connection {
                stream: Box::new(stream),
                authority: format!("{host}:{port}"),
                path: uri.path_and_query().map_or("/".into(), ToString::to_string),
            })
        })
    }

    fn url<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Option<Uri>, Failure>> {
        Box::pin(async move { Ok(Some(self.found(address).await?)) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move {
            let uri = self.found(&request.address).await?;
            let sent = self
                .client(request)?
                .request(request.method.clone(), uri.to_string())
                .headers(request.headers.clone())
                .body(request.body.clone())
                .timeout(request.timeout)
                .send()
                .await;
            let mut answer = sent.map_err(|e| classify(e, request))?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|e| classify(e, request))? {
                if body.len() + chunk.len() > request.body_limit {
                    return Err(
                        Error::TooLarge { address: request.address.to_string(), limit: request.body_limit }.into()
                    );
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Response { status, headers, body: body.into() })
        })
    }
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0).no_proxy()
}

fn classify(error: reqwest::Error, request: &Request) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return NoAnswer::TimedOut { after: request.timeout }.into();
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return refused(io, &request.address.to_string());
        }
        if let Some(cut) = inner.downcast_ref::<hyper::Error>()
            && cut.is_incomplete_message()
        {
            return NoAnswer::Reset.into();
        }
        cause = inner.source();
    }
    if error.is_builder() {
        return Error::Client(causes(&error)).into();
    }
    NoAnswer::Broken(causes(&error)).into()
}

fn refused(error: &io::Error, name: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => NoAnswer::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => NoAnswer::Reset,
        _ if error.to_string().contains("lookup address") => NoAnswer::NameNotResolved { name: name.to_owned() },
        _ => NoAnswer::Broken(error.to_string()),
    }
    .into()
}

/// An error with all its causes: reqwest's own text names none of them.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
