//! Where a request goes.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::redaction::{self, REDACTED};

/// A URL, or a service of a cluster, which only the cluster's own transport can find.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An `http://` or `https://` URL.
    Url(Uri),
    /// A service of the cluster under test.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The service's port; `None` for its only one.
        port: Option<u16>,
        /// The path and query, beginning with `/`.
        path: String,
    },
    /// A text that is no URL; whoever uses it gets the [`AddressError`].
    Malformed {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A text that is no URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed URL {text:?}: {why}; write it as http://HOST[:PORT]/PATH")]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Address {
    /// The address, if it is one.
    ///
    /// # Errors
    /// The text that it was made from is no URL.
    pub fn checked(&self) -> Result<&Self, AddressError> {
        match self {
            Self::Malformed { text, why } => {
                Err(AddressError { text: redaction::query(text).into_owned(), why: why.clone() })
            }
            other => Ok(other),
        }
    }

    /// The same place with another path.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        match self {
            Self::Url(uri) => {
                let authority = uri.authority().map_or("", |a| a.as_str());
                Self::from(format!("{}://{authority}{path}", uri.scheme_str().unwrap_or("http")).as_str())
            }
            Self::Service { namespace, name, port, .. } => {
                Self::Service { namespace: namespace.clone(), name: name.clone(), port: *port, path: path.to_owned() }
            }
            Self::Malformed { .. } => self.clone(),
        }
    }

    /// The address without the user and password that its text held, and these as they are meant.
    #[cfg(feature = "prometheus")]
    pub(crate) fn without_credentials(&self) -> (Self, Option<(String, String)>) {
        let Self::Url(uri) = self else { return (self.clone(), None) };
        let Some((credentials, host)) = uri.authority().and_then(|all| all.as_str().rsplit_once('@')) else {
            return (self.clone(), None);
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
        let bare = format!("{}://{host}{rest}", uri.scheme_str().unwrap_or("http"));
        (Self::from(bare.as_str()), Some((unescaped(user), unescaped(password))))
    }
}

/// `%40` is `@`: what would end the credentials in a URL is written so.
#[cfg(feature = "prometheus")]
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        match escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = |why: &str| {
            let text = redaction::query(&redacted(text)).into_owned();
            AddressError { text, why: why.to_owned() }
        };
        let uri: Uri = text.parse().map_err(|e: http::uri::InvalidUri| malformed(&e.to_string()))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(malformed("only http and https are known")),
            None => return Err(malformed("it has no scheme")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(malformed("it has no host"));
        }
        // What was meant as a password may end up in the path, where it would be shown.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let port = host_and_port.rsplit_once(':').map_or("", |(_, port)| port);
        if !host_and_port.ends_with(']') && !port.is_empty() && port.parse::<u16>().is_err() {
            return Err(malformed("its port is no number, or a password holds a / that is not written as %2F"));
        }
        Ok(Self::Url(uri))
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        text.parse().unwrap_or_else(|AddressError { text, why }| Self::Malformed { text, why })
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

/// A password in a URL must not reach a journal or a log. In a text that is no URL it may hold anything, so that all up
/// to the last `@` counts as one.
fn redacted(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://{REDACTED}@{}", &text[..scheme], &text[at + 1..]),
        _ => text.to_owned(),
    }
}

/// For names and errors: without user and password, and without what the names of the query's keys say to be secret.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(uri) => {
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                let host = match authority.rsplit_once('@') {
                    Some((_, host)) => format!("{REDACTED}@{host}"),
                    None => authority.to_owned(),
                };
                let rest = redaction::query(uri.path_and_query().map_or("/", |rest| rest.as_str()));
                write!(f, "{}://{host}{rest}", uri.scheme_str().unwrap_or("http"))
            }
            Self::Service { namespace, name, port, path } => {
                write!(f, "http://{name}.{namespace}")?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(&redaction::query(path))
            }
            Self::Malformed { text, .. } => f.write_str(&redaction::query(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_says_why() {
        for (text, why) in [
            ("front:8000/", "invalid format"),
            ("ftp://front/", "only http and https are known"),
            ("/only/a/path", "it has no scheme"),
            ("http://a b/", "invalid uri character"),
            ("http://front:http/", "its port is no number, or a password holds a / that is not written as %2F"),
        ] {
            let error = Address::from(text).checked().unwrap_err().clone();
            assert_eq!(error.why, why, "{text}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn ports_are_numbers_or_none() {
        for text in [
            "http://front",
            "http://front:",
            "http://front:8000/a:b",
            "http://[::1]/",
            "http://[::1]:80/",
            "http://me:x@front/",
        ] {
            assert!(Address::from(text).checked().is_ok(), "{text}");
        }
        assert!(Address::from("http://front:99999/").checked().is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = Address::from("http://me:secret@host/path");
        assert_eq!(address.to_string(), "http://[redacted]@host/path");
        let keyed = Address::from("http://me:secret@host/path?api_key=secret&page=2");
        assert_eq!(keyed.to_string(), "http://[redacted]@host/path?api_key=[redacted]&page=2");
        for malformed in ["ftp://me:secret@host/path", "http://me:p@secret@ho st/", "http://me:a/secret@host/"] {
            let address = Address::from(malformed);
            assert!(!address.to_string().contains("secret"), "{address}");
            let error = address.checked().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(Address::from("http://host/a@b").to_string(), "http://host/a@b");
    }

    #[cfg(feature = "prometheus")]
    #[test]
    fn credentials_are_taken_out_of_a_url() {
        for (text, bare, user, password) in [
            ("http://me:p%40ss%2F%C3%BC@host:1/a?b=c", "http://host:1/a?b=c", "me", "p@ss/ü"),
            ("https://token@[::1]/", "https://[::1]/", "token", ""),
            ("http://me:100%@host", "http://host/", "me", "100%"),
        ] {
            let (address, taken) = Address::from(text).without_credentials();
            assert_eq!((address.to_string(), taken), (bare.to_owned(), Some((user.into(), password.into()))), "{text}");
        }
        assert_eq!(Address::from("http://host/a@b").without_credentials().1, None);
    }

    #[test]
    fn a_service_is_shown_without_what_only_a_cluster_knows() {
        let address =
            Address::Service { namespace: "default".into(), name: "front".into(), port: None, path: "/".into() };
        assert_eq!(address.to_string(), "http://front.default/");
    }
}
