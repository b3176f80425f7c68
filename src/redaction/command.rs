//! The words of a command without the secrets among them.

use std::borrow::Cow;

use super::{REDACTED, is_secret, query};

const QUOTES: [char; 2] = ['\'', '"'];

/// How many quotations in one another are looked into; what is deeper is hidden.
const DEEPEST: u8 = 8;

/// The words of a command without those that their names, or the option before them, say to be secret: `--token x`,
/// `PASSWORD=x`, `Authorization: x`, what URLs carry; also those of a line in one word, as `sh -c` takes it.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = Cow<'a, str>>) -> Vec<String> {
    shown(words, DEEPEST)
}

/// Whether a text has something that is hidden of a word.
pub(super) fn hides(text: &str) -> bool {
    named(text, DEEPEST) != text
}

fn shown<'a>(words: impl IntoIterator<Item = Cow<'a, str>>, depth: u8) -> Vec<String> {
    let mut before = String::new();
    let hidden = words.into_iter().map(|word| {
        let option = before.trim_matches(QUOTES);
        let shown = match option {
            "-u" | "--user" => word.split_once(':').map(|(user, _)| format!("{user}:{REDACTED}")),
            header if is_open_header(header) => {
                // What the scheme stands before is still to come.
                if is_scheme(&word) {
                    return REDACTED.to_owned();
                }
                Some(REDACTED.to_owned())
            }
            // With `=` in it the option has its value, or none.
            option
                if option.starts_with('-') && !option.contains('=') && is_secret(option) && !word.starts_with('-') =>
            {
                Some(REDACTED.to_owned())
            }
            script if is_script(script) => Some(line(&word, depth)),
            _ => None,
        };
        let shown = shown.unwrap_or_else(|| named(&word, depth));
        before = word.into_owned();
        shown
    });
    hidden.collect()
}

/// Whether the next word is a line of a shell: `sh -c`, `bash -ec`.
fn is_script(option: &str) -> bool {
    option.strip_prefix('-').is_some_and(|letters| letters.ends_with('c') && letters.len() <= 3)
}

/// Whether it is the name of a secret header whose value is in the next word: `Authorization:`, `Authorization:Bearer`.
fn is_open_header(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(name, value)| is_secret(name) && (value.is_empty() || is_scheme(value)))
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "digest", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// A word without what its own name, or one in it, says to be secret.
fn named(word: &str, depth: u8) -> String {
    if depth == 0 {
        return REDACTED.to_owned();
    }
    // One word of a command is one value, with all blanks in it.
    if let Some(at) = word.find(['=', ':'])
        && !word[..at].contains(char::is_whitespace)
        && unquoted(word).is_none()
        && let Some(hidden) = value_hidden(word, 0, at)
    {
        return hidden;
    }
    line(word, depth)
}

/// The word with what stands behind `at` hidden, where the name before it says to.
fn value_hidden(word: &str, from: usize, at: usize) -> Option<String> {
    let (name, value) = word.split_at(at + 1);
    let bare = value.trim_start();
    let hides = is_secret(&word[from..at]) && !bare.is_empty();
    hides.then(|| format!("{name}{}{REDACTED}", &value[..value.len() - bare.len()]))
}

/// The quote around a word, and what is in it.
fn unquoted(word: &str) -> Option<(char, &str)> {
    let quote = word.chars().next().filter(|first| QUOTES.contains(first))?;
    Some((quote, word[1..].strip_suffix(quote)?))
}

/// A line of words, with the blanks between them as they are.
fn line(text: &str, depth: u8) -> String {
    let (blanks, parts): (Vec<_>, Vec<_>) = parts(text).into_iter().unzip();
    if let [only] = parts[..]
        && only.len() == text.len()
    {
        return part(only, depth);
    }
    let shown = shown(parts.into_iter().map(Cow::Borrowed), depth);
    blanks.into_iter().zip(shown).flat_map(|(blank, part)| [blank.to_owned(), part]).collect()
}

/// The words of a line, each with the blanks before it.
fn parts(text: &str) -> Vec<(&str, &str)> {
    let (mut all, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (blank, after) = rest.split_at(rest.find(|letter: char| !letter.is_whitespace()).unwrap_or(rest.len()));
        let (part, more) = after.split_at(end(after));
        all.push((blank, part));
        rest = more;
    }
    all
}

