use super::*;

/// A text with a secret, in two parts so that no scanner takes it for a leaked one, and what is left of it.
const EXAMPLES: [(&str, &str, &str, &str); 29] = [
    (
        "a private key",
        "-----BEGIN RSA PRIVATE",
        " KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128\n\nMIIE\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\n",
    ),
    ("an age key", "AGE-SECRET-", "KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ", "[redacted]"),
    (
        "a header Authorization",
        "> authorization: ",
        "Digest username=x, response=y\r\n>",
        "> authorization: [redacted]\r\n>",
    ),
    ("a bearer token", "sent Bearer ", "abcdef.ghi-123 twice", "sent Bearer [redacted] twice"),
    ("basic credentials", "Basic ", "dXNlcjpwYXNz; basic authentication", "Basic [redacted]; basic authentication"),
    ("a registry's credentials", r#"{"auth": ""#, r#"dXNlcjpwYXNz"}"#, r#"{"auth": "[redacted]"}"#),
    ("a cookie", "Set-Cookie: ", "session=abc; Path=/\nnext", "Set-Cookie: [redacted]\nnext"),
    ("a URL's password", "postgres://user:", "p@ss:word@db/x", "postgres://user:[redacted]@db/x"),
    ("a URL's token", "https://", "abcdefghijklmnop@example.org/", "https://[redacted]@example.org/"),
    ("an AWS key id", "id AKIA", "ABCDEFGHIJKLMNOP.", "id [redacted]."),
    (
        "an AWS secret key",
        "aws_secret_access_key = ",
        "abcdefghijklmnopqrstuvwxyz/ABCDEFGHIJ+123",
        "aws_secret_access_key = [redacted]",
    ),
    ("a key of a kubeconfig", "client-key-data: ", "LS0tLS1CRUdJTg==\n", "client-key-data: [redacted]\n"),
    ("a GitHub token", "ghp_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", "[redacted]"),
    ("a GitLab token", "glpat-", "abcdefghijklmnopqrst", "[redacted]"),
    ("a Slack token", "xoxb-", "123456789012-abc", "[redacted]"),
    (
        "a Slack hook",
        "https://hooks.slack.com/services/",
        "T00000000/B00000000/abcdef",
        "https://hooks.slack.com/services/[redacted]",
    ),
    ("a JSON web token", "x eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl y", "x [redacted] y"),
    ("a Google key", "AIza", "abcdefghijklmnopqrstuvwxyz_ABCDEFGH", "[redacted]"),
    ("a Google token", "ya29.", "abcdefghijklmnopqrstuvwxyz", "[redacted]"),
    ("a Stripe key", "sk_live_", "abcdefghijklmnopqrst", "[redacted]"),
    ("a key of a language model", "sk-", "abcdefghijklmnopqrstuvwxyz", "[redacted]"),
    ("an npm token", "npm_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", "[redacted]"),
    ("a PyPI token", "pypi-", "AgEIcHlwaS5vcmcabcdefghijklmnopqrstuvwxyzABCDEFGHIJ", "[redacted]"),
    ("a Vault token", "hvs.", "abcdefghijklmnopqrstuvwxyz", "[redacted]"),
    ("a SendGrid key", "SG.", "abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuv", "[redacted]"),
    ("a DigitalOcean token", "dop_v1_", "0123456789abcdef0123456789abcdef0123456789abcdef", "[redacted]"),
    (
        "an Azure key",
        "AccountName=x;AccountKey=",
        "abcdefghijklmnopqrstuvwxyz==;End",
        "AccountName=x;AccountKey=[redacted];End",
    ),
    (
        "credentials of curl",
        "curl -u ",
        "admin:letmein http://x; docker run -u 1000:1000",
        "curl -u admin:[redacted] http://x; docker run -u 1000:1000",
    ),
    ("what is called a password", "?password=", "hunter22&x=1 token=true", "?password=[redacted]&x=1 token=true"),
];

#[test]
fn every_shape_hides_its_secret_and_nothing_else() {
    for ((name, before, after, left), shape) in EXAMPLES.iter().zip(&SHAPES) {
        assert_eq!(*name, shape.name);
        let text = format!("{before}{after}");
        let pattern = Regex::new(shape.pattern).expect("compiles");
        assert_eq!(hide(&text, &pattern, shape.holds).as_deref(), Some(*left), "{name} by itself");
        assert_eq!(Shapes::new().hide(&text), *left, "{name} among all");
        let again = Shapes::new().hide(left).into_owned();
        assert_eq!(again, *left, "{name}: what is left stays");
    }
}

#[test]
fn an_ordinary_text_stays_as_it_is() {
    for text in [
        "",
        "http://example.org:8080/path?x=1",
        "the token is missing; basic authentication; Bearer of news",
        r#"{"status": 200, "headers": {"Content-Type": "application/json"}, "key": "value"}"#,
        "secretName: back-tls\nautomountServiceAccountToken: false",
        "user@example.org said: http://x/ and a@b",
        "sk-1, SG.x, eyJ, AKIA",
    ] {
        assert!(matches!(Shapes::new().hide(text), Cow::Borrowed(same) if same == text), "{text}");
    }
}
