//! What the compiler says to a user who errs: our own notes, not rustc's whole text.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A mistake, and what the compiler must say.
const MISTAKES: &[(&str, &[&str])] = &[
    (
        r#"Hypothesis::new("x").check(http::get("http://a/"));"#,
        &["is not a check", "a hypothesis needs a yes-or-no answer", "give the probe a tolerance with `.expect(..)`"],
    ),
    (
        r#"http::get("http://a/").expect(at_most(1.0));"#,
        &["`AtMost` cannot judge what this probe returns (`Answer`)", "`status(..)` for HTTP responses"],
    ),
    (
        r#"load::get("http://a/").p95().expect(status(200));"#,
        &["Status` cannot judge what this probe returns (`", "`between(..)` for numbers"],
    ),
    (
        r#"load::get("http://a/").p95().expect(at_most(500));"#,
        &["`<i32 as Bound>::Unit == Time`", "expected `Time`, found `Unitless`"],
    ),
    (
        r#"http::get("http://a/").expect("ok");"#,
        &["cannot judge what this probe returns", "or a closure that returns `bool`"],
    ),
    (
        r#"Experiment::new("x", Hypothesis::new("y")).inject(http::get("http://a/"));"#,
        &["is no fault", "nothing says how it is undone", "`.act_with(name, async |scene| ..)`"],
    ),
    (
        r#"Experiment::new("x", Hypothesis::new("y")).background(&http::get("http://a/"));"#,
        &["cannot run in the background", "pass it by reference"],
    ),
    (
        r#"Experiment::new("x", Hypothesis::new("y")).safeguard(http::get("http://a/"));"#,
        &["Check` is not implemented for"],
    ),
    (r#"Experiment::new("x").pause(secs(1));"#, &["argument #2 of type", "Hypothesis` is missing"]),
];

/// One crate with all mistakes, checked in one run of the compiler. trybuild compares rustc's whole text, which
/// changes with its version; what must not change are our own words.
#[test]
fn mistakes_are_answered_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nsteadfast = {{ path = {root:?} }}\n\
         k8s-openapi = {{ version = \"0.29\", features = [\"v1_34\"] }}\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let mut source = String::from("use steadfast::prelude::*;\n");
    for (number, (mistake, _)) in MISTAKES.iter().enumerate() {
        source.push_str(&format!("pub fn mistake_{number}() {{ let _ = {{ {mistake} }}; }}\n"));
    }
    std::fs::write(folder.path().join("src/lib.rs"), source).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--message-format=json"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert!(!output.status.success(), "none of the mistakes compiles");
    let told = by_line(&String::from_utf8_lossy(&output.stdout));
    for (number, (mistake, words)) in MISTAKES.iter().enumerate() {
        // The first line of the source is its `use`.
        let said = told.get(&(number as u64 + 2)).map(String::as_str).unwrap_or_default();
        for word in *words {
            assert!(said.contains(word), "{mistake}\nshould say {word:?}, but the compiler says of it:\n{said}");
        }
    }
}

/// What the compiler says, by the line that it says it of.
fn by_line(output: &str) -> BTreeMap<u64, String> {
    let mut told: BTreeMap<u64, String> = BTreeMap::new();
    for message in output.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let message = &message["message"];
        let spans = message["spans"].as_array().cloned().unwrap_or_default();
        let line = spans.iter().find(|span| span["is_primary"] == true).and_then(|span| span["line_start"].as_u64());
        if let (Some(line), Some(text)) = (line, message["rendered"].as_str()) {
            told.entry(line).or_default().push_str(text);
        }
    }
    told
}
