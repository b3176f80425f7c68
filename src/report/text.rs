//! Text of others, made fit to be shown.

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

/// The letter itself, a space for one that breaks the line, or the sign for what cannot be shown.
pub(super) fn visible(letter: char) -> char {
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
        assert!(matches!(line("plain", 5), Cow::Borrowed("plain")), "what is short and plain is left as it is");
    }
}
