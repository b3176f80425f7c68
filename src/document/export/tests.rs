//! What is exported is what is committed, and compiled and run with the other tests.

use super::{Wanted, rust};
use crate::document::{Asked, load};

fn exported(file: &str, verdict: &str) -> String {
    let source = format!("{}/tests/fixtures/exported/{file}", env!("CARGO_MANIFEST_DIR"));
    let asked = Asked { purpose: crate::document::Purpose::Export, ..Asked::of(&source) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let loaded = runtime.block_on(load(&asked)).unwrap_or_else(|errors| panic!("{errors:?}"));
    let (setup, needs) = (Some("steadfast::shop"), Some("embedded"));
    rust(&loaded, &Wanted { verdict, setup, needs, describe: crate::cli::described })
}

/// Its verdict is that of the document, which `document_and_export_come_to_the_same` runs.
#[test]
fn the_committed_test_is_what_is_exported_now() {
    let committed = include_str!("../../../tests/it/exported.rs");
    let now = exported("cut-off.yaml", "Deviated");
    assert!(now == committed, "write this to tests/it/exported.rs:\n{now}");
}

#[test]
fn what_is_missing_is_said_and_its_test_is_ignored() {
    let told = exported("by-hand.yaml", "Met");
    for line in [
        "#[ignore = \"not complete: healthy, pick one */ evil(); must be written by hand, see the comments\"]",
        "        // todo: the probe \"healthy\" is missing: there is no such check",
        "        // todo: the step \"pick one */ evil();\" is missing: pods are picked by their names alone",
        "        .inject(default.pods(\"app=back\").delete().only(picked))",
        "        .rollback_with(\"tell\", async |scene| {",
        "            scene.clock.sleep(secs(1)).await;",
        "            http::post(\"http://localhost:30080/\").header(\"content-type\", \"application/x-www-form-urlencoded\")\
         .body(\"a=b+c\").observe(&scene).await?;",
        "        .rollback_strategy(RollbackStrategy::Default)",
        "#[steadfast::test(setup = steadfast::shop, needs = \"embedded\")]",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
    }
}
