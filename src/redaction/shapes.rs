//! What looks like a secret, whoever's it is: headers, keys and tokens of well-known forms.

use super::REDACTED;
use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use regex::Regex;
use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

/// A form of secrets. A text is searched for it only where it has one of the anchors, in any case of letters.
struct Shape {
    #[cfg_attr(not(test), expect(dead_code, reason = "tells the reader of this table, and its test, what it is"))]
    name: &'static str,
    anchors: &'static [&'static str],
    /// The group `s` is what is taken out; the rest tells a reader what stood there. No pattern has an optional end
    /// that it may look for in vain: a search is linear.
    pattern: &'static str,
    /// Whether what was found is a secret.
    holds: fn(&str) -> bool,
}

const fn shape(name: &'static str, anchors: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { name, anchors, pattern, holds: |_| true }
}

/// In this order: later ones see what earlier ones left.
static SHAPES: [Shape; 29] = [
    shape(
        "a private key",
        &["PRIVATE KEY"],
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?<s>(?:[^-]|-[^-])+)",
    ),
    shape("an age key", &["AGE-SECRET-KEY-"], r"(?<s>AGE-SECRET-KEY-1[A-Z0-9]{50,})"),
    shape(
        "a header Authorization",
        &["authorization"],
        r#"(?i)authorization\\?["']?[ \t]*[:=][ \t]*\\?["']?(?<s>[^\r\n"'\\]+)"#,
    ),
    shape("a bearer token", &["bearer"], r"(?i)\bbearer\s+(?<s>[A-Za-z0-9._~+/=-]{8,})"),
    Shape {
        name: "basic credentials",
        anchors: &["basic"],
        pattern: r"(?i)\bbasic\s+(?<s>[A-Za-z0-9+/]{4,}={0,2})",
        holds: is_pair,
    },
    Shape {
        name: "a registry's credentials",
        anchors: &["auth"],
        pattern: r#""auth\\?"\s*:\s*\\?"(?<s>[A-Za-z0-9+/]{4,}={0,2})"#,
        holds: is_pair,
    },
    shape("a cookie", &["cookie"], r#"(?i)\bcookie2?\\?["']?[ \t]*:[ \t]*\\?["']?(?<s>[^\r\n"'\\]+)"#),
    shape("a URL's password", &["://"], r#"://[^\s/@:"'<>\\]*:(?<s>[^\s/"'<>\\]+)@"#),
    shape("a URL's token", &["://"], r#"://(?<s>[^\s/@:"'<>\\]{16,})@"#),
    shape("an AWS key id", &["AKIA", "ASIA"], r"\b(?<s>(?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    shape(
        "an AWS secret key",
        &["secret"],
        r#"(?i)secret_?(?:access_?)?key\\?["']?\s*[:=]\s*\\?["']?(?<s>[A-Za-z0-9/+=]{16,})"#,
    ),
    shape(
        "a key of a kubeconfig",
        &["client-key-data"],
        r#"client-key-data\\?["']?:\s*\\?["']?(?<s>[A-Za-z0-9+/=]{8,})"#,
    ),
    shape(
        "a GitHub token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?<s>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
    ),
    shape("a GitLab token", &["glpat-"], r"\b(?<s>glpat-[A-Za-z0-9_.-]{20,})"),
    shape("a Slack token", &["xox"], r"\b(?<s>xox[abceoprs]-[A-Za-z0-9-]{10,})"),
    shape(
        "a Slack hook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?<s>[A-Za-z0-9/_-]{16,})",
    ),
    shape("a JSON web token", &["eyJ"], r"\b(?<s>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.?[A-Za-z0-9_-]*)"),
    shape("a Google key", &["AIza"], r"\b(?<s>AIza[A-Za-z0-9_-]{30,})"),
    shape("a Google token", &["ya29."], r"\b(?<s>ya29\.[A-Za-z0-9_-]{20,})"),
    shape("a Stripe key", &["_live_", "_test_"], r"\b(?<s>(?:sk|rk|whsec)_(?:live|test)_[A-Za-z0-9]{16,})"),
    shape("a key of a language model", &["sk-"], r"\b(?<s>sk-[A-Za-z0-9_-]{20,})"),
    shape("an npm token", &["npm_"], r"\b(?<s>npm_[A-Za-z0-9]{30,})"),
    shape("a PyPI token", &["pypi-"], r"\b(?<s>pypi-[A-Za-z0-9_-]{40,})"),
    shape("a Vault token", &["hvs.", "hvb.", "hvr."], r"\b(?<s>hv[sbr]\.[A-Za-z0-9_-]{20,})"),
    shape("a SendGrid key", &["SG."], r"\b(?<s>SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})"),
    shape("a DigitalOcean token", &["_v1_"], r"\b(?<s>do[opr]_v1_[a-f0-9]{40,})"),
    shape(
        "an Azure key",
        &["AccountKey", "SharedAccessKey", "sig="],
        r"(?i)(?:AccountKey|SharedAccessKey|[?&]sig)=(?<s>[A-Za-z0-9%+/=]{20,})",
    ),
    Shape {
        name: "credentials of curl",
        anchors: &["-u", "--user"],
        pattern: r#"(?:\s-u|\s--user)[ =]?["']?[^\s:"']+:(?<s>[^\s"']+)"#,
        // `docker -u 1000:1000` is no secret.
        holds: |found| !found.bytes().all(|byte| byte.is_ascii_digit()),
    },
    Shape {
        name: "what is called a password",
        anchors: &["passw", "passphrase", "pwd", "secret", "token", "key"],
        pattern: r#"(?i)(?:password|passwd|passphrase|;\s?pwd|secret|token|api[_-]?key|access[_-]?key)\\?["']?[ \t]*[:=][ \t]*\\?["']?(?<s>[^\s"'&,;{}\\]{4,})"#,
        holds: |found| !["true", "false", "null", "none", REDACTED].contains(&found.to_lowercase().as_str()),
    },
];

/// Whether base64 holds `user:password`.
fn is_pair(found: &str) -> bool {
    let bytes = BASE64_STANDARD_NO_PAD.decode(found.trim_end_matches('='));
    bytes.is_ok_and(|bytes| bytes.contains(&b':') && bytes.iter().all(|byte| !byte.is_ascii_control()))
}

static ANCHORS: LazyLock<(AhoCorasick, Vec<usize>)> = LazyLock::new(|| {
    let all =
        SHAPES.iter().enumerate().flat_map(|(index, shape)| shape.anchors.iter().map(move |anchor| (*anchor, index)));
    let (anchors, owners): (Vec<_>, Vec<_>) = all.unzip();
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(anchors);
    (automaton.expect("a few anchors make an automaton"), owners)
});

/// Each compiled where a text first has one of its anchors: most runs need none, and all of them take long.
static PATTERNS: [OnceLock<Regex>; SHAPES.len()] = [const { OnceLock::new() }; SHAPES.len()];

fn pattern(index: usize) -> &'static Regex {
    PATTERNS[index].get_or_init(|| Regex::new(SHAPES[index].pattern).expect("a pattern of ours compiles"))
}

/// All shapes, ready to be looked for.
#[derive(Debug)]
pub(crate) struct Shapes {
    anchors: &'static (AhoCorasick, Vec<usize>),
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Shapes { anchors: &ANCHORS }
    }

    /// The text without what looks like a secret.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut present = [false; SHAPES.len()];
        for found in self.anchors.0.find_overlapping_iter(text) {
            present[self.anchors.1[found.pattern().as_usize()]] = true;
        }
        let mut out = Cow::Borrowed(text);
        for (index, _) in present.iter().enumerate().filter(|(_, present)| **present) {
            if let Some(hidden) = hide(&out, pattern(index), SHAPES[index].holds) {
                out = Cow::Owned(hidden);
            }
        }
        out
    }
}

/// The text without what the pattern finds; none where it finds nothing.
fn hide(text: &str, pattern: &Regex, holds: fn(&str) -> bool) -> Option<String> {
    let mut out: Option<String> = None;
    let mut at = 0;
    for found in pattern.captures_iter(text) {
        let Some(secret) = found.name("s").filter(|secret| holds(secret.as_str())) else { continue };
        let out = out.get_or_insert_default();
        out.push_str(&text[at..secret.start()]);
        out.push_str(REDACTED);
        at = secret.end();
    }
    out.map(|out| out + &text[at..])
}

#[cfg(test)]
#[path = "shapes/tests.rs"]
mod tests;
