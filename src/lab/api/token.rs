//! Tokens of service accounts: issued by TokenRequest, signed by this lab, known to no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::review::{self, Cause};
use super::{Answer, ApiService, Call, not_allowed};
use crate::lab::access::User;
use crate::lab::resource::{NAMESPACES, NODES, PODS, Resource, SECRETS, SERVICE_ACCOUNTS};
use crate::lab::status::Status;
use crate::lab::store::{Object, seconds};

/// Who issues them, and the audience of tokens for the API server itself.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How long a token lasts that does not say.
const LIFETIME: i64 = 3600;

const SHORTEST: i64 = 600;

const LONGEST: i64 = 1 << 32;

/// How many tokens were issued: no two are equal.
pub(super) type Counter = Arc<AtomicU64>;

/// The answer to `serviceaccounts/NAME/token`.
pub(super) fn answer(api: &ApiService, parts: &[&str], call: &Call) -> Option<Result<Answer, Status>> {
    let ["api", "v1", "namespaces", namespace, "serviceaccounts", name, "token"] = *parts else { return None };
    Some(if call.method == "POST" { request(api, namespace, name, call) } else { Err(not_allowed()) })
}

fn request(api: &ApiService, namespace: &str, name: &str, call: &Call) -> Result<Answer, Status> {
    let request = review::decode(call, "authentication.k8s.io/v1", "TokenRequest")?;
    call.dry_run()?;
    let sent = |field: &str| request["metadata"][field].as_str().filter(|text| !text.is_empty());
    if sent("namespace").is_some_and(|sent| sent != namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    api.store.get(&NAMESPACES, "", namespace)?;
    if let Some(other) = sent("name").filter(|sent| *sent != name) {
        let why = format!("Invalid value: {other:?}: must match the service account name if specified");
        return Err(review::invalid(
            ("authentication.k8s.io", "TokenRequest"),
            name,
            &[Cause::new("metadata.name", why)],
        ));
    }
    let account = api.store.get(&SERVICE_ACCOUNTS, namespace, name)?;
    let spec = &request["spec"];
    let lifetime = spec["expirationSeconds"].as_i64().unwrap_or(LIFETIME);
    let why = match lifetime {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => "",
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    if !why.is_empty() {
        let why = format!("Invalid value: {lifetime}: {why}");
        let causes = [Cause::new("spec.expirationSeconds", why)];
        return Err(review::invalid(("authentication.k8s.io", "TokenRequest"), "", &causes));
    }
    let audiences = review::texts(&spec["audiences"]);
    let audiences = if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences };
    let now = api.clock.now();
    let end = now + std::time::Duration::from_secs(lifetime.unsigned_abs());
    let mut kubernetes = json!({
        "namespace": namespace, "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
    });
    if !spec["boundObjectRef"].is_null() {
        let (kind, bound) = bound(api, namespace, name, &spec["boundObjectRef"])?;
        kubernetes[kind] = json!({"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]});
        let node = bound["spec"]["nodeName"].as_str().and_then(|node| api.store.find(&NODES, "", node));
        if let Some(node) = node.filter(|_| kind == "pod") {
            kubernetes["node"] = json!({"name": node["metadata"]["name"], "uid": node["metadata"]["uid"]});
        }
    }
    let issued = api.tokens.fetch_add(1, Ordering::Relaxed);
    let claims = json!({
        "aud": audiences, "exp": end.as_second(), "iat": now.as_second(), "nbf": now.as_second(), "iss": ISSUER,
        "jti": identifier(api, issued), "kubernetes.io": kubernetes,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    });
    let metadata = json!({
        "name": name, "namespace": namespace, "uid": account["metadata"]["uid"], "creationTimestamp": seconds(now),
    });
    let spec = json!({
        "audiences": audiences, "expirationSeconds": lifetime, "boundObjectRef": spec["boundObjectRef"],
    });
    let status = json!({"token": sign(api, &claims), "expirationTimestamp": seconds(end)});
    Ok(Answer::Json(
        201,
        json!({
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata, "spec": spec, "status": status,
        }),
    ))
}

/// The claim's name and the object that a token shall not outlive.
fn bound(
    api: &ApiService,
    namespace: &str,
    account: &str,
    reference: &Value,
) -> Result<(&'static str, Object), Status> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let (claim, resource): (_, &'static Resource) = match (group, text("kind")) {
        ("", "Pod") => ("pod", &PODS),
        ("", "Secret") => ("secret", &SECRETS),
        ("", "Node") => ("node", &NODES),
        (_, kind) => {
            let what = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(what));
        }
    };
    let object = api.store.get(resource, namespace, text("name"))?;
    let own = object["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    if claim == "pod" && own != account {
        let why = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(Status::bad_request(why));
    }
    let uid = text("uid");
    if !uid.is_empty() && object["metadata"]["uid"].as_str() != Some(uid) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::precondition(resource, text("name"), &why));
    }
    Ok((claim, object))
}

