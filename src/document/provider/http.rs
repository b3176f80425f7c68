//! A request, as python-requests makes it: redirects are followed, arguments become the query, a form or JSON.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{Site, Trouble};
use crate::document::substitute::Scope;
use crate::transport::{Address, Failure, NoAnswer, Request, Response};

/// As in python-requests.
const REDIRECTS: usize = 30;

/// How much of a body is kept, in bytes: the original has no bound.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// Who asks, unless a document says so.
pub(crate) const AGENT: &str = concat!("steadfast/", env!("CARGO_PKG_VERSION"));

/// Without a time-out the original waits for ever.
pub(crate) const NO_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

const ABOVE_400: &str = "This HTTP call returned a response with a HTTP status code above 400. This may indicate some error and not what you expected. Please have a look at the logs.";

pub(super) async fn call(provider: &Value, site: &Site<'_>) -> Result<Value, Trouble> {
    let mut request = prepared(provider, site.names)?;
    let retries = provider["max_retries"].as_u64().unwrap_or(0);
    let url = request.address.to_string();
    let mut attempt = 0;
    let mut redirects = 0;
    loop {
        match site.scene.transport.send(&request).await {
            Ok(response) => match redirected(&request, &response)? {
                Some(next) if redirects < REDIRECTS => {
                    redirects += 1;
                    request = next;
                }
                Some(_) => return Err(Trouble::Fatal(format!("{url}: more than {REDIRECTS} redirects"))),
                None => {
                    if response.status > 399 {
                        site.warn(ABOVE_400);
                    }
                    if let Ok(text) = std::str::from_utf8(&response.body) {
                        site.names.orders.learn(text);
                    }
                    return returned(&response, &url);
                }
            },
            Err(Failure::NoAnswer(NoAnswer::TimedOut { .. })) => {
                return Err(Trouble::Failed("activity took too long to complete".to_owned()));
            }
            Err(_) if attempt < retries => attempt += 1,
            Err(failure) => return Err(Trouble::Failed(format!("failed to connect to {url}: {failure}"))),
        }
    }
}

/// The request that a provider means.
pub(crate) fn prepared(provider: &Value, names: &Scope) -> Result<Request, Trouble> {
    let url = names.put_into(&provider["url"]);
    let url = url.as_str().ok_or_else(|| Trouble::Fatal(format!("a URL must be a text, got {url}")))?;
    let method = names.put_into(&provider["method"]);
    let method = method.as_str().unwrap_or("GET").to_uppercase();
    let method: Method = method.parse().map_err(|_| Trouble::Fatal(format!("{method:?} is no HTTP method")))?;
    let headers = headers(&names.put_into(&provider["headers"]))?;
    let arguments = names.put_into_arguments(&provider["arguments"]);
    let json =
        provider["headers"].get("Content-Type").map(|kind| names.put_into(kind)) == Some(json!("application/json"));

    let url = if method == Method::GET { with_query(url, &arguments, names) } else { url.to_owned() };
    let address = Address::from(url.as_str());
    address.checked().map_err(|error| Trouble::Fatal(error.to_string()))?;
    let body = match &arguments {
        _ if method == Method::GET => None,
        Value::Null => None,
        arguments if json => Some((names.orders.dumps(arguments), None)),
        Value::String(text) => Some((text.clone(), None)),
        arguments => Some((form(arguments, names), Some("application/x-www-form-urlencoded"))),
    };
    let mut request = Request::new(method, address);
    request.headers = headers;
    request.timeout = timeout(&names.put_into(&provider["timeout"]))?;
    request.body_limit = BODY_LIMIT;
    request.insecure = provider["verify_tls"] == Value::Bool(false);
    if let Some((body, kind)) = body {
        request.body = body.into();
        if let Some(kind) = kind {
            request.headers.entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        }
    }
    for (name, value) in [("user-agent", AGENT), ("accept", "*/*")] {
        request.headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    Ok(request)
}

fn headers(given: &Value) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        // Its value may be a secret.
        let wrong = |what: &str| Trouble::Fatal(format!("header {name:?}: {what}"));
        let text = value.as_str().ok_or_else(|| wrong("its value must be a text; quote it"))?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong("that is no header name"))?;
        headers.append(name, HeaderValue::try_from(text).map_err(|_| wrong("its value cannot be sent"))?);
    }
    Ok(headers)
}

