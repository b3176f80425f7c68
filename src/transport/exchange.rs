//! One HTTP/1.1 exchange over any byte stream.

use std::io;

use http::header::{CONNECTION, HOST};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;

use super::{Connection, Error, Failure, NoAnswer, Request, Response};

/// Sends the request on the connection, reads the whole answer, and closes.
pub(crate) async fn exchange(connection: Connection, request: &Request) -> Result<Response, Failure> {
    let Connection { stream, authority, path } = connection;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut message = http::Request::builder().method(request.method.clone()).uri(&path);
    if let Some(headers) = message.headers_mut() {
        *headers = request.headers.clone();
    }
    let message = message
        .header(HOST, &authority)
        .header(CONNECTION, "close")
        .body(Full::new(request.body.clone()))
        .map_err(|e| Error::Client(e.to_string()))?;
    let driver = tokio::spawn(driver);
    let answer = async {
        let (head, body) = sender.send_request(message).await.map_err(broken)?.into_parts();
        let body =
            Limited::new(body, request.body_limit).collect().await.map_err(|e| match e.downcast::<hyper::Error>() {
                Ok(cut) => broken(*cut),
                Err(other) if other.is::<LengthLimitError>() => {
                    Error::TooLarge { address: request.address.to_string(), limit: request.body_limit }.into()
                }
                Err(other) => NoAnswer::Broken(other.to_string()).into(),
            })?;
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }
    .await;
    driver.abort();
    answer
}

fn broken(error: hyper::Error) -> Failure {
    let cut = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let reset = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| is_cut(error.kind()));
    if cut || reset { NoAnswer::Reset.into() } else { NoAnswer::Broken(error.to_string()).into() }
}

/// Whether the other side went away, before the end of a body for instance.
fn is_cut(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}
