//! Text of others, made fit to be shown: by reports, and where a test or the command prints it.

use std::borrow::Cow;

/// At most `most` characters on one line, where nothing hides, turns around or moves what stands beside it.
pub(crate) fn line(text: &str, most: usize) -> Cow<'_, str> {
    let cut = match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes in all)", &text[..end], text.len())),
        None => Cow::Borrowed(text),
    };
    if cut.chars().all(|letter| visible(letter) == letter) {
        return cut;
    }
    Cow::Owned(cut.chars().map(visible).collect())
}

/// As [`line`], to be printed by a test: nothing in it is a command of a CI that reads what is printed.
pub(crate) fn printed(text: &str, most: usize) -> String {
    obeyed_by_nobody(&line(text, most))
}

/// On its lines, to be printed: nothing hides or moves a terminal's cursor, and no line is a command of a CI.
pub(crate) fn printed_lines(text: &str) -> String {
    let plain = |line: &str| obeyed_by_nobody(&line.chars().map(visible).collect::<String>());
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// GitHub obeys a line whose first letters are `::`, whatever stands before them that is blank, and `##[` anywhere; Azure
/// `##vso[`.
fn obeyed_by_nobody(line: &str) -> String {
    let broken = line.replace("##[", "# #[").replace("##vso[", "# #vso[");
    if broken.trim_start().starts_with("::") { format!("| {broken}") } else { broken }
}

/// The letter itself, a space for one that breaks the line, or the sign for what cannot be shown.
pub(crate) fn visible(letter: char) -> char {
    match letter {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' | '\u{85}' => ' ',
        // What turns the direction of writing, or has no width, hides what a text says.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}' => {
            '\u{fffd}'
        }
        '\u{fdd0}'..='\u{fdef}' => '\u{fffd}',
        letter if letter.is_control() || u32::from(letter) & 0xfffe == 0xfffe => '\u{fffd}',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_and_long_text_is_cut_between_letters() {
        assert_eq!(line("a\u{202e}b\0c\nd", 99), "a\u{fffd}b\u{fffd}c d");
        assert_eq!(line("ääää", 2), "ää… (8 bytes in all)");
        assert_eq!(
            printed(" ::error::x\n##[debug]y\x1b]52;c;aGk=\x07", 99),
            "|  ::error::x # #[debug]y\u{fffd}]52;c;aGk=\u{fffd}"
        );
        assert_eq!(printed_lines("a: b\n::error::x\r\n  ::y\n##vso[z]"), "a: b\n| ::error::x \n|   ::y\n# #vso[z]");
        assert!(matches!(line("plain", 5), Cow::Borrowed("plain")), "what is short and plain is left as it is");
    }
}
