//! Who asks, and whether they may: what stands before every request.
//!
//! A request without credentials is the lab's own user, who may do everything; a bearer token of the lab is its
//! service account, any other is refused with 401, as is a password. Then impersonation, then RBAC: 401 and 403
//! come before anything that the request itself could get wrong.

use http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use super::{
    ApiBody, ApiService, Asked, Call, Place, Reply, eviction, full, impersonation, negotiate, protobuf, respond,
    respond_as, review, token,
};
use crate::lab::access::{Attributes, Grants, RBAC, User, decide};
use crate::lab::status::Status;

/// What everybody may ask: whether the server is well.
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Why a request is not answered.
pub(super) enum Refusal {
    Status(Status),
    /// A failure of the server that has no `Status`.
    Text(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Sets the user of a call. Answers it, if the user may not make it or if it is one of this module's neighbours'.
pub(super) async fn gate(api: &ApiService, uri: &Uri, call: &mut Call) -> Option<Response<ApiBody>> {
    protobuf::read(call);
    match admit(api, uri, call).await {
        Err(Refusal::Status(status)) => return Some(respond(Err(status))),
        Err(Refusal::Text(text)) => return Some(failed(text)),
        Ok(()) => {}
    }
    let parts: Vec<String> = uri.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut answer = review::answer(api, &parts, call).or_else(|| token::answer(api, &parts, call));
    if answer.is_none() {
        answer = eviction::answer(api, &parts, call).await;
    }
    let encoding = negotiate::encoding(call);
    answer.map(|answer| {
        let wait = answer.as_ref().err().and_then(|s| s.details.as_ref()?["retryAfterSeconds"].as_u64());
        let mut response = respond_as(answer.map(Reply::from), encoding);
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    })
}

async fn admit(api: &ApiService, uri: &Uri, call: &mut Call) -> Result<(), Refusal> {
    let mut user = authenticate(api, &call.headers)?;
    if let Some(other) = impersonation::impersonated(api, &user, uri, &call.headers)? {
        user = other.into();
    }
    call.user = user;
    let may = call.user.is_own() || HEALTH.contains(&uri.path());
    if !may {
        check(api, &call.user, &attributes(uri.path(), call))?;
    }
    grants_no_more(api, uri.path(), call).await?;
    Ok(())
}

/// Refuses roles and bindings that would give more than the user holds.
async fn grants_no_more(api: &ApiService, path: &str, call: &Call) -> Result<(), Status> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if !parts.contains(&RBAC) {
        return Ok(());
    }
    let Some(place) = Place::of(&api.store, &Asked::of(&parts, call)) else { return Ok(()) };
    let Some(grants) = Grants::of(&api.store, &call.user, place.resource, place.namespace()) else { return Ok(()) };
    if call.method == Method::POST {
        return grants.check(&call.json()?);
    }
    if call.method != Method::PUT && call.method != Method::PATCH {
        return Ok(());
    }
    // What it would be; should the write fail, it will say so itself.
    let mut query = call.query.clone();
    query.retain(|(name, _)| name != "dryRun");
    query.push(("dryRun".into(), "All".into()));
    let (method, headers, body, user) =
        (call.method.clone(), call.headers.clone(), call.body.clone(), call.user.clone());
    let Ok(Reply { answer, .. }) = api.route(path, Call { method, query, headers, body, user }).await else {
        return Ok(());
    };
    answer.into_json().map_or(Ok(()), |(_, object)| grants.check(&object))
}

/// Refuses what the user may not do.
///
/// # Errors
/// 403 that names user, verb and object.
pub(super) fn check(api: &ApiService, user: &User, asked: &Attributes) -> Result<(), Status> {
    let decision = decide(&api.store, user, asked);
    if decision.allowed { Ok(()) } else { Err(forbidden(user, asked, &decision.reason)) }
}

fn authenticate(api: &ApiService, headers: &HeaderMap) -> Result<std::sync::Arc<User>, Status> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, rest) = credentials.trim().split_once(' ').unwrap_or((credentials.trim(), ""));
    let unauthorized = || Status::new(401, "Unauthorized", "Unauthorized");
    if scheme.eq_ignore_ascii_case("basic") {
        return Err(unauthorized());
    }
    let token = rest.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Ok(User::own());
    }
    let known = token::validate(api, token, &[token::ISSUER.to_owned()]);
    known.map(|(user, _)| user.into()).map_err(|_| unauthorized())
}

