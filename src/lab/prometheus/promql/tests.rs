//! What is taken and what is not. The texts and positions were seen on Prometheus 2.42.

use proptest::prelude::*;

use super::*;

fn refusal(query: &str) -> String {
    match parse(query) {
        Err(Refusal::BadData(why)) => why,
        other => panic!("{query:?}: {other:?}"),
    }
}

#[test]
fn errors_of_the_grammar_say_where_and_what() {
    for (query, at, why) in [
        ("", "1:1", "no expression found in input"),
        ("# nothing", "1:1", "no expression found in input"),
        ("x[5m", "1:5", "unclosed left bracket"),
        ("max(", "1:5", "unclosed left parenthesis"),
        ("x)", "1:3", "unexpected right parenthesis ')'"),
        ("x *", "1:4", "unexpected end of input"),
        ("x\n  y", "2:3", "unexpected identifier \"y\""),
        ("x[1m:", "1:6", "unclosed left bracket"),
        ("x[]", "1:3", "missing unit character in duration"),
        ("x[7z]", "1:3", "bad duration syntax: \"7\""),
        ("x[0s]", "1:3", "duration must be greater than 0"),
        ("x[1h1h]", "1:3", "not a valid duration string: \"1h1h\""),
        ("x[1m][1m]", "1:6", "ranges only allowed for vector selectors"),
        ("x offset 5", "1:10", "unexpected number \"5\" in offset, expected duration"),
        ("x offset 1m[1m]", "1:12", "no offset modifiers allowed before range"),
        ("x @ y", "1:5", "unexpected identifier \"y\" in @, expected timestamp"),
        ("x @ Inf", "1:1", "timestamp out of bounds for @ modifier: +Inf"),
        ("x @ 1 @ 2", "1:1", "@ <timestamp> may not be set multiple times"),
        ("x{", "1:3", "unexpected end of input inside braces"),
        ("x{a=b}", "1:5", "unexpected identifier \"b\" in label matching, expected string"),
        ("x{a=\"b\" c=\"d\"}", "1:9", "unexpected identifier \"c\" in label matching, expected \",\" or \"}\""),
        ("x{,}", "1:3", "unexpected \",\" in label matching, expected identifier or \"}\""),
        ("x{a:b=\"c\"}", "1:4", "unexpected character inside braces: ':'"),
        ("max by (a b) (x)", "1:11", "unexpected identifier \"b\" in grouping opts, expected \",\" or \")\""),
        ("max by (1) (x)", "1:9", "unexpected number \"1\" in grouping opts, expected label"),
        ("max by (a) x", "1:12", "unexpected identifier \"x\" in aggregation"),
        ("abs(x,)", "1:6", "trailing commas not allowed in function call args"),
        ("x * group_left y", "1:5", "unexpected <group_left>"),
        ("'x", "1:1", "unterminated quoted string"),
        ("\"\\q\"", "1:1", "unknown escape sequence U+0071 'q'"),
        ("x ! y", "1:3", "unexpected character after '!': ' '"),
        ("x =~ 'y'", "1:3", "unexpected character after '=': '~'"),
        ("1.2.3", "1:4", "unexpected number \".3\""),
        ("5m", "1:1", "unexpected duration \"5m\""),
        ("1_000", "1:1", "bad number or duration syntax: \"1\""),
        ("0x", "1:1", "error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax"),
        ("\u{e4}", "1:1", "unexpected character: '\u{e4}'"),
    ] {
        assert_eq!(refusal(query), format!("{at}: parse error: {why}"), "{query:?}");
    }
}

