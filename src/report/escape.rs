//! Texts of others in formats that mean something by their characters. What a report shows may come from the system
//! under test, and from whoever speaks through it.

use std::borrow::Cow;
use std::fmt::Write;

use super::text::{line, visible};

/// The text of an element of XML. `>` too, so that no `]]>` is left; what XML 1.0 has no way to write is replaced.
pub(super) fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // GitLab and Jenkins attach the file that `[[ATTACHMENT|path]]` names.
            '[' if out.ends_with('[') => out.push_str("&#8203;["),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(c),
            c => out.push(visible(c)),
        }
    }
    out
}

/// The value of an attribute in double quotes; readers would make spaces of its line ends.
pub(super) fn xml_attribute(text: &str) -> String {
    xml_text(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

/// At most so many characters of it, on however many lines.
pub(crate) fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()).into(),
        None => text.into(),
    }
}

/// A code span of Markdown, also in a cell of a table: nothing in it is a mention, a link, an element or a cell's end.
pub(super) fn code(text: &str, most: usize) -> String {
    let text = line(text, most);
    // Before a bar a backslash of the text's own would count with ours.
    let text = text.trim().replace("\\|", "\\ |").replace('|', "\\|");
    if text.is_empty() {
        return "–".to_owned();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A block of code, whatever it holds.
pub(super) fn block(text: &str) -> String {
    let text: String = text.chars().map(|c| if c == '\n' { c } else { visible(c) }).collect();
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

/// How many backticks follow each other at most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// What nobody sees, and no address, mention or reference goes on behind.
const BREAK: &str = "&#8203;";

/// A sentence in Markdown: it reads as it stands, and nothing in it is markup, a link, a mention or a reference.
/// GitHub looks for addresses, mentions and references in what is read, after all escapes: only a break helps.
pub(super) fn prose(text: &str) -> String {
    let text: Vec<char> = text.chars().map(visible).collect();
    let mut out = String::new();
    let mut hex = 0;
    for (at, c) in text.iter().copied().enumerate() {
        // A commit is referred to by seven digits or more.
        hex = if c.is_ascii_hexdigit() { hex + 1 } else { 0 };
        if hex == 7 {
            out.push_str(BREAK);
            hex = 1;
        }
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            ',' | ';' | '(' | ')' | '\'' | '%' | '=' | '?' => out.push(c),
            c if c.is_ascii_punctuation() => {
                let _ = write!(out, "\\{c}");
            }
            c => out.push(c),
        }
        let before = |back: usize| at.checked_sub(back).map(|at| text[at].to_ascii_lowercase());
        let www = c.eq_ignore_ascii_case(&'w') && before(1) == Some('w') && before(2) == Some('w');
        let number = c == '-' && before(1) == Some('h') && before(2) == Some('g');
        let scheme = c == ':' && text.get(at + 1) == Some(&'/');
        if matches!(c, '@' | '#') || www || number || scheme {
            out.push_str(BREAK);
        }
    }
    out
}

/// A message of a workflow command of GitHub.
pub(crate) fn command_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command of GitHub.
pub(crate) fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_element_or_attribute() {
        let hostile = "a]]><b c='\"'>&\u{0}\u{b}\u{fffe}\n\t\r";
        let text = xml_text(hostile);
        assert_eq!(text, "a]]&gt;&lt;b c='\"'&gt;&amp;\u{fffd}\u{fffd}\u{fffd}\n\t&#13;");
        assert!(!xml_attribute(hostile).contains(['"', '\n', '\t', '<']));
        assert_eq!(xml_text("[[[ATTACHMENT|/etc/x]]"), "[&#8203;[&#8203;[ATTACHMENT|/etc/x]]");
    }

    #[test]
    fn nothing_leaves_its_code_span_cell_or_block() {
        assert_eq!(code("@all `x` | y", 99), "``@all `x` \\| y``");
        assert_eq!(code("`", 99), "`` ` ``");
        assert_eq!(code("a\\|b\nc", 99), "`a\\ \\|b c`");
        assert_eq!(code(" \n", 99), "–");
        assert_eq!(block("a\n```\n<b>\n"), "````text\na\n```\n<b>\n````\n");
    }

    #[test]
    fn prose_is_read_as_it_stands_and_links_nowhere() {
        assert_eq!(prose("up 99.5 % of 10 s"), "up 99\\.5 % of 10 s");
        for (hostile, shown) in [
            ("@all", "\\@&#8203;all"),
            ("#12", "\\#&#8203;12"),
            ("http://x", "http\\:&#8203;\\/\\/x"),
            ("www.x", "www&#8203;\\.x"),
            ("GH-1", "GH\\-&#8203;1"),
            ("deadbeef", "deadbe&#8203;ef"),
            ("[a](b)<i>&amp;", "\\[a\\](b)&lt;i&gt;&amp;amp;"),
            ("a\n\n# b", "a  \\#&#8203; b"),
        ] {
            assert_eq!(prose(hostile), shown);
        }
    }

    #[test]
    fn a_command_of_github_ends_where_it_should() {
        assert_eq!(command_data("50%\r\n::error::x"), "50%25%0D%0A::error::x");
        assert_eq!(command_property("a:b,c\n"), "a%3Ab%2Cc%0A");
    }
}