fn failed(text: String) -> Response<ApiBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn forbidden(user: &User, asked: &Attributes, reason: &str) -> Status {
    let user = &user.name;
    let verb = &asked.verb;
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let mut details = serde_json::json!({});
    if let Some(path) = &asked.path {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}{reason}");
        return Status { details: Some(details), ..Status::new(403, "Forbidden", message) };
    }
    let (group, resource) = (&asked.group, &asked.resource);
    let mut what = resource.clone();
    if !group.is_empty() {
        what = format!("{what}.{group}");
        details["group"] = group.as_str().into();
    }
    if !asked.name.is_empty() {
        what = format!("{what} {:?}", asked.name);
        details["name"] = asked.name.as_str().into();
    }
    details["kind"] = resource.as_str().into();
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    let whole = asked.whole_resource();
    let message = format!(
        "{what} is forbidden: User {user:?} cannot {verb} resource {whole:?} in API group {group:?} {place}{reason}"
    );
    Status { details: Some(details), ..Status::new(403, "Forbidden", message) }
}

/// What a request asks to do, whether or not there is such a thing.
fn attributes(path: &str, call: &Call) -> Attributes {
    resource(path, call).unwrap_or_else(|| Attributes {
        verb: call.method.as_str().to_lowercase(),
        path: Some(path.to_owned()),
        ..Attributes::default()
    })
}

fn resource(path: &str, call: &Call) -> Option<Attributes> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, rest) = match parts[..] {
        ["api", _, ref rest @ ..] if !rest.is_empty() => ("", rest),
        ["apis", group, _, ref rest @ ..] if !rest.is_empty() => (group, rest),
        _ => return None,
    };
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, below, ..] if !["status", "finalize"].contains(below) => (*namespace, &rest[2..]),
        ["namespaces", namespace, ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let at = |index: usize| rest.get(index).copied().unwrap_or_default();
    let mut name = at(1).to_owned();
    let verb = match call.method {
        _ if watch => "watch",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if name.is_empty() => {
            name = selected_name(call).unwrap_or_default();
            if call.flag("watch") { "watch" } else { "list" }
        }
        Method::GET | Method::HEAD => "get",
        _ => "",
    };
    Some(Attributes {
        verb: verb.into(),
        group: group.into(),
        resource: at(0).into(),
        subresource: at(2).into(),
        namespace: namespace.into(),
        name,
        path: None,
    })
}

/// The one name that a list can hold, by its field selector: such a list needs no more rights than its object.
fn selected_name(call: &Call) -> Option<String> {
    let selector = call.get("fieldSelector")?;
    let name = selector.split(',').find_map(|term| {
        let value = term.trim().strip_prefix("metadata.name")?.trim_start().strip_prefix('=')?;
        Some(value.strip_prefix('=').unwrap_or(value).trim())
    })?;
    let fits = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']);
    fits.then(|| name.to_owned())
}

/// A part of a path without its percent signs; as it is where they mean nothing.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, query: &[(&str, &str)]) -> String {
        let query = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let method = method.parse().unwrap();
        let call = Call { method, query, headers: HeaderMap::new(), body: Default::default(), user: User::own() };
        let a = attributes(path, &call);
        match &a.path {
            Some(path) => format!("{} {path}", a.verb),
            None => format!("{} {}|{}|{}|{}", a.verb, a.group, a.whole_resource(), a.namespace, a.name),
        }
    }

    #[test]
    fn a_request_says_what_it_asks_to_do() {
        for (method, path, expected) in [
            ("GET", "/api/v1/pods", "list |pods||"),
            ("GET", "/api/v1/namespaces/n/pods/x", "get |pods|n|x"),
            ("GET", "/api/v1/namespaces/n/pods/x/log", "get |pods/log|n|x"),
            ("POST", "/api/v1/namespaces/n/pods/x/eviction", "create |pods/eviction|n|x"),
            ("POST", "/api/v1/namespaces/n/pods", "create |pods|n|"),
            ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection |pods|n|"),
            ("DELETE", "/api/v1/namespaces/n/pods/x", "delete |pods|n|x"),
            ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", "patch apps|deployments/scale|n|d"),
            ("PUT", "/api/v1/namespaces/n/finalize", "update |namespaces/finalize|n|n"),
            ("GET", "/api/v1/namespaces/n", "get |namespaces|n|n"),
            ("GET", "/api/v1/namespaces", "list |namespaces||"),
            ("GET", "/api/v1/watch/namespaces/n/pods/x", "watch |pods|n|x"),
            ("GET", "/apis/x.io/v1/things", "list x.io|things||"),
            (
                "GET",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab",
                "get rbac.authorization.k8s.io|clusterroles||a:b",
            ),
            ("GET", "/api/v1", "get /api/v1"),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
            ("POST", "/metrics", "post /metrics"),
        ] {
            assert_eq!(asked(method, path, &[]), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_list_of_one_name_counts_as_that_object() {
        let pods = "/api/v1/namespaces/n/pods";
        let by = |selector: &str| asked("GET", pods, &[("watch", "1"), ("fieldSelector", selector)]);
        assert_eq!(by("metadata.name=x"), "watch |pods|n|x");
        assert_eq!(by("status.phase=Running,metadata.name==x"), "watch |pods|n|x");
        assert_eq!(by("metadata.name!=x"), "watch |pods|n|");
        assert_eq!(by("metadata.name=.."), "watch |pods|n|");
    }
}
