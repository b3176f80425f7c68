//! Secrets of every shape, planted wherever a document can hold or meet one: none is in what a run leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use steadfast::journal::Journal;

use crate::replay::Server;

/// A text with a secret in it, and the secret. Put together here, so that nobody takes them for real ones.
struct Planted {
    text: String,
    secret: String,
}

fn planted() -> Vec<Planted> {
    // Nobody's is a part of another one's.
    let some = |seed: u64, many: usize| {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.alphanumeric()).take(many).collect::<String>()
    };
    let upper = |from: u64, many: usize| some(from, many).to_uppercase();
    let hex = |many: usize| "0f1e2d3c4b5a69788796a5b4c3d2e1f0".chars().cycle().take(many).collect::<String>();
    let of = |before: &str, secret: String, after: &str| Planted { text: format!("{before}{secret}{after}"), secret };
    // `clerk:brass-lantern-44`.
    let pair = "Y2xlcms6YnJhc3MtbGFudGVybi00NA==".to_owned();
    let key = |name: &str| format!("-----BEGIN {name}PRIVATE KEY-----");
    vec![
        of("Authorization: Bearer ", some(0, 24), ""),
        of("then bearer ", some(1, 30), " was sent"),
        of("Proxy-Authorization: Basic ", pair, ""),
        of("postgres://clerk:", some(2, 14), "@db.example:5432/orders"),
        of("https://", some(3, 24), "@git.example/repo.git"),
        of("users: [{name: clerk, user: {token: ", some(4, 40), "}}]"),
        of("client-key-data: ", some(5, 60), ""),
        of("key id AKI", format!("A{}", upper(6, 16)), " of the account"),
        of("aws_secret_access_key=", some(7, 40), ""),
        of(&key("RSA "), format!("\\n{}", some(8, 64)), "\\n-----END RSA PRIVATE KEY-----"),
        of(
            "jwt ",
            format!("ey{}.ey{}.{}", format_args!("J{}", some(9, 20)), format_args!("J{}", some(10, 30)), some(11, 40)),
            "",
        ),
        of("cloned with gh", format!("p_{}", some(12, 36)), ""),
        of("cloned with github_", format!("pat_{}", some(13, 60)), ""),
        of("cloned with glpat", format!("-{}", some(14, 20)), ""),
        of("posted with xox", format!("b-123456789012-{}", some(15, 24)), ""),
        of("https://hooks.slack.com/services/", format!("T0{}/B0{}/{}", upper(16, 8), upper(17, 8), some(18, 24)), ""),
        of("maps by AIza", format!("Sy{}", some(19, 33)), ""),
        of("paid with sk_", format!("live_{}", some(20, 24)), ""),
        of("published with npm", format!("_{}", some(21, 36)), ""),
        of("published with pypi", format!("-{}", some(22, 60)), ""),
        of("unsealed with hvs", format!(".{}", some(23, 30)), ""),
        of("mailed with SG", format!(".{}.{}", some(24, 22), some(25, 43)), ""),
        of("stored with AccountKey=", format!("{}==", some(26, 60)), ";EndpointSuffix=core.example"),
        of("Set-Cookie: session=", some(27, 32), "; HttpOnly"),
        of("droplet dop", format!("_v1_{}", hex(64)), ""),
        of("curl -u clerk:", some(28, 16), " https://shop.example/"),
        of("{\"db_password\": \"", some(29, 18), "\"}"),
    ]
}

fn process(path: &str, arguments: Value) -> Value {
    json!({"type": "process", "path": path, "arguments": arguments})
}

/// All of them in the configuration, the title, arguments, outputs, headers, answers, errors and tolerances.
fn document(planted: &[Planted], url: &str) -> Value {
    let mut configuration = serde_json::Map::new();
    let (mut method, mut probes) = (Vec::new(), Vec::new());
    for (number, one) in planted.iter().enumerate() {
        configuration.insert(format!("c{number}"), json!(one.text));
        let put = format!("${{c{number}}}");
        method.push(json!({"type": "action", "name": format!("say {}", one.text), "provider": process("printf", json!(["%s", one.text]))}));
        method.push(json!({"type": "probe", "name": "complain", "provider": process("sh", json!(["-c", "printf %s \"$0\" >&2; exit 1", put]))}));
        method.push(json!({"type": "probe", "name": "send", "provider": {"type": "http", "url": format!("{url}/echo"), "method": "POST",
            "headers": {"X-Note": put, "Content-Type": "application/json"}, "arguments": {"of": put}}}));
        method.push(
            json!({"type": "probe", "name": "fail", "provider": {"type": "python", "module": "chaosprometheus.probes",
            "func": "query_interval", "arguments": {"query": "up", "start": put, "end": "now"}}}),
        );
        let judged = json!({"type": "regex", "target": "stdout", "pattern": "|", "name": one.text});
        probes.push(json!({"type": "probe", "name": "judged", "tolerance": judged, "provider": process("printf", json!(["%s", put]))}));
    }
    method.push(json!({"type": "probe", "name": "refused", "provider": {"type": "http", "url": "http://clerk:${word}@127.0.0.1:1/?k=${inline}"}}));
    method.push(json!({"type": "probe", "name": "coded", "provider": process("sh", json!(["-c", "printf 'user:%s' \"$0\" | base64", "${env}"]))}));
    method.push(
        json!({"type": "probe", "name": "from the environment", "provider": process("printenv", json!(["PLANTED"]))}),
    );
    json!({
        "title": format!("with {} and ${{env}}", planted[0].text), "description": planted[1].text, "configuration": configuration,
        "secrets": {"till": {"inline": PLAIN[0], "word": PLAIN[3], "env": {"type": "env", "key": "PLANTED"}, "file": {"type": "file", "path": "planted.txt"}}},
        "steady-state-hypothesis": {"title": format!("no {}", planted[2].text), "probes": probes}, "method": method,
        "rollbacks": [{"type": "action", "name": "file", "provider": process("echo", json!(["${file}", "${inline}"]))}],
    })
}

