//! The lab's API server: a thin asynchronous skin over the store.
//!
//! It is a tower service: `kube::Client` takes it as it is, and it can be served on a socket. It promises real
//! `Status` bodies for every failure; what the lab does not have answers as a server without that API.

mod access;
mod answer;
mod bind;
mod body;
mod call;
mod delete;
mod discovery;
mod eviction;
mod impersonation;
mod list;
mod log;
mod negotiate;
mod openapi;
mod owners;
mod patch;
mod place;
mod protobuf;
mod review;
mod scale;
mod select;
mod table;
mod token;
mod watch;
mod write;
mod yaml;

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};

use self::answer::{Answer, Reply, full, respond, respond_as};
use self::call::Call;
use self::negotiate::View;
use self::place::{Asked, Place};
use super::logs::LogBook;
use super::status::Status;
use super::store::Store;
use crate::BoxError;
use crate::clock::Clock;

/// The largest request body, as the real server has it.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The body of an answer.
pub type ApiBody = UnsyncBoxBody<Bytes, Infallible>;

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiService {
    store: Store,
    clock: Clock,
    logs: LogBook,
    tokens: token::Counter,
}

/// The answer to a request that names another host than this machine's loopback.
pub(super) fn foreign_host() -> Response<ApiBody> {
    respond(Err(Status::new(403, "Forbidden", "the lab answers only to loopback names in the headers Host and Origin")))
}

impl ApiService {
    /// An API server for these objects.
    #[must_use]
    pub(super) fn new(store: Store, clock: Clock, logs: LogBook) -> Self {
        Self { store, clock, logs, tokens: token::Counter::default() }
    }

    /// Answers one request.
    async fn answer<B>(self, request: Request<B>) -> Response<ApiBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                let message = format!("Request entity too large: limit is {BODY_LIMIT}");
                return respond(Err(Status::new(413, "RequestEntityTooLarge", message)));
            }
        };
        let mut call = Call::new(head.method, &head.uri, head.headers, body);
        let mut response = match access::gate(&self, &head.uri, &mut call).await {
            Some(answered) => answered,
            None => {
                let encoding = negotiate::encoding(&call);
                respond_as(self.route(head.uri.path(), call).await, encoding)
            }
        };
        if let Ok(id) = self.store.audit_id().parse() {
            response.headers_mut().insert("audit-id", id);
        }
        response
    }

    /// Answers a request of somebody who may make it.
    async fn route(&self, path: &str, mut call: Call) -> Result<Reply, Status> {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(access::decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let asked = Asked::of(&parts, &call);
        if let Some(answer) = discovery::answer(self, &parts, &call) {
            return answer.map(Reply::from);
        }
        if let Some(answer) = openapi::answer(self, &parts, &call) {
            return answer.map(Reply::from);
        }
        if asked.old_watch {
            call.watch_by_path(&asked);
        }
        let Some(place) = Place::of(&self.store, &asked) else {
            if discovery::known(self, &parts) {
                return Err(no_such_resource());
            }
            return Ok(Answer::Whole(Box::new(discovery::no_page())).into());
        };
        let view = View::of(self, &place, &call)?;
        if place.name.is_none() && call.method == Method::GET && call.flag("watch") {
            return Ok(Answer::Stream(watch::watch(self, &place, &call, view).await?).into());
        }
        let Reply { answer, warnings } = self.at(&place, &call).await?;
        Ok(Reply { answer: view.show(answer)?, warnings })
    }

    async fn at(&self, place: &Place, call: &Call) -> Result<Reply, Status> {
        let Some(name) = place.name.as_deref() else {
            return match call.method {
                Method::GET => list::list(self, place, call).await.map(Reply::from),
                Method::POST if place.takes_new() => write::create(self, place, call),
                Method::DELETE if place.takes_new() => delete::collection(self, place, call),
                _ => Err(not_allowed()),
            };
        };
        match (place.subresource.as_deref(), &call.method) {
            (None | Some("status"), &Method::GET) => {
                let object = self.store.get(place.resource, place.namespace(), name)?;
                Ok(Answer::Object(200, place.resource, object).into())
            }
            (None | Some("status" | "finalize"), &Method::PUT) => write::replace(self, place, name, call),
            (None | Some("status"), &Method::PATCH) => patch::patch(self, place, name, call),
            (None, &Method::DELETE) => delete::one(self, place, name, call),
            (Some("log"), &Method::GET) => log::log(self, place, name, call).map(Reply::from),
            (Some("scale"), _) => scale::answer(self, place, name, call),
            (Some("binding"), &Method::POST) => bind::pod(self, place, Some(name), call).map(Reply::from),
            _ => Err(not_allowed()),
        }
    }
}

fn no_such_resource() -> Status {
    let message = "the server could not find the requested resource";
    Status { details: Some(serde_json::json!({})), ..Status::new(404, "NotFound", message) }
}

fn not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status { details: Some(serde_json::json!({})), ..Status::new(405, "MethodNotAllowed", message) }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}
