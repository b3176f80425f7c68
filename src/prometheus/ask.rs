//! Asking: one question, sent again within its time where that may help, and what its answer is.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
#[cfg(feature = "cli")]
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Prometheus;
use super::access::Signed;
use super::client::NoData;
use super::decode::{self, Answer, Found, Refused, Series, Shape};
#[cfg(feature = "cli")]
use crate::BoxError;
use crate::clock::Clock;
use crate::experiment::Scene;
use crate::tolerance::shortened;
use crate::transport::{Address, Error, Failure, NoAnswer, Request, Response, retry_after};

/// How much of an answer is read. A sample takes some 25 bytes as text and 16 decoded, so that 64 MiB are 2.5 million
/// samples: 50 000 series of a counter over five minutes of the usual scrapes. No check reads more with a purpose.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// How often a question is sent at most.
const ATTEMPTS: u32 = 4;

/// How long to wait before the second attempt; each wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How much longer to wait than the server was told: an answer that it took too long is one, too.
const GRACE: Duration = Duration::from_secs(1);

/// Why an attempt came to nothing, and whether another one may help.
struct Missed {
    why: String,
    again: Again,
}

enum Again {
    No,
    Soon,
    After(Duration),
}

impl Prometheus {
    /// The `data` of an answer: a GET, or a POST of a form if there is one.
    pub(super) async fn ask(&self, scene: &Scene, path: &str, form: &[(&str, &str)]) -> Result<Value, NoData> {
        self.decoded(scene, path, form).await
    }

    /// The series of a query, as a vector or as a matrix.
    pub(super) async fn series(&self, scene: &Scene, path: &str, form: &[(&str, &str)]) -> Result<Vec<Series>, NoData> {
        let found: Found = self.decoded(scene, path, form).await?;
        Ok(found.series)
    }

    /// As [`series`](Self::series), if they come in the shape that they have to.
    pub(super) async fn shaped(
        &self,
        scene: &Scene,
        path: &str,
        form: &[(&str, &str)],
        shape: Shape,
    ) -> Result<Vec<Series>, NoData> {
        let found: Found = self.decoded(scene, path, form).await?;
        found.of(shape).map_err(|refused| self.no_data(refused))
    }