#[test]
fn errors_of_types_come_after_those_of_the_grammar() {
    for (query, at, why) in [
        ("irate(x)", "1:7", "expected type range vector in call to function \"irate\", got instant vector"),
        ("avg(x[1m])", "1:5", "expected type instant vector in aggregation expression, got range vector"),
        ("topk(x, x)", "1:6", "expected type scalar in aggregation parameter, got instant vector"),
        ("topk(x)", "1:1", "wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("max()", "1:1", "no arguments for aggregate expression provided"),
        ("nope(x)", "1:1", "unknown function with name \"nope\""),
        ("Rate(x[1m])", "1:1", "unknown function with name \"Rate\""),
        ("vector(1, 2)", "1:1", "expected 1 argument(s) in call to \"vector\", got 2"),
        ("round(x, 1, 2)", "1:1", "expected at most 2 argument(s) in call to \"round\", got 3"),
        ("label_join(x, \"a\")", "1:1", "expected at least 3 argument(s) in call to \"label_join\", got 2"),
        ("2 < 3", "1:3", "comparisons between scalars must use BOOL modifier"),
        ("x + bool y", "1:3", "bool modifier can only be used on comparison operators"),
        ("1 or x", "1:1", "set operator \"or\" not allowed in binary scalar expression"),
        ("x * on(a) 1", "1:1", "vector matching only allowed between instant vectors"),
        ("x * on(a) group_left(a) y", "1:3", "label \"a\" must not occur in ON and GROUP clause at once"),
        ("x and on(a) group_left(b) y", "1:1", "no grouping allowed for \"and\" operation"),
        ("x == \"a\"", "1:6", "binary expression must contain only scalar and instant vector types"),
        (
            "-x[1m]",
            "1:1",
            "unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
        ("1[1m:]", "1:1", "subquery is only allowed on instant vector, got scalar instead"),
        (
            "sum(x) offset 1m",
            "1:1",
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("{a=~\".*\"}", "1:1", "vector selector must contain at least one non-empty matcher"),
        ("x{__name__=\"y\"}", "1:1", "metric name must not be set twice: \"x\" or \"y\""),
        ("x{a=~\"(\"}", "1:3", "error parsing regexp: missing closing ): `^(?:()$`"),
        ("x{a=~\"b**\"}", "1:3", "error parsing regexp: invalid nested repetition operator: `**`"),
    ] {
        assert_eq!(refusal(query), format!("{at}: parse error: {why}"), "{query:?}");
    }
    // Both wrong: the grammar is first.
    assert_eq!(refusal("irate(x) +"), "1:11: parse error: unexpected end of input");
}

#[test]
fn what_later_versions_take_is_refused() {
    for query in ["x[5]", "x{\"a\"=\"b\"}", "{\"x\"}", "x{a=\"1\" or b=\"2\"}", "x + fill(1) y", "x offset +5m"] {
        refusal(query);
    }
}

#[test]
fn functions_of_later_versions_are_named() {
    for name in ["first_over_time", "limitk", "sort_by_label", "mad_over_time", "info"] {
        let told = format!("the lab does not evaluate the function \"{name}\"");
        match parse(&format!("sum({name}(x[1m]))")) {
            Err(Refusal::Execution(why)) => assert!(why.starts_with(&told), "{why}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // What is no query at all is told first, as ever.
    assert_eq!(refusal("first_over_time(x[1m]) +"), "1:25: parse error: unexpected end of input");
}

#[test]
fn what_is_taken_is_read() {
    for query in [
        "x",
        ":",
        "a:b",
        "by",
        "offset",
        "start",
        "end",
        "or",
        "sum",
        "x{a=\"b\",}",
        "sum by (a,) (x)",
        "sum by () (x)",
        "SUM BY (a) (x)",
        "max by (bool, offset, on) (x)",
        "x and on () y",
        "x > bool on (a) group_right (b) y",
        "1 atan2 2",
        "- - x",
        "+x",
        "x @ -1",
        "x @ start() offset -1m",
        "rate(x[5m])[5m:1m] offset 1m @ 5",
        "x[1y2w3d4h5m6s7ms]",
        "0755",
        "0x1F",
        ".5",
        "1e3",
        "Inf",
        "nAn",
        "hour()",
        "holt_winters(x[1m], 0.1, 0.1)",
        "label_replace(x, \"a\", `\\1`, \"b\", \"(\\\\d)\")",
        "\"\\x41\\101\\u00e9\\U0001F600\"",
        "x{a=`\\`}",
        "sum( # why\n x)",
        "x == bool 1",
        "count_values(\"v\", x) by (a)",
    ] {
        assert!(parse(query).is_ok(), "{query}: {:?}", parse(query));
    }
    let text = |query: &str| match parse(query).unwrap().expr {
        Expr::StringLiteral(text) => text.val,
        other => panic!("{other:?}"),
    };
    assert_eq!(text("\"\\x41\\101\\u00e9\\n\\\"\\\\\""), "AA\u{e9}\n\"\\");
    assert_eq!(text("'\\''"), "'");
    assert_eq!(text("`\\n\"`"), "\\n\"");
}

#[test]
fn selectors_stand_alone() {
    assert_eq!(selector("x{a=~\"b\"}").unwrap().len(), 2);
    for (text, why) in [
        ("sum(x)", "1:4: parse error: unexpected \"(\""),
        ("x[5m]", "1:2: parse error: unexpected \"[\""),
        ("x offset 5m", "1:3: parse error: unexpected <offset>"),
        ("x @ 5", "1:3: parse error: unexpected \"<Item 57385>\" <op:@>"),
        ("", "1:1: parse error: unexpected end of input"),
    ] {
        assert_eq!(selector(text).unwrap_err(), Refusal::BadData(why.into()), "{text}");
    }
    let two = selector("x{__name__=\"y\",a=\"\\x41\"}").unwrap();
    let two: Vec<_> = two.iter().map(|matcher| (matcher.name.as_str(), matcher.value.as_str())).collect();
    assert_eq!(two, [("__name__", "x"), ("__name__", "y"), ("a", "A")], "none is both");
    assert!(selector("{}").unwrap().is_empty(), "what asks for nothing is for the caller to refuse");
}

#[test]
fn depth_is_bounded() {
    for deep in [
        format!("{}x{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}x", "-".repeat(5000)),
        format!("x{}", " + x".repeat(5000)),
        format!("{}x{}", "abs(".repeat(5000), ")".repeat(5000)),
        format!("x{}", "[1m:]".repeat(5000)),
        "(".repeat(100_000),
    ] {
        assert!(parse(&deep).is_err());
    }
    assert!(parse(&format!("{}x{}", "(".repeat(90), ")".repeat(90))).is_ok());
}

const PIECES: &[&str] = &[
    "x",
    "up",
    "sum",
    "rate",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "and",
    "or",
    "unless",
    "atan2",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "@",
    "=",
    "!=",
    "=~",
    "!~",
    "==",
    ">",
    "<",
    ">=",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "1",
    "0",
    "1e99",
    "0x",
    "NaN",
    "Inf",
    "5m",
    "1y",
    "99999999999y",
    "5m:",
    "start()",
    "end()",
    "\"a\"",
    "\"(\"",
    "'\\x'",
    "`b`",
    "\"",
    "'",
    "`",
    "\\",
    "__name__",
    "a",
    "label_replace",
    "holt_winters",
    "time()",
    "#",
    "\n",
    "\u{e4}",
    "!",
    "~",
    "$",
    ".",
    ";",
    "fill",
    "anchored",
    "limitk",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = (parse(&text), selector(&text));
    }

    #[test]
    fn no_tokens_make_it_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..25), gap in "[ ]?") {
        let text = pieces.join(&gap);
        if let Ok(query) = parse(&text) {
            let tsdb = super::super::tsdb::Tsdb::default();
            let terms = super::super::eval::Terms::of(std::time::Duration::from_secs(5));
            let _ = super::super::eval::instant(&tsdb, &query, 0, terms);
            let _ = formatted(&query);
        }
    }
}
