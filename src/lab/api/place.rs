//! What a path means.

use http::Method;

use super::call::Call;
use crate::lab::resource::{NAMESPACES, Resource};
use crate::lab::store::Store;

/// What is asked for, before it is known whether it exists: what authorization is decided by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) group: String,
    pub(super) version: String,
    /// The plural in the path.
    pub(super) resource: String,
    /// Empty for none, like the next two.
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// The path of what is no resource at all, with a verb like `get` then.
    pub(super) path: Option<String>,
    /// Whether it is a watch by the old way of a path: `/api/v1/watch/…`.
    pub(super) old_watch: bool,
    /// How many pieces came behind the plural.
    depth: usize,
}

impl Asked {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `[watch/][namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`.
    pub(super) fn of(parts: &[&str], call: &Call) -> Self {
        let verb = match call.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        let (group, version, rest) = match parts {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Self::path(parts, call),
        };
        let mut asked = Self { verb, group: group.to_owned(), version: version.to_owned(), ..Self::default() };
        let rest = match rest {
            ["watch", rest @ ..] if !rest.is_empty() && call.method == Method::GET => {
                asked.old_watch = true;
                rest
            }
            rest => rest,
        };
        let rest = match rest {
            ["namespaces", namespace, within @ ..] => {
                asked.namespace = (*namespace).to_owned();
                // Below a namespace's own name lie only these two; all else is a kind of object in it.
                if matches!(within, [] | ["status" | "finalize", ..]) { rest } else { within }
            }
            rest => rest,
        };
        let piece = |index: usize| rest.get(index).map(|piece| (*piece).to_owned()).unwrap_or_default();
        asked.resource = piece(0);
        asked.name = piece(1);
        asked.subresource = piece(2);
        asked.depth = rest.len() - 1;
        if asked.old_watch || (asked.name.is_empty() && verb == "get" && call.flag("watch")) {
            asked.verb = "watch";
        } else if asked.name.is_empty() && verb == "get" {
            asked.verb = "list";
        } else if asked.name.is_empty() && verb == "delete" {
            asked.verb = "deletecollection";
        }
        asked
    }

    fn path(parts: &[&str], call: &Call) -> Self {
        let verb = match call.method {
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            Method::HEAD => "head",
            Method::OPTIONS => "options",
            _ => "get",
        };
        Self { verb, path: Some(format!("/{}", parts.join("/"))), ..Self::default() }
    }
}

/// A place below a kind that exists.
pub(super) struct Place {
    pub(super) resource: &'static Resource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Place {
    pub(super) fn of(store: &Store, asked: &Asked) -> Option<Self> {
        if asked.path.is_some() || asked.depth > 2 {
            return None;
        }
        let resource = store.kind(&asked.group, &asked.version, &asked.resource)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        // A namespace lies in none, though it is said to be in itself.
        let namespace = if resource.is(&NAMESPACES) { None } else { some(&asked.namespace) };
        let name = if asked.old_watch { None } else { some(&asked.name) };
        let place = Self { resource, namespace, name, subresource: some(&asked.subresource) };
        let fits = match (&place.namespace, &place.name) {
            (Some(_), _) => resource.namespaced,
            (None, Some(_)) => !resource.namespaced,
            (None, None) => true,
        };
        let known = place.subresource.as_deref().is_none_or(|below| resource.has(below));
        (fits && known).then_some(place)
    }

    /// The namespace; empty for none.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Whether it is the collection that new objects come into.
    pub(super) fn takes_new(&self) -> bool {
        self.namespace.is_some() == self.resource.namespaced
    }
}
