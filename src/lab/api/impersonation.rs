//! Acting as somebody else, by the `Impersonate-` headers.

use std::collections::BTreeMap;

use http::{HeaderMap, Uri};

use super::ApiService;
use super::access::{Refusal, check, decoded};
use crate::lab::access::{
    ANONYMOUS, AUTHENTICATED, Attributes, UNAUTHENTICATED, User, as_service_account, service_account_groups,
};

const EXTRA: &str = "impersonate-extra-";

/// One thing that a request claims to be.
enum Claim {
    User(String),
    Group(String),
    Extra(String, String),
    Uid(String),
}

impl Claim {
    /// The right to claim it.
    fn attributes(&self) -> Attributes {
        let (group, resource, subresource, namespace, name) = match self {
            Self::User(user) => match as_service_account(user) {
                Some((namespace, name)) => ("", "serviceaccounts", "", namespace, name),
                None => ("", "users", "", "", user.as_str()),
            },
            Self::Group(group) => ("", "groups", "", "", group.as_str()),
            Self::Extra(key, value) => ("authentication.k8s.io", "userextras", key.as_str(), "", value.as_str()),
            Self::Uid(uid) => ("authentication.k8s.io", "uids", "", "", uid.as_str()),
        };
        Attributes {
            verb: "impersonate".into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: None,
        }
    }

    /// As Go prints a reference to it.
    fn printed(&self) -> String {
        match self {
            Self::User(user) => format!("{{User  {user}    }}"),
            Self::Group(group) => format!("{{Group  {group}    }}"),
            Self::Extra(key, value) => format!("{{UserExtra  {value}  authentication.k8s.io/v1  {key}}}"),
            Self::Uid(uid) => format!("{{UID  {uid}  authentication.k8s.io/v1  }}"),
        }
    }
}

/// The user that a request wants to be, if it wants to be another than `user`.
///
/// # Errors
/// 403 for each claim that `user` may not make; 500 in plain text for claims without a user.
pub(super) fn impersonated(
    api: &ApiService,
    user: &User,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<User>, Refusal> {
    let claims = claims(headers);
    let Some(first) = claims.first() else { return Ok(None) };
    let Claim::User(name) = first else {
        let claims: Vec<String> = claims.iter().map(Claim::printed).collect();
        let path = uri.path_and_query().map_or(uri.path(), |all| all.as_str());
        let why =
            format!("Internal Server Error: {path:?}: requested [{}] without impersonating a user", claims.join(" "));
        return Err(Refusal::Text(why.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") + "\n"));
    };
    if !user.is_own() {
        for claim in &claims {
            check(api, user, &claim.attributes())?;
        }
    }
    let (mut groups, mut uid, mut extra) = (Vec::new(), String::new(), BTreeMap::<String, Vec<String>>::new());
    for claim in &claims {
        match claim {
            Claim::User(_) => {}
            Claim::Group(group) => groups.push(group.clone()),
            Claim::Extra(key, value) => extra.entry(key.clone()).or_default().push(value.clone()),
            Claim::Uid(claimed) => uid.clone_from(claimed),
        }
    }
    if groups.is_empty()
        && let Some((namespace, _)) = as_service_account(name)
    {
        groups = service_account_groups(namespace);
    }
    let everybody = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        groups.push(everybody.into());
    }
    Ok(Some(User { name: name.clone(), uid, groups, extra, ..User::default() }))
}

/// The user first, if there is one.
fn claims(headers: &HeaderMap) -> Vec<Claim> {
    let all = |name: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut claims: Vec<Claim> = all("impersonate-user").into_iter().take(1).map(Claim::User).collect();
    claims.extend(all("impersonate-group").into_iter().map(Claim::Group));
    let keys = headers.keys().map(http::HeaderName::as_str);
    let mut extras: Vec<&str> = keys.filter(|key| key.starts_with(EXTRA)).collect();
    extras.sort_unstable();
    for header in extras {
        let key = decoded(&header[EXTRA.len()..]).to_lowercase();
        claims.extend(all(header).into_iter().map(|value| Claim::Extra(key.clone(), value)));
    }
    claims.extend(all("impersonate-uid").into_iter().take(1).map(Claim::Uid));
    claims
}
