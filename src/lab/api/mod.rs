//! The lab's API server: a thin asynchronous skin over the store.
//!
//! It is a tower service: `kube::Client` takes it as it is, and it can be served on a socket. It promises real
//! `Status` bodies for every failure; what the lab does not have answers as a server without that API.

mod access;
mod discovery;
mod eviction;
mod impersonation;
mod negotiate;
mod openapi;
mod owners;
mod patch;
mod protobuf;
mod read;
mod review;
mod table;
mod token;
mod write;
mod yaml;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use serde_json::{Value, json};

use self::negotiate::{Encoding, View};
use super::access::User;
use super::logs::ContainerLog;
use super::resource::Resource;
use super::status::Status;
use super::store::Store;
use crate::BoxError;
use crate::clock::Clock;

/// The largest request body, as the real server has it.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The body of an answer.
pub type ApiBody = UnsyncBoxBody<Bytes, Infallible>;

/// Where the logs of containers are.
pub trait Logs: Send + Sync {
    /// The log of a container of the pod with this uid: of its latest run, or of the one before; `None` if there was
    /// no such run.
    fn find(&self, uid: &str, container: &str, previous: bool) -> Option<ContainerLog>;
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiService {
    store: Store,
    clock: Clock,
    logs: Arc<dyn Logs>,
    tokens: token::Counter,
}

/// What a request asks for.
struct Call {
    method: Method,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    user: Arc<User>,
}

/// A place below a kind.
struct Place {
    resource: &'static Resource,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

enum Answer {
    Json(u16, Value),
    Text(String),
    Stream(ApiBody),
    /// With headers of its own.
    Whole(Box<Response<ApiBody>>),
}

/// The answer to a request that names another host than this machine's loopback.
pub(super) fn foreign_host() -> Response<ApiBody> {
    respond(Err(Status::new(403, "Forbidden", "the lab answers only to loopback names in the Host header")))
}

impl ApiService {
    /// An API server for these objects.
    #[must_use]
    pub fn new(store: Store, clock: Clock, logs: Arc<dyn Logs>) -> Self {
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
        let query = head.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let mut call = Call { method: head.method, query, headers: head.headers, body, user: User::own() };
        if let Some(answered) = access::gate(&self, &head.uri, &mut call).await {
            return answered;
        }
        respond_as(self.route(head.uri.path(), &call), negotiate::encoding(&call))
    }

    fn route(&self, path: &str, call: &Call) -> Result<Answer, Status> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(answer) = discovery::answer(self, &parts, call) {
            return answer;
        }
        if let Some(answer) = openapi::answer(self, &parts, call) {
            return answer;
        }
        let Some(place) = place(&self.store, &parts) else {
            if discovery::known(self, &parts) {
                return Err(no_such_resource());
            }
            return Ok(Answer::Whole(Box::new(discovery::no_page())));
        };
        let view = View::of(self, &place, call)?;
        let answer = match (&place.name, call.method.as_str()) {
            (None, "GET") if call.flag("watch") => return Ok(Answer::Stream(read::watch(self, &place, call, view)?)),
            (None, "GET") => read::list(self, &place, call),
            (None, "POST") => write::create(self, &place, call),
            (None, "DELETE") => write::delete_collection(self, &place, call),
            (Some(name), "GET") if place.subresource.as_deref() == Some("log") => read::log(self, &place, name, call),
            (Some(name), "GET") => read::get(self, &place, name),
            (Some(name), "PUT") => write::replace(self, &place, name, call),
            (Some(name), "PATCH") => patch::patch(self, &place, name, call),
            (Some(name), "DELETE") if place.subresource.is_none() => write::delete(self, &place, name, call),
            _ => Err(not_allowed()),
        };
        view.show(answer?)
    }
}

impl Call {
    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    fn dry_run(&self) -> Result<bool, Status> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let message = format!("dryRun: Unsupported value: [{other:?}]: supported values: \"All\"");
                Err(Status::new(422, "Invalid", message))
            }
        }
    }

    fn json(&self) -> Result<Value, Status> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Status::bad_request(format!("the request body is no JSON: {error}")))
    }
}

impl Place {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

/// `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`.
fn place(store: &Store, parts: &[&str]) -> Option<Place> {
    let (group, version, rest) = match parts {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" && rest[0] != "finalize" => {
            (Some((*namespace).to_owned()), rest)
        }
        rest => (None, rest),
    };
    let [plural, rest @ ..] = rest else { return None };
    let resource = store.kind(group, version, plural)?;
    if rest.len() > 2 || (namespace.is_some() && !resource.namespaced) {
        return None;
    }
    let owned = |index: usize| rest.get(index).map(|part| (*part).to_owned());
    let place = Place { resource, namespace, name: owned(0), subresource: owned(1) };
    let needs_namespace = resource.namespaced && place.name.is_some() && place.namespace.is_none();
    let known = match place.subresource.as_deref() {
        None => true,
        Some(below @ ("status" | "finalize" | "log")) => resource.has(below),
        Some(_) => false,
    };
    (known && !needs_namespace).then_some(place)
}

fn no_such_resource() -> Status {
    let message = "the server could not find the requested resource";
    Status { details: Some(json!({})), ..Status::new(404, "NotFound", message) }
}

fn not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status { details: Some(json!({})), ..Status::new(405, "MethodNotAllowed", message) }
}

fn respond(answer: Result<Answer, Status>) -> Response<ApiBody> {
    respond_as(answer, Encoding::default())
}

fn respond_as(answer: Result<Answer, Status>, encoding: Encoding) -> Response<ApiBody> {
    let written = |code: u16, value: &Value| {
        let (kind, text) = negotiate::encode(value, encoding);
        (code, kind, full(text))
    };
    let (code, kind, body) = match answer {
        Ok(Answer::Json(code, value)) => written(code, &value),
        Ok(Answer::Text(text)) => (200, "text/plain", full(text)),
        Ok(Answer::Stream(body)) => (200, "application/json", body),
        Ok(Answer::Whole(response)) => return *response,
        Err(status) => written(status.code, &status.body()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn full(text: String) -> ApiBody {
    Full::new(Bytes::from(text)).boxed_unsync()
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
