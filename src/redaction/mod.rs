//! What is not shown: which names mean a secret, and texts without what stands under such a name.
//!
//! Called by whatever makes names of addresses and commands, and by whoever stores or reads journals. It knows no secret
//! itself: it goes by names (`password`, `api_key`, `Set-Cookie`) and, for journals of documents and of others, by the forms
//! that tokens of well-known kinds have. It promises: what is taken out leaves [`REDACTED`], and the rest is as it was.

#[cfg(feature = "cli")]
pub(crate) mod shapes;
#[cfg(feature = "cli")]
pub(crate) mod value;

use std::borrow::Cow;

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// Whether a key says that its value is a secret: `password`, `db_password`, `Authorization`, `apiKey`, …
pub(crate) fn is_secret(key: &str) -> bool {
    const ENDS: [&str; 13] = [
        "authorization",
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
        "clientkeydata",
        "cookie",
        "credentials",
    ];
    let name: String = key.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_lowercase()).collect();
    name == "pass" || ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a key of a URL's query says so. What signs a request is good for that request.
fn is_secret_of_query(key: &str) -> bool {
    is_secret(key) || key.to_ascii_lowercase().ends_with("signature") || key.eq_ignore_ascii_case("sig")
}

/// A URL, or a part of it, without the values of its query that are secrets: `/?api_key=[redacted]`.
pub(crate) fn query(url: &str) -> Cow<'_, str> {
    let Some((before, rest)) = url.split_once('?') else { return Cow::Borrowed(url) };
    let (query, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
    let mut hidden = false;
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, value)) if !value.is_empty() && is_secret_of_query(key) => {
            hidden = true;
            Cow::Owned(format!("{key}={REDACTED}"))
        }
        _ => Cow::Borrowed(pair),
    });
    let pairs = pairs.collect::<Vec<_>>().join("&");
    if hidden { Cow::Owned(format!("{before}?{pairs}{fragment}")) } else { Cow::Borrowed(url) }
}

/// The words of a command without those that their names, or the option before them, say to be secret: `--token x`,
/// `PASSWORD=x`, `Authorization: x`, what a URL carries.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = Cow<'a, str>>) -> Vec<String> {
    let mut before = String::new();
    let hidden = words.into_iter().map(|word| {
        let shown = match &*before {
            "-u" | "--user" => word.split_once(':').map(|(user, _)| format!("{user}:{REDACTED}")),
            // With `=` in it the option has its value, or none.
            option
                if option.starts_with('-') && !option.contains('=') && is_secret(option) && !word.starts_with('-') =>
            {
                Some(REDACTED.to_owned())
            }
            _ => None,
        };
        let shown = shown.unwrap_or_else(|| named(&word).into_owned());
        before = word.into_owned();
        shown
    });
    hidden.collect()
}

/// A word without what its own name says to be secret.
fn named(word: &str) -> Cow<'_, str> {
    if let Some((scheme, rest)) = word.split_once("://") {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = query(path);
        return match authority.rsplit_once('@') {
            Some((_, host)) => Cow::Owned(format!("{scheme}://{REDACTED}@{host}{path}")),
            None if matches!(path, Cow::Owned(_)) => Cow::Owned(format!("{scheme}://{authority}{path}")),
            None => Cow::Borrowed(word),
        };
    }
    let Some(at) = word.find(['=', ':']) else { return Cow::Borrowed(word) };
    let (name, value) = word.split_at(at + 1);
    let bare = value.trim_start();
    if is_secret(name) && !bare.is_empty() {
        return Cow::Owned(format!("{name}{}{REDACTED}", &value[..value.len() - bare.len()]));
    }
    match named(value) {
        Cow::Owned(value) => Cow::Owned(format!("{name}{value}")),
        Cow::Borrowed(_) => Cow::Borrowed(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_all_but_its_secrets() {
        for (url, shown) in [
            ("http://h/?api_key=S&page=2", "http://h/?api_key=[redacted]&page=2"),
            ("/a?b=c&Access-Token=S#there", "/a?b=c&Access-Token=[redacted]#there"),
            ("/a?X-Amz-Signature=S&sig=S", "/a?X-Amz-Signature=[redacted]&sig=[redacted]"),
            ("/a?token=&tokens=2&design=1", "/a?token=&tokens=2&design=1"),
            ("/password=x", "/password=x"),
        ] {
            assert_eq!(query(url), shown);
        }
    }

    #[test]
    fn a_command_keeps_all_but_its_secrets() {
        for (line, shown) in [
            ("kubectl|get|pods", "kubectl get pods"),
            (
                "curl|-H|Authorization: Bearer S|http://u:S@h/?token=S&a=b", //
                "curl -H Authorization: [redacted] http://[redacted]@h/?token=[redacted]&a=b",
            ),
            ("curl|--header=X-Api-Key: S|-u|me:S", "curl --header=X-Api-Key: [redacted] -u me:[redacted]"),
            ("login|--password|S|--password-stdin|x", "login --password [redacted] --password-stdin x"),
            ("env|DB_PASSWORD=S|FLAGS=--token=S|a=b", "env DB_PASSWORD=[redacted] FLAGS=--token=[redacted] a=b"),
            ("run|--token|--quiet|--token=|x", "run --token --quiet --token= x"),
            ("docker|-u|1000", "docker -u 1000"),
        ] {
            assert_eq!(words(line.split('|').map(Cow::Borrowed)).join(" "), shown);
        }
    }
}
