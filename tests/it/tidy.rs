//! The house rules that a text search can hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which module may import which; `journal` and `clock` stand for themselves. A row includes what its imports may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("variables", &[]),
    ("page", &[]),
    ("settings", &[]),
    ("clock", &["variables"]),
    ("journal", &["clock", "rollback"]),
    ("tolerance", &["journal"]),
    ("redaction", &[]),
    ("transport", &["clock", "redaction"]),
    ("rollback", &["journal", "clock", "redaction"]),
    ("experiment", &["clock", "journal", "tolerance", "transport", "rollback"]),
    ("load", &["experiment", "tolerance", "transport", "page"]),
    ("http", &["experiment", "tolerance", "transport"]),
    ("process", &["experiment", "tolerance", "transport"]),
    ("prometheus", &["experiment", "tolerance", "transport"]),
    ("kubernetes", &["experiment", "rollback", "tolerance", "transport"]),
    ("lab", &["transport", "rollback", "kubernetes"]),
    ("services", &[]),
    ("observability", &["journal", "transport", "variables"]),
    ("cluster", &["experiment", "kubernetes", "prometheus", "lab", "services", "observability", "publish", "error"]),
    ("document", &["cluster", "load", "http", "process", "prometheus", "settings", "variables"]),
    ("report", &["journal", "page", "redaction"]),
    ("publish", &["report", "settings", "variables"]),
    ("fuzzing", &["document", "publish"]),
    ("error", &["journal"]),
];

/// Modules that see everything: the root, what it re-exports, and the command.
const SEES_ALL: &[&str] = &["lib", "prelude", "cli", "main"];

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// The Rust files of a folder, in order.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                into.push((path, text));
            }
        }
    }
    let mut all = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    assert!(all.len() > 10, "the sources were found");
    all
}

/// The top-level module of a file: `src/lab/api/mod.rs` belongs to `lab`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code without its tests and comments.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn allowed(module: &str) -> Vec<&'static str> {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let (mut seen, mut open) = (Vec::new(), vec![module]);
    while let Some(next) = open.pop() {
        let row = table.get(next).unwrap_or_else(|| panic!("module {next} is not in the table"));
        for import in row.iter().filter(|import| **import != module) {
            if !seen.contains(import) {
                seen.push(*import);
                open.push(import);
            }
        }
    }
    seen
}

#[test]
fn modules_import_only_what_the_table_lets_them() {
    for (path, text) in sources() {
        let of = module(&path);
        if SEES_ALL.contains(&of.as_str()) {
            continue;
        }
        let allowed = allowed(&of);
        for import in imports(&code(&text)) {
            let is_module = MAY_IMPORT.iter().any(|(module, _)| *module == import);
            assert!(
                !is_module || import == of || allowed.contains(&import.as_str()),
                "{}: {of} imports {import}",
                path.display()
            );
        }
    }
}

/// The modules that follow `crate::`, one by one or in braces.
fn imports(code: &str) -> Vec<String> {
    let word = |piece: &str| piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let of = |piece: &str| match piece.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap_or_default().split(',').map(|one| word(one.trim())).collect(),
        None => vec![word(piece)],
    };
    code.split("crate::").skip(1).flat_map(of).collect()
}

#[test]
fn imports_are_found_in_braces_too() {
    assert_eq!(imports("use crate::{journal, lab::Lab};\ncrate::clock::now()"), ["journal", "lab", "clock"]);
}

