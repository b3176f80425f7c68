//! Ways to the system under test, and one exchange over them.

mod http1;
mod http2;
mod sockets;
mod stamped;
mod tls;
mod wire;

use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, Uri};
use hyper::body::Bytes;

use super::pace::Pace;
use super::recording::Class;
use super::target::Target;
use super::traced::Traced;
use crate::BoxError;
use crate::journal::TRACEPARENT;
use crate::transport::{Address, Failure, NoAnswer, SharedTransport, Stream};

pub(super) use http1::Http1;
pub(super) use http2::Http2;
pub use sockets::Names;
pub(super) use sockets::Sockets;
pub(super) use tls::Tls;
pub use tls::Trust;
pub(super) use wire::Wire;

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1 alone.
    #[default]
    Http1,
    /// HTTP/2 where a TLS server chooses it, else HTTP/1.1.
    Http2OverTls,
    /// HTTP/2 at once, without TLS too.
    Http2,
}

/// An exchange that ended without an answer.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) class: Class,
    /// In words, with its causes.
    pub(super) text: String,
    /// Whether the server closed the connection before a byte of an answer: on an old one that is no failure.
    pub(super) stale: bool,
}

impl Cut {
    fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), stale: false }
    }

    pub(super) fn timed_out(after: Duration) -> Self {
        Self::new(Class::TimeOut, format!("no answer within {after:?}"))
    }

    pub(super) fn redirected(text: String) -> Self {
        Self::new(Class::Protocol, text)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The system under test: a result.
    Cut(Cut),
    /// An address that cannot be reached at all: a mistake, and the end of the load.
    Mistake(BoxError),
}

impl From<Cut> for Refusal {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

/// The way that connections are opened.
pub(super) enum Way {
    /// Over somebody else's streams: the lab's fabric.
    Transport(SharedTransport),
    /// Over this machine's sockets.
    Sockets(Sockets),
}

/// An open stream, and who it leads to.
pub(super) struct Opened {
    stream: Box<dyn Stream>,
    /// `host:port` and path, where the transport alone knows them.
    place: Option<(String, String)>,
    pub(super) http2: bool,
}

/// A target with all that can be prepared once.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) address: Address,
    /// As sockets see it.
    pub(super) uri: Option<Uri>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// For records.
    pub(super) url: std::sync::Arc<str>,
    /// Whether each request says its own span; otherwise the user's own header does.
    pub(super) traced: bool,
    /// Which pool it uses.
    pub(super) pool: usize,
    /// Its bytes in HTTP/1.1 over sockets: up to where headers may follow, and the rest; and both in one.
    written: (Vec<u8>, Vec<u8>),
    whole: Vec<u8>,
}

impl Prepared {
    /// A target; for sockets with its URL.
    pub(super) fn new(target: &Target, uri: Option<Uri>, pool: usize, trace: Option<&Traced>) -> Self {
        let mut headers = target.headers.clone();
        let traced = trace.is_some_and(|trace| trace.prepare(&mut headers));
        if let Some(host) = uri.as_ref().and_then(host) {
            headers.entry(HOST).or_insert(host);
        }
        let prepared = Self::of(target.method.clone(), target.address.clone(), uri, headers, target.body.clone(), pool);
        Self { traced, ..prepared }
    }

    fn of(
        method: Method,
        address: Address,
        uri: Option<Uri>,
        mut headers: HeaderMap,
        body: Bytes,
        pool: usize,
    ) -> Self {
        // Where a body ends is the connection's to say.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        let url = uri.as_ref().map_or_else(|| address.to_string(), ToString::to_string).into();
        let path = uri.as_ref().and_then(Uri::path_and_query).map_or("/", http::uri::PathAndQuery::as_str);
        let written = wire::written(&method, path, &headers, &body);
        let whole = [written.0.as_slice(), &written.1].concat();
        Self { method, address, uri, headers, body, url, traced: false, pool, written, whole }
    }

    /// The same request to where a redirect leads, over sockets by its URL, else by its address. As Go's client: what
    /// proves who asks stays with the origin that it was meant for, and what is said of a body goes with the body.
    pub(super) fn redirected(&self, address: Address, uri: Option<Uri>, method: Method) -> Self {
        let mut headers = self.headers.clone();
        let elsewhere = match (&self.uri, &uri) {
            (Some(here), Some(there)) => origin(here) != origin(there),
            _ => address.with_path("/") != self.address.with_path("/"),
        };
        if elsewhere {
            for proof in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST] {
                headers.remove(proof);
            }
        }
        if let Some(host) = uri.as_ref().and_then(host) {
            headers.entry(HOST).or_insert(host);
        }
        let body = if method == self.method { self.body.clone() } else { Bytes::new() };
        if method != self.method {
            for of_body in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
                headers.remove(of_body);
            }
        }
        Self { traced: self.traced, ..Self::of(method, address, uri, headers, body, self.pool) }
    }
}

/// What one connection leads to: scheme, host, port.
pub(super) fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme.to_owned(), uri.host()?.to_ascii_lowercase(), port))
}

