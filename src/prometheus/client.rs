//! The client of the HTTP API.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use super::decode::{self, Refused, Series};
use super::{Counter, Gauge, Histogram, InstantValue, RangeValues};
use crate::BoxError;
use crate::experiment::Scene;
use crate::journal::Reason;
use crate::transport::{Address, Failure, Request};

/// A Prometheus, or what speaks its query API.
#[derive(Clone)]
pub struct Prometheus {
    address: Address,
    bearer: Option<String>,
    timeout: Duration,
    matchers: Vec<(String, String)>,
    pub(super) settle_within: Option<Duration>,
    pub(super) at_once: bool,
}

/// A token must not reach a log.
impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("address", &self.address.to_string()).finish_non_exhaustive()
    }
}

/// Why there is no data: no evidence, or our own inability.
pub(super) enum NoData {
    Inconclusive(Reason),
    Error(BoxError),
}

impl From<Reason> for NoData {
    fn from(reason: Reason) -> Self {
        Self::Inconclusive(reason)
    }
}

impl Prometheus {
    /// The Prometheus at this base address; a path prefix is kept.
    pub fn new(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            bearer: None,
            timeout: crate::transport::TIMEOUT,
            matchers: Vec::new(),
            settle_within: None,
            at_once: false,
        }
    }

    /// Sends this token with each request.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// How long a request waits for its answer, 5 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a label that every series must have to the selectors made from here on. A namespace adds itself.
    #[must_use]
    pub fn with_matcher(mut self, label: &str, value: &str) -> Self {
        self.matchers.push((label.to_owned(), value.to_owned()));
        self
    }

    /// A counter: `prometheus.counter("failed_call_total").label("job", "front")`.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        Counter::new(self.clone(), name, self.matchers.clone())
    }

    /// A gauge: `prometheus.gauge("queue_length").label("job", "orders")`.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Gauge {
        Gauge::new(self.clone(), name, self.matchers.clone())
    }

    /// A histogram: `prometheus.histogram("request_duration_seconds").label("job", "front")`.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Histogram {
        Histogram::new(self.clone(), name, self.matchers.clone())
    }

    /// How long a check waits for a scrape of what it has to see, before it is `Inconclusive`; by default three scrape
    /// intervals and 5 s.
    #[must_use]
    pub fn settle_within(mut self, duration: Duration) -> Self {
        self.settle_within = Some(duration);
        self
    }

    /// For tests of the tests alone: judges what is there at the moment, as others do, and is wrong as they are.
    #[doc(hidden)]
    #[must_use]
    pub fn judging_at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// A probe of what a query is worth. Its selectors are used as they are written.
    pub fn query(&self, query: &str) -> InstantValue {
        InstantValue::new(self.clone(), query)
    }

    /// A probe of what a query was worth over the last `duration`, at each `step`.
    pub fn query_range(&self, query: &str, duration: Duration, step: Duration) -> RangeValues {
        RangeValues::new(self.clone(), query, duration, step)
    }

    pub(super) fn validate(&self) -> Result<(), BoxError> {
        self.address.checked()?;
        Ok(())
    }

    pub(super) async fn ask(&self, scene: &Scene, path: &str, form: &[(&str, &str)]) -> Result<Value, NoData> {
        let base = self.address.to_string();
        let prefix = match &self.address {
            Address::Url(uri) => uri.path().trim_end_matches('/').to_owned(),
            Address::Service { path, .. } => path.trim_end_matches('/').to_owned(),
            Address::Malformed { .. } => String::new(),
        };
        let method = if form.is_empty() { Method::GET } else { Method::POST };
        let mut request = Request::new(method, self.address.with_path(&format!("{prefix}{path}")));
        request.timeout = self.timeout;
        if !form.is_empty() {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request.body = body.into();
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(token) = &self.bearer {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| NoData::Error("the token of this Prometheus is no header value".into()))?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        let what = format!("prometheus {base}");
        let unavailable = |why: String| NoData::Inconclusive(Reason::Unavailable { what: what.clone(), why });
        let answer = match scene.transport.send(&request).await {
            Ok(answer) => answer,
            Err(Failure::NoAnswer(why)) => return Err(unavailable(why.to_string())),
            Err(Failure::Error(error)) => return Err(NoData::Error(error.into())),
        };
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(unavailable("it wants other credentials (401); give a token with `.bearer(..)`".into()));
        }
        decode::data(answer.status, &answer.body).map_err(|refused| self.no_data(refused))
    }

    pub(super) async fn series(&self, scene: &Scene, path: &str, form: &[(&str, &str)]) -> Result<Vec<Series>, NoData> {
        let data = self.ask(scene, path, form).await?;
        decode::series(&data).map_err(|refused| self.no_data(refused))
    }

    /// The raw samples of a selector in the `window` seconds up to now, with their true times.
    pub(super) async fn raw(&self, scene: &Scene, selector: &str, window: f64) -> Result<Vec<Series>, NoData> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a window is a positive number of seconds"
        )]
        let seconds = window.ceil().max(1.0) as u64;
        self.series(scene, "/api/v1/query", &[("query", &format!("{selector}[{seconds}s]"))]).await
    }

    fn no_data(&self, refused: Refused) -> NoData {
        match refused {
            Refused::BadQuery(why) => NoData::Error(format!("prometheus {}: {why}", self.address).into()),
            Refused::Unavailable(why) => {
                NoData::Inconclusive(Reason::Unavailable { what: format!("prometheus {}", self.address), why })
            }
        }
    }
}