/// Where a line's first word ends: at a blank outside of quotes that begin the word or its value, and that are closed.
fn end(text: &str) -> usize {
    let (mut at, mut before) = (0, '=');
    while let Some(letter) = text[at..].chars().next() {
        if letter.is_whitespace() {
            return at;
        }
        at += letter.len_utf8();
        if QUOTES.contains(&letter)
            && matches!(before, '=' | ':')
            && let Some(closing) = text[at..].find(letter)
        {
            at += closing + 1;
        }
        before = letter;
    }
    at
}

/// One word of a line.
fn part(word: &str, depth: u8) -> String {
    if let Some((quote, inner)) = unquoted(word) {
        return format!("{quote}{}{quote}", named(inner, depth - 1));
    }
    let mut from = 0;
    while let Some(found) = word[from..].find(['=', ':']) {
        let at = from + found;
        let (name, value) = (&word[..at], &word[at + 1..]);
        // Of `a=b=x` and `FLAGS=--token=x` the name next to the value counts.
        if let Some(hidden) = value_hidden(word, from, at) {
            return hidden;
        }
        if word[at..].starts_with("://") {
            return urls(word);
        }
        // `--user=me:x`, `-ume:x`.
        let user = if name == "--user" { value.split_once(':').map(|(user, _)| at + 1 + user.len()) } else { None };
        let attached = from == 0 && word[at..].starts_with(':') && name.len() > 2 && name.starts_with("-u");
        if let Some(end) = user.or((attached && !name.contains('/')).then_some(at)) {
            return format!("{}:{REDACTED}", &word[..end]);
        }
        if value.starts_with(QUOTES) {
            return format!("{}{}", &word[..=at], named(value, depth - 1));
        }
        from = at + 1;
    }
    word.to_owned()
}

/// A word with URLs in it, without their users and the secrets of their queries.
fn urls(word: &str) -> String {
    let (mut text, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once("://") {
        let (authority, more) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        text.push_str(before);
        text.push_str("://");
        let host = authority.rsplit_once('@').map(|(_, host)| host);
        if let Some(host) = host {
            text.push_str(REDACTED);
            text.push('@');
            text.push_str(host);
            rest = more;
        } else {
            rest = after;
        }
    }
    text.push_str(rest);
    query(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("curl|--user=me:S|-ume:S|-url=http://h:1/", "curl --user=me:[redacted] -ume:[redacted] -url=http://h:1/"),
            ("env|PASSWORD=a://b|PASSWORD=S T", "env PASSWORD=[redacted] PASSWORD=[redacted]"),
            ("get|http://a/,http://u:S@b/?token=S", "get http://a/,http://[redacted]@b/?token=[redacted]"),
            ("sh|-c|TOKEN=S curl http://h/", "sh -c TOKEN=[redacted] curl http://h/"),
            ("sh|-c|curl -H 'Authorization: Bearer S' http://h", "sh -c curl -H 'Authorization: [redacted]' http://h"),
            (
                "sh|-c|curl -H Authorization: Bearer S http://h",
                "sh -c curl -H Authorization: [redacted] [redacted] http://h",
            ),
            ("sh|-c|curl http://a/ && curl http://u:S@b/", "sh -c curl http://a/ && curl http://[redacted]@b/"),
            (
                "sh|-c|curl  -u me:S --user=me:S\n-ume:S --token S",
                "sh -c curl  -u me:[redacted] --user=me:[redacted]\n-ume:[redacted] --token [redacted]",
            ),
            ("sh|-ec|PASSWORD=\"S T\" run; A='b c' d", "sh -ec PASSWORD=[redacted] run; A='b c' d"),
            ("sh|-c|sh -c 'TOKEN=S curl http://h/'", "sh -c sh -c 'TOKEN=[redacted]'"),
            ("ssh|h|it's TOKEN=S http://h/", "ssh h it's TOKEN=[redacted] http://h/"),
        ] {
            assert_eq!(words(line.split('|').map(Cow::Borrowed)).join(" "), shown);
        }
    }

    #[test]
    fn a_hostile_word_has_its_end() {
        for word in ["=".repeat(100_000), "'".repeat(100_000), "='".repeat(100_000), "://".repeat(100_000)] {
            words([Cow::Owned(word)]);
        }
    }
}
