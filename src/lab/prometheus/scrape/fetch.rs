//! One scrape: a request on the connection that is kept, with the errors that Prometheus tells.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::target::Target;
use crate::clock::Clock;
use crate::lab::fabric::{Fabric, PROMETHEUS, Source};
use crate::lab::prometheus::exposition::Format;
use crate::transport::NoAnswer;

/// What Prometheus 2.42 says that it understands.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// A connection that is kept between scrapes.
pub(super) type Kept = SendRequest<Empty<Bytes>>;

/// How a scrape went.
pub(super) struct Fetched {
    pub(super) page: Result<(String, Format), String>,
    /// To be used again.
    pub(super) connection: Option<Kept>,
    pub(super) took: Duration,
}

/// Why a request had no answer.
enum Lost {
    /// The connection was gone before the answer began: it may be tried on another.
    Gone,
    Failed(String),
}

pub(super) async fn fetch(target: &Target, fabric: &Fabric, clock: &Clock, kept: Option<Kept>) -> Fetched {
    let begin = clock.elapsed();
    let get = |why: &str| format!("Get {:?}: {why}", target.url());
    let answer = tokio::time::timeout(target.timeout(), ask(target, fabric, kept)).await;
    let (page, connection) = match answer {
        Ok(Ok((page, connection))) => (page, Some(connection)),
        Ok(Err(why)) => (Err(get(&why)), None),
        Err(_) => (Err(get("context deadline exceeded")), None),
    };
    Fetched { page, connection, took: clock.elapsed().saturating_sub(begin) }
}

type Answer = (Result<(String, Format), String>, Kept);

async fn ask(target: &Target, fabric: &Fabric, kept: Option<Kept>) -> Result<Answer, String> {
    if let Some(connection) = kept {
        match exchange(target, connection).await {
            Ok(answer) => return Ok(answer),
            // The other side had closed it in the meantime.
            Err(Lost::Gone) => {}
            Err(Lost::Failed(why)) => return Err(why),
        }
    }
    let from = Source::Address(PROMETHEUS);
    let (host, port) = (target.host.as_str(), target.port);
    let stream = fabric.connect_to(from, "default", host, port).await.map_err(|error| match error {
        NoAnswer::Refused => format!("dial tcp {host}:{port}: connect: connection refused"),
        NoAnswer::NameNotResolved { .. } => format!("dial tcp: lookup {host} on 10.96.0.10:53: no such host"),
        NoAnswer::Reset => format!("dial tcp {host}:{port}: connect: connection reset by peer"),
        other => other.to_string(),
    })?;
    if target.scheme == "https" {
        // Nobody in the lab's network speaks TLS.
        return Err("http: server gave HTTP response to HTTPS client".into());
    }
    let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with its sender.
    tokio::spawn(driver);
    exchange(target, connection).await.map_err(|lost| match lost {
        Lost::Gone => "EOF".to_owned(),
        Lost::Failed(why) => why,
    })
}

async fn exchange(target: &Target, mut connection: Kept) -> Result<Answer, Lost> {
    let gone = |_| Lost::Gone;
    connection.ready().await.map_err(gone)?;
    let request = http::Request::get(&target.path)
        .header(HOST, format!("{}:{}", target.host, target.port))
        .header(USER_AGENT, "Prometheus/2.42.0")
        .header(ACCEPT, ACCEPTED)
        .header("X-Prometheus-Scrape-Timeout-Seconds", target.timeout().as_secs_f64().to_string());
    let request = request.body(Empty::new()).map_err(|error| Lost::Failed(error.to_string()))?;
    let answer = connection.send_request(request).await.map_err(gone)?;
    let status = answer.status();
    let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of(content_type);
    let body = collect(answer.into_body(), target.rules.body_limit).await?;
    if status.as_u16() != 200 {
        return Ok((Err(format!("server returned HTTP status {status}")), connection));
    }
    let Some(body) = body else { return Ok((Err("body size limit exceeded".into()), connection)) };
    let page = String::from_utf8(body).map_err(|_| "invalid UTF-8 label value".to_owned());
    Ok((page.map(|page| (page, format)), connection))
}

/// The whole body; `None` if it is larger than it may be.
async fn collect(mut body: Incoming, limit: Option<usize>) -> Result<Option<Vec<u8>>, Lost> {
    let (mut all, mut size) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Lost::Failed("unexpected EOF".into()))?;
        if let Some(bytes) = frame.data_ref() {
            size += bytes.len();
            if limit.is_none_or(|limit| size <= limit) {
                all.extend_from_slice(bytes);
            }
        }
    }
    Ok(limit.is_none_or(|limit| size <= limit).then_some(all))
}