/// The value of `Host`: without the port if it is the scheme's.
fn host(uri: &Uri) -> Option<http::HeaderValue> {
    let authority = uri.authority()?.as_str();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority).parse().ok()
}

impl Way {
    pub(super) async fn open(&self, target: &Prepared) -> Result<Opened, Refusal> {
        match self {
            Self::Sockets(sockets) => Ok(sockets.open(target).await?),
            Self::Transport(transport) => match transport.connect(&target.address).await {
                Ok(connection) => Ok(Opened {
                    stream: connection.stream,
                    place: Some((connection.authority, connection.path)),
                    http2: false,
                }),
                Err(Failure::Error(error)) => Err(Refusal::Mistake(error.into())),
                Err(Failure::NoAnswer(why)) => {
                    let class = match why {
                        NoAnswer::Refused => Class::Connect,
                        NoAnswer::Reset => Class::Reset,
                        NoAnswer::TimedOut { .. } => Class::TimeOut,
                        NoAnswer::NameNotResolved { .. } => Class::Name,
                        NoAnswer::Broken(_) => Class::Protocol,
                    };
                    Err(Cut::new(class, why.to_string()).into())
                }
            },
        }
    }
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The length of the body, whether kept or not.
    pub(super) bytes: u64,
    /// As much of the body as is to be kept.
    pub(super) body: Vec<u8>,
    /// Since the load's start; the end if the transport does not tell.
    pub(super) first_byte: Option<Duration>,
}

/// An open connection.
pub(super) enum Connection {
    One(Box<Http1>),
    Two(Http2),
    Wire(Box<Wire>),
}

/// The headers of one request alone.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    /// Its number.
    pub(super) number: u64,
    /// The header with its number.
    pub(super) name: Option<&'a http::HeaderName>,
    /// The trace that it is part of.
    pub(super) trace: Option<&'a Traced>,
}

impl Own<'_> {
    /// Whether there are any.
    fn is_none(&self) -> bool {
        self.name.is_none() && self.trace.is_none()
    }

    /// As lines of HTTP/1.1.
    fn write(&self, lines: &mut Vec<u8>) {
        if let Some(name) = self.name {
            lines.extend_from_slice(format!("{name}: {}\r\n", self.number).as_bytes());
        }
        if let Some(trace) = self.trace {
            lines.extend_from_slice(format!("{TRACEPARENT}: {}\r\n", trace.traceparent(self.number)).as_bytes());
        }
    }

    fn insert(&self, headers: &mut HeaderMap) {
        if let Some(name) = self.name {
            headers.insert(name.clone(), http::HeaderValue::from(self.number));
        }
        if let Some(value) = self.trace.and_then(|trace| trace.traceparent(self.number).parse().ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// What is wanted of an exchange beside its outcome.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What the request says that no other does.
    pub(super) own: Own<'a>,
    /// Whether the connection ends with it.
    pub(super) last: bool,
    /// How many bytes of the body.
    pub(super) keep: u64,
    /// The headers.
    pub(super) headers: bool,
}

impl Connection {
    /// Shakes hands. One that is kept and leads over sockets is read without hyper.
    pub(super) async fn over(opened: Opened, kept: bool, pace: &Pace) -> Result<Self, Cut> {
        if opened.http2 {
            Ok(Self::Two(Http2::over(opened).await?))
        } else if kept && opened.place.is_none() {
            Ok(Self::Wire(Box::new(Wire::over(opened))))
        } else {
            Ok(Self::One(Box::new(Http1::over(opened, pace).await?)))
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn exchange(&mut self, target: &Prepared, wanted: Wanted<'_>, pace: &Pace) -> Result<Answer, Cut> {
        let Wanted { own, last, keep, headers } = wanted;
        match self {
            Self::One(connection) => connection.exchange(target, own, last, keep).await,
            Self::Two(connection) => connection.exchange(target, own, keep).await,
            Self::Wire(connection) => connection.exchange(target, own, keep, headers, pace).await,
        }
    }

    /// Whether another request may follow.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::One(connection) => connection.is_open(),
            Self::Two(connection) => connection.is_open(),
            Self::Wire(connection) => connection.is_open(),
        }
    }

    /// Whether the server has ended it since the last answer, as far as that is known by now.
    pub(super) async fn has_ended(&mut self) -> bool {
        match self {
            Self::One(connection) => !connection.is_open(),
            Self::Two(connection) => !connection.is_open(),
            Self::Wire(connection) => connection.has_ended().await,
        }
    }
}

/// An error with all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let told = inner.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = inner.source();
    }
    text
}

/// What hyper's error is to a load.
fn broken(error: &hyper::Error) -> Cut {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let mut cause = std::error::Error::source(error);
    let mut reset = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            let cut = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
            reset |= cut.contains(&io.kind());
        }
        cause = inner.source();
    }
    Cut { class: if reset { Class::Reset } else { Class::Protocol }, text: causes(error), stale: reset }
}

/// Keeps the beginning of a body.
fn keep_some(kept: &mut Vec<u8>, data: &[u8], most: u64) {
    let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept.len());
    kept.extend_from_slice(&data[..data.len().min(room)]);
}