/// A number of seconds, or two: for connecting, and for reading.
fn timeout(given: &Value) -> Result<Duration, Trouble> {
    let seconds = match given {
        Value::Null => return Ok(NO_TIMEOUT),
        Value::Array(both) if both.len() == 2 => {
            both.iter().map(Value::as_f64).try_fold(0.0, |sum, one| Some(sum + one?))
        }
        one => one.as_f64(),
    };
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.ok_or_else(|| Trouble::Fatal(format!("a timeout must be a number of seconds or two of them, got {given}")))
}

fn with_query(url: &str, arguments: &Value, names: &Scope) -> String {
    let query = match arguments {
        Value::String(text) => text.clone(),
        arguments => form(arguments, names),
    };
    if query.is_empty() {
        return url.to_owned();
    }
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let joint = if url.contains('?') { '&' } else { '?' };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{url}{joint}{query}{fragment}")
}

/// Pairs, with a list as its items and without nulls.
fn form(arguments: &Value, names: &Scope) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    let mut add = |name: &str, value: &Value| {
        if !value.is_null() {
            encoded.append_pair(name, &names.text(value));
        }
    };
    for (name, value) in arguments.as_object().map(|all| names.orders.members(all)).unwrap_or_default() {
        match value {
            Value::Array(items) => items.iter().for_each(|item| add(name, item)),
            // What a mapping is iterated by.
            Value::Object(inner) => names.orders.members(inner).into_iter().for_each(|(key, _)| add(name, &json!(key))),
            value => add(name, value),
        }
    }
    encoded.finish()
}

/// The request that a redirect asks for.
fn redirected(request: &Request, response: &Response) -> Result<Option<Request>, Trouble> {
    let place = response.headers.get(http::header::LOCATION).and_then(|place| place.to_str().ok());
    let (Some(place), 301 | 302 | 303 | 307 | 308) = (place, response.status) else { return Ok(None) };
    let Address::Url(from) = &request.address else { return Ok(None) };
    let address = Address::from(joined(from, place)?.as_str());
    address.checked().map_err(|error| Trouble::Fatal(format!("redirected to {error}")))?;
    let mut next = request.clone();
    let origin = |uri: &Uri| (uri.scheme_str().map(str::to_owned), uri.authority().cloned());
    let elsewhere = matches!(&address, Address::Url(to) if origin(to) != origin(from));
    next.address = address;
    if elsewhere {
        // Credentials are for whom they were meant.
        for credentials in [http::header::AUTHORIZATION, http::header::PROXY_AUTHORIZATION, http::header::COOKIE] {
            next.headers.remove(credentials);
        }
    }
    let to_get = match response.status {
        303 => request.method != Method::HEAD,
        302 => request.method != Method::HEAD,
        301 => request.method == Method::POST,
        _ => false,
    };
    if to_get {
        next.method = Method::GET;
        next.body = Default::default();
        next.headers.remove(http::header::CONTENT_TYPE);
    }
    Ok(Some(next))
}

/// A place relative to a URL.
fn joined(from: &Uri, place: &str) -> Result<String, Trouble> {
    let next = Url::parse(&from.to_string()).and_then(|from| from.join(place));
    let next =
        next.map_err(|error| Trouble::Fatal(format!("redirected to {place:?}, which leads nowhere: {error}")))?;
    Ok(next.into())
}

fn returned(response: &Response, url: &str) -> Result<Value, Trouble> {
    let kind = response.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let body = if kind == "application/json" {
        serde_json::from_slice(&response.body)
            .map_err(|error| Trouble::Fatal(format!("the answer of {url} calls itself JSON and is not: {error}")))?
    } else {
        Value::String(String::from_utf8_lossy(&response.body).into_owned())
    };
    let mut headers = Map::new();
    for name in response.headers.keys() {
        let values: Vec<_> =
            response.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        headers.insert(crate::http::canonical(name.as_str()), json!(values.join(", ")));
    }
    Ok(json!({"status": response.status, "headers": headers, "body": body}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_added_to_the_one_that_is_there() {
        let arguments = json!({"a": 1, "b": [true, "x y"], "c": null});
        assert_eq!(with_query("http://h/p?z=0#f", &arguments, &Scope::default()), "http://h/p?z=0&a=1&b=True&b=x+y#f");
        assert_eq!(with_query("http://h/p", &json!({}), &Scope::default()), "http://h/p");
    }

    #[test]
    fn a_place_is_relative_to_where_it_was_said() {
        let from: Uri = "http://h:1/a/b".parse().expect("a URL");
        let places =
            [("c", "http://h:1/a/c"), ("/c", "http://h:1/c"), ("//i/c", "http://i/c"), ("https://j/", "https://j/")];
        for (place, to) in places {
            assert_eq!(joined(&from, place).expect("a URL"), to);
        }
    }
}