/// Secrets that look like nothing: known because they are under `secrets`.
const PLAIN: [&str; 4] = ["plum-blossom/17", "quince & jelly", "sloe gin, 3 years", "damson-8"];

/// What is left of a run.
fn left(folder: &Path, options: &[&str]) -> Vec<(&'static str, String)> {
    let out = |name: &str| fs::File::create(folder.join(name)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.current_dir(folder).env("HOME", folder).env("PLANTED", PLAIN[1]).env_remove("STEADFAST_CLUSTER");
    command.args(["--verbose", "--log-file", "log"]).args(options).args(["run", "--json", "experiment.json"]);
    let status = command.stdin(Stdio::null()).stdout(out("stdout")).stderr(out("stderr")).status().unwrap();
    let read = |name: &'static str| (name, fs::read_to_string(folder.join(name)).unwrap_or_default());
    let mut all = ["journal.json", "stdout", "stderr", "log"].map(read).to_vec();
    assert_eq!(status.code(), Some(0), "{}", all[2].1);
    let mut journal: Value = serde_json::from_str(&all[0].1).unwrap();
    let journal: Journal = serde_json::from_value(journal["x-steadfast"]["journal"].take()).unwrap();
    let escapes = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let page = escapes.iter().fold(journal.report_html(), |page, (escape, letter)| page.replace(escape, letter));
    all.push(("its page", page));
    all
}

/// As which a secret may be written.
fn forms(secret: &str) -> BTreeSet<String> {
    let quoted = Value::from(secret).to_string();
    let twice = Value::from(quoted.as_str()).to_string();
    let plus: String = secret
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    [secret.to_owned(), quoted[1..quoted.len() - 1].to_owned(), twice[3..twice.len() - 3].to_owned(), plus].into()
}

#[test]
fn no_planted_secret_is_in_what_a_run_leaves_behind() {
    let planted = planted();
    assert!(planted.len() >= 20);
    let server = Server::start(super::folder());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("planted.txt"), format!("{}\n", PLAIN[2])).unwrap();
    let document = document(&planted, &format!("http://{}", server.served.address));
    fs::write(folder.path().join("experiment.json"), document.to_string()).unwrap();
    for options in [&[][..], &["--log-format", "json"]] {
        let left = left(folder.path(), options);
        let mut shown = Vec::new();
        // Of `user:` and the environment's secret, in base64.
        let plain = PLAIN.iter().map(|plain| (*plain, *plain)).chain([("base64", "dXNlcjpxdWluY2UgJiBqZWxseQ==")]);
        let all = planted.iter().map(|one| (one.text.as_str(), one.secret.as_str())).chain(plain);
        for (text, secret) in all {
            for (place, content) in &left {
                shown.extend(
                    forms(secret)
                        .iter()
                        .filter(|form| content.contains(*form))
                        .map(|form| format!("{place}: {form} of {text}")),
                );
            }
        }
        assert!(shown.is_empty(), "{} are shown:\n{}", shown.len(), shown.join("\n"));
        // They have all been met: each at least in what was said, complained of, sent and answered, and failed with.
        let journal: Value = serde_json::from_str(&left[0].1).unwrap();
        let run = journal["run"].as_array().unwrap();
        assert_eq!(run.len(), planted.len() * 4 + 3);
        for (record, kind) in
            run.chunks(4).zip(&planted).flat_map(|(four, one)| four.iter().map(move |record| (record, one)))
        {
            assert!(record.to_string().contains("[redacted]"), "{} is not met in {record}", kind.text);
        }
        assert!(left[2].1.contains("[redacted]") && left[3].1.contains("[redacted]"));
    }
}
