//! HTTP/1.1 on hyper's connection: its driver is polled by whoever waits for the answer, so that an exchange wakes
//! one task alone.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::stamped::{Stamp, Stamped};
use super::{Answer, Cut, Opened, Own, Prepared, broken};
use crate::load::pace::Pace;
use crate::load::recording::Class;

/// One connection.
pub(in crate::load) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Nothing once it has ended: dropped, it cancels what it did not send.
    driver: Option<http1::Connection<TokioIo<Stamped>, Full<Bytes>>>,
    place: Option<(HeaderValue, Uri)>,
    first: Stamp,
    /// Whether the last exchange left it usable.
    open: bool,
}

impl Http1 {
    pub(super) async fn over(opened: Opened, pace: &Pace) -> Result<Self, Cut> {
        let first = Stamp::default();
        let origin = pace.instant(std::time::Duration::ZERO);
        let stream = Stamped { stream: opened.stream, origin, first: first.clone() };
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let place = match opened.place {
            None => None,
            Some((authority, path)) => {
                let host = HeaderValue::try_from(authority);
                let path = path.parse::<Uri>();
                let (Ok(host), Ok(path)) = (host, path) else {
                    return Err(Cut::new(Class::Protocol, "its address makes no request"));
                };
                Some((host, path))
            }
        };
        Ok(Self { sender, driver: Some(driver), place, first, open: true })
    }

    /// Lets hyper read and write.
    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open && self.driver.is_some() && !self.sender.is_closed()
    }

    fn request(&self, target: &Prepared, own: Own<'_>, last: bool) -> Result<Request<Full<Bytes>>, Cut> {
        let mut request = Request::new(Full::new(target.body.clone()));
        *request.method_mut() = target.method.clone();
        request.headers_mut().clone_from(&target.headers);
        match (&self.place, &target.uri) {
            (Some((host, path)), _) => {
                *request.uri_mut() = path.clone();
                request.headers_mut().entry(HOST).or_insert_with(|| host.clone());
            }
            (None, Some(uri)) => {
                *request.uri_mut() = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
            }
            (None, None) => return Err(Cut::new(Class::Protocol, "it has no address")),
        }
        if last {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        own.insert(request.headers_mut());
        Ok(request)
    }

    pub(super) async fn exchange(
        &mut self,
        target: &Prepared,
        own: Own<'_>,
        last: bool,
        keep: u64,
    ) -> Result<Answer, Cut> {
        // Only an exchange that comes to its end leaves the connection usable.
        self.open = false;
        let request = self.request(target, own, last)?;
        self.first.clear();
        let answer = self.asked(request, keep).await;
        let answer = answer.map_err(|mut cut| {
            cut.stale &= self.first.get().is_none();
            cut
        })?;
        self.open = !last;
        Ok(answer)
    }

    async fn asked(&mut self, request: Request<Full<Bytes>>, keep: u64) -> Result<Answer, Cut> {
        // What the server did meanwhile is seen now: it may have closed the connection.
        poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        })
        .await
        .map_err(|error| broken(&error))?;
        let (head, mut body) = {
            let mut sending = pin!(self.sender.send_request(request));
            let driver = &mut self.driver;
            let response = poll_fn(|cx| {
                drive(driver, cx);
                sending.as_mut().poll(cx)
            });
            response.await.map_err(|error| broken(&error))?.into_parts()
        };
        let (mut bytes, mut kept) = (0, Vec::new());
        loop {
            let frame = poll_fn(|cx| {
                if let frame @ Poll::Ready(_) = Pin::new(&mut body).poll_frame(cx) {
                    return frame;
                }
                self.drive(cx);
                Pin::new(&mut body).poll_frame(cx)
            });
            match frame.await {
                None => break,
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        bytes += data.len() as u64;
                        super::keep_some(&mut kept, data, keep);
                    }
                }
            }
        }
        // The driver notes the end of the body before the next request may be sent.
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            bytes,
            body: kept,
            first_byte: self.first.get(),
        })
    }
}

/// Lets hyper read and write. How it ended is what its request is told.
fn drive(driver: &mut Option<http1::Connection<TokioIo<Stamped>, Full<Bytes>>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        *driver = None;
    }
}
