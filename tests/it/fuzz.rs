//! What fuzzing has found goes through what is fuzzed: `make fuzz` finds more.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast::fuzzing::TARGETS;

/// The inputs of a target, in order.
fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

fn passes(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    for file in corpus(name) {
        // Shown where one fails.
        println!("{}", file.display());
        target(&fs::read(&file).unwrap());
    }
}

#[test]
fn document() {
    passes("document");
}

#[test]
fn substitution() {
    passes("substitution");
}

#[test]
fn jsonpath() {
    passes("jsonpath");
}

#[test]
fn vegeta_gob() {
    passes("vegeta_gob");
}

#[test]
fn vegeta_text() {
    passes("vegeta_text");
}

#[test]
fn journal() {
    passes("journal");
}

#[test]
fn corpora_are_small_and_each_target_is_run() {
    let files: Vec<_> = TARGETS.iter().flat_map(|(target, _)| corpus(target)).collect();
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(files.len() <= 300 && bytes <= 500_000, "{} files of {bytes} bytes: `fuzz/run --keep`", files.len());
    for (target, _) in TARGETS {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/targets/{target}.rs"));
        let text = fs::read_to_string(program).unwrap();
        assert!(text.contains(&format!("fuzzing::{target}(bytes)")), "{target}: {text}");
        assert!(include_str!("fuzz.rs").contains(&format!("fn {target}()")), "{target} has no test here");
    }
}
