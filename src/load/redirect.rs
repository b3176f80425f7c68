//! Where an answer sends a request next.

use http::header::LOCATION;
use http::{Method, Uri};
use reqwest::Url;

use super::connect::{Answer, Prepared, origin};
use crate::transport::Address;

/// The next request, if the answer is a redirect with a place.
pub(super) fn next(target: &Prepared, answer: &Answer) -> Result<Option<Prepared>, String> {
    let method = match (answer.status, &target.method) {
        (301..=303, &Method::HEAD) => Method::HEAD,
        (301..=303, _) => Method::GET,
        (307 | 308, method) => method.clone(),
        _ => return Ok(None),
    };
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    let unusable = || format!("the redirect to {location:?} leads nowhere");
    match &target.uri {
        Some(uri) => {
            let next = Url::parse(&uri.to_string()).and_then(|url| url.join(&location)).map_err(|_| unusable())?;
            let uri: Uri = next.as_str().parse().map_err(|_| unusable())?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) {
                return Err(unusable());
            }
            Ok(Some(target.redirected(Address::Url(uri.clone()), Some(uri), method)))
        }
        // On somebody else's streams an address is followed as it is named there.
        None if location.starts_with('/') => {
            Ok(Some(target.redirected(target.address.with_path(&location), None, method)))
        }
        None => match Address::from(location.as_ref()) {
            Address::Malformed { .. } => Err(unusable()),
            address => Ok(Some(target.redirected(address, None, method))),
        },
    }
}

/// Whether the same connection leads to both.
pub(super) fn same_origin(one: &Prepared, other: &Prepared) -> bool {
    let of = |prepared: &Prepared| prepared.uri.as_ref().and_then(origin);
    let here = of(one);
    here.is_some() && here == of(other)
}