    /// The raw samples of a selector in the `window` seconds up to now, with their true times.
    pub(super) async fn raw(&self, scene: &Scene, selector: &str, window: f64) -> Result<Vec<Series>, NoData> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a window is a positive number of seconds"
        )]
        let seconds = window.ceil().max(1.0) as u64;
        let query = format!("{selector}[{seconds}s]");
        self.shaped(scene, "/api/v1/query", &[("query", &query)], Shape::Matrix).await
    }

    /// The whole answer to a GET with these parameters, as it came: its status and its body.
    ///
    /// # Errors
    /// There is none within the client's time.
    #[cfg(feature = "cli")]
    pub(crate) async fn whole(
        &self,
        scene: &Scene,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<(u16, Bytes), BoxError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        match self.asked(scene, &format!("{path}?{query}"), &[]).await {
            Ok((_, response)) => Ok((response.status, response.body)),
            Err(NoData::Inconclusive(reason)) => Err(reason.to_string().into()),
            Err(NoData::Error(error)) => Err(error),
        }
    }

    pub(super) async fn decoded<T: DeserializeOwned>(
        &self,
        scene: &Scene,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<T, NoData> {
        let (signed, response) = self.asked(scene, path, form).await?;
        let answer: Answer<T> = decode::answer(response.status, &response.body)
            .map_err(|refused| self.no_data(self.told(refused, &signed, &response)))?;
        let warnings: Vec<String> = answer.warnings.iter().map(|warning| signed.redacted(warning)).collect();
        for info in &answer.infos {
            scene.remarks.inform(&signed.redacted(info));
        }
        for warning in &warnings {
            scene.remarks.warn(warning);
        }
        if !warnings.is_empty() && !self.partial {
            let why = format!("the server warns: {}", shortened(&warnings.join("; ")));
            scene.remarks.distrust(self.away(why));
        }
        Ok(answer.data)
    }

    /// Sends the question until somebody answers it, within its time.
    async fn asked(&self, scene: &Scene, path: &str, form: &[(&str, &str)]) -> Result<(Signed, Response), NoData> {
        let deadline = scene.clock.elapsed() + self.timeout;
        let (mut attempt, mut wait) = (1, FIRST_WAIT);
        loop {
            let left = in_millis(deadline.saturating_sub(scene.clock.elapsed()));
            let signed = self.access.sign().map_err(|why| NoData::Error(self.error(&why)))?;
            let request = self.request(path, form, &signed, left);
            let Missed { why, again } = match missed(scene.transport.send(&request).await, &scene.clock) {
                Ok(Ok(response)) => return Ok((signed, response)),
                Ok(Err(missed)) => missed,
                Err(error) => return Err(NoData::Error(self.error(&error))),
            };
            let pause = match again {
                Again::No => None,
                Again::Soon => Some(wait),
                Again::After(pause) => Some(pause),
            };
            let left = deadline.saturating_sub(scene.clock.elapsed());
            match pause {
                Some(pause) if attempt < ATTEMPTS && pause < left => scene.clock.sleep(pause).await,
                _ => {
                    let asked = if attempt > 1 { format!(" (asked {attempt} times)") } else { String::new() };
                    return Err(self.unavailable(signed.redacted(&why) + &asked));
                }
            }
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }

    fn request(&self, path: &str, form: &[(&str, &str)], signed: &Signed, left: Duration) -> Request {
        let method = if form.is_empty() { Method::GET } else { Method::POST };
        let mut request = Request::new(method, joined(&self.address, path));
        request.headers = signed.headers.clone();
        request.timeout = left + GRACE;
        request.body_limit = BODY_LIMIT;
        request.roots.clone_from(&self.access.roots);
        if !form.is_empty() {
            let mut body = form_urlencoded::Serializer::new(String::new());
            body.extend_pairs(form);
            if path.ends_with("/query") || path.ends_with("/query_range") {
                body.append_pair("timeout", &format!("{}ms", left.as_millis().max(1)));
            }
            request.body = body.finish().into();
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        request
    }

    /// A refusal with what may be done about it, and without our secrets.
    fn told(&self, refused: Refused, signed: &Signed, response: &Response) -> Refused {
        let why = match refused {
            Refused::BadQuery(why) => return Refused::BadQuery(signed.redacted(&why)),
            Refused::Unavailable(why) => signed.redacted(&why),
        };
        let status = StatusCode::from_u16(response.status).unwrap_or_default();
        Refused::Unavailable(match status {
            StatusCode::UNAUTHORIZED if self.access.is_anonymous() => {
                format!("it wants credentials: {why}; give `.basic_auth(..)`, `.bearer(..)` or `.bearer_file(..)`")
            }
            StatusCode::UNAUTHORIZED => format!("it does not take these credentials: {why}"),
            StatusCode::FORBIDDEN => format!("it forbids this: {why}"),
            StatusCode::NOT_FOUND => format!("{why}; is the path before /api/v1 in its address right?"),
            status if status.is_redirection() => {
                let to = signed.redacted(&destination(&response.headers));
                format!(
                    "it redirects to {to} (status {}), where nobody follows; give the address that answers",
                    status.as_u16()
                )
            }
            _ => why,
        })
    }

    fn no_data(&self, refused: Refused) -> NoData {
        match refused {
            Refused::BadQuery(why) => NoData::Error(self.error(&format!("it refuses the query: {why}"))),
            Refused::Unavailable(why) => self.unavailable(why),
        }
    }
}

/// Rounded up to what people and servers read.
fn in_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// The response, or why there is none yet; an error is our own inability.
fn missed(sent: Result<Response, Failure>, clock: &Clock) -> Result<Result<Response, Missed>, Error> {
    let missed = |why: String, again: Again| Ok(Err(Missed { why, again }));
    match sent {
        Ok(response) => {
            let status = response.status;
            if status != 429 && !(500..600).contains(&status) {
                return Ok(Ok(response));
            }
            match decode::answer::<Value>(status, &response.body) {
                // A server that fails and answers all the same has answered.
                Ok(_) | Err(Refused::BadQuery(_)) => Ok(Ok(response)),
                Err(Refused::Unavailable(why)) => match retry_after(&response.headers, clock) {
                    Some(pause) => missed(format!("{why}; it asks to come back after {pause:?}"), Again::After(pause)),
                    None => missed(why, Again::Soon),
                },
            }
        }
        Err(Failure::NoAnswer(NoAnswer::TimedOut { after })) => {
            missed(format!("no answer within {after:?}"), Again::No)
        }
        Err(Failure::NoAnswer(why)) => {
            let why = why.to_string();
            if why.contains("certificate") {
                let remedy = "if its authority is your own, name its certificate with `.root_certificate(..)`";
                return missed(format!("{why}; {remedy}"), Again::No);
            }
            missed(why, Again::Soon)
        }
        Err(Failure::Error(Error::TooLarge { limit, .. })) => {
            let why =
                format!("its answer is larger than {} MiB; aggregate in the query, or shorten the window", limit >> 20);
            missed(why, Again::No)
        }
        Err(Failure::Error(error)) => Err(error),
    }
}

/// Where a redirect leads, without the query: that of a login holds keys.
fn destination(headers: &HeaderMap) -> String {
    let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
    let to = to.split(['?', '#']).next().unwrap_or(to);
    if to.contains("://") { Address::from(to).to_string() } else { to.to_owned() }
}

/// The address of an endpoint below a base address, whose path and query stay.
fn joined(base: &Address, endpoint: &str) -> Address {
    let (own, own_query) = match base {
        Address::Url(uri) => (uri.path(), uri.query()),
        Address::Service { path, .. } => {
            path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)))
        }
        Address::Malformed { .. } => return base.clone(),
    };
    let (endpoint, query) = endpoint.split_once('?').map_or((endpoint, None), |(path, query)| (path, Some(query)));
    let segments = own.split('/').chain(endpoint.split('/')).filter(|segment| !segment.is_empty());
    let mut path: String = segments.flat_map(|segment| ["/", segment]).collect();
    let queries: Vec<&str> = [own_query, query].into_iter().flatten().filter(|query| !query.is_empty()).collect();
    if !queries.is_empty() {
        path.push('?');
        path.push_str(&queries.join("&"));
    }
    base.with_path(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_queries_of_an_address_are_kept() {
        for (base, joined_to) in [
            ("http://host:9090", "http://host:9090/api/v1/query"),
            ("http://host:9090//", "http://host:9090/api/v1/query"),
            ("https://host/prometheus/", "https://host/prometheus/api/v1/query"),
            ("https://host//a///b", "https://host/a/b/api/v1/query"),
            ("http://host/?dedup=true", "http://host/api/v1/query?dedup=true"),
        ] {
            assert_eq!(joined(&base.into(), "/api/v1/query").to_string(), joined_to, "{base}");
        }
        let rules = joined(&"http://host/x?dedup=true".into(), "/api/v1/rules?type=alert").to_string();
        assert_eq!(rules, "http://host/x/api/v1/rules?dedup=true&type=alert");
        let service =
            Address::Service { namespace: "m".into(), name: "p".into(), port: Some(9090), path: "/prom/".into() };
        assert_eq!(joined(&service, "/api/v1/query").to_string(), "http://p.m:9090/prom/api/v1/query");
    }

    #[test]
    fn a_redirect_is_shown_without_its_keys() {
        let to = |text: &'static str| destination(&HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(text))]));
        assert_eq!(to("https://me:pass@login.example/in?state=key#x"), "https://[redacted]@login.example/in");
        assert_eq!(to("/graph?key=1"), "/graph");
        assert_eq!(destination(&HeaderMap::new()), "nowhere");
    }
}
