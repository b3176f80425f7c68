use super::*;
use serde_json::json;

fn yaml(text: &str) -> Result<Source, Invalid> {
    Source::parse("x.yaml", text.as_bytes(), Format::Yaml)
}

fn json_text(text: &str) -> Result<Source, Invalid> {
    Source::parse("x.json", text.as_bytes(), Format::Json)
}

fn place(error: &Invalid) -> (usize, usize) {
    (error.line, error.column)
}

#[test]
fn yaml_scalars_have_the_types_of_version_1_1() {
    for (text, value) in [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("yEs", json!("yEs")),
        ("y", json!("y")),
        ("~", json!(null)),
        ("", json!(null)),
        ("010", json!(8)),
        ("0o10", json!("0o10")),
        ("08", json!("08")),
        ("0b1_1", json!(3)),
        ("-0x1F", json!(-31)),
        ("1_000", json!(1000)),
        ("190:20:30", json!(685_230)),
        ("1:30.5", json!(90.5)),
        ("1.10", json!(1.1)),
        ("1.", json!(1.0)),
        ("-.5", json!("-.5")),
        (".5", json!(0.5)),
        ("1e3", json!("1e3")),
        ("1.0e+3", json!(1000.0)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("2020-01-02", json!("2020-01-02")),
        ("2020-1-2", json!("2020-1-2")),
        ("2001-12-14t21:59:43.10-05:00", json!("2001-12-14T21:59:43.100000-05:00")),
        ("2001-12-15 2:59:43Z", json!("2001-12-15T02:59:43+00:00")),
        ("2001-12-14 21:59:43", json!("2001-12-14T21:59:43")),
        ("'010'", json!("010")),
        ("!!str 010", json!("010")),
        ("! yes", json!("yes")),
        ("!!float 1", json!(1.0)),
        ("!!timestamp 2020-01-02", json!("2020-01-02")),
        ("\"<<\"", json!("<<")),
        ("=", json!("=")),
    ] {
        assert_eq!(yaml(text).map(|source| source.value), Ok(value), "{text}");
    }
    for text in [
        ".inf",
        ".NaN",
        "18446744073709551616",
        "2020-13-01",
        "2001-12-14 25:00:00",
        "!!int x",
        "!!binary aGk=",
        "!mine x",
        "!!python/name:x ''",
    ] {
        assert!(yaml(text).is_err(), "{text}");
    }
}

#[test]
fn merge_keys_and_keys_of_other_types() {
    let text = "base: &b {a: 1, b: 2}\nother: &o {b: 3, c: 4}\none: {<<: *b, b: 5}\nall: {<<: [*b, *o], a: 6}\nyes: 1\n010: 2\n1.50: 3\n~: 4\n";
    let source = yaml(text).expect("parses");
    assert_eq!(source.value["one"], json!({"a": 1, "b": 5}));
    assert_eq!(source.value["all"], json!({"a": 6, "b": 2, "c": 4}));
    let keys: Vec<_> = source.keys(&Path::root());
    assert_eq!(keys, ["base", "other", "one", "all", "true", "8", "1.5", "null"]);
    assert_eq!(source.keys(&Path::root().key("all")), ["b", "c", "a"]);
    for text in ["? [a]\n: 1", "{<<: 1}", "{<<: [1]}"] {
        assert!(yaml(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_that_is_written_twice_has_its_last_value() {
    for source in [json_text(r#"{"z": 1, "a": 2, "z": 3}"#), yaml("z: 1\na: 2\nz: 3\n")] {
        let source = source.expect("parses");
        assert_eq!(source.value, json!({"z": 3, "a": 2}));
        assert_eq!(source.keys(&Path::root()), ["z", "a"]);
    }
}

#[test]
fn every_value_has_its_place() {
    let method = Path::root().key("method").item(1).key("provider");
    let text = "{\n  \"é\": \"ü\", \"method\": [\n    {},\n    {\"provider\": {\"path\" : 1}}]}";
    let source = json_text(text).expect("parses");
    assert_eq!(source.invalid(&method, "m").to_string(), "x.json:4:6: m (at $.method[1].provider)");
    let missing = source.invalid(&method.key("arguments").key("a b"), "m");
    assert_eq!(missing.to_string(), "x.json:4:6: m (at $.method[1].provider.arguments[\"a b\"])");
    assert_eq!(place(&source.invalid(&method.key("path"), "m")), (4, 19));
    assert_eq!(place(&source.invalid(&Path::root().key("method"), "m")), (2, 13));
    assert_eq!(place(&source.invalid(&Path::root(), "m")), (1, 1));
    let source = yaml("é: ü\nmethod:\n- {}\n- provider:\n    path: 1\n").expect("parses");
    assert_eq!(place(&source.invalid(&method.key("path"), "m")), (5, 5));
    assert_eq!(place(&source.invalid(&method, "m")), (4, 3));
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (text, at, part) in [
        ("", (1, 1), "not JSON"),
        ("{\"é\": x}", (1, 7), "expected value"),
        ("[NaN]", (1, 2), "NaN and Infinity are no JSON"),
        ("[1,\n 12345678901234567890123]", (2, 2), "does not fit into 64 bits"),
        ("[1e999]", (1, 2), "too large"),
        ("\u{feff}{}", (1, 1), "byte-order mark"),
        ("[\"\\ud83d\"]", (1, 2), "surrogate"),
    ] {
        let error = json_text(text).expect_err(text);
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(place(&error), at, "{text}: {error}");
    }
    for (text, at, part) in [
        ("a: [1", (1, 4), "Failed parsing YAML experiment"),
        ("a: 1\n---\nb: 2", (2, 1), "second document"),
        ("a: *b", (1, 4), "Failed parsing YAML experiment"),
        ("&a [*a]", (1, 5), "that has no end"),
        ("a: 1\nb: .nan", (2, 4), "no number of JSON's"),
    ] {
        let error = yaml(text).expect_err(text);
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(place(&error), at, "{text}: {error}");
    }
    let error = Source::parse("x", b"a: \xc3\xa4\n  \xff", Format::Yaml).expect_err("no UTF-8");
    assert_eq!(place(&error), (2, 3));
}

#[test]
fn limits_hold() {
    let deep = |open: &str, close: &str| open.repeat(DEPTH + 2) + &close.repeat(DEPTH + 2);
    assert!(json_text(&deep("[", "]")).is_err_and(|error| error.message.contains("nested deeper")));
    assert!(json_text(&("[".repeat(DEPTH) + &"]".repeat(DEPTH))).is_ok());
    for text in [deep("[", "]"), deep("{a: ", "}"), "- ".repeat(200_000), "[".repeat(500_000), "{a: ".repeat(200_000)] {
        assert!(yaml(&text).is_err());
    }
    assert!(json_text(&"[".repeat(1_000_000)).is_err());
    let mut bomb = String::from("a0: &a0 [lol]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(yaml(&bomb).is_err_and(|error| error.message.contains("fewer aliases")));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1000].join(", "));
    assert!(yaml(&long).is_err_and(|error| error.message.contains("fewer aliases")));
    let merges = format!(
        "a: &a {{{}}}\n{}",
        (0..1000).map(|n| format!("k{n}: 1")).collect::<Vec<_>>().join(", "),
        (0..2000).map(|n| format!("m{n}: {{<<: *a}}\n")).collect::<String>()
    );
    assert!(yaml(&merges).is_err_and(|error| error.message.contains("fewer aliases")));
    // Each anchor keeps a copy of what is below it.
    let anchored =
        (0..90).map(|n| format!("&a{n} [")).collect::<String>() + &vec!["1"; 2000].join(", ") + &"]".repeat(90);
    assert!(yaml(&anchored).is_err_and(|error| error.message.contains("fewer aliases")));
    // An alias brings the depth of what it means.
    let aliased = |deep: usize| format!("a: &a {}{}\nb: [*a]", "[".repeat(deep), "]".repeat(deep));
    assert!(yaml(&aliased(DEPTH - 1)).is_ok());
    assert!(yaml(&aliased(DEPTH)).is_err_and(|error| error.message.contains("nested deeper")));
    let large = vec![b' '; BYTES as usize + 1];
    assert!(Source::parse("x", &large, Format::Json).is_err_and(|error| error.message.contains("16 MiB")));
}

#[test]
fn one_long_line_takes_no_longer_than_many() {
    let text = format!("[{}]", vec!["{\"a\":\"é\"}"; 200_000].join(","));
    let source = json_text(&text).expect("parses");
    assert_eq!(place(&source.invalid(&Path::root().item(199_999), "m")), (1, 199_999 * 10 + 2));
}

#[test]
fn the_answer_of_a_server_says_its_format() {
    let parse = |status, kind, body: &str| Source::of_answer("http://h/x", status, kind, body.as_bytes());
    assert!(parse(200, "application/json; charset=utf-8", "{}").is_ok());
    assert!(parse(200, "application/json", "a: 1").is_err());
    assert!(parse(200, "text/yaml", "a: 1").is_ok());
    assert!(parse(200, "application/x-yaml", "a: 1").is_ok());
    assert!(parse(200, "text/plain", "{\"a\": 1}").is_ok());
    assert!(parse(200, "text/plain", "a: 1").is_ok());
    assert!(parse(200, "text/plain", "{\"a\": NaN}").is_err_and(|error| error.message.contains("NaN")));
    assert!(parse(200, "text/html", "{}").is_err_and(|error| error.message.contains("`text/html`")));
    let refused = parse(404, "application/json", "nothing here").expect_err("refused");
    assert_eq!(refused.to_string(), "http://h/x: Failed to fetch the experiment: nothing here (status 404)");
    assert!(is_url("https://x") && !is_url("ftp://x") && !is_url("x.json"));
}

#[test]
fn a_file_says_its_format_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("x.json");
    let error = Source::read(&missing).expect_err("missing");
    assert_eq!(error.to_string(), format!("Path \"{}\" does not exist.", missing.display()));
    for (name, right) in [("a.json", true), ("a.yaml", true), ("a.yml", true), ("a.JSON", false), ("json", false)] {
        let file = folder.path().join(name);
        std::fs::write(&file, "{}").expect("written");
        assert_eq!(Source::read(&file).is_ok(), right, "{name}");
    }
}

#[test]
fn a_document_is_fetched_with_its_token_and_without_showing_a_password() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let serve = async |listener: &tokio::net::TcpListener, answer: &str| {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(answer.as_bytes()).await.expect("answered");
        String::from_utf8(request).expect("a request").to_lowercase()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = format!("http://me:hidden@127.0.0.1:{port}/x");
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"a\": 1}";
        let (source, request) = tokio::join!(Source::fetch(&client, &url, Some("bearer t0k3n")), serve(&listener, answer));
        let source = source.expect("a document");
        assert_eq!((source.value, source.name), (json!({"a": 1}), format!("http://127.0.0.1:{port}/x")));
        assert!(request.contains("accept: application/json, application/x-yaml\r\n"), "{request}");
        assert!(request.contains("authorization: bearer t0k3n\r\n"), "{request}");
        drop(listener);
        let error = Source::fetch(&client, &url, None).await.expect_err("nobody listens");
        assert!(error.message.starts_with("failed to fetch") && !error.to_string().contains("hidden"), "{error}");
    });
}
