//! The tests of `it`, run by the real nextest out of the binary that is there: what its processes, each with one test,
//! leave together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Needs, Outcome, find};

/// Experiments that are met, deviate, know nothing, and two of one test that fails.
const ENDINGS: [&str; 4] = ["met", "deviated", "gate_missed", "twice_and_unexpected"];

pub fn trials() -> (Needs, Vec<Trial>) {
    let found = match find("cargo-nextest") {
        None => Err("no cargo-nextest on the PATH: cargo install --locked cargo-nextest".to_owned()),
        Some(_) => binary().map(drop),
    };
    let needs = Needs::new("cargo-nextest", found);
    let trials = vec![needs.trial("nextest::each_experiment_has_its_folder_and_all_are_told_together", all_are_told)];
    (needs, trials)
}

/// The newest test binary `it` beside this one.
fn binary() -> Result<PathBuf, String> {
    let missing = "no test binary `it` beside this one: cargo test --no-run --test it, with the same features";
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = own.parent().ok_or(missing)?;
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?.flatten();
    let is = |name: &str| name.strip_prefix("it-").is_some_and(|hash| !hash.contains('.'));
    let built = entries.filter(|entry| entry.file_name().to_str().is_some_and(is));
    let newest = built.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).max();
    newest.map(|(_, path)| path).ok_or(missing.to_owned())
}

/// What nextest is told of the binary instead of building it.
fn metadata(binary: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let asked = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let told = Command::new(cargo).args(asked).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let told: Value = serde_json::from_slice(&told.map_err(|error| error.to_string())?.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = told["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let package =
        packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).ok_or("we are not there")?;
    let host = json!({"platform": {"triple": triple()?, "target-features": "unknown"},
        "libdir": {"status": "unavailable", "reason": "old-summary"}});
    Ok(json!({
        "rust-build-meta": {
            "target-directory": told["target_directory"], "base-output-directories": [], "non-test-binaries": {},
            "build-script-out-dirs": {}, "linked-paths": [], "platforms": {"host": host, "targets": []},
            "target-platforms": [], "target-platform": null,
        },
        "rust-binaries": {"steadfast::it": {
            "binary-id": "steadfast::it", "binary-name": "it", "package-id": package["id"], "kind": "test",
            "binary-path": binary, "build-platform": "target",
        }},
    }))
}

fn triple() -> Result<String, String> {
    let told = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?.stdout;
    let told = String::from_utf8_lossy(&told).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned).ok_or("rustc names no host".to_owned())
}

fn text(Output { stdout, stderr, .. }: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

fn all_are_told() -> Outcome {
    let workspace = tempfile::tempdir()?;
    let (package, out) = (workspace.path().join("crates/tests"), workspace.path().join("target/steadfast"));
    fs::create_dir_all(&package)?;
    let described = workspace.path().join("binaries.json");
    fs::write(&described, metadata(&binary()?)?.to_string())?;
    let filter = format!("test(/^report::endings::({})$/)", ENDINGS.join("|"));
    let mut nextest = Command::new("cargo-nextest");
    nextest.args(["nextest", "run", "--run-ignored=only", "--no-fail-fast", "-E", &filter, "--binaries-metadata"]);
    nextest.arg(&described).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("NEXTEST") || name.starts_with("GITHUB_") || name.starts_with("STEADFAST_") {
            nextest.env_remove(&*name);
        }
    }
    let done = nextest.env("STEADFAST_OUT", &out).env("STEADFAST_REPORT", "html,junit,markdown,json").output()?;
    let said = text(&done);
    assert_eq!(done.status.code(), Some(100), "one test is to fail: {said}");
    assert!(said.contains("4 tests run: 3 passed, 1 failed"), "{said}");

    for ending in ENDINGS {
        let folder = out.join(format!("it.report.endings.{ending}"));
        for file in ["journal.json", "summary.json", "junit.xml", "report.md", "report.html"] {
            assert!(folder.join(file).is_file(), "{ending} has no {file}: {said}");
        }
    }
    assert!(out.join("it.report.endings.twice_and_unexpected/journal-2.json").is_file());
    let merged: Value = serde_json::from_slice(&fs::read(out.join("summary.json"))?)?;
    assert_eq!(merged["experiments"].as_array().map(Vec::len), Some(5), "{merged}");
    let junit = fs::read_to_string(out.join("junit.xml"))?;
    assert_eq!(junit.matches("<testsuite ").count(), 5, "{junit}");
    let index = fs::read_to_string(out.join("index.html"))?;
    let listed = index.split("href=\"./").skip(1).filter_map(|link| link.split('"').next());
    for link in listed {
        assert!(out.join(link).is_file(), "{link} is listed and not there");
    }
    assert_eq!(index.matches("/report.html\"").count() + index.matches("/report-2.html\"").count(), 5, "{index}");

    // A command that is installed lies in no target folder, and is called from within the package.
    let installed = workspace.path().join("steadfast");
    let built = env!("CARGO_BIN_EXE_steadfast");
    fs::hard_link(built, &installed).or_else(|_| fs::copy(built, &installed).map(drop))?;
    let mut report = Command::new(&installed);
    report.args(["report", "--last"]).current_dir(&package).env_remove("STEADFAST_OUT").env_remove("CARGO_TARGET_DIR");
    let told = text(&report.output()?);
    let first = told.lines().next().unwrap_or_default();
    let id = said.split("Nextest run ID ").nth(1).and_then(|rest| rest.split(' ').next()).ok_or("it has an id")?;
    assert!(first.starts_with(&format!("The last run of tests (nextest-{id}) in ")), "{told}");
    let counted = "1 met; 1 deviated, as asserted; 1 gate missed, as asserted; 2 met, as asserted";
    assert!(first.ends_with(counted), "{told}");
    Ok(())
}
