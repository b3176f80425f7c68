//! HTTP/2 on hyper's connection: many requests share one, whose driver is a task of its own.

use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;

use super::{Answer, Cut, Opened, Own, Prepared, broken};

/// One connection; clones share it.
#[derive(Clone)]
pub(in crate::load) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    _driver: Arc<Driver>,
}

/// Ends with the last clone.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http2 {
    pub(super) async fn over(opened: Opened) -> Result<Self, Cut> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (sender, driver) = builder.handshake(TokioIo::new(opened.stream)).await.map_err(|error| broken(&error))?;
        // How it ended is what its requests are told.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Self { sender, _driver: Arc::new(Driver(driver)) })
    }

    pub(in crate::load) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn exchange(&mut self, target: &Prepared, own: Own<'_>, keep: u64) -> Result<Answer, Cut> {
        let mut request = Request::new(Full::new(target.body.clone()));
        *request.method_mut() = target.method.clone();
        *request.uri_mut() = target.uri.clone().unwrap_or_default();
        request.headers_mut().clone_from(&target.headers);
        // Its place is taken by `:authority`.
        // A target's own host goes where HTTP/2 has it.
        if let Some(host) = request.headers_mut().remove(HOST) {
            let mut parts = request.uri().clone().into_parts();
            if let Ok(authority) = Authority::try_from(host.as_bytes()) {
                parts.authority = Some(authority);
            }
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        own.insert(request.headers_mut());
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let (head, mut body) = self.sender.send_request(request).await.map_err(|error| broken(&error))?.into_parts();
        let (mut bytes, mut kept) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Cut { stale: false, ..broken(&error) })?;
            if let Some(data) = frame.data_ref() {
                bytes += data.len() as u64;
                super::keep_some(&mut kept, data, keep);
            }
        }
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, bytes, body: kept, first_byte: None })
    }
}
