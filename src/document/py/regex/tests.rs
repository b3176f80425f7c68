use proptest::prelude::*;

use super::*;

fn found(pattern: &str, text: &str) -> bool {
    Pattern::compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}")).found_in(text).unwrap()
}

fn refused(pattern: &str) -> String {
    match Pattern::compile(pattern) {
        Err(PatternError::Invalid(why)) => why,
        other => panic!("{pattern}: {other:?}"),
    }
}

#[test]
fn anchors_are_those_of_python() {
    assert!(found("^ok$", "ok\n"));
    assert!(!found("^ok$", "ok\n\n"));
    assert!(!found(r"^ok\Z", "ok\n"));
    assert!(!found("^b$", "a\nb\n"));
    assert!(found("(?m)^b$", "a\nb\nc"));
    assert!(found(r"a$\n", "a\n"));
    assert!(found("x|a$", "a\n"));
    assert!(!found("a.b", "a\nb"));
    assert!(found("(?s)a.b", "a\nb"));
}

#[test]
fn what_the_regex_crate_cannot_do_is_done() {
    assert!(found(r"(ab)\1", "abab"));
    assert!(found(r"(?P<x>a|b)-(?P=x)", "b-b"));
    assert!(!found(r"(?P<x>a|b)-(?P=x)", "a-b"));
    assert!(found("(?<=a)b(?!c)", "abd"));
    assert!(!found("(?<=a)b(?!c)", "abc"));
    assert!(found("^(a)?(?(1)b|c)$", "ab"));
    assert!(!found("^(a)?(?(1)b|c)$", "b"));
    assert!(!found("a++a", "aaa"));
    assert!(!found("(?>a+)a", "aaa"));
}

#[test]
fn signs_that_mean_something_to_rust_only_mean_themselves() {
    assert!(found("^[a&&b]+$", "&ab"));
    assert!(found("[[]x]", "[x]"));
    assert!(found("^a{,2}$", "aa"));
    assert!(found("^a{b}$", "a{b}"));
    assert!(found("^a{$", "a{"));
    assert!(found(r"^\101\x41\u0041[\b]$", "AAA\u{8}"));
    assert!(found(r"^\-\#\~\ $", "-#~ "));
    assert!(found("(?x) a # comment\n b [ ]", "ab "));
}

#[test]
fn classes_are_those_of_python() {
    assert!(found(r"^\d\w\s$", "٣é\u{1f}"));
    assert!(!found(r"(?a)\d|\w", "٣é"));
    assert!(found(r"(?a)\bx", "éx"));
    assert!(!found(r"\bx", "éx"));
    assert!(found("(?i)straße|HELLO", "hello"));
    assert!(found("(?i:A)b", "ab"));
    assert!(!found("(?i:A)b", "aB"));
    assert!(found(r"^[^\W\d]$", "a"));
    assert!(!found(r"^[^\W\d]$", "1"));
}

#[test]
fn refusals_are_in_the_words_of_python() {
    for (pattern, why) in [
        ("[0-9", "unterminated character set"),
        ("(a", "missing ), unterminated subpattern"),
        ("a)", "unbalanced parenthesis"),
        ("*a", "nothing to repeat"),
        ("^*", "nothing to repeat"),
        ("a**", "multiple repeat"),
        ("a{2,1}", "min repeat greater than max repeat"),
        ("[b-a]", "bad character range b-a"),
        (r"\q", r"bad escape \q"),
        (r"\z", r"bad escape \z"),
        ("a\\", "bad escape (end of pattern)"),
        (r"\1", "invalid group reference 1"),
        (r"(\1)", "cannot refer to an open group"),
        ("(?P<1>a)", "bad character in group name '1'"),
        ("(?P=x)", "unknown group name 'x'"),
        ("(?P<x>)(?P<x>)", "redefinition of group name 'x' as group 2; was group 1"),
        ("(?<=a+)b", "look-behind requires fixed-width pattern"),
        ("a(?i)", "global flags not at the start of the expression"),
        ("(?z)", "unknown extension ?z"),
        ("(?iz)", "unknown flag"),
        ("(?", "unexpected end of pattern"),
        (r"\x1", r"incomplete escape \x1"),
        (r"\400", r"octal escape value \400 outside of range 0-0o377"),
    ] {
        assert_eq!(refused(pattern), why, "{pattern}");
    }
    assert!(matches!(Pattern::compile(r"\N{DIGIT ONE}"), Err(PatternError::Unsupported(_))));
    assert!(matches!(Pattern::compile(&"(".repeat(5000)), Err(PatternError::Unsupported(_))));
}

#[test]
fn a_search_that_runs_away_is_given_up() {
    let pattern = Pattern::compile(r"^(a|a)*(?=b)\1c").unwrap();
    let why = pattern.found_in(&"a".repeat(60)).unwrap_err();
    assert!(why.contains("given up"), "{why}");
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in r"[ab01\\\[\](){}?*+^$.|<=!:#,PxiZdwsb-]{0,16}", text in "[ab01\n ]{0,8}") {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _ = pattern.found_in(&text);
        }
    }

    #[test]
    fn a_text_is_found_by_its_own_letters(text in "[^\\\\.^$*+?{}\\[\\]|()]{0,8}") {
        prop_assert!(found(&text, &text));
    }
}
