//! Lists: of now, of a stated version, page by page.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::{Answer, Listed};
use super::select::Filter;
use super::{ApiService, Call, Place};
use crate::lab::status::{Cause, Status};
use crate::lab::store::Object;

/// How long a list waits for a version that is still to come.
const WAIT: Duration = Duration::from_secs(3);

/// The version of the form of continue tokens.
const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// What a list or watch asks for beside its selectors.
pub(super) struct Options {
    pub(super) version: String,
    pub(super) matching: String,
    pub(super) send_initial: Option<bool>,
    pub(super) timeout: Option<i64>,
    limit: Option<usize>,
    after: String,
}

impl Options {
    /// # Errors
    /// 400 for what is no number, 422 for what does not go together.
    pub(super) fn of(call: &Call, watch: bool) -> Result<Self, Status> {
        let text = |name: &str| call.get(name).unwrap_or_default().to_owned();
        let limit = call.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let options = Self {
            version: text("resourceVersion"),
            matching: text("resourceVersionMatch"),
            send_initial: call.get("sendInitialEvents").map(|_| call.flag("sendInitialEvents")),
            timeout: call.number("timeoutSeconds")?,
            limit,
            after: text("continue"),
        };
        let causes = if watch { options.faults_of_watch() } else { options.faults_of_list() };
        if causes.is_empty() { Ok(options) } else { Err(Status::bad_options("ListOptions", &causes)) }
    }

