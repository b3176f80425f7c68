//! HTTP probes and actions.
//!
//! `http::get(&front).expect(status(200))` is a check, `.observe(http::get(&front))` records an answer, and
//! `.act(http::post(&front))` does something. A system that does not answer is an observation that fails its
//! tolerance; a request that cannot be made is an error.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::BoxError;
use crate::experiment::{Action, Observed, Probe, Scene};
use crate::tolerance::{AsJson, AsStatus, AsText};
use crate::transport::{Address, Failure, Request, Response};

/// How much of a body is kept as evidence, in characters.
const EVIDENCE_LENGTH: usize = 1000;

/// A request, as a probe or as an action.
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is part of a hypothesis or a step"]
pub struct Http {
    request: Request,
    wrong: Option<String>,
}

/// A header's name as servers mostly spell it: `Content-Type`.
#[cfg(feature = "cli")]
pub(crate) fn canonical(name: &str) -> String {
    let mut begins = true;
    let shown = name.chars().map(|letter| {
        let shown = if begins { letter.to_ascii_uppercase() } else { letter };
        begins = letter == '-';
        shown
    });
    shown.collect()
}

/// GET: asks for an address, a URL or a service's `url(..)`.
pub fn get(address: impl Into<Address>) -> Http {
    request(Method::GET, address)
}

/// HEAD.
pub fn head(address: impl Into<Address>) -> Http {
    request(Method::HEAD, address)
}

/// POST; chain [`body`](Http::body) or [`json`](Http::json).
pub fn post(address: impl Into<Address>) -> Http {
    request(Method::POST, address)
}

/// PUT; chain [`body`](Http::body) or [`json`](Http::json).
pub fn put(address: impl Into<Address>) -> Http {
    request(Method::PUT, address)
}

/// DELETE.
pub fn delete(address: impl Into<Address>) -> Http {
    request(Method::DELETE, address)
}

fn request(method: Method, address: impl Into<Address>) -> Http {
    Http { request: Request::new(method, address.into()), wrong: None }
}

impl Http {
    /// Adds a header. One that is none is an error when the experiment is planned.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.request.headers.append(name, value)),
            (Err(_), _) => self.wrong = Some(format!("{name:?} is no header name")),
            // Its value may be a secret.
            (Ok(_), Err(_)) => self.wrong = Some(format!("the value of header {name} is none")),
        }
        self
    }

    /// Sends a body.
    pub fn body(mut self, body: impl Into<hyper::body::Bytes>) -> Self {
        self.request.body = body.into();
        self
    }

    /// Sends JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.body(body).header("content-type", "application/json"),
            Err(error) => {
                self.wrong = Some(format!("its body is no JSON: {error}"));
                self
            }
        }
    }

    /// How long to wait for the whole answer, 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = timeout;
        self
    }

    fn described(&self) -> String {
        format!("{} {}", self.request.method, self.request.address)
    }

    fn checked(&self) -> Result<(), BoxError> {
        self.request.address.checked()?;
        match &self.wrong {
            Some(wrong) => Err(format!("{}: {wrong}", self.described()).into()),
            None => Ok(()),
        }
    }

    async fn send(&self, scene: &Scene) -> Result<Answer, Failure> {
        let started = scene.clock.elapsed();
        // The run's own span is what the system's spans belong below: a probe has none that anybody is sent.
        let marked = scene.trace.as_ref().map(|trace| {
            let mut request = self.request.clone();
            trace.mark(&mut request.headers, trace.root);
            request
        });
        let response = scene.transport.send(marked.as_ref().unwrap_or(&self.request)).await?;
        Ok(Answer { response, took: scene.clock.elapsed().saturating_sub(started) })
    }
}

impl Probe for Http {
    type Output = Answer;

    fn describe(&self) -> String {
        self.described()
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.checked()
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Answer>, BoxError>> {
        Box::pin(async move {
            self.checked()?;
            match self.send(scene).await {
                Ok(answer) => Ok(Observed::Value(answer)),
                Err(Failure::NoAnswer(how)) => Ok(Observed::NoAnswer(how.to_string())),
                Err(Failure::Error(error)) => Err(error.into()),
            }
        })
    }
}

impl Action for Http {
    fn describe(&self) -> String {
        self.described()
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.checked()
    }

    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move {
            self.checked()?;
            let answer = self.send(scene).await.map_err(|failure| format!("{}: {failure}", self.described()))?;
            if answer.status() >= 400 {
                return Err(format!("{} answered {}", self.described(), answer.status()).into());
            }
            Ok(serde_json::to_value(&answer)?)
        })
    }
}

/// An answer, with the time that it took.
#[derive(Clone, Debug)]
pub struct Answer {
    response: Response,
    took: Duration,
}

impl Answer {
    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &http::HeaderMap {
        &self.response.headers
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.response.body
    }

    /// From before the connection was opened until the last byte was there.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// The evidence: no headers, for they hold cookies and tokens.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body: String = String::from_utf8_lossy(&self.response.body).chars().take(EVIDENCE_LENGTH).collect();
        let mut fields = serializer.serialize_struct("Answer", 3)?;
        fields.serialize_field("status", &self.response.status)?;
        fields.serialize_field("seconds", &self.took.as_secs_f64())?;
        fields.serialize_field("body", &body)?;
        fields.end()
    }
}

impl AsStatus for Answer {
    fn status(&self) -> u16 {
        self.response.status
    }
}

impl AsText for Answer {
    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.response.body)
    }
}

impl AsJson for Answer {
    fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.response.body).map_err(|error| error.to_string())
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn headers_are_spelt_as_servers_do() {
        assert_eq!(canonical("content-type"), "Content-Type");
    }
}
