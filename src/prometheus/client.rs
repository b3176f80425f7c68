//! The client of the HTTP API: what it is set up with.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::access::{Access, Credentials};
use super::{Alert, Counter, Gauge, Histogram, InstantValue, RangeValues};
use crate::BoxError;
use crate::journal::Reason;
use crate::transport::Address;
use crate::variables;

/// The variable that names the Prometheus.
const ADDRESS_VARIABLE: &str = "PROMETHEUS_URL";

/// Where it is without that, and where the lab's own is.
const DEFAULT_ADDRESS: &str = "http://localhost:9090";

/// Says whose data is asked for, in Mimir, Cortex, Loki and Thanos.
const TENANT_HEADER: &str = "X-Scope-OrgID";

/// A Prometheus, or what speaks its query API: Thanos, Mimir, VictoriaMetrics.
///
/// A path before `/api/v1` and a query that is to go with each request are part of its address:
/// `http://mimir.example/prometheus`, `http://thanos.example/?dedup=true`.
///
/// ```
/// # use steadfast::prelude::*;
/// # use steadfast::prometheus::Prometheus;
/// Prometheus::new("https://mimir.example/prometheus")
///     .bearer_file("/var/run/secrets/prometheus/token")
///     .tenant("shop")
///     .root_certificate("/etc/ssl/company.pem")
///     .timeout(secs(10));
/// ```
#[derive(Clone)]
#[must_use = "a client asks nothing by itself: make a counter, a query or an alert of it"]
pub struct Prometheus {
    pub(super) address: Address,
    pub(super) access: Access,
    pub(super) timeout: Duration,
    /// Whether answers of which the server warns are believed.
    pub(super) partial: bool,
    pub(super) matchers: Vec<(String, String)>,
    pub(super) settle_within: Option<Duration>,
    pub(super) at_once: bool,
}

/// A token must not reach a log.
impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("address", &self.shown()).finish_non_exhaustive()
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
    /// The Prometheus at this base address; a path prefix is kept. A user and password in it are taken as
    /// [`basic_auth`](Self::basic_auth), and never shown.
    pub fn new(address: impl Into<Address>) -> Self {
        let (address, credentials) = address.into().without_credentials();
        let client = Self {
            address,
            access: Access::default(),
            timeout: crate::transport::TIMEOUT,
            partial: false,
            matchers: Vec::new(),
            settle_within: None,
            at_once: false,
        };
        match credentials {
            Some((user, password)) => client.basic_auth(user, password),
            None => client,
        }
    }

    /// The Prometheus at `PROMETHEUS_URL`, `http://localhost:9090` without it.
    pub fn from_env() -> Self {
        Self::from_env_or(DEFAULT_ADDRESS)
    }

    /// As [`from_env`](Self::from_env), with another address where the variable is not set or empty.
    pub fn from_env_or(address: impl Into<Address>) -> Self {
        match variables::text(ADDRESS_VARIABLE) {
            Some(set) => Self::new(set.as_str()),
            None => Self::new(address),
        }
    }

    /// Sends this user and password with each request, instead of a token.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.access.credentials = Credentials::Basic { user: user.into(), password: password.into() };
        self
    }

    /// Sends this token with each request.
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.access.credentials = Credentials::Bearer(token.into());
        self
    }

    /// Sends the token that this file holds, read again for each request: one that is renewed is taken over.
    pub fn bearer_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.credentials = Credentials::BearerFile(path.into());
        self
    }

    /// Sends this header with each request, in the place of an earlier one of the same name. Its value is never shown.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.access.header(name, value);
        self
    }

    /// Asks for the data of this tenant: the header `X-Scope-OrgID`.
    pub fn tenant(self, id: &str) -> Self {
        self.header(TENANT_HEADER, id)
    }

    /// Believes the server only if the certificates of this PEM file vouch for it, instead of the machine's roots. Its
    /// own certificate will do. The embedded lab speaks no TLS.
    pub fn root_certificate(mut self, pem: impl Into<PathBuf>) -> Self {
        self.access.roots = Some(pem.into());
        self
    }

    /// How long a request may take, 5 s by default, in which it is sent again where the server cannot be reached, is
    /// busy or fails. The server is told, and given a second more to say that it did not make it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Believes answers of which the server warns, that a store was away for instance. Without it they are no evidence;
    /// with or without, the journal keeps the warnings.
    pub fn trust_partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Adds a label that every series must have to the selectors made from here on. A namespace adds itself.
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
    pub fn settle_within(mut self, duration: Duration) -> Self {
        self.settle_within = Some(duration);
        self
    }

    /// For tests of the tests alone: judges what is there at the moment, as others do, and is wrong as they are.
    #[doc(hidden)]
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

    /// An alert, by the name of its rule: `prometheus.alert("HighErrorRate").stays_silent()`.
    pub fn alert(&self, name: &str) -> Alert {
        Alert::new(self.clone(), name)
    }

    pub(super) fn validate(&self) -> Result<(), BoxError> {
        self.address.checked()?;
        self.access.sign().map_err(|why| self.error(&why))?;
        Ok(())
    }

    /// The address for people: a query may hold a key.
    pub(super) fn shown(&self) -> String {
        match &self.address {
            Address::Url(uri) => self.address.with_path(uri.path()).to_string(),
            other => other.to_string(),
        }
    }

    pub(super) fn error(&self, why: &dyn fmt::Display) -> BoxError {
        format!("prometheus {}: {why}", self.shown()).into()
    }

    pub(super) fn unavailable(&self, why: impl Into<String>) -> NoData {
        self.away(why).into()
    }

    pub(super) fn away(&self, why: impl Into<String>) -> Reason {
        Reason::Unavailable { what: format!("prometheus {}", self.shown()), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let client = Prometheus::new("http://me:secret@host:9090/prom?key=secret").header("X-Key", "secret");
        for client in [client.clone(), client.clone().bearer("secret"), client.basic_auth("you", "secret")] {
            let Err(error) = client.clone().header("X-Key", "sec\nret").validate() else { panic!("it is refused") };
            let NoData::Inconclusive(reason) = client.unavailable("it is away") else { panic!("a reason") };
            let shown = format!("{client:?} {:?} {error} {reason}", client.query("up"));
            assert!(!shown.contains("secret") && !shown.contains("key="), "{shown}");
            assert!(shown.contains("http://host:9090/prom"), "{shown}");
        }
    }

    #[test]
    fn a_token_that_is_not_there_is_found_when_planning() {
        let client = Prometheus::new("http://localhost:9090").bearer_file("/no/such/token");
        let error = client.validate().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "prometheus http://localhost:9090/: failed to read its bearer token from /no/such/token: "
            ),
            "{error}"
        );
    }
}
