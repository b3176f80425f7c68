//! Who asks: credentials, headers and whom to believe over TLS. None of it is ever shown.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::BoxError;

/// What takes the place of a secret that a server has sent back.
const REDACTED: &str = "[redacted]";

/// A text that is shorter than this is no secret, and may stand anywhere.
const SHORTEST_SECRET: usize = 4;

/// How a request says who asks. The last of these that was given holds.
#[derive(Clone, Default)]
pub(super) enum Credentials {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    BearerFile(PathBuf),
}

#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) credentials: Credentials,
    /// By name; a later one of the same name takes the place of an earlier one.
    headers: Vec<(String, String)>,
    pub(super) roots: Option<PathBuf>,
}

/// The headers of one request, and which texts in an answer would give them away.
pub(super) struct Signed {
    pub(super) headers: HeaderMap,
    secrets: Vec<String>,
}

impl Signed {
    /// What a server said, without what we told it: an error page may show the request.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, REDACTED))
    }
}

impl Access {
    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Whether a server that does not know us was told anything.
    pub(super) fn is_anonymous(&self) -> bool {
        let authorised = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
        matches!(self.credentials, Credentials::None) && !authorised
    }

    /// The headers as they are now: a file of a token is read again each time, for tokens are renewed.
    pub(super) fn sign(&self) -> Result<Signed, BoxError> {
        let mut signed = Signed { headers: HeaderMap::new(), secrets: Vec::new() };
        if let Some((authorization, secrets)) = self.authorization()? {
            let mut value = HeaderValue::from_str(&authorization)
                .map_err(|_| "its credentials hold characters that no header takes, such as a line break")?;
            value.set_sensitive(true);
            signed.headers.insert(AUTHORIZATION, value);
            signed.secrets = secrets;
        }
        for (name, value) in &self.headers {
            let header = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))?;
            // Its value may be a secret.
            let mut header_value =
                HeaderValue::try_from(value).map_err(|_| format!("the value of header {name} is none"))?;
            header_value.set_sensitive(true);
            signed.headers.insert(header, header_value);
            signed.secrets.push(value.clone());
        }
        signed.secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // One may hold another: the longest goes first, so that no end of it is left.
        signed.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(signed)
    }

    /// The header's value, and the secrets in it.
    fn authorization(&self) -> Result<Option<(String, Vec<String>)>, BoxError> {
        let token = match &self.credentials {
            Credentials::None => return Ok(None),
            Credentials::Basic { user, password } => {
                if user.contains(':') {
                    return Err("the user's name holds a colon, which basic auth cannot say".into());
                }
                let both = STANDARD.encode(format!("{user}:{password}"));
                return Ok(Some((format!("Basic {both}"), vec![both, password.clone()])));
            }
            Credentials::Bearer(token) => token.trim().to_owned(),
            Credentials::BearerFile(path) => {
                let read = std::fs::read_to_string(path);
                let read =
                    read.map_err(|why| format!("failed to read its bearer token from {}: {why}", path.display()))?;
                match read.trim() {
                    "" => return Err(format!("the file of its bearer token, {}, is empty", path.display()).into()),
                    token => token.to_owned(),
                }
            }
        };
        Ok(Some((format!("Bearer {token}"), vec![token])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(credentials: Credentials) -> Access {
        Access { credentials, ..Access::default() }
    }

    #[test]
    fn credentials_become_one_header() {
        let signed = with(Credentials::Basic { user: "me".into(), password: "p:ss".into() }).sign().unwrap();
        assert_eq!(signed.headers[AUTHORIZATION], "Basic bWU6cDpzcw==");
        let signed = with(Credentials::Bearer(" abc\n".into())).sign().unwrap();
        assert_eq!(signed.headers[AUTHORIZATION], "Bearer abc");
        assert!(format!("{:?}", signed.headers).contains("Sensitive"));
        let mut access = with(Credentials::None);
        assert!(access.is_anonymous());
        access.header("x-scope-orgid", "a");
        access.header("X-Scope-OrgID", "b");
        let signed = access.sign().unwrap();
        assert_eq!(signed.headers.get_all("x-scope-orgid").iter().collect::<Vec<_>>(), ["b"]);
        assert!(access.is_anonymous());
        access.header("Authorization", "Custom abc");
        assert!(!access.is_anonymous());
    }

    #[test]
    fn a_token_is_read_again_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let access = with(Credentials::BearerFile(path.clone()));
        let error = access.sign().err().unwrap().to_string();
        assert!(error.contains("failed to read its bearer token from") && error.contains("token: "), "{error}");
        std::fs::write(&path, "\n").unwrap();
        assert!(access.sign().err().unwrap().to_string().contains("is empty"));
        for token in ["first", "second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(access.sign().unwrap().headers[AUTHORIZATION], format!("Bearer {token}"));
        }
    }

    #[test]
    fn what_no_header_takes_is_told_without_its_value() {
        for credentials in [
            Credentials::Bearer("sec\nret".into()),
            Credentials::Basic { user: "a:b".into(), password: "secret".into() },
        ] {
            let error = with(credentials).sign().err().unwrap().to_string();
            assert!(!error.contains("sec"), "{error}");
        }
        let mut access = with(Credentials::None);
        access.header("X-Key", "sec\nret");
        assert_eq!(access.sign().err().unwrap().to_string(), "the value of header X-Key is none");
        access.header("X-Key", "fine");
        access.header("no name", "secret");
        assert_eq!(access.sign().err().unwrap().to_string(), "\"no name\" is no header name");
    }

    #[test]
    fn what_a_server_sends_back_is_redacted() {
        let mut access = with(Credentials::Basic { user: "me".into(), password: "secret".into() });
        access.header("X-Key", "secret-too");
        let signed = access.sign().unwrap();
        let page = signed.redacted("Authorization: Basic bWU6c2VjcmV0, X-Key: secret-too, password secret");
        assert_eq!(page, "Authorization: Basic [redacted], X-Key: [redacted], password [redacted]");
    }
}
