//! Names, labels and the other texts with rules. Each check returns what is wrong, in the server's words.

/// Lowercase letters, digits and hyphens, a letter or digit at both ends.
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// The longest name of an object.
const LONGEST: usize = 253;

/// The longest label of a domain name.
const LABEL_LONGEST: usize = 63;

type Faults = Vec<String>;

fn at_most(length: usize, most: usize, faults: &mut Faults) {
    if length > most {
        faults.push(format!("must be no more than {most} characters"));
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edges = bytes.first().copied().is_some_and(lower) && bytes.last().copied().is_some_and(lower);
    edges && bytes.iter().all(|byte| lower(*byte) || *byte == b'-')
}

/// `kube-system`.
pub(in crate::lab::store) fn label(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), LABEL_LONGEST, &mut faults);
    if !is_label(text) {
        let dots = !text.is_empty() && text.contains('.') && text.split('.').all(is_label);
        faults.push(if dots { "must not contain dots".to_owned() } else { LABEL.to_owned() });
    }
    faults
}

/// `my.example.com`.
pub(in crate::lab::store) fn subdomain(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), LONGEST, &mut faults);
    if !text.split('.').all(is_label) {
        faults.push(SUBDOMAIN.to_owned());
    }
    faults
}

/// As the name of a service: it begins with a letter.
pub(in crate::lab::store) fn label_1035(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), LABEL_LONGEST, &mut faults);
    if !is_label(text) || text.starts_with(|first: char| first.is_ascii_digit()) {
        faults.push(LABEL_1035.to_owned());
    }
    faults
}

/// What fits one piece of a URL's path.
pub(in crate::lab::store) fn path_segment(text: &str) -> Faults {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    let found = ['/', '%'].into_iter().filter(|character| text.contains(*character));
    found.map(|character| format!("may not contain '{character}'")).collect()
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

/// The key of a label or an annotation: `app.kubernetes.io/name`.
pub(in crate::lab::store) fn qualified(text: &str) -> Faults {
    let mut faults = Faults::new();
    let pieces: Vec<&str> = text.split('/').collect();
    let name = match pieces[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        _ => {
            let example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {QUALIFIED} {example}")];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_LONGEST {
        faults.push(format!("name part must be no more than {LABEL_LONGEST} characters"));
    }
    if !is_qualified(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// The value of a label.
pub(in crate::lab::store) fn label_value(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), LABEL_LONGEST, &mut faults);
    if !text.is_empty() && !is_qualified(text) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// The key of a config map or a secret.
pub(super) fn config_key(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), LONGEST, &mut faults);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(fits) {
        faults.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        other if other.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// The name of an environment variable.
pub(super) fn env_name(text: &str) -> Faults {
    let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    if fits { Faults::new() } else { vec![ENV_NAME.to_owned()] }
}

/// The name of a port: `http`.
pub(super) fn port_name(text: &str) -> Faults {
    let mut faults = Faults::new();
    at_most(text.len(), 15, &mut faults);
    if !text.bytes().all(|byte| lower(byte) || byte == b'-') || text.is_empty() {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// `25%`.
pub(super) fn percent(text: &str) -> Faults {
    let digits =
        text.strip_suffix('%').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if digits {
        return Faults::new();
    }
    vec!["a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_rules() {
        assert!(subdomain("a.b-c.1").is_empty() && label("1a").is_empty() && label_1035("a1").is_empty());
        assert_eq!(subdomain("Bad_Name"), [SUBDOMAIN]);
        assert_eq!(subdomain("a..b"), [SUBDOMAIN]);
        assert_eq!(subdomain(&"a".repeat(254)), ["must be no more than 253 characters"]);
        assert_eq!(label("a.b"), ["must not contain dots"]);
        assert_eq!(label("A.b"), [LABEL]);
        assert_eq!(label_1035("1a"), [LABEL_1035]);
        assert_eq!(path_segment("a%b"), ["may not contain '%'"]);
        assert!(path_segment("system:node").is_empty());
    }

    #[test]
    fn keys_and_values_of_labels_have_their_rules() {
        assert!(qualified("app.kubernetes.io/name").is_empty() && qualified("My_App.1").is_empty());
        assert_eq!(qualified("a/b/c").len(), 1);
        assert_eq!(qualified("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified("A_/a"), [format!("prefix part {SUBDOMAIN}")]);
        assert_eq!(qualified("a/").len(), 2);
        assert!(label_value("").is_empty() && label_value("v1.2_3").is_empty());
        assert_eq!(label_value("not valid!"), [LABEL_VALUE]);
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 characters"]);
    }

    #[test]
    fn ports_keys_and_variables_have_their_rules() {
        assert!(port_name("http-2").is_empty());
        assert_eq!(port_name("A_").len(), 2);
        assert!(config_key("a_b.c").is_empty());
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(config_key("x/y"), [CONFIG_KEY]);
        assert!(env_name("MY_VAR").is_empty() && !env_name("a=b").is_empty());
        assert!(percent("25%").is_empty() && !percent("abc").is_empty());
    }
}