/// Row by row, with what imports bring along.
#[test]
fn the_architecture_has_that_table() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let modules: Vec<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    let word = |word: &str| modules.iter().copied().find(|module| *module == word);
    let words = |cell: &str| -> Vec<&'static str> {
        cell.split(|c: char| !c.is_alphanumeric() && c != '_').filter_map(word).collect()
    };
    let mut above: Vec<&str> = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `src/")) {
        let [_, folders, _, imports, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("three columns: {row}")
        };
        let rows = words(folders);
        assert!(!rows.is_empty() || folders.contains("src/cli/"), "no row of this file's table: {row}");
        let named = if imports.trim() == "all above" { above.clone() } else { words(imports) };
        let mut told: Vec<_> = named.iter().copied().chain(named.iter().flat_map(|module| allowed(module))).collect();
        for module in rows {
            // The root's error is nobody's layer.
            let mut allowed = allowed(module);
            for all in [&mut told, &mut allowed] {
                all.retain(|import| *import != "error" && *import != module);
                all.sort_unstable();
                all.dedup();
            }
            assert_eq!(told, allowed, "ARCHITECTURE.md says otherwise of {module}");
            above.push(module);
        }
    }
    let missing: Vec<_> = modules.iter().filter(|module| !above.contains(module) && **module != "error").collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md has no row of {missing:?}");
}

#[test]
fn every_select_is_biased() {
    for (path, text) in sources() {
        for piece in text.split("select! {").skip(1) {
            assert!(piece.trim_start().starts_with("biased;"), "{}: a select without `biased;`", path.display());
        }
    }
}

#[test]
fn time_and_chance_come_from_the_clock_module() {
    for (path, text) in sources() {
        if module(&path) == "clock" {
            continue;
        }
        let found = by_chance(&code(&text));
        assert_eq!(found, None, "{}", path.display());
    }
}

/// What is different each time that it is asked.
fn by_chance(code: &str) -> Option<String> {
    let banned = ["SystemTime", "std::time::Instant", "Timestamp::now", "Zoned::now", "HashMap", "HashSet"];
    let found = banned.into_iter().find(|banned| code.contains(banned)).map(str::to_owned);
    // A group of imports, and what the crate `fastrand` has beside a generator with a seed.
    let groups = code.split("use std::time::{").skip(1).filter_map(|group| group.split('}').next());
    let instant = groups.filter(|group| group.contains("Instant")).map(str::to_owned).next();
    let fastrand =
        code.split("fastrand::").skip(1).find(|piece| !piece.starts_with("Rng::with_seed") && !begins_a_type(piece));
    found
        .or(instant)
        .or_else(|| fastrand.map(|piece| format!("fastrand::{}", piece.chars().take(12).collect::<String>())))
}

/// `Rng` as a type, which only a seed makes a value of.
fn begins_a_type(piece: &str) -> bool {
    piece.strip_prefix("Rng").is_some_and(|rest| !rest.starts_with("::") && !rest.starts_with(char::is_alphanumeric))
}

#[test]
fn what_is_by_chance_is_found() {
    for planted in [
        "use std::time::{Duration, Instant};",
        "std::time::Instant::now()",
        "SystemTime::now()",
        "let rng = fastrand::Rng::new();",
        "fastrand::shuffle(&mut all)",
        "fastrand::bool()",
        "jiff::Zoned::now()",
        "HashMap::new()",
    ] {
        assert!(by_chance(planted).is_some(), "{planted}");
    }
    for fine in
        ["fastrand::Rng::with_seed(1)", "rng: &mut fastrand::Rng,", "use std::time::Duration;", "tokio::time::Instant"]
    {
        assert_eq!(by_chance(fine), None, "{fine}");
    }
}

/// So that an empty variable counts as one that is not set, everywhere.
#[test]
fn the_environment_is_read_in_one_place() {
    for (path, text) in sources() {
        // The shop's pods are told by their own environment.
        if ["variables", "services"].contains(&module(&path).as_str()) {
            continue;
        }
        // To a document an empty variable is a value.
        if path.ends_with("document/environment.rs") {
            continue;
        }
        for banned in ["env::var(", "env::var_os("] {
            assert!(!code(&text).contains(banned), "{}: {banned}", path.display());
        }
    }
}

#[test]
fn the_readme_has_a_table_of_all_variables() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for (path, text) in sources() {
        for piece in code(&text).split("\"STEADFAST_").skip(1) {
            let name: String = piece.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            let row = format!("| `STEADFAST_{name}");
            assert!(readme.contains(&row), "{}: README.md has no row of STEADFAST_{name}", path.display());
        }
    }
}

#[test]
fn files_are_short_and_lints_are_expected_not_allowed() {
    for (path, text) in sources() {
        assert!(text.lines().count() <= 700, "{} is too long", path.display());
        assert!(!text.contains("#[allow("), "{}: use #[expect(.., reason = ..)]", path.display());
    }
}

#[test]
fn only_these_files_are_unsafe() {
    for (path, text) in sources() {
        let may = ["cluster/hook.rs", "load/goose/process.rs"].iter().any(|file| path.ends_with(file));
        let code = code(&text);
        let is = ["{", "extern", "fn", "impl"].iter().any(|what| code.contains(&format!("unsafe {what}")));
        assert_eq!(is, may, "{}", path.display());
    }
}

/// `STEADFAST_CLUSTER=kind cargo test` takes to the cluster what is meant for it, and nothing else.
#[test]
fn tests_of_this_binary_say_that_they_need_the_lab() {
    let attribute = ["#[steadfast", "::test"].concat();
    let any_cluster = |path: &Path| ["lab4.rs", "ui.rs"].iter().any(|file| path.ends_with(file));
    for (path, text) in files("tests/it").into_iter().filter(|(path, _)| !any_cluster(path)) {
        for line in text.lines().filter(|line| line.trim_start().starts_with(&attribute)) {
            assert!(line.contains("needs = "), "{}: {line} says no `needs = \"embedded\"`", path.display());
        }
    }
}

#[test]
fn the_readme_shows_examples_that_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let tests = fs::read_to_string(root.join("tests/it/readme.rs")).unwrap();
    let examples: Vec<_> = tests.split("\nmod ").skip(1).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let body = example.split_once("{\n").unwrap().1.split("\n}\n").next().unwrap();
        let text: Vec<_> = body.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        assert!(readme.contains(&text.join("\n")), "README.md differs from tests/it/readme.rs:\n{body}");
    }
}

#[test]
fn the_readme_shows_the_test_that_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let test = fs::read_to_string(root.join("tests/it/lab4.rs")).unwrap();
    let body = test.split("use steadfast::prelude::*;").nth(1).unwrap().split("\n\n/// ").next().unwrap().trim();
    assert!(readme.contains(body), "the README's experiment differs from tests/it/lab4.rs");
}
