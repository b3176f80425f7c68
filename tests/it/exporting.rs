//! A document and the test that is exported of it.

use std::process::Command;

/// What `exported.rs` asserts.
#[test]
fn the_document_of_the_exported_test_deviates_too() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.json");
    let output = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["run", "--cluster", "embedded", "--json", "--journal-path"])
        .arg(&journal)
        .arg("tests/fixtures/exported/cut-off.yaml")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("STEADFAST_CLUSTER")
        .env_remove("STEADFAST_EXPORTED_FRONT")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["verdict"], "deviated", "{told}");
}