/// The user of a token and those of the audiences that it is for.
///
/// # Errors
/// What is wrong with it, as a TokenReview tells it.
pub(super) fn validate(api: &ApiService, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
    const INVALID: &str = "invalid bearer token";
    let also = |why: String| format!("[{INVALID}, {why}]");
    let claims = verified(api, token).ok_or(INVALID)?;
    if claims["iss"] != ISSUER {
        return Err(INVALID.into());
    }
    let own = review::texts(&claims["aud"]);
    let common: Vec<String> = audiences.iter().filter(|audience| own.contains(audience)).cloned().collect();
    if common.is_empty() {
        let (own, wanted) = (quoted(&own), quoted(audiences));
        return Err(also(format!("token audiences {own} is invalid for the target audiences {wanted}")));
    }
    let now = api.clock.now().as_second();
    if claims["exp"].as_i64().is_none_or(|end| end < now) {
        return Err(also("service account token has expired".into()));
    }
    let kubernetes = &claims["kubernetes.io"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&kubernetes["namespace"]), text(&kubernetes["serviceaccount"]["name"]));
    let uid = text(&kubernetes["serviceaccount"]["uid"]);
    let account = api.store.find(&SERVICE_ACCOUNTS, &namespace, &name);
    let Some(account) = account else { return Err(also(format!("serviceaccounts {name:?} not found"))) };
    if account["metadata"]["uid"] != uid.as_str() {
        return Err(also(format!(
            "service account UID ({}) does not match claim ({uid})",
            text(&account["metadata"]["uid"])
        )));
    }
    let mut user = User::service_account(&namespace, &name, &uid);
    let mut tell = |key: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    tell("credential-id", format!("JTI={}", text(&claims["jti"])));
    for (claim, resource) in [("pod", &PODS), ("secret", &SECRETS), ("node", &NODES)] {
        let bound = &kubernetes[claim];
        if bound.is_null() {
            continue;
        }
        // A token of a pod outlives a look at its node.
        let held = claim == "node" && !kubernetes["pod"].is_null();
        let found = api.store.find(resource, &namespace, &text(&bound["name"]));
        if !held && found.is_none_or(|found| found["metadata"]["uid"] != bound["uid"]) {
            return Err(also("service account token has been invalidated".into()));
        }
        if claim != "secret" {
            tell(&format!("{claim}-name"), text(&bound["name"]));
            tell(&format!("{claim}-uid"), text(&bound["uid"]));
        }
    }
    Ok((user, common))
}

/// The lab's key. It guards nothing, since whoever has no token at all is the admin; it only tells its own tokens
/// from others, and the uid of `kube-system` differs from lab to lab.
fn key(api: &ApiService) -> hmac::Key {
    let system = api.store.find(&NAMESPACES, "", "kube-system");
    let uid = system.as_ref().and_then(|system| system["metadata"]["uid"].as_str()).unwrap_or_default();
    hmac::Key::new(hmac::HMAC_SHA256, format!("tokens of {uid}").as_bytes())
}

fn identifier(api: &ApiService, number: u64) -> String {
    let hash = hmac::sign(&key(api), &number.to_be_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn sign(api: &ApiService, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "kid": "steadfast-lab", "typ": "JWT"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = hmac::sign(&key(api), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verified(api: &ApiService, token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    hmac::verify(&key(api), signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// `["a" "b"]`, as Go prints a list of strings.
fn quoted(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(" "))
}