    fn faults_of_list(&self) -> Vec<Cause<'static>> {
        let mut faults = Vec::new();
        let mut forbid = |field, why: &str| faults.push(("FieldValueForbidden", field, format!("Forbidden: {why}")));
        let matching = "resourceVersionMatch";
        if !self.matching.is_empty() {
            if self.version.is_empty() {
                forbid(matching, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.after.is_empty() {
                forbid(matching, "resourceVersionMatch is forbidden when continue is provided");
            }
            if self.matching == "Exact" && self.version == "0" {
                forbid(matching, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            if !["Exact", "NotOlderThan"].contains(&self.matching.as_str()) {
                let other = &self.matching;
                let why = format!("Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\"");
                faults.push(("FieldValueNotSupported", matching, why));
            }
        }
        if self.send_initial.is_some() {
            let why = "Forbidden: sendInitialEvents is forbidden for list".to_owned();
            faults.push(("FieldValueForbidden", "sendInitialEvents", why));
        }
        faults
    }

    fn faults_of_watch(&self) -> Vec<Cause<'static>> {
        let mut faults = Vec::new();
        let field = "resourceVersionMatch";
        let mut forbid = |why: &str| faults.push(("FieldValueForbidden", field, format!("Forbidden: {why}")));
        let fits = self.matching == "NotOlderThan";
        if self.send_initial.is_some() && !fits {
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !self.matching.is_empty() {
            if self.send_initial.is_none() {
                forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
            }
            if !self.after.is_empty() {
                forbid("resourceVersionMatch is forbidden when continue is provided");
            }
            if !fits {
                let why = format!("Unsupported value: {:?}: supported values: \"NotOlderThan\"", self.matching);
                faults.push(("FieldValueNotSupported", field, why));
            }
        }
        faults
    }
}

/// The version in a parameter; `None` for none and for 0, which is any.
pub(super) fn version_of(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let bad =
        |_| format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
    text.parse().map(Some).map_err(bad)
}

impl ApiService {
    /// Waits until the store has come to `version`.
    ///
    /// # Errors
    /// 504 if it does not.
    pub(super) async fn wait_for(&self, version: u64) -> Result<(), Status> {
        let mut newest = self.store.subscribe();
        let come = newest.wait_for(|newest| *newest >= version);
        let come = tokio::time::timeout(WAIT, come).await.is_ok_and(|come| come.is_ok());
        if come {
            return Ok(());
        }
        let message = format!("Timeout: Too large resource version: {version}, current: {}", self.store.version());
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let details = json!({"causes": [cause], "retryAfterSeconds": 1});
        Err(Status { details: Some(details), ..Status::new(504, "Timeout", message) })
    }
}

pub(super) async fn list(api: &ApiService, place: &Place, call: &Call) -> Result<Answer, Status> {
    let resource = place.resource;
    let filter = Filter::of(resource, call)?;
    let options = Options::of(call, false)?;
    let (all, version, from) = state(api, place, &options).await?;
    // A list of the past is not sorted into the pages of now: each page begins behind the last key of the one before.
    let start = from.as_deref().map_or(0, |from| {
        let from = from.trim_start_matches('/');
        let from = from.split_once('/').unwrap_or((place.namespace(), from));
        all.partition_point(|object| spot(object) < from)
    });
    let mut items: Vec<Object> = Vec::new();
    let (mut last, mut left) = (None, 0);
    for (number, object) in all.iter().enumerate().skip(start) {
        if options.limit.is_some_and(|limit| items.len() == limit) {
            left = all.len() - number;
            last = number.checked_sub(1).and_then(|last| all.get(last));
            break;
        }
        if filter.takes(object) {
            items.push(object.clone());
        }
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(last) = last {
        metadata["continue"] = json!(token(version, &key(place, last)));
        if filter.is_empty() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    Ok(Answer::List(Listed { resource, metadata, items }))
}

/// All objects of the place as they were at the version that is asked for, that version, and the key to begin at.
async fn state(
    api: &ApiService,
    place: &Place,
    options: &Options,
) -> Result<(Vec<Object>, u64, Option<String>), Status> {
    let (resource, namespace) = (place.resource, place.namespace.as_deref());
    let now = || api.store.list(resource, namespace);
    let version =
        version_of(&options.version).map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    if !options.after.is_empty() {
        let (pinned, from) = parse(&options.after)
            .map_err(|why| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}")))?;
        if version.is_some() {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let Some(pinned) = pinned else {
            let (items, version) = now();
            return Ok((items, version, Some(from)));
        };
        let items = api.store.list_at(resource, namespace, pinned).map_err(|mut status| {
            status.message = "The provided continue parameter is too old to display a consistent list result. You can \
                start a new list without the continue parameter, or use the continue token in this response to \
                retrieve the remainder of the results. Continuing with the provided token results in an inconsistent \
                list - objects that were created, modified, or deleted between the time the first chunk was returned \
                and now may show up in the list."
                .to_owned();
            status.go_on = Some(token_of(json!(-1), &from));
            status
        })?;
        return Ok((items, pinned, Some(from)));
    }
    let Some(version) = version else {
        let (items, version) = now();
        return Ok((items, version, None));
    };
    api.wait_for(version).await?;
    // A limit without a stated match means exactly that version, as on the real server.
    let exact = options.matching == "Exact" || (options.matching.is_empty() && options.limit.is_some());
    if exact {
        return Ok((api.store.list_at(resource, namespace, version)?, version, None));
    }
    let (items, version) = now();
    Ok((items, version, None))
}

/// The place of an object in the order of its list.
fn spot(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// The first key behind an object.
fn key(place: &Place, object: &Value) -> String {
    let (namespace, name) = spot(object);
    let within = place.namespace.is_some() || namespace.is_empty();
    if within { format!("/{name}\0") } else { format!("/{namespace}/{name}\0") }
}

fn token(version: u64, start: &str) -> String {
    token_of(json!(version), start)
}

fn token_of(version: Value, start: &str) -> String {
    let token = json!({"v": TOKEN_VERSION, "rv": version, "start": start});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// The version that a token pins, unless it is of an inconsistent continuation, and the key to begin at.
fn parse(token: &str) -> Result<(Option<u64>, String), String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let at = token.bytes().position(|byte| !letter(byte)).unwrap_or(token.len());
        format!("illegal base64 data at input byte {at}")
    })?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|error| super::body::go_error(&bytes, &error))?;
    let version = token["v"].as_str().unwrap_or_default();
    if version != TOKEN_VERSION {
        return Err(format!("server does not recognize this encoded version {version}"));
    }
    let pinned = match token["rv"].as_i64().unwrap_or(0) {
        0 => return Err(format!("incorrect encoded start resourceVersion (version {TOKEN_VERSION})")),
        pinned => u64::try_from(pinned).ok(),
    };
    match token["start"].as_str() {
        None | Some("") => Err(format!("encoded start key empty (version {TOKEN_VERSION})")),
        Some(start) => Ok((pinned, start.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_version_and_key_and_nothing_else_is_one() {
        assert_eq!(parse(&token(7, "/a\0")), Ok((Some(7), "/a\0".to_owned())));
        assert_eq!(parse(&token_of(json!(-1), "/a\0")), Ok((None, "/a\0".to_owned())));
        let of = |text: &str| parse(&URL_SAFE_NO_PAD.encode(text)).unwrap_err();
        assert!(of("{}").starts_with("server does not recognize this encoded version"));
        assert!(of(r#"{"v":"meta.k8s.io/v1","start":"a"}"#).starts_with("incorrect encoded start resourceVersion"));
        assert!(of(r#"{"v":"meta.k8s.io/v1","rv":1}"#).starts_with("encoded start key empty"));
        assert!(of("x").starts_with("invalid character 'x'"));
        assert_eq!(parse("a!b").unwrap_err(), "illegal base64 data at input byte 1");
    }
}
